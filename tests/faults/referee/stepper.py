# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends a process of o2keep before a chosen system call of a request. Runs on a node, as root.

It reads requests, one JSON object a line, and answers each in the same way.

    {"target": "keeper", "worker" or "record", "request": REQUEST OF O2KEEP, "step": NUMBER, "signal": NUMBER,
     "after": SECONDS}
                    ask o2keep, with all processes of that kind under ptrace(2). The process that is about to make the
                    system call of this number, counted over all of them from the request on, is sent the signal there.
                    With `after`, the count begins with the answer and ends so many seconds later
    {"reached": WHETHER THERE WAS SUCH A CALL, "call": ITS NUMBER IN THE KERNEL, "answer": O2KEEP'S, or "error": WHY,
     "seconds": UNTIL THE ANSWER}
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

PROGRAM = "/usr/local/lib/ocfs2.o2cb/o2cb.pyz"
SECONDS = 60.0

sys.path.insert(0, PROGRAM)
from ocfs2_o2cb.base.errors import O2cbError  # noqa: E402
from ocfs2_o2cb.client.keep import Client  # noqa: E402

SYSCALL, GETREGS, SEIZE, INTERRUPT = 24, 12, 0x4206, 0x4207
TRACESYSGOOD = 1
SYSCALL_STOP = signal.SIGTRAP | 0x80
WALL = 0x40000000
ORIG_RAX = 15

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, data: int = 0) -> None:
    """Raises ProcessLookupError where the process has ended meanwhile."""
    if _libc.ptrace(request, pid, None, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request}: {os.strerror(number)}")


def next_call(pid: int) -> int:
    """The system call that a stopped process is about to make (user_regs_struct of x86-64)."""
    registers = (ctypes.c_ulong * 27)()
    if _libc.ptrace(GETREGS, pid, None, ctypes.addressof(registers)) == -1:
        raise OSError(ctypes.get_errno(), "ptrace GETREGS")
    return int(registers[ORIG_RAX])


def processes(target: str) -> list[int]:
    if target == "keeper":
        shown = subprocess.run(
            ["systemctl", "show", "o2keep", "-p", "MainPID", "--value"], stdout=subprocess.PIPE, check=True
        )
        return [int(shown.stdout)]
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                if file.read() == f"o2keep-{target}\n":
                    found.append(int(pid))
        except OSError:
            continue
    return found


class Asking(threading.Thread):
    """The request, and what became of it."""

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.request = request
        self.found: dict[str, Any] = {}

    def run(self) -> None:
        began = time.monotonic()
        try:
            answer, descriptors = Client().ask(self.request, float(self.request.get("wait", 0)))
            self.found = {"answer": answer}
            for descriptor in descriptors:
                os.close(descriptor)
        except O2cbError as error:
            self.found = {"error": str(error)}
        self.found["seconds"] = time.monotonic() - began


class Steps:
    """Lets the processes go from one system call to the next."""

    def __init__(self, pids: list[int], step: int, number: int) -> None:
        self.step, self.number = step, number
        self.count = 0
        self.counting = False
        self.call = -1
        self._inside = dict.fromkeys(pids, False)
        for pid in pids:
            ptrace(SEIZE, pid, TRACESYSGOOD)
            ptrace(INTERRUPT, pid)

    def turn(self) -> None:
        """One that has stopped goes on, or is sent its signal."""
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | WALL)
        except ChildProcessError:
            pid = 0
        if not pid:
            time.sleep(0.0005)
            return
        if not os.WIFSTOPPED(status):
            self._inside.pop(pid, None)
            return
        stopped, event = os.WSTOPSIG(status), status >> 16
        if event:
            self._go_on(pid, 0)
        elif stopped != SYSCALL_STOP:
            self._go_on(pid, stopped)
        else:
            inside = self._inside[pid] = not self._inside.get(pid, False)
            if inside and self.counting and self.call < 0:
                self.count += 1
                if self.count == self.step:
                    self.call = next_call(pid)
                    os.kill(pid, self.number)
            self._go_on(pid, 0)

    def _go_on(self, pid: int, number: int) -> None:
        try:
            ptrace(SYSCALL, pid, number)
        except ProcessLookupError:
            self._inside.pop(pid, None)


def play(wish: dict[str, Any]) -> dict[str, Any]:
    steps = Steps(processes(wish["target"]), wish["step"], wish["signal"])
    began = time.monotonic()
    while time.monotonic() < began + 0.05:
        steps.turn()
    asking = Asking(wish["request"])
    steps.counting = not wish.get("after")
    asking.start()
    until = time.monotonic() + SECONDS
    while asking.is_alive() and time.monotonic() < until:
        steps.turn()
    if wish.get("after"):
        steps.counting = True
        until = time.monotonic() + wish["after"]
        while time.monotonic() < until and steps.call < 0:
            steps.turn()
    return {"reached": steps.call >= 0, "call": steps.call, **asking.found}


def serve() -> None:
    """Each request is played by a process of its own: when that ends the kernel lets all go that it has traced."""
    for line in sys.stdin:
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            with os.fdopen(writer, "w") as out:
                out.write(json.dumps(play(json.loads(line))))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            text = answer.read()
        os.waitpid(pid, 0)
        sys.stdout.write((text or json.dumps({"error": "the round failed", "reached": False})) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
