# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the system's programs: from a list, never by a shell, with a deadline, and without a copy of this process.

Theory of operation. subprocess starts a program by vfork(2) where it may. A real fork, as with a function to be run
before exec, write-protects every page of this process, and each later write to one of them is a page fault: on a slow
virtual machine that takes longer than most programs do.
"""

from __future__ import annotations

import os
import subprocess
from typing import Sequence

from .errors import O2cbError

SECONDS = 300.0
"""Deadline of a program: a unit that is started or stopped, a device that is formatted."""


_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def environment() -> dict[str, str]:
    """This process's environment, with the system's programs on the path, and messages that the library can read."""
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}".lstrip(":")
    return {**os.environ, "LC_ALL": "C", "PATH": path}


def run(command: Sequence[str], seconds: float = SECONDS) -> tuple[int, str, str]:
    """Exit code, output and errors of a program. Raises O2cbError when it is not there or does not end in time."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment(),
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise O2cbError(f"there is no program {command[0]} here: install the package that has it") from None
    except subprocess.TimeoutExpired:
        raise O2cbError(f"`{' '.join(command)}` did not end within {seconds:g} s") from None
    return done.returncode, done.stdout, done.stderr
