# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper starts more workers for calls that sleep, and not for a machine that is merely slow."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.loop import Loop
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import effects
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import pool as pools
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.pool import Pool

SLEEPER = """
import json, os, socket, sys, time
sock = socket.socket(fileno=int(sys.argv[1]))
began = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
sock.send(json.dumps({"pid": os.getpid(), "began": began}).encode())
while True:
    message, ancillary, _flags, _address = sock.recvmsg(65536, 4096)
    if not message:
        break
    job = json.loads(message)
    given = sum(len(data) // 4 for _level, _kind, data in ancillary)
    what = job.get("what") or {}
    if what.get("dies"):
        sys.exit(1)
    time.sleep(what.get("seconds", 0))
    sock.send(json.dumps({"did": job["job"], "given": job["given"], "descriptors": given, "by": os.getpid()}).encode())
"""


class Programs:
    """Starts a program in the nursery's place."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.running: list[subprocess.Popen[bytes]] = []
        self.renewed = 0

    def start(self, kind: str) -> socket.socket:
        assert kind == "worker"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-S", "-c", self.program, str(theirs.fileno())]
            self.running.append(subprocess.Popen(command, pass_fds=[theirs.fileno()]))
        return ours

    def renew(self) -> None:
        self.renewed += 1
        for process in self.running:
            process.kill()
        self.program = SLEEPER


class Bench:
    """A pool whose jobs sleep as long as they are told, and what came of them. It is the boss of the pool as well."""

    def __init__(self, program: str = SLEEPER) -> None:
        self.loop = Loop()
        self.programs = Programs(program)
        self.pool = Pool(self.loop, self.programs, self)  # type: ignore[arg-type]
        self.done: list[int] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.dead: list[int] = []
        self.started: list[int] = []
        self.most = 0
        self.null = os.open(os.devnull, os.O_RDONLY)

    def lane(self, _number: int) -> int:
        return self.null

    slot = receiver = lane

    def begun(self, number: int) -> None:
        self.started.append(number)

    def answered(self, number: int, answer: dict[str, Any], _descriptors: list[int]) -> None:
        self.done.append(number)
        self.answers[number] = answer

    def died(self, number: int, _job: effects.Job) -> None:
        self.dead.append(number)

    def convert(self, number: int, **what: Any) -> None:
        """A job that waits for no other node."""
        self.pool.run(number, effects.Convert("o2cb", 1, 2, 3, 4, what, "EX", 1, 0))

    def look(self, number: int, **what: Any) -> None:
        """A job that waits for other nodes."""
        self.pool.run(number, Looks("o2cb", 1, "a", what))

    def turn(self, until: int, seconds: float = 60.0) -> None:
        """Go on until so many jobs have ended."""
        started = time.monotonic()
        while len(self.done) + len(self.dead) < until and time.monotonic() < started + seconds:
            self.pool.turn()
            self.most = max(self.most, len(self.pool._busy))
            self.loop.turn(0.05)
        assert len(self.done) + len(self.dead) >= until

    def end(self) -> None:
        for worker in [*self.pool._idle, *self.pool._busy.values(), *self.pool._ending]:
            worker.sock.close()
        for process in self.programs.running:
            process.kill()
            process.wait()
        os.close(self.null)


class Looks(NamedTuple):
    """A look that sleeps."""

    domain: str
    lane: int
    name: str
    what: dict[str, Any]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setitem(pools.RANKS, Looks, pools.WAITING)
    bench = Bench()
    yield bench
    bench.end()


def test_quick_jobs_need_no_more_than_the_ready_workers(bench, monkeypatch):
    monkeypatch.setattr(pools, "SLOW_SECONDS", 60.0)
    for number in range(1, 101):
        bench.look(number)
    bench.turn(until=100)
    assert bench.most <= pools.READY
    assert len(bench.pool._idle) <= 2 * pools.READY
    assert sorted(bench.started) == list(range(1, 101)), "and each was said to have begun"


def test_jobs_behind_sleeping_ones_have_their_turn(bench, monkeypatch):
    monkeypatch.setattr(pools, "SLOW_SECONDS", 0.1)
    for number in range(1, 2 * pools.READY + 1):
        bench.look(number, seconds=5)
    bench.look(99)
    bench.turn(until=1)
    assert bench.done == [99]


def test_not_all_workers_sleep_for_other_nodes(bench, monkeypatch):
    monkeypatch.setattr(pools, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(pools, "LIMIT", 6)
    monkeypatch.setattr(pools, "RESERVED", 2)
    for number in range(1, 11):
        bench.look(number, seconds=4)
    bench.convert(99)
    bench.turn(until=1)
    assert bench.done == [99]
    assert bench.most <= 6
    bench.turn(until=11)
    assert len(bench.pool._idle) <= 2 * pools.READY, "those that are not needed any more have ended"


def test_workers_that_are_not_needed_any_more_end_and_the_last_used_stay(bench, monkeypatch):
    monkeypatch.setattr(pools, "SLOW_SECONDS", 0.05)
    for number in range(1, 6):
        bench.look(number, seconds=1)
    bench.turn(until=5)
    assert len(bench.pool._idle) > pools.READY
    last = bench.pool._idle[-1]
    bench.pool.turn()
    assert len(bench.pool._idle) > pools.READY, "not at once"
    monkeypatch.setattr(pools, "SURPLUS_SECONDS", 0.2)
    time.sleep(0.3)
    for _turn in range(2 * pools.READY):
        bench.pool.turn()
    assert len(bench.pool._idle) == pools.READY
    assert last in bench.pool._idle


def test_what_nobody_waits_for_comes_last_and_what_waits_for_nobody_first(bench, monkeypatch):
    monkeypatch.setattr(pools, "READY", 0)
    for number, job in enumerate(
        [effects.Sweep("d", 1, []), effects.Look("d", 1, "a"), effects.Take("d", 1, [], "EX", 1, 0, 0.0, False)], 1
    ):
        bench.pool.run(number, job)
    bench.pool.run(4, effects.Forget("d", 1, []))
    bench.pool.run(5, effects.Mark(9))
    monkeypatch.setattr(pools, "READY", 1)
    bench.turn(until=5)
    assert bench.done == [4, 5, 2, 3, 1]


def test_a_worker_that_dies_is_told_once_and_its_successor_works(bench):
    bench.convert(1, dies=True)
    bench.convert(2)
    bench.turn(until=2)
    assert (bench.dead, bench.done) == ([1], [2])


def test_a_job_is_told_to_be_dead_when_the_process_is_gone(bench, monkeypatch):
    gone: list[int | None] = []
    bench.pool.turn()
    bench.convert(1)
    bench.turn(until=1)
    bench.convert(2, seconds=0.3)
    (worker,) = bench.pool._busy.values()
    (process,) = [process for process in bench.programs.running if process.pid == worker.process.pid]
    monkeypatch.setattr(bench, "died", lambda _number, _job: gone.append(process.poll()))
    worker.sock.shutdown(socket.SHUT_RDWR)
    for _turn in range(600):
        bench.loop.turn(0.01)
        if gone:
            break
    assert gone != [None]
    assert len(gone) == 1, "what it had open is closed"


def test_workers_that_die_young_are_started_ever_more_rarely(monkeypatch):
    monkeypatch.setattr(pools, "SHORTEST_PAUSE", 0.4)
    bench, started = Bench("raise SystemExit(1)"), []
    start = bench.pool._start
    monkeypatch.setattr(bench.pool, "_start", lambda: started.append(time.monotonic()) or start())
    monkeypatch.setattr(pools, "READY", 1)
    for _turn in range(400):
        bench.pool.turn()
        bench.loop.turn(0.05)
        if len(started) == 4:
            break
    bench.end()
    pauses = [later - earlier for earlier, later in itertools.pairwise(started)]
    assert len(pauses) == 3
    assert all(pause >= least for pause, least in zip(pauses, (0.4, 0.8, 1.6), strict=True))


def test_where_workers_do_not_come_to_life_the_nursery_is_replaced_and_their_jobs_are_told(monkeypatch):
    monkeypatch.setattr(pools, "BIRTH_SECONDS", 1.0)
    bench = Bench("import time; time.sleep(600)")
    bench.convert(1)
    bench.turn(until=1)
    assert (bench.dead, bench.programs.renewed) == ([1], 1)
    monkeypatch.setattr(pools, "BIRTH_SECONDS", 60.0)
    bench.convert(2)
    bench.turn(until=2)
    assert bench.done == [2]
    assert bench.programs.renewed == 1
    bench.end()


def test_one_answer_ends_the_pause(bench):
    bench.pool._pause, bench.pool._not_before = 5.0, 0.0
    bench.convert(1)
    bench.turn(until=1)
    assert bench.pool._pause == 0.0


def test_a_worker_is_given_each_lane_and_slot_once(bench, monkeypatch):
    monkeypatch.setattr(pools, "READY", 1)
    for number in (1, 2):
        bench.convert(number)
        bench.turn(until=number)
    first, second = bench.answers[1], bench.answers[2]
    assert (first["given"], first["descriptors"]) == ({"lanes": [1, 2], "slots": [3]}, 4)
    assert (second["given"], second["descriptors"]) == ({"lanes": [], "slots": []}, 1), "but the slot it looks into"
    assert first["by"] == second["by"]


def test_idle_workers_end_with_the_lanes_that_they_have(bench):
    bench.convert(1)
    bench.turn(until=1)
    bench.pool.renew()
    assert bench.pool._idle == []
    deadline = time.monotonic() + 20
    while not bench.pool.gone() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bench.pool.gone()
