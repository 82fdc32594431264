# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the system's programs: from a list, never by a shell, with a deadline, and without a copy of this process.

Theory of operation. subprocess starts a program by vfork(2) where it may. A real fork, as with a function to be run
before exec, write-protects every page of this process, and each later write to one of them is a page fault: on a slow
virtual machine that takes longer than most programs do.
"""

from __future__ import annotations

import errno
import os
import subprocess
from typing import Callable, Sequence, Tuple

from .errors import DeadlineExceeded, O2cbError

Run = Callable[[Sequence[str]], Tuple[int, str, str]]
"""Executes a command given as a list and returns its exit code, output and errors."""

SECONDS = 300.0
"""Deadline of a program: a unit that is started or stopped, a device that is formatted."""

_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def environment() -> dict[str, str]:
    """This process's environment, with the system's programs on the path, and messages that the library can read."""
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}".lstrip(":")
    return {**os.environ, "LC_ALL": "C", "PATH": path}


def run(command: Sequence[str], seconds: float = SECONDS) -> tuple[int, str, str]:
    """Exit code, output and errors of a program. Raises O2cbError when it is not there, DeadlineExceeded in the end.

    One that is asleep in the kernel by then is killed, and not waited for: that may last for ever.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment(),
        )
    except FileNotFoundError:
        raise O2cbError(f"there is no program {command[0]} here: install the package that has it") from None
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise DeadlineExceeded(f"`{' '.join(command)}`", seconds) from None
    return process.returncode, output, errors


def shutting_down(seconds: float = SECONDS) -> bool:
    """Whether the machine goes down, or reboots, as systemd sees it."""
    return run(["systemctl", "is-system-running"], seconds)[1].strip() == "stopping"


def errno_in(message: str) -> int:
    """The number of the error with which a message of a program ends, as in `mkdir: ...: Invalid argument`; or EIO."""
    words = message.strip().rpartition(": ")[2]
    if words.startswith("Unknown error "):
        return int(words[len("Unknown error ") :])
    return next((number for number in errno.errorcode if os.strerror(number) == words), errno.EIO)
