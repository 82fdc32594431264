# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what goes on: one line per step on stderr, and never a long silence."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LabError, NoSpace

SILENCE = 8.0
"""Seconds after which a command that is still at work is reported again."""

FULL = ("No space left on device", "have enough free space")
"""What programs say about a full disk (dpkg and mke2fs, apt)."""

LONGEST_LINE = 300
"""Characters of a line that an error quotes."""


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def run_quietly(what: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a long command with its output in `log`; report that it lives, and its last lines if it fails."""
    started = time.monotonic()
    say(f"{what} …")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        begin = output.tell()
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
        except FileNotFoundError as error:
            raise LabError(f"{what}: the command {command[0]} is not installed") from error
        while True:
            try:
                status = process.wait(SILENCE)
                break
            except subprocess.TimeoutExpired:
                say(f"{what} … {time.monotonic() - started:.0f} s")
    if status:
        with log.open("rb") as output:
            output.seek(begin)
            text = output.read().decode(errors="replace")
        kind = NoSpace if any(words in text for words in FULL) else LabError
        tail = [line[:LONGEST_LINE] for line in text.splitlines()[-12:]]
        raise kind("\n  ".join([f"{what} failed with status {status}: {' '.join(command[:6])} … (log: {log})", *tail]))
