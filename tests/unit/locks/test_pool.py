# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper starts more workers for calls that sleep, and not for a machine that is merely slow."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.loop import Loop
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import pool as pools
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.pool import Pool

SLEEPER = """
import json, socket, sys, time
sock = socket.socket(fileno=int(sys.argv[1]))
while True:
    message = sock.recv(65536)
    if not message:
        break
    job = json.loads(message)
    if job.get("dies"):
        sys.exit(1)
    time.sleep(job.get("seconds", 0))
    sock.send(json.dumps({"did": job["number"]}).encode())
"""


class Bench:
    """A pool whose jobs sleep as long as they are told, and what came of them."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.pool = Pool(self.loop, [sys.executable, "-S", "-c", SLEEPER])
        self.done: list[object] = []
        self.most = 0

    def run(self, number: int, kind: str = "take", **more: object) -> None:
        self.pool.run({"job": kind, "number": number, **more}, [], lambda answer, _got: self.done.append(answer))

    def turn(self, until: int, seconds: float = 20.0) -> None:
        """Go on until so many answers are there."""
        started = time.monotonic()
        while len(self.done) < until and time.monotonic() < started + seconds:
            self.pool.turn()
            self.most = max(self.most, len(self.pool._busy))
            self.loop.turn(0.05)
        assert len(self.done) >= until


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for worker in [*bench.pool._idle, *bench.pool._busy.values()]:
        worker.sock.close()
        worker.process.kill()
        worker.process.wait()


def test_quick_jobs_need_no_more_than_the_ready_workers(bench):
    for number in range(100):
        bench.run(number)
    bench.turn(until=100)
    assert bench.most <= pools.READY
    assert len(bench.pool._idle) <= 2 * pools.READY


def test_it_knows_what_goes_on_and_what_waits(bench):
    assert not bench.pool.does(pools.JOINING)
    bench.run(1, kind="look", seconds=0.3)
    assert bench.pool.does(pools.JOINING)
    assert not bench.pool.does({"stamps"})
    bench.turn(until=1)
    assert not bench.pool.does(pools.JOINING)


def test_jobs_behind_sleeping_ones_have_their_turn(bench, monkeypatch):
    monkeypatch.setattr(pools, "SLOW_SECONDS", 0.1)
    for number in range(2 * pools.READY):
        bench.run(number, seconds=1.5)
    bench.run(99)
    bench.turn(until=1)
    assert bench.done == [{"did": 99}]


def test_not_all_workers_sleep_for_other_nodes(bench, monkeypatch):
    monkeypatch.setattr(pools, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(pools, "LIMIT", 6)
    monkeypatch.setattr(pools, "RESERVED", 2)
    for number in range(10):
        bench.run(number, seconds=1)
    bench.run(99, kind="forget")
    bench.turn(until=1)
    assert bench.done == [{"did": 99}]
    assert bench.most <= 6
    bench.turn(until=11)
    assert len(bench.pool._idle) <= 2 * pools.READY, "those that are not needed any more have ended"


def test_what_nobody_waits_for_comes_last_and_what_holds_a_lock_first(bench):
    for number, kind in enumerate(["drop", "drop", "take", "take", "mark"]):
        bench.pool._waiting[pools.Work({"job": kind}, [], lambda *_: None).rank].append(
            pools.Work({"job": kind, "number": number}, [], lambda answer, _got: bench.done.append(answer["did"]))
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "READY", 1)
        bench.turn(until=5)
    assert bench.done == [4, 2, 3, 0, 1]


def test_a_worker_that_dies_is_told_and_its_successor_works(bench):
    bench.run(1, dies=True)
    bench.run(2)
    bench.turn(until=2)
    assert {"did": 2} in bench.done
    assert any("died" in str(answer.get("error")) for answer in bench.done)


def test_descriptors_of_a_job_are_its_own(bench):
    reader, writer = os.pipe()
    bench.pool.run({"job": "drop", "number": 1}, [writer], lambda answer, _got: bench.done.append(answer))
    os.close(writer)
    bench.turn(until=1)
    os.close(reader)
    assert bench.done == [{"did": 1}]
