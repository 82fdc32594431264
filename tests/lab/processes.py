# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and signal the lab's own processes, and never anybody else's.

There are no pid files. A process belongs to a node when its working directory is that node's directory and its
executable is the User-Mode kernel (the kernel's main process, its I/O thread and one child per user address space,
proc(5)), or when it is the node's supervisor by command line. Signals go through a pidfd taken before the last look,
so a recycled pid is never hit.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

KERNEL = "linux.uml"
SUPERVISOR = "lab.supervisor"


@dataclass(frozen=True)
class Process:
    """One process as /proc shows it."""

    pid: int
    session: int
    state: str
    started: float
    """Seconds since this machine booted."""
    command: tuple[str, ...]
    is_kernel: bool
    is_supervisor: bool


def parse_stat(text: str, ticks: int) -> tuple[str, int, float]:
    """State letter, session and start (seconds since boot) of a `/proc/PID/stat`; the name may hold anything."""
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[3]), int(fields[19]) / ticks


def look(pid: int, directory: Path) -> Process | None:
    """The process `pid` if it belongs to the node of `directory` and is not a zombie."""
    base = Path(f"/proc/{pid}")
    try:
        if os.readlink(base / "cwd").removesuffix(" (deleted)") != str(directory):
            return None
        executable = os.path.basename(os.readlink(base / "exe")).removesuffix(" (deleted)")
        command = tuple(part.decode(errors="replace") for part in (base / "cmdline").read_bytes().split(b"\0"))
        state, session, started = parse_stat((base / "stat").read_text(), os.sysconf("SC_CLK_TCK"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    kernel, supervisor = executable == KERNEL, SUPERVISOR in command
    if state in "ZX" or not (kernel or supervisor):
        return None
    return Process(pid, session, state, started, command, kernel, supervisor)


def of_node(directory: Path) -> list[Process]:
    """All processes of a node, the kernel's main process before its children."""
    pids = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [process for pid in pids if (process := look(pid, directory))]


def main_of(processes: list[Process]) -> Process | None:
    """The kernel's main process: the leader of its session."""
    return next((process for process in processes if process.is_kernel and process.pid == process.session), None)


def send(process: Process, directory: Path, number: signal.Signals) -> bool:
    """Signal a process of this node; False when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        current = look(process.pid, directory)
        if current is None or current.started != process.started:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def stands(pid: int) -> bool:
    """Whether no thread of this process runs, or has a system call under way: stopped, or held by its tracer."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return all(parse_stat((thread / "stat").read_text(), 1)[0] in "TtZX" for thread in threads)
    except (FileNotFoundError, ProcessLookupError):
        return False


def halt(directory: Path, until: float) -> None:
    """Stop everything of a node's kernel, and return when all of it stands. Raises TimeoutError when it does not.

    The main process comes first: it drives its children by ptrace(2). While it stands, each of them gets no further
    than to its next system call; the rest, and the thread that writes to the disks, are stopped then.
    """
    while processes := [each for each in of_node(directory) if each.is_kernel and not stands(each.pid)]:
        if time.monotonic() > until:
            raise TimeoutError(f"processes of {directory} do not stop: {[process.pid for process in processes]}")
        main = main_of(processes)
        for process in [main] if main else processes:
            send(process, directory, signal.SIGSTOP)
        time.sleep(0.001)


def end(directory: Path, deadline: float = 20.0, supervisor_too: bool = True) -> bool:
    """Kill everything that belongs to a node, supervisor first, and wait until it is gone. True if it was there.

    A power cut is one moment, so everything is made to stand before any of it dies. The kernel's main process dies
    last: a child that outlives it is let loose, and its guest's system calls are made on this machine.
    """
    until = time.monotonic() + deadline
    found = False
    while processes := [process for process in of_node(directory) if supervisor_too or process.is_kernel]:
        found = True
        _kill([process for process in processes if process.is_supervisor], directory, until)
        halt(directory, until)
        kernel = [process for process in of_node(directory) if process.is_kernel]
        _kill(sorted(kernel, key=lambda process: process.pid == process.session), directory, until)
        if time.monotonic() > until:
            raise TimeoutError(f"processes of {directory} survive SIGKILL: {[process.pid for process in processes]}")
    return found


def _kill(processes: list[Process], directory: Path, until: float) -> None:
    """Kill these in their order, and wait until they are gone, or for a while."""
    for process in processes:
        send(process, directory, signal.SIGKILL)
    for process in processes:
        wait_gone(process.pid, max(0.0, min(until - time.monotonic(), 2.0)))


def age(process: Process) -> float:
    """Seconds since the process started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started


def wait_gone(pid: int, seconds: float | None) -> None:
    """Wait until the process has ended, for ever if `seconds` is None."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([handle], [], [], seconds)
    finally:
        os.close(handle)
