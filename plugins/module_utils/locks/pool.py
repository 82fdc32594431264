# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper's workers: a few idle ones, started ahead, and more where calls sleep in the kernel.

A call sleeps while a node is being recovered, and its worker with it. A worker that is merely slow, because the machine
is busy, must not make the keeper start another: that would make the machine busier still. So a job that came lately
counts as slow, and one that has been going on for a while as asleep.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import AbstractSet, Any, Callable, Dict, List

from ..base import wire
from ..base.loop import Loop

Answer = Callable[[Dict[str, Any], List[int]], None]

READY = 4
"""Workers besides those asleep, and so many jobs go on at the same time. One is some 10 MiB of memory, and takes as
long to start as many a job to do."""

SLOW_SECONDS = 0.5
"""After this a job counts as asleep."""

LIMIT = 24
"""Workers in all. So many calls asleep mean that the lock manager stands still; what comes after them waits."""

RESERVED = 8
"""Workers of these that jobs which wait for no other node may have: those that hold a lock need them."""

WAITING_FOR_OTHERS = frozenset(("take", "look", "recall", "join"))
JOINING = frozenset(("take", "look", "recall", "join", "convert", "settle"))
"""Jobs with a mount of their own, which makes them members of a domain until they end."""

LAST = frozenset(("drop",))
"""Nobody waits for these."""


@dataclass
class Work:
    """A job that waits for a worker, with what to call when one has it, and when it is done."""

    job: dict[str, Any]
    descriptors: list[int]
    answer: Answer
    begun: Callable[[], None] | None = None

    @property
    def rank(self) -> int:
        kind = self.job["job"]
        return 2 if kind in LAST else 1 if kind in WAITING_FOR_OTHERS else 0


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
        self._waiting: tuple[deque[Work], ...] = (deque(), deque(), deque())
        self._ending: list[subprocess.Popen[bytes]] = []
        self._looks_again = False

    def asleep(self, longer: float = 1.0) -> list[tuple[dict[str, Any], float]]:
        """The jobs that have been going on for longer than this, with their seconds."""
        now = time.monotonic()
        return [(worker.job or {}, now - worker.since) for worker in self._busy.values() if now - worker.since > longer]

    def does(self, kinds: AbstractSet[str]) -> bool:
        """Whether a job of one of these kinds goes on, or waits for a worker."""
        jobs = [worker.job or {} for worker in self._busy.values()]
        jobs += [work.job for waiting in self._waiting for work in waiting]
        return any(job.get("job") in kinds for job in jobs)

    def run(
        self, job: dict[str, Any], descriptors: list[int], answer: Answer, begun: Callable[[], None] | None = None
    ) -> None:
        """Give a job to a worker. The caller may close its descriptors: where it has to wait they are duplicated."""
        work = Work(job, descriptors, answer, begun)
        if not any(self._waiting) and self._idle and self._has_room(work):
            self._hand_out(work)
            return
        work.descriptors = [os.dup(descriptor) for descriptor in descriptors]
        self._waiting[work.rank].append(work)
        self.turn()

    def turn(self) -> None:
        """Hand out what waits, and keep some workers ready. Called at each turn of the loop."""
        self._ending = [process for process in self._ending if process.poll() is None]
        for waiting in self._waiting:
            while waiting and self._has_room(waiting[0]):
                work = waiting.popleft()
                self._hand_out(work)
                wire.close_all(work.descriptors)
        if any(self._waiting) and not self._looks_again:
            self._looks_again = True
            self._loop.at(SLOW_SECONDS / 4, self._look_again)
        while len(self._idle) + self._slow() < READY:
            self._idle.append(self._start())

    def _look_again(self) -> None:
        """The next turn of the loop looks at what waits; this is here to make one come."""
        self._looks_again = False

    def _has_room(self, work: Work) -> bool:
        most = LIMIT - RESERVED if work.job["job"] in WAITING_FOR_OTHERS else LIMIT
        return self._slow() < READY and len(self._busy) < most

    def _slow(self) -> int:
        """The jobs that may end at any moment."""
        newest = time.monotonic() - SLOW_SECONDS
        return sum(worker.since > newest for worker in self._busy.values())

    def _hand_out(self, work: Work) -> None:
        worker = self._idle.popleft() if self._idle else self._start()
        worker.answer, worker.job, worker.since = work.answer, work.job, time.monotonic()
        self._busy[worker.process.pid] = worker
        wire.send(worker.sock, work.job, work.descriptors)
        if work.begun:
            work.begun()

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
            received = wire.receive(worker.sock)
        except (OSError, ValueError):
            received = None
        answer, worker.answer = worker.answer, None
        self._busy.pop(worker.process.pid, None)
        if received is None:
            self._end(worker)
            if answer:
                answer({"error": "a worker of o2keep died in the middle of its call: see the journal"}, [])
            return
        if len(self._idle) + self._slow() < 2 * READY:
            self._idle.append(worker)
        else:
            self._end(worker)
        if answer:
            answer(*received)
        else:
            wire.close_all(received[1])

    def _end(self, worker: Worker) -> None:
        """A worker ends when its channel does, in its own time."""
        self._loop.forget(worker.sock.fileno())
        worker.sock.close()
        if worker in self._idle:
            self._idle.remove(worker)
        self._ending.append(worker.process)
