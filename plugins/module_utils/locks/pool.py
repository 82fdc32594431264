# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper's workers: a few idle ones, started ahead, and more where calls sleep in the kernel.

A call sleeps while a node is being recovered, and its worker with it. A worker that is merely slow, because the machine
is busy, must not make the keeper start another: that would make the machine busier still. So a job that came lately
counts as slow, and one that has been going on for a while as asleep. Workers that cannot live are started ever more
rarely.

The one that was used last is used next: it has the lanes and slots already.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..base import processes, wire
from ..base.loop import Loop
from ..base.processes import Process
from . import effects
from .effects import Job
from .starter import Starter

READY = 3
"""Workers besides those asleep, and so many jobs go on at the same time."""

SLOW_SECONDS = 0.5
"""After this a job counts as asleep."""

LIMIT = 24
"""Workers in all. So many calls asleep mean that the lock manager stands still; what comes after them waits."""

RESERVED = 8
"""Workers of these that jobs which wait for no other node may have: those that hold a lock need them."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds between two starts of workers, where they die young."""

YOUNG_SECONDS = 1.0
BIRTH_SECONDS = 60.0
"""A worker that has not said a word by then never will: the nursery stands still, and another takes its place."""

SURPLUS_SECONDS = 20.0
"""Idle workers beyond READY end when the one that was used least has had nothing to do for so long."""

FIRST, WAITING, LAST = range(3)
RANKS: dict[type, int] = {
    effects.Take: WAITING,
    effects.Look: WAITING,
    effects.Recall: WAITING,
    effects.Join: WAITING,
    effects.Sweep: LAST,
}
"""Jobs that wait for other nodes come after those that do not; for the last nobody waits."""


class Boss(Protocol):
    """Who is told what becomes of jobs, and knows the descriptors of lanes and slots."""

    def lane(self, number: int) -> int: ...

    def slot(self, number: int) -> int: ...

    def receiver(self, number: int) -> int: ...

    def begun(self, number: int) -> None: ...

    def answered(self, number: int, answer: dict[str, Any], descriptors: list[int]) -> None: ...

    def died(self, number: int, job: Job) -> None: ...


@dataclass(eq=False)
class Worker:
    """One process, with the job that it does, and the lanes and slots that it has.

    `process` is known once it has said so. One that never did was never there, or has read no job.
    """

    sock: socket.socket
    started: float
    process: Process | None = None
    number: int = 0
    job: Job | None = None
    since: float = 0.0
    lanes: set[int] = field(default_factory=set)
    slots: set[int] = field(default_factory=set)


class Pool:
    """Runs jobs. All calls of the boss come from the keeper's own loop."""

    def __init__(self, loop: Loop, starter: Starter, boss: Boss) -> None:
        self._loop = loop
        self._starter = starter
        self._boss = boss
        self._idle: list[Worker] = []
        self._busy: dict[int, Worker] = {}
        """Workers by the numbers of their jobs."""

        self._waiting: tuple[deque[tuple[int, Job]], ...] = (deque(), deque(), deque())
        self._ending: list[Worker] = []
        self._unborn: deque[Worker] = deque()
        """Those that have not said who they are, the oldest first."""

        self._looks_again = False
        self._pause = 0.0
        self._not_before = 0.0

    def run(self, number: int, job: Job) -> None:
        """Give a job to a worker, now or when one has time."""
        rank = RANKS.get(type(job), FIRST)
        if self._idle and not any(self._waiting) and self._has_room(rank):
            self._hand_out(number, job)
            return
        self._waiting[rank].append((number, job))

    def turn(self) -> None:
        """Hand out what waits, and keep some workers ready. Called at each turn of the loop."""
        if self._ending:
            self.gone()
        if self._unborn and self._unborn[0].started < time.monotonic() - BIRTH_SECONDS:
            self._starter.renew()
            for worker in [worker for worker in self._unborn if worker in self._idle]:
                self._end(worker)
            self._unborn.clear()
        for rank, waiting in enumerate(self._waiting):
            while waiting and self._has_room(rank) and (self._idle or self._may_start()):
                self._hand_out(*waiting.popleft())
        if any(self._waiting) and not self._looks_again:
            self._looks_again = True
            self._loop.at(SLOW_SECONDS / 4, self._look_again)
        if len(self._idle) > READY and self._idle[0].since < time.monotonic() - SURPLUS_SECONDS:
            self._end(self._idle[0])
        while len(self._idle) + self._slow() < READY and self._may_start():
            self._idle.insert(0, self._start())

    def busy(self) -> int:
        """Jobs that may end at any moment, and those that wait."""
        return self._slow() + sum(len(waiting) for waiting in self._waiting)

    def renew(self) -> None:
        """End the idle workers, with all that they have of lanes. None is busy with a lane when this is called."""
        for worker in list(self._idle):
            self._end(worker)

    def gone(self) -> bool:
        """Whether all workers that were ended are."""
        self._ending = [worker for worker in self._ending if not _is_gone(worker)]
        return not self._ending

    def _look_again(self) -> None:
        """The next turn of the loop looks at what waits; this is here to make one come."""
        self._looks_again = False

    def _may_start(self) -> bool:
        return time.monotonic() >= self._not_before

    def _has_room(self, rank: int) -> bool:
        most = LIMIT - RESERVED if rank == WAITING else LIMIT
        return len(self._busy) < READY or (self._slow() < READY and len(self._busy) < most)

    def _slow(self) -> int:
        """The jobs that may end at any moment."""
        newest = time.monotonic() - SLOW_SECONDS
        return sum(worker.since > newest for worker in self._busy.values())

    def _hand_out(self, number: int, job: Job) -> None:
        worker = self._idle.pop() if self._idle else self._start()
        boss, descriptors = self._boss, []
        lanes, slots = uses(job)
        new_lanes = [lane for lane in lanes if lane not in worker.lanes]
        new_slots = [slot for slot in slots if slot not in worker.slots]
        descriptors = [boss.lane(lane) for lane in new_lanes] + [boss.slot(slot) for slot in new_slots]
        own = []
        if isinstance(job, effects.Convert):
            descriptors.append(boss.receiver(job.old))
        elif isinstance(job, effects.Sweep):
            own.append(_in_memory(job.claimed))
            job = job._replace(claimed=[])
        worker.lanes.update(new_lanes)
        worker.slots.update(new_slots)
        if isinstance(job, (effects.Join, effects.MakeLane)):
            worker.lanes.add(job.lane)
        worker.number, worker.job, worker.since = number, job, time.monotonic()
        self._busy[number] = worker
        message = {"job": type(job).__name__, "given": {"lanes": new_lanes, "slots": new_slots}, **job._asdict()}
        try:
            wire.send(worker.sock, message, descriptors + own)
        except OSError:
            self._died(worker)
            return
        finally:
            wire.close_all(own)
        boss.begun(number)

    def _start(self) -> Worker:
        now = time.monotonic()
        worker = Worker(self._starter.start("worker"), now, since=now)
        self._unborn.append(worker)
        self._loop.watch(worker.sock.fileno(), lambda: self._read(worker))
        return worker

    def _read(self, worker: Worker) -> None:
        try:
            received = wire.receive(worker.sock)
        except (OSError, ValueError):
            received = None
        if received is None:
            self._died(worker)
            return
        if worker.process is None:
            worker.process = Process(**received[0])
            self._born(worker)
            return
        self._pause = self._not_before = 0.0
        number, worker.job, worker.since = worker.number, None, time.monotonic()
        del self._busy[number]
        if len(self._idle) + self._slow() < 2 * READY:
            self._idle.append(worker)
        else:
            self._end(worker)
        self._boss.answered(number, *received)

    def _died(self, worker: Worker) -> None:
        """Its job is told so once its descriptors are closed: when the process is gone."""
        if worker.process is None:  # Its word may be there, unread.
            with contextlib.suppress(OSError, ValueError, TypeError):
                worker.process = Process(**(wire.receive(worker.sock, socket.MSG_DONTWAIT) or ({},))[0])
        self._end(worker)
        now = time.monotonic()
        if now - worker.started < YOUNG_SECONDS:
            self._pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, 2 * self._pause))
            self._not_before = now + self._pause
            self._loop.at(self._pause, lambda: None)
        if worker.job is not None:
            self._after_death(worker)

    def _after_death(self, worker: Worker) -> None:
        if not _is_gone(worker):
            self._loop.at(0.002, lambda: self._after_death(worker))
            return
        number, job, worker.job = worker.number, worker.job, None
        if job is not None:
            del self._busy[number]
            self._boss.died(number, job)

    def _born(self, worker: Worker) -> None:
        with contextlib.suppress(ValueError):
            self._unborn.remove(worker)

    def _end(self, worker: Worker) -> None:
        """A worker ends when its channel does, in its own time."""
        self._born(worker)
        self._loop.forget(worker.sock.fileno())
        worker.sock.close()
        if worker in self._idle:
            self._idle.remove(worker)
        self._ending.append(worker)


def _in_memory(names: list[str]) -> int:
    """A file with names of which there may be more than one message holds."""
    descriptor = os.memfd_create("claimed", os.MFD_CLOEXEC)
    with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
        json.dump(names, file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _is_gone(worker: Worker) -> bool:
    return worker.process is None or processes.is_gone(worker.process)


def uses(job: Job) -> tuple[list[int], list[int]]:
    """The lanes that a job works in, and the slots that it may write into."""
    if isinstance(job, effects.Take):
        return [job.lane], [slot for slot, _what in job.locks]
    lanes = (
        []
        if isinstance(job, (effects.Join, effects.MakeLane))
        else [getattr(job, "lane", 0), getattr(job, "second", 0)]
    )
    slot = getattr(job, "slot", 0)
    return [lane for lane in dict.fromkeys(lanes) if lane], [slot] if slot else []
