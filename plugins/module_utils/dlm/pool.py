# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper's workers: a few idle ones, started ahead, and as many as there are calls asleep in the kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import channel
from .loop import Loop

Answer = Callable[[dict[str, Any], list[int]], None]

IDLE = 4
LIMIT = 200
"""Jobs beyond this many wait: so many calls asleep mean that the lock manager stands still."""


@dataclass
class Worker:
    """One process. `answer` is called with what it sends; None while it is idle."""

    process: subprocess.Popen[bytes]
    sock: socket.socket
    answer: Answer | None = None
    job: dict[str, Any] | None = None
    since: float = 0.0


class Pool:
    """Runs jobs. All callbacks come from the keeper's own loop."""

    def __init__(self, loop: Loop, command: Sequence[str]) -> None:
        self._loop = loop
        self._command = list(command)
        self._idle: deque[Worker] = deque()
        self._busy: dict[int, Worker] = {}
        self._waiting: deque[tuple[dict[str, Any], list[int], Answer]] = deque()

    def asleep(self, longer: float = 1.0) -> list[tuple[dict[str, Any], float]]:
        """The jobs that have been going on for longer than this, with their seconds."""
        now = time.monotonic()
        return [(worker.job or {}, now - worker.since) for worker in self._busy.values() if now - worker.since > longer]

    def run(self, job: dict[str, Any], descriptors: list[int], answer: Answer) -> None:
        """Give a job to a worker. Its descriptors are duplicated now: the caller may close its own."""
        self._waiting.append((job, [os.dup(descriptor) for descriptor in descriptors], answer))
        self.turn()

    def turn(self) -> None:
        """Hand out what waits, and keep some workers idle. Called at each turn of the loop."""
        while self._waiting and len(self._busy) < LIMIT:
            job, descriptors, answer = self._waiting.popleft()
            worker = self._idle.popleft() if self._idle else self._start()
            worker.answer, worker.job, worker.since = answer, job, time.monotonic()
            self._busy[worker.process.pid] = worker
            channel.send(worker.sock, job, descriptors)
            channel.close_all(descriptors)
        while len(self._idle) < IDLE:
            self._idle.append(self._start())

    def _start(self) -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [*self._command, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        worker = Worker(process, ours)
        self._loop.watch(ours.fileno(), lambda: self._read(worker))
        return worker

    def _read(self, worker: Worker) -> None:
        try:
            received = channel.receive(worker.sock)
        except (OSError, ValueError):
            received = None
        answer, worker.answer = worker.answer, None
        self._busy.pop(worker.process.pid, None)
        if received is None:
            self._end(worker)
            if answer:
                answer({"error": "a worker of o2keep died in the middle of its call: see the journal"}, [])
            return
        self._idle.append(worker)
        if answer:
            answer(*received)
        else:
            channel.close_all(received[1])

    def _end(self, worker: Worker) -> None:
        self._loop.forget(worker.sock.fileno())
        worker.sock.close()
        if worker in self._idle:
            self._idle.remove(worker)
        worker.process.wait()
