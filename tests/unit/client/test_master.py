# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Am I the master? Both flavours, on keepers that are played."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.client import master as master_module
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.master import AsyncMaster, Master


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(master_module, "AGAIN_SECONDS", 0.1)


def wait_until(true: Callable[[], Any], seconds: float = 5) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


class Candidate:
    """A blocking one in a thread, and what it was told."""

    def __init__(self, keepers: Any, node: int, **more: Any) -> None:
        self.told: list[Any] = []
        more = {"check_seconds": 0.05, **more}
        gained, lost = more.pop("gained", self.told.append), more.pop("lost", self.told.append)
        self.master = Master("m", gained, lost, path=keepers.socket(node), **more)
        self.error: ValueError | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.master.run()
        except ValueError as error:
            self.error = error

    def stop(self) -> None:
        self.master.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def candidate(keepers: Any) -> Iterator[Callable[..., Candidate]]:
    made: list[Candidate] = []

    def make(node: int, **more: Any) -> Candidate:
        made.append(Candidate(keepers, node, **more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_one_is_the_master_and_the_next_follows_with_a_larger_token(candidate):
    first = candidate(1)
    wait_until(lambda: first.told)
    second = candidate(2)
    time.sleep(0.3)
    assert second.told == []
    assert first.master.check()
    assert not second.master.check()
    first.stop()
    wait_until(lambda: second.told)
    assert first.told[1:] == ["stopped"]
    assert second.told[0] > first.told[0]


def test_one_that_waits_can_be_stopped_at_once(candidate):
    first, second = candidate(1), candidate(2)
    wait_until(lambda: first.told or second.told)
    waiting = second if first.told else first
    started = time.monotonic()
    waiting.stop()
    assert time.monotonic() - started < 1
    assert waiting.told == []


def test_the_loss_is_told_before_another_can_be_it(candidate, keepers):
    held: list[Any] = []
    first = candidate(1, lost=lambda _why: held.append(keepers.modes("m", "o2cb")))
    wait_until(lambda: first.master.token)
    first.stop()
    assert held == [{1: "EX"}]
    wait_until(lambda: not keepers.modes("m", "o2cb"))


def test_who_resigns_tries_again(candidate):
    first = candidate(1)
    wait_until(lambda: first.told)
    first.master.resign()
    wait_until(lambda: len(first.told) == 3)
    assert first.told[1] == "resigned"
    assert first.told[2] > first.told[0]


def test_what_does_not_work_any_more_gives_it_up(candidate):
    works = [True]
    first = candidate(1, works=lambda: works[0])
    wait_until(lambda: first.told)
    works[0] = False
    wait_until(lambda: "what it was master for does not work any more" in first.told)


def test_a_lock_that_o2keep_does_not_know_is_a_loss(candidate, keepers):
    first = candidate(1)
    wait_until(lambda: first.told)
    keepers.lose("m", "o2cb")
    wait_until(lambda: len(first.told) > 1)
    assert "is not held here" in first.told[1]


def test_o2keep_that_is_away_for_a_moment_is_no_loss_and_for_long_is_one(candidate, keepers):
    first = candidate(1, patience=1.0)
    wait_until(lambda: first.told)
    keepers.shut(1)
    time.sleep(0.4)
    keepers.open(1)
    time.sleep(0.4)
    assert len(first.told) == 1
    keepers.shut(1)
    wait_until(lambda: len(first.told) == 2)
    assert "has not answered" in first.told[1]
    assert first.master.trouble
    keepers.open(1)


def test_an_exception_of_a_call_ends_it_and_frees_the_lock(candidate, keepers):
    def gained(_token: int) -> None:
        raise ValueError("a bug")

    first = candidate(1, gained=gained)
    wait_until(lambda: first.error)
    wait_until(lambda: not keepers.modes("m", "o2cb"))


def test_children_that_were_given_the_descriptors_keep_the_lock(candidate, keepers):
    first = candidate(1)
    wait_until(lambda: first.told)
    copies = [os.dup(descriptor) for descriptor in first.master.descriptors]
    assert copies
    first.stop()
    time.sleep(0.2)
    assert keepers.modes("m", "o2cb") == {1: "EX"}
    for copy in copies:
        os.close(copy)
    wait_until(lambda: not keepers.modes("m", "o2cb"))


# asyncio


def run(work: Awaitable[Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))  # type: ignore[arg-type]


async def until(true: Callable[[], Any]) -> None:
    ends = time.monotonic() + 5
    while not true():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


def test_the_asyncio_flavour_gains_and_loses_in_the_same_way(keepers):
    async def talk() -> None:
        told: list[Any] = []

        async def gained(token: int) -> None:
            await asyncio.sleep(0)
            told.append(token)

        first = AsyncMaster("m", gained, told.append, check_seconds=0.05, path=keepers.socket(1))
        second_told: list[Any] = []
        second = AsyncMaster("m", second_told.append, second_told.append, check_seconds=0.05, path=keepers.socket(2))
        running = asyncio.ensure_future(first.run())
        await until(lambda: told)
        waiting = asyncio.ensure_future(second.run())
        await asyncio.sleep(0.2)
        assert await first.check()
        assert not await second.check()
        assert second_told == []
        first.stop()
        await running
        await until(lambda: second_told)
        assert told[1] == "stopped"
        assert second_told[0] > told[0]
        second.resign()
        await until(lambda: len(second_told) == 3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert second_told[3:] == ["interrupted"]

    run(talk())
    wait_until(lambda: not keepers.modes("m", "o2cb"))


def test_an_asyncio_candidate_that_waits_can_be_stopped_or_cancelled(keepers):
    async def talk() -> None:
        told: list[Any] = []
        first = AsyncMaster("m", told.append, told.append, path=keepers.socket(1))
        running = asyncio.ensure_future(first.run())
        await until(lambda: told)
        others = [AsyncMaster("m", told.append, told.append, path=keepers.socket(2)) for _turn in range(2)]
        waiting = [asyncio.ensure_future(other.run()) for other in others]
        await asyncio.sleep(0.1)
        others[0].stop()
        await asyncio.wait_for(waiting[0], 1)
        waiting[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[1]
        first.stop()
        await running
        assert len(told) == 2

    run(talk())
    wait_until(lambda: not keepers.modes("m", "o2cb"))
