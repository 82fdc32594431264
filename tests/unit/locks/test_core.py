# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decisions of o2keep, one by one: what it is told, and what it has done for it. The simulator has the rest."""

from __future__ import annotations

import itertools
import random
from typing import Any, TypeVar

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import core as cores
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import effects, holding, names, requests
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.core import Core
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.effects import (
    Answer,
    CloseLanes,
    Confirm,
    Discard,
    Drop,
    Effect,
    Grow,
    Run,
    Say,
    Watch,
)

E = TypeVar("E")
HIGH = 1 << 60
"""A mark that covers every token here."""


class Bench:
    """A core, its effects, and workers that answer when the test says so."""

    def __init__(self, mark: int = HIGH, found: Any = (), joined: bool = True) -> None:
        ids = itertools.count(1)
        self.now = 100.0
        self.core = Core(lambda: f"id{next(ids)}", random.Random(1), mark)
        self.all: list[Effect] = []
        self.tokens = itertools.count(1)
        self.do(self.core.adopt(self.now, found))
        if joined:
            self.do(self.core.slots_added(self.now, range(100, 196)))
            self.do(self.core.begin(self.now, "o2cb"))
            self.answer(effects.Join, node=3)
            while self.running(effects.MakeLane):
                self.answer(effects.MakeLane)

    def do(self, found: list[Effect]) -> list[Effect]:
        self.all += found
        return found

    def of(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.all if isinstance(effect, kind)]

    def running(self, kind: type[E]) -> list[tuple[int, E]]:
        return [(number, call.job) for number, call in self.core.calls.items() if isinstance(call.job, kind)]

    def job(self, kind: type[E]) -> E:
        ((_number, job),) = self.running(kind)[:1]
        return job

    def answer(self, kind: type, **message: Any) -> list[Effect]:
        """The oldest worker with such a job is back."""
        number, _job = self.running(kind)[0]
        self.core.begun(self.now, number)
        return self.do(self.core.answered(self.now, number, message))

    def die(self, kind: type, found: Any = None) -> list[Effect]:
        number, _job = self.running(kind)[0]
        return self.do(self.core.died(self.now, number, found or {}))

    def win(self, token: int | None = None) -> list[Effect]:
        job = self.job(effects.Take)
        won = [[next(self.tokens) if token is None else token, 7] for _lock in job.locks]
        return self.answer(effects.Take, won=won)

    def take(self, asker: str, name: str = "a", **more: Any) -> list[Effect]:
        wanted = {"names": more.pop("names")} if "names" in more else {"name": name}
        group = "/group" if more.get("kind") == "cgroup" else ""
        return self.do(self.core.take(self.now, asker, requests.take({**wanted, **more}, group)))

    def release(self, asker: str, name: str = "a", **more: Any) -> list[Effect]:
        wanted = more or {"name": name}
        return self.do(self.core.release(self.now, asker, requests.named({"name": name, **wanted})))

    def tick(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.do(self.core.tick(self.now))

    def told(self, asker: str) -> dict[str, Any] | None:
        """What this one was answered; None for nothing yet."""
        found = [effect.message for effect in self.of(Answer) if effect.asker == asker]
        assert len(found) <= 1, "a request is answered once"
        return found[0] if found else None

    def hold(self, name: str = "a", **more: Any) -> None:
        self.take(f"holder of {name}", name, **more)
        self.win()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def lock(slot: int, confirmed: bool = True, **more: Any) -> tuple[int, dict[str, Any], bool]:
    what = {
        "id": f"old{slot}",
        "domain": "o2cb",
        "name": f"lock{slot}",
        "mode": "EX",
        "kind": "node",
        "owner": "",
        "token": 5,
        "since": 7,
        "lane": 1,
    }
    return slot, holding.lock_message({**what, **more}), confirmed


LANE = (1, holding.lane_message("o2cb", 1, 3), False)


# take


def test_a_lock_is_confirmed_then_told_then_shown(bench):
    bench.take("me", owner="mine")
    found = bench.win(token=9)
    kinds = [type(effect) for effect in found]
    assert kinds.index(Confirm) < kinds.index(Answer)
    told = bench.told("me")
    assert told is not None
    assert (told["held"], told["changed"], told["token"], told["owner"]) == (True, True, 9, "mine")
    assert bench.running(effects.Publish) == []
    bench.tick(cores.SHOW_SECONDS + 0.01)
    assert bench.job(effects.Publish).name == "a.info"


def test_a_token_above_the_mark_is_told_when_the_mark_is_written():
    bench = Bench(mark=0)
    bench.take("me")
    bench.win(token=9)
    assert bench.told("me") is None
    assert bench.job(effects.Mark).token == 9 + cores.MARK_AHEAD
    bench.answer(effects.Mark, mark=9 + cores.MARK_AHEAD)
    assert bench.told("me")["held"]
    bench.take("you", "b")
    bench.win(token=10)
    assert bench.told("you")["held"], "the mark is written ahead, and so rarely"


def test_a_worker_that_has_seen_to_the_mark_itself_says_so():
    bench = Bench(mark=0)
    bench.take("me")
    bench.answer(effects.Take, won=[[9, 7]], covered=True)
    assert bench.told("me")["held"]
    assert bench.running(effects.Mark) == []


@pytest.mark.parametrize("problem", ["error", "death", "time"])
def test_a_mark_that_cannot_be_written_gives_out_no_token(problem):
    bench = Bench(mark=0)
    bench.take("me")
    bench.win(token=9)
    if problem == "error":
        found = bench.answer(effects.Mark, error="no space left")
    elif problem == "death":
        found = bench.die(effects.Mark)
    else:
        found = bench.tick(cores.MARK_SECONDS + 0.01)
    assert "was not taken" in bench.told("me")["error"]
    drops = [number for number, effect in enumerate(found) if isinstance(effect, Drop)]
    answers = [number for number, effect in enumerate(found) if isinstance(effect, Answer)]
    assert drops[0] < answers[0], "it is given back before the refusal is told"


def test_a_lock_that_is_released_while_the_mark_is_written_is_not_granted():
    bench = Bench(mark=0)
    bench.take("me")
    bench.win(token=9)
    bench.release("you")
    bench.answer(effects.Mark, mark=HIGH)
    assert "released meanwhile" in bench.told("me")["error"]


def test_what_this_node_holds_already_is_told_and_nothing_is_changed(bench):
    bench.hold()
    bench.take("me")
    assert (bench.told("me")["held"], bench.told("me")["changed"]) == (True, False)


def test_who_asks_again_with_the_same_id_is_told_that_the_lock_is_new(bench):
    bench.take("first", id="request")
    bench.win()
    bench.take("second", id="request")
    assert bench.told("second")["changed"]
    assert bench.running(effects.Take) == []


def test_a_busy_lock_is_tried_again_and_its_holder_is_looked_for_at_the_end(bench):
    bench.take("me", wait=1)
    bench.answer(effects.Take, busy="a")
    bench.tick(0.06)
    assert bench.job(effects.Take).until == pytest.approx(bench.now + 1 - 0.06)
    bench.now += 1
    bench.answer(effects.Take, busy="a")
    assert bench.told("me") is None
    bench.answer(effects.Look, held=True, holder={"node": 2})
    assert bench.told("me") == {"held": False, "reason": "busy", "name": "a", "holder": {"node": 2}}


def test_a_holder_that_is_not_found_in_time_is_not_waited_for(bench):
    bench.take("me")
    bench.tick(0.3)
    bench.answer(effects.Take, busy="a")
    bench.tick(cores.LOOK_SECONDS + 0.01)
    assert bench.told("me") == {"held": False, "reason": "busy", "name": "a", "holder": None}


def test_a_call_that_sleeps_is_left_to_itself_and_what_it_wins_late_is_given_back(bench):
    bench.take("me")
    (number, job) = bench.running(effects.Take)[0]
    bench.core.begun(bench.now, number)
    bench.tick(0.3)
    assert bench.told("me") is None
    bench.tick(cores.FIRST_ANSWER + 0.1)
    assert bench.told("me")["reason"] == "recovering"
    found = bench.win()
    assert Drop(job.locks[0][0]) in found
    assert bench.job(effects.Forget).names == ["a", "a.info"] or "a" in bench.job(effects.Forget).names


def test_a_worker_that_dies_three_times_over_a_request_is_an_answer(bench):
    bench.take("me", wait=5)
    for _turn in range(cores.DEATHS - 1):
        slot = bench.job(effects.Take).locks[0][0]
        assert Drop(slot) in bench.die(effects.Take, {slot: None})
        assert bench.job(effects.Forget).names == ["a"]
        bench.answer(effects.Forget)
        bench.tick(0.06)
    bench.die(effects.Take)
    assert "workers of o2keep died" in bench.told("me")["error"]


def test_what_the_worker_says_is_wrong_is_told(bench):
    bench.take("me", names=["a", "b"])
    slot = bench.job(effects.Take).locks[0][0]
    assert Drop(slot) in bench.answer(effects.Take, error="no space left", filled=[slot])
    assert bench.told("me")["error"] == "no space left"
    assert bench.job(effects.Forget).names == ["a", "b"]


def test_a_list_of_names_is_told_as_a_whole(bench):
    bench.hold("b")
    bench.take("me", names=["c", "b", "a"])
    assert [what["name"] for _slot, what in bench.job(effects.Take).locks] == ["a", "c"]
    bench.win()
    assert [(one["name"], one["changed"]) for one in bench.told("me")["locks"]] == [
        ("a", True),
        ("b", False),
        ("c", True),
    ]


def test_a_list_converts_nothing(bench):
    bench.hold("b", mode="PR")
    bench.take("me", names=["a", "b"])
    assert "convert it by a request of its own" in bench.told("me")["error"]


def test_those_of_this_node_wait_for_one_another_without_a_try(bench):
    bench.hold(kind="process")
    bench.take("me", wait=5)
    assert bench.running(effects.Take) == []
    bench.do(bench.core.ended(bench.now, bench.core.holdings.of(("o2cb", "a"))[0].slot))
    bench.answer(effects.Forget)
    assert bench.job(effects.Take).locks[0][1]["name"] == "a"


def test_a_request_for_a_fresh_lock_is_refused_by_one_that_this_node_has(bench):
    bench.hold()
    bench.take("me", fresh=True)
    bench.tick(0.3)
    assert (bench.told("me")["reason"], bench.told("me")["holder"]["node"]) == ("busy", 3)


def test_a_gift_goes_with_the_answer_and_its_pipe_is_watched(bench):
    bench.take("me", kind="process")
    number = bench.running(effects.Take)[0][0]
    found = bench.win()
    assert [effect.gift for effect in found if isinstance(effect, Answer)] == [number]
    assert [type(effect) for effect in found if isinstance(effect, (Answer, Watch))] == [Answer, Watch]


def test_a_gift_that_nobody_waits_for_is_closed(bench):
    bench.take("me", kind="process")
    number = bench.running(effects.Take)[0][0]
    bench.do(bench.core.gone(bench.now, "me"))
    assert Discard(number) in bench.win()
    assert bench.told("me") is None


def test_a_lock_of_a_control_group_ends_with_it(bench):
    bench.take("me", kind="cgroup")
    bench.win()
    (watch,) = bench.of(Watch)
    assert watch.cgroup == "/group"
    assert Drop(watch.slot) in bench.do(bench.core.ended(bench.now, watch.slot))
    assert bench.do(bench.core.ended(bench.now, watch.slot)) == [], "it is told once"


def test_what_nobody_hears_is_released(bench):
    bench.take("me")
    answer = next(effect for effect in bench.win() if isinstance(effect, Answer))
    assert bench.do(bench.core.unheard(bench.now, answer)) != []
    assert "a" in bench.job(effects.Forget).names


def test_a_request_that_waits_for_nothing_any_more_ends_with_its_client(bench):
    bench.hold(kind="process")
    bench.take("me", wait=50)
    bench.do(bench.core.gone(bench.now, "me"))
    bench.tick(60)
    assert bench.told("me") is None
    assert bench.core._requests == {}


def test_an_eager_request_has_the_mark_written_ahead_and_is_tried_without_pauses():
    bench = Bench(mark=0)
    bench.take("me", eager=True, wait=5)
    assert bench.running(effects.Mark) != []
    bench.answer(effects.Take, busy="a")
    assert bench.running(effects.Take) != []


def test_other_programs_are_asked_once_to_give_up_what_they_cache(bench):
    bench.take("me", recall=True, wait=5)
    bench.answer(effects.Take, busy="a")
    bench.answer(effects.Look, held=False)
    assert bench.job(effects.Recall).resources == [("a", True)]
    bench.tick(0.06)
    bench.answer(effects.Take, busy="a")
    assert bench.running(effects.Look) == []
    bench.die(effects.Recall)
    assert bench.job(effects.Forget).names == ["a"]


def test_a_lock_that_somebody_holds_is_not_recalled(bench):
    bench.take("me", recall=True, wait=5)
    bench.answer(effects.Take, busy="a")
    bench.answer(effects.Look, held=True, holder=None)
    assert bench.running(effects.Recall) == []


# lanes, slots, domains


def test_more_holders_of_one_name_than_lanes_get_more_lanes(bench):
    for number in range(6):
        bench.take(f"reader{number}", mode="CR", kind="process", wait=5)
        if bench.running(effects.MakeLane):
            bench.answer(effects.MakeLane)
        bench.win()
    lanes = [held.what.lane for held in bench.core.holdings]
    assert len(set(lanes)) == 6


def test_lanes_that_cannot_be_made_are_told_and_tried_again(bench):
    for number in range(4):
        bench.take(f"reader{number}", mode="CR", kind="process")
        bench.win()
    bench.take("me", mode="CR", kind="process", wait=5)
    bench.answer(effects.MakeLane, error="no memory")
    assert any("no memory" in say.text for say in bench.of(Say))
    bench.tick(cores.AGAIN_SECONDS + 0.01)
    bench.die(effects.MakeLane, {})
    bench.tick(cores.AGAIN_SECONDS + 0.01)
    bench.answer(effects.MakeLane)
    bench.win()
    assert bench.told("me")["held"]


def test_who_needs_a_slot_where_none_is_free_waits_for_more():
    bench = Bench()
    bench.core.free.clear()
    bench.take("me")
    assert bench.of(Grow) != []
    bench.do(bench.core.slots_added(bench.now, []))
    bench.tick(cores.AGAIN_SECONDS + 0.01)
    bench.do(bench.core.slots_added(bench.now, range(300, 330)))
    bench.win()
    assert bench.told("me")["held"]


def test_who_starves_until_its_deadline_is_told_that_calls_sleep():
    bench = Bench()
    bench.core.free.clear()
    bench.take("me")
    bench.tick(0.3)
    assert bench.told("me")["reason"] == "unknown"


def test_no_more_lanes_are_made_than_there_may_be(bench, monkeypatch):
    monkeypatch.setattr(cores, "MOST", 4)
    for number in range(5):
        bench.take(f"reader{number}", mode="CR", kind="process", wait=5)
        if bench.running(effects.Take):
            bench.win()
    assert bench.running(effects.MakeLane) == []


def test_who_waits_for_a_domain_has_its_wait_from_when_it_is_joined():
    bench = Bench(joined=False)
    bench.take("me", wait=3)
    bench.do(bench.core.slots_added(bench.now, range(100, 196)))
    bench.tick(9)
    bench.answer(effects.Join, node=3)
    bench.tick(2)
    assert bench.told("me") is None
    bench.win()
    assert bench.told("me")["held"]


def test_a_domain_that_is_not_joined_in_time_is_told_and_is_joined_all_the_same():
    bench = Bench(joined=False)
    bench.do(bench.core.slots_added(bench.now, range(100, 196)))
    bench.take("me")
    bench.tick(cores.JOIN_SECONDS + 0.1)
    assert (bench.told("me")["reason"], bench.told("me")["asleep"]) == ("joining", 10.1)
    bench.answer(effects.Join, node=3)
    bench.take("you")
    bench.win()
    assert bench.told("you")["held"]


@pytest.mark.parametrize("how", ["error", "death"])
def test_a_domain_that_cannot_be_joined_is_told_to_all_who_wait_and_may_be_tried_again(how):
    bench = Bench(joined=False)
    bench.do(bench.core.slots_added(bench.now, range(100, 196)))
    bench.take("me")
    slot = bench.job(effects.Join).slot
    if how == "error":
        bench.answer(effects.Join, error="not online")
    else:
        assert Drop(slot) in bench.die(effects.Join, {slot: None})
    assert "error" in bench.told("me")
    bench.take("you")
    assert bench.running(effects.Join) != []


# convert


def test_a_conversion_confirms_the_new_slot_before_it_empties_the_old(bench):
    bench.hold(mode="PR")
    old = bench.core.holdings.of(("o2cb", "a"))[0].slot
    bench.take("me", mode="EX")
    job = bench.job(effects.Convert)
    found = bench.answer(effects.Convert, won=[8, 9])
    assert found.index(Confirm(job.slot)) < found.index(Drop(old))
    bench.answer(effects.Settle)
    told = bench.told("me")
    assert (told["held"], told["changed"], told["mode"], told["token"]) == (True, True, "EX", 8)


def test_a_conversion_that_others_do_not_allow_leaves_the_lock_as_it_is(bench):
    bench.hold(mode="PR")
    bench.take("me", mode="EX")
    bench.answer(effects.Convert, busy="a")
    bench.tick(0.06)
    bench.now += 0.3
    bench.answer(effects.Convert, busy="a")
    assert bench.told("me") == {"held": False, "reason": "conversion", "holder": None, "mode": "PR"}
    assert bench.core.holdings.of(("o2cb", "a"))[0].what.mode == "PR"


def test_two_conversions_of_one_lock_are_one_too_many(bench):
    bench.hold(mode="PR")
    bench.take("me", mode="EX", wait=5)
    bench.take("you", mode="PW")
    assert "is being converted already" in bench.told("you")["error"]


@pytest.mark.parametrize("why", ["gone", "mark"])
def test_a_conversion_that_came_too_late_or_has_no_mark_is_taken_back(why):
    bench = Bench(mark=0)
    bench.take("holder", mode="PR")
    bench.answer(effects.Take, won=[[0, 7]])
    bench.take("me", mode="EX", wait=1)
    slot = bench.job(effects.Convert).slot
    if why == "gone":
        bench.do(bench.core.gone(bench.now, "me"))
        found = bench.answer(effects.Convert, won=[8, 9])
    else:
        bench.answer(effects.Convert, won=[8, 9])
        found = bench.answer(effects.Mark, error="no space left")
        assert "stays in mode PR" in bench.told("me")["error"]
    assert Drop(slot) in found
    assert bench.job(effects.Settle).lowered == ["a"]


@pytest.mark.parametrize("when", ["before", "while the mark is written", "while it settles"])
def test_a_conversion_of_a_lock_that_is_released_is_told_so(when):
    bench = Bench(mark=0)
    bench.take("holder", mode="PR")
    bench.answer(effects.Take, won=[[0, 7]])
    bench.take("me", mode="EX", wait=5)
    if when == "before":
        bench.release("you")
    bench.answer(effects.Convert, won=[8, 9])
    if when != "before":
        if when == "while it settles":
            bench.answer(effects.Mark, mark=HIGH)
        bench.release("you")
        if when == "while the mark is written":
            bench.answer(effects.Mark, mark=HIGH)
    if bench.running(effects.Settle):
        bench.answer(effects.Settle)
    assert "was released while it was converted" in bench.told("me")["error"]


def test_a_worker_that_dies_over_a_conversion_leaves_the_old_mode(bench):
    bench.hold(mode="PR")
    bench.take("me", mode="EX", wait=5)
    job = bench.job(effects.Convert)
    assert Drop(job.slot) in bench.die(effects.Convert, {job.slot: None})
    assert bench.job(effects.Settle).lowered == ["a"]
    assert bench.job(effects.Forget).lane == job.second


def test_levels_that_cannot_be_lowered_are_told_after_some_tries(bench):
    bench.hold(mode="EX")
    bench.take("me", mode="PR", wait=5)
    bench.answer(effects.Convert, won=[8, 9])
    for _turn in range(cores.DEATHS + 1):
        second = bench.job(effects.Settle).second
        bench.answer(effects.Settle, error="busy")
        assert bench.job(effects.Forget) == effects.Forget("o2cb", second, ["a"]), "nothing is cached there"
        bench.answer(effects.Forget)
    assert any("keeps more than its mode" in say.text for say in bench.of(Say))
    assert bench.told("me")["held"]


def test_all_locks_are_counted_and_some_are_named(bench):
    bench.take("holder", names=[f"lock{number:02}" for number in range(30)])
    bench.win()
    bench.take("agent", "node-3", domain=names.AGENT_DOMAIN)
    bench.answer(effects.Join, node=3)
    bench.win()
    bench.do(bench.core.status(bench.now, "me", {}))
    told = bench.told("me")
    assert told is not None
    assert (told["locks"], told["named"], len(told["names"])) == (31, 30, 20)


def test_what_is_asleep_is_told_with_a_few_of_its_names(bench):
    bench.take("one", "a", wait=5)
    bench.take("many", names=["d", "b", "e", "c"], wait=5)
    for number, _job in bench.running(effects.Take):
        bench.core.begun(bench.now, number)
    bench.tick(3.0)
    bench.do(bench.core.status(bench.now, "me", {}))
    told = bench.told("me")
    assert told is not None
    assert told["asleep"] == [("take a", 3.0), ("take b c d …", 3.0)]


def test_who_needs_more_slots_than_there_are_gets_them_rack_by_rack(bench):
    """There are enough for others all the time."""
    before = len(bench.of(Grow))
    bench.take("me", names=[f"lock{number}" for number in range(100)], wait=30)
    assert len(bench.core.free) > cores.SPARE_SLOTS
    assert len(bench.of(Grow)) == before + 1
    bench.do(bench.core.slots_added(bench.now, range(200, 204)))
    assert bench.running(effects.Take) == []
    assert len(bench.of(Grow)) == before + 2
    bench.do(bench.core.slots_added(bench.now, range(204, 230)))
    bench.win()
    assert bench.told("me")["held"]


# release


def test_a_release_is_answered_when_the_files_are_unlinked(bench):
    bench.hold()
    found = bench.release("me")
    assert [type(effect) for effect in found if isinstance(effect, (Drop, Run))] == [Drop, Run]
    assert bench.told("me") is None
    bench.answer(effects.Forget)
    assert (bench.told("me")["released"], bench.told("me")["token"]) == (True, 1)


@pytest.mark.parametrize(("token", "released"), [(17, True), (18, False), (None, True)])
def test_a_lock_that_was_taken_anew_is_not_released_by_the_token_of_the_old_one(bench, token, released):
    bench.take("holder")
    bench.win(token=17)
    bench.release("me", token=token, name="a")
    if released:
        bench.answer(effects.Forget)
    assert bench.told("me")["released"] is released


def test_a_release_whose_files_stay_says_so_and_nobody_gets_the_name_in_that_lane(bench):
    bench.hold()
    lane = bench.core.holdings.of(("o2cb", "a"))[0].what.lane
    bench.release("me")
    bench.answer(effects.Forget, error="busy")
    assert "free once the lock manager answers" in bench.told("me")["error"]
    bench.take("you")
    assert bench.job(effects.Take).lane != lane
    bench.tick(cores.SWEEP_AGAIN_SECONDS + 0.1)
    assert bench.job(effects.Sweep).lane == lane
    bench.answer(effects.Sweep)
    assert bench.core.domains["o2cb"].lanes[lane].stale == set()


def test_a_release_that_sleeps_is_told_in_time(bench):
    bench.hold()
    bench.release("me")
    bench.tick(cores.RELEASE_SECONDS + 0.1)
    assert "free once the lock manager answers" in bench.told("me")["error"]
    bench.answer(effects.Forget)


def test_a_worker_that_dies_over_an_unlink_has_successors(bench):
    bench.hold()
    bench.release("me")
    for _turn in range(cores.DEATHS):
        bench.die(effects.Forget)
    bench.answer(effects.Forget)
    assert bench.told("me")["released"]


def test_a_list_is_released_as_a_whole_by_one_job_for_each_lane(bench):
    bench.take("holder", names=["a", "b"])
    bench.win()
    bench.do(bench.core.release(bench.now, "me", requests.named({"names": ["a", "b", "c"]})))
    assert bench.told("me") is None
    assert [sorted(job.names) for _number, job in bench.running(effects.Forget)] == [["a", "b"]]
    bench.answer(effects.Forget)
    assert [one["name"] for one in bench.told("me")["locks"]] == ["a", "b"]


def test_very_many_locks_are_unlinked_a_hundred_at_a_time(bench):
    bench.do(bench.core.slots_added(bench.now, range(1000, 1300)))
    for first in (0, 100, 200):
        bench.take("holder", names=[f"lock{first + number}" for number in range(100)])
        bench.win()
    bench.do(bench.core.shut_down(bench.now))
    jobs = [job for _number, job in bench.running(effects.Forget)]
    assert all(len(job.names) <= cores.UNLINKS for job in jobs)
    assert len(jobs) <= 3 + len(bench.core.domains["o2cb"].lanes)
    assert len({name for job in jobs for name in job.names}) == 300


def test_a_lock_that_somebody_still_has_open_is_told_late_and_the_one_beside_it_at_once(bench):
    bench.take("holder", names=["a", "b"])
    bench.win()
    bench.do(bench.core.release(bench.now, "one", requests.named({"name": "a"})))
    bench.answer(effects.Forget, busy=["a"])
    assert "free once the lock manager answers" in bench.told("one")["error"]
    bench.do(bench.core.shut_down(bench.now))
    bench.answer(effects.Forget)
    assert len(bench.core.holdings) == 0


def test_of_a_job_whose_worker_dies_everything_is_tried_again(bench):
    bench.take("holder", names=["a", "b"])
    bench.win()
    bench.do(bench.core.release(bench.now, "me", requests.named({"names": ["a", "b"]})))
    bench.die(effects.Forget)
    assert sorted(bench.job(effects.Forget).names) == ["a", "b"]
    bench.answer(effects.Forget, busy=["b"])
    (lane,) = [lane for lane in bench.core.domains["o2cb"] if lane.dirty]
    assert lane.stale == {"b"}, "and the lock that was free is not kept from others"


# questions


def test_what_is_held_is_told_without_a_question_to_anybody(bench):
    bench.hold()
    bench.do(bench.core.held(bench.now, "one", requests.named({"name": "a"})))
    bench.do(bench.core.held(bench.now, "none", requests.named({"name": "b"})))
    bench.do(bench.core.held(bench.now, "list", requests.named({"names": ["a", "b"]})))
    assert bench.told("one")["lock"]["name"] == "a"
    assert bench.told("none") == {"lock": None}
    assert [one["name"] for one in bench.told("list")["locks"]] == ["a"]


def test_a_list_comes_in_pages(bench):
    for name in ("a", "b", "c"):
        bench.hold(name)
    bench.do(bench.core.listing(bench.now, "first", 0, 2))
    bench.do(bench.core.listing(bench.now, "second", bench.told("first")["more"], 2))
    assert [one["name"] for one in bench.told("first")["locks"] + bench.told("second")["locks"]] == ["a", "b", "c"]
    assert bench.told("second")["more"] == 0


def test_who_holds_a_lock_is_known_here_or_looked_for(bench):
    bench.hold()
    bench.do(bench.core.who(bench.now, "own", requests.named({"name": "a"})))
    assert bench.told("own")["holder"]["node"] == 3
    bench.do(bench.core.who(bench.now, "other", requests.named({"name": "b"})))
    bench.answer(effects.Look, held=True, holder={"node": 2})
    assert bench.told("other") == {"held": True, "holder": {"node": 2}}
    bench.do(bench.core.who(bench.now, "error", requests.named({"name": "c"})))
    bench.die(effects.Look)
    assert bench.told("error")["error"] == "a worker died"
    assert bench.job(effects.Forget).names == ["c.info"]


def test_a_question_that_finds_no_lane_is_asked_again_while_somebody_wants_to_know(bench, monkeypatch):
    monkeypatch.setattr(cores, "MOST", 4)
    for number in range(4):
        bench.take(f"reader{number}", "b", mode="CR", kind="process")
        bench.win()
    for held in bench.core.holdings:
        held.state = holding.State.RELEASING
    bench.do(bench.core.who(bench.now, "me", requests.named({"name": "b"})))
    assert bench.running(effects.Look) == []
    bench.tick(cores.AGAIN_SECONDS + 0.01)
    bench.tick(cores.WHO_SECONDS)
    assert bench.told("me") == {"held": None, "holder": None}
    bench.tick(cores.AGAIN_SECONDS + 0.01)


def test_an_owner_text_that_is_changed_is_shown_anew(bench):
    bench.hold()
    bench.tick(cores.SHOW_SECONDS + 0.01)
    info = bench.job(effects.Publish).slot
    bench.answer(effects.Publish)
    found = bench.do(bench.core.label(bench.now, "me", requests.named({"name": "a"}), "new"))
    assert Drop(info) in found
    assert bench.job(effects.Publish).owner == "new"
    assert (bench.told("me")["changed"], bench.told("me")["owner"]) == (True, "new")
    bench.do(bench.core.label(bench.now, "again", requests.named({"name": "a"}), "new"))
    assert bench.told("again")["changed"] is False
    bench.do(bench.core.label(bench.now, "none", requests.named({"name": "b"}), "new"))
    assert "take it first" in bench.told("none")["error"]


def test_a_holder_that_could_not_be_shown_is_shown_later_and_not_after_the_release(bench):
    bench.hold()
    bench.tick(cores.SHOW_SECONDS + 0.01)
    slot = bench.job(effects.Publish).slot
    assert Drop(slot) in bench.die(effects.Publish, {slot: None})
    bench.tick(cores.SHOW_AGAIN_SECONDS + 0.01)
    slot = bench.job(effects.Publish).slot
    bench.release("me")
    assert bench.running(effects.Forget) == [], "nothing is unlinked under a job"
    assert Drop(slot) in bench.answer(effects.Publish)
    assert bench.job(effects.Forget).names == ["a", "a.info"]


def test_the_status_tells_what_sleeps_and_what_cannot_be_read():
    bench = Bench(found=[LANE, (2, None, False)], joined=False)
    number = bench.running(effects.Sweep)[0][0]
    bench.core.begun(bench.now, number)
    bench.now += 3
    bench.do(bench.core.status(bench.now, "me", {"kept": 1}))
    told = bench.told("me")
    assert told["asleep"] == [("sweep", 3.0)]
    assert told["unreadable"] == [{"slot": 2, "why": "damaged"}]
    assert (told["kept"], told["node"], told["lanes"]) == (1, 3, {"o2cb": 1})


# what an earlier keeper has left


def test_what_was_confirmed_is_held_again_and_its_levels_are_settled():
    bench = Bench(found=[LANE, lock(2, mode="PR"), lock(3, kind="process")], joined=False)
    assert [held.state for held in bench.core.holdings] == [holding.State.HELD] * 2
    assert [watch.slot for watch in bench.of(Watch)] == [3]
    assert sorted(bench.job(effects.Sweep).claimed) == ["lock2", "lock2.w", "lock3", "lock3.info"]


@pytest.mark.parametrize(("answer", "lowered"), [({}, []), ({"error": "busy"}, ["lock2", "lock2.w"])])
def test_what_a_worker_of_an_earlier_keeper_may_have_raised_falls_with_a_conversion(answer, lowered):
    """CR to PR opens `lock2.w` only, and lowers nothing; in a lane that could not be swept both may be too high."""
    bench = Bench(found=[LANE, lock(2, mode="CR")], joined=False)
    bench.answer(effects.Sweep, **answer)
    bench.do(bench.core.slots_added(bench.now, range(100, 196)))
    bench.tick(cores.FIRST_SWEEP_SECONDS + 0.1)
    while bench.running(effects.MakeLane):
        bench.answer(effects.MakeLane)
    bench.tick(cores.AGAIN_SECONDS + 0.1)
    bench.answer(effects.Settle)
    bench.take("me", "lock2", mode="PR", wait=5)
    bench.answer(effects.Convert, won=[8, 9])
    assert [job.lowered for _number, job in bench.running(effects.Settle)] == ([lowered] if lowered else [])
    while bench.running(effects.Settle):
        bench.answer(effects.Settle)
    assert bench.told("me")["held"]


def test_what_nobody_was_told_of_waits_for_its_request_and_is_then_granted():
    bench = Bench(found=[LANE, lock(2, False, name="a", request="mine")], joined=False)
    bench.answer(effects.Sweep)
    bench.take("stranger", id="other", wait=1)
    bench.take("me", id="mine")
    assert bench.told("me")["changed"]
    assert bench.told("stranger")["changed"] is False


def test_what_nobody_comes_back_for_is_given_back():
    bench = Bench(found=[LANE, lock(2, False)], joined=False)
    bench.answer(effects.Sweep)
    assert Drop(2) in bench.tick(cores.UNCLAIMED_SECONDS + 0.1)


def test_what_was_claimed_is_given_back_with_its_client():
    found = [LANE, lock(2, False, name="a", request="mine"), lock(3, name="b", request="mine"), lock(4, name="c")]
    bench = Bench(found=found, joined=False)
    bench.answer(effects.Sweep)
    bench.take("me", names=["a", "b", "c", "d"], id="mine", wait=5)
    bench.do(bench.core.gone(bench.now, "me"))
    assert [held.what.name for held in bench.core.holdings if held.state is holding.State.HELD] == ["c"]


def test_of_two_modes_the_confirmed_one_counts_and_of_those_the_later():
    older, newer = lock(2, True, id="x", name="a", mode="PR"), lock(3, False, id="x", name="a", serial=1)
    bench = Bench(found=[LANE, older, newer], joined=False)
    assert bench.of(Drop) == [Drop(3)]
    bench = Bench(found=[LANE, older, (3, newer[1], True)], joined=False)
    assert bench.of(Drop) == [Drop(2)]


def test_holders_that_are_shown_stay_so_and_what_shows_nobody_is_dropped():
    info = [(number, holding.info_message(who), False) for number, who in [(3, "old2"), (4, "old2"), (5, "nobody")]]
    bench = Bench(found=[LANE, lock(2), *info], joined=False)
    assert sorted(drop.slot for drop in bench.of(Drop)) == [3, 5]
    assert next(iter(bench.core.holdings)).info == 4


def test_a_token_above_the_mark_is_covered_before_anybody_is_told():
    bench = Bench(mark=0, found=[LANE, lock(2)], joined=False)
    assert [held.state for held in bench.core.holdings] == [holding.State.GRANTING]
    bench.answer(effects.Mark, error="no space left")
    bench.tick(1.1)
    bench.answer(effects.Mark, mark=HIGH)
    assert [held.state for held in bench.core.holdings] == [holding.State.HELD]


@pytest.mark.parametrize("message", [None, {"v": 99}, {"v": 1, "lock": 7}, {"v": 1, "lock": {}}])
def test_what_nobody_can_read_stays_and_no_lane_it_may_stand_in_gets_a_lock(message):
    bench = Bench(found=[LANE, (2, message, True)], joined=False)
    assert bench.of(Drop) == []
    bench.answer(effects.Sweep, error="busy")
    bench.do(bench.core.slots_added(bench.now, range(100, 196)))
    bench.tick(cores.FIRST_SWEEP_SECONDS + 0.1)
    bench.answer(effects.MakeLane)
    bench.take("me", "slot:2")
    assert bench.job(effects.Take).lane != 1
    bench.do(bench.core.leave(bench.now, "leaver"))
    assert "slot:2" in bench.told("leaver")["error"]
    assert Drop(2) in bench.release("admin", "slot:2")
    assert bench.told("admin")["released"]
    bench.release("again", "slot:2")


def test_a_lane_that_shows_a_clean_sweep_gets_locks_also_beside_what_nobody_can_read():
    bench = Bench(found=[LANE, (2, None, True)], joined=False)
    bench.answer(effects.Sweep)
    bench.do(bench.core.slots_added(bench.now, range(100, 196)))
    bench.take("me")
    assert bench.job(effects.Take).lane == 1


def test_two_lanes_of_one_number_and_one_without_a_mount_are_left_alone():
    core = Core(lambda: "id", random.Random(1))
    core.adopt(
        1.0, [LANE, (2, LANE[1], False), (3, holding.lane_message("o2cb", 9, 3), False)], lambda slot, _n: slot != 3
    )
    assert sorted(core.quarantine) == [2, 3]
    assert list(core.domains["o2cb"].lanes) == [1]


def test_inherited_slots_are_not_used_again():
    bench = Bench(found=[LANE, lock(2)], joined=False)
    bench.answer(effects.Sweep)
    bench.release("me", "lock2")
    assert 2 not in bench.core.free


# leaving


def test_a_node_leaves_when_nothing_is_held_and_its_mounts_have_rested(bench):
    bench.do(bench.core.leave(bench.now, "me"))
    assert bench.of(CloseLanes) == []
    bench.take("you")
    assert "leaving the cluster" in bench.told("you")["error"]
    bench.do(bench.core.leave(bench.now, "other"))
    assert "already" in bench.told("other")["error"]
    for _turn in range(20):
        bench.tick(cores.AGAIN_SECONDS)
    assert bench.of(CloseLanes) == [CloseLanes(("o2cb",), "me")]
    bench.do(bench.core.closed(bench.now))
    assert bench.core.left
    bench.do(bench.core.gone(bench.now, "me"))
    bench.take("later")
    assert bench.running(effects.Join) != []


def test_a_node_that_holds_a_lock_does_not_leave_and_says_which(bench):
    bench.hold()
    bench.do(bench.core.leave(bench.now, "me"))
    assert bench.told("me")["error"] == "1 lock(s) are held: a"


def test_a_leaver_that_is_gone_changes_its_mind(bench):
    bench.do(bench.core.leave(bench.now, "me"))
    bench.do(bench.core.gone(bench.now, "me"))
    for _turn in range(30):
        bench.tick(cores.AGAIN_SECONDS)
    assert bench.of(CloseLanes) == []


def test_a_machine_that_goes_down_releases_everything_and_leaves(bench):
    bench.hold()
    bench.take("me", "b", wait=5)
    bench.do(bench.core.shut_down(bench.now))
    assert "leaving the cluster" in bench.told("me")["error"]
    assert bench.of(CloseLanes) == []
    bench.win()
    while bench.running(effects.Forget):
        bench.answer(effects.Forget)
    for _turn in range(30):
        bench.tick(cores.AGAIN_SECONDS)
    assert [one.domains for one in bench.of(CloseLanes)] == [("o2cb",)]


def test_a_keeper_that_ends_soon_begins_nothing_and_brings_to_an_end_what_is_under_way(bench):
    bench.take("me")
    bench.do(bench.core.drain(bench.now))
    bench.take("you", "b")
    assert len(bench.running(effects.Take)) == 1
    bench.win()
    assert bench.told("me")["held"]
    assert bench.told("you") is None


def test_timers_of_what_is_over_are_thrown_away(bench, monkeypatch):
    bench.core._many_timers = 50
    for number in range(60):
        bench.take(f"me{number}", f"n{number}", wait=1000)
        bench.win()
    assert len(bench.core._timers) < 150
