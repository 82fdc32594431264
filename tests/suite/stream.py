# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one command so that a person can follow it: output as it comes, a note in every long silence."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

SILENCE = 10.0
"""Seconds without output after which a note is printed."""

POLL = 0.5
"""Seconds between two looks at the command itself. A daemon that it leaves behind may keep the pipe open for good."""


def run(command: list[str], directory: Path, environment: dict[str, str]) -> int:
    """Run the command without input and return its exit code, negative for a signal."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    started = heard = time.monotonic()
    while True:
        if select.select([pipe], [], [], POLL)[0]:
            output = os.read(pipe, 65536)
            if not output:
                break
            sys.stdout.buffer.write(output)
            sys.stdout.buffer.flush()
            heard = time.monotonic()
        elif process.poll() is not None:
            break
        elif time.monotonic() - heard >= SILENCE:
            heard = time.monotonic()
            print(f"   … {heard - started:.0f} s: {' '.join(command)[:80]}", flush=True)
    return process.wait()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], Path.cwd(), dict(os.environ)))
