# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that are not this one's children, by number and time of birth (proc_pid_stat(5))."""

from __future__ import annotations

from typing import NamedTuple


class Process(NamedTuple):
    """`began` is in clock ticks after the boot, and tells a process from a later one with its number."""

    pid: int
    began: int


def find(pid: int | str) -> Process | None:
    """The process with this number; None where there is none, or only its exit code, which its parent has not read.

    All descriptors of such a process are closed: exit_files() and exit_task_work() come before exit_notify() in
    kernel/exit.c. `pid` may be `self`.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    number, _blank, rest = line.partition(b" ")
    words = rest.rpartition(b")")[2].split()  # The name may have blanks and brackets in it.
    return None if words[0] in (b"Z", b"X") else Process(int(number), int(words[19]))


def is_gone(process: Process) -> bool:
    """Whether it has ended, and closed what it had open."""
    return find(process.pid) != process
