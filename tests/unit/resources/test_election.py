# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an agent does next: what it must never do, whatever it sees, and what it does in each situation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources import election
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.election import (
    Do,
    Memory,
    Seen,
    State,
    Step,
    next_step,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.resource import Resource, Unit

NODES = {"node1": 1, "node2": 2, "node3": 3}
RUNS, STOPPED, UNKNOWN = State.RUNS, State.STOPPED, State.UNKNOWN
WEB = Resource("web", (Unit("a.service"), Unit("b.service")), prefer="node1")
NOW = 1000.0

nobody_or_node = st.sampled_from(["", *NODES])
resources = st.one_of(
    st.none(),
    st.builds(
        lambda nodes, prefer, state, sticky: replace(WEB, nodes=nodes, prefer=prefer, state=state, sticky=sticky),
        st.dictionaries(st.sampled_from(sorted(NODES)), st.integers(0, 3)),
        nobody_or_node,
        st.sampled_from(["started", "stopped"]),
        st.booleans(),
    ),
)
sights = st.builds(
    Seen,
    me=st.just("node1"),
    held=st.booleans(),
    parts=st.tuples(st.sampled_from(State), st.sampled_from(State)),
    holder=st.sampled_from(["", "node2", "node3"]),
    label=st.sampled_from(["", "to node1", "to node2"]),
    wisher=nobody_or_node,
    wish=st.sampled_from(["", "move", "prefer", "x"]),
    free=st.floats(0, 100),
    nodes=st.just(NODES),
)
memories = st.builds(
    Memory,
    drained=st.booleans(),
    stopping=st.booleans(),
    target=st.sampled_from(["", "node2"]),
    pull=st.booleans(),
    leaves=st.booleans(),
    retry=st.sampled_from([0.0, NOW + 5]),
    yields=st.sampled_from([0.0, NOW + 5]),
    stuck=st.sampled_from([0.0, NOW + 5]),
    asked_by=st.sampled_from(["", "node2", "node3"]),
)


@given(resources, sights, memories)
def test_whatever_is_seen_nothing_starts_without_its_lock_and_no_lock_goes_before_all_is_stopped(
    resource: Resource | None, seen: Seen, memory: Memory
) -> None:
    step = next_step(resource, seen, memory, NOW)
    stopped = all(state is STOPPED for state in seen.parts)
    if step.do is Do.START:
        assert seen.held
        assert not election.should_run(resource, seen, memory, NOW)
        assert all(state is RUNS for state in seen.parts[: step.part]), "in their order"
        assert all(state is STOPPED for state in seen.parts[step.part :])
    if step.do is Do.RELEASE:
        assert seen.held
        assert stopped
    if step.do in (Do.TAKE, Do.WISH):
        assert not seen.held
        assert stopped
        assert not election.should_run(resource, seen, memory, NOW)
    if step.do is Do.STOP:
        assert seen.parts[step.part] is not STOPPED
        assert all(state is STOPPED for state in seen.parts[step.part + 1 :]), "in the reverse order"
    if step.do is Do.REST:
        assert step.seconds > 0


@given(resources, sights, memories)
def test_what_runs_with_its_lock_and_should_is_not_touched(
    resource: Resource | None, seen: Seen, memory: Memory
) -> None:
    seen = replace(seen, held=True, parts=(RUNS, RUNS), wisher="", label="")
    memory.target = ""
    if not election.should_run(resource, seen, memory, NOW):
        assert next_step(resource, seen, memory, NOW).do is Do.REST


def seen(held: bool = False, parts: tuple[State, ...] = (STOPPED, STOPPED), me: str = "node1", **more: object) -> Seen:
    return Seen(me=me, held=held, parts=parts, nodes=NODES, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sight", "memory", "do", "part"),
    [
        (seen(), Memory(), Do.TAKE, 0),
        (seen(holder="node2"), Memory(), Do.TAKE, 0),
        (seen(held=True), Memory(), Do.START, 0),
        (seen(held=True, parts=(RUNS, STOPPED)), Memory(), Do.START, 1),
        (seen(held=True, parts=(RUNS, RUNS)), Memory(), Do.REST, 0),
        (seen(held=True, parts=(STOPPED, RUNS)), Memory(), Do.STOP, 1),
        (seen(held=True, parts=(RUNS, UNKNOWN)), Memory(), Do.STOP, 1),
        (seen(held=True, parts=(RUNS, UNKNOWN)), Memory(stuck=NOW + 1), Do.REST, 0),
        (seen(held=True, parts=(RUNS, RUNS)), Memory(drained=True), Do.STOP, 1),
        (seen(held=True, parts=(RUNS, STOPPED)), Memory(drained=True), Do.STOP, 0),
        (seen(held=True), Memory(drained=True), Do.RELEASE, 0),
        (seen(parts=(RUNS, STOPPED)), Memory(), Do.STOP, 0),
        (seen(), Memory(drained=True), Do.REST, 0),
        (seen(), Memory(retry=NOW + 3), Do.REST, 0),
        (seen(), Memory(yields=NOW + 3), Do.REST, 0),
        (seen(holder="node2"), Memory(yields=NOW + 3), Do.REST, 0),
        (seen(holder="node2"), Memory(yields=NOW + 3, pull=True), Do.WISH, 0),
        (seen(holder="node2", label="to node1"), Memory(yields=NOW + 3), Do.WISH, 0),
        (seen(held=True, parts=(RUNS, RUNS)), Memory(yields=NOW + 3), Do.REST, 0),
        (seen(held=True, parts=(RUNS, RUNS), wisher="node2", wish="move"), Memory(), Do.STOP, 1),
        (seen(held=True, parts=(RUNS, RUNS), wisher="node2", wish="prefer"), Memory(), Do.REST, 0),
        (seen(held=True, parts=(RUNS, RUNS)), Memory(target="node2"), Do.LABEL, 0),
        (seen(held=True, parts=(RUNS, RUNS), label="to node2"), Memory(), Do.LABEL, 0),
        (seen(me="node2", holder="node1", label="to node2"), Memory(), Do.WISH, 0),
        (seen(me="node2", holder="node1", label="to node3"), Memory(), Do.REST, 0),
        (seen(me="node2", holder="node1", wisher="node3"), Memory(), Do.REST, 0),
        (seen(me="node2", holder="node1"), Memory(pull=True), Do.WISH, 0),
        (seen(me="node2", wisher="node2", wish="move"), Memory(), Do.TAKE, 0),
        (seen(me="node2", wisher="node2", wish="move"), Memory(asked_by="node1"), Do.TAKE, 0),
        (seen(me="node2", wisher="node2", wish="move", holder="node3"), Memory(asked_by="node1"), Do.TAKE, 0),
        (seen(me="node2", wisher="node2", wish="move", holder="node1"), Memory(asked_by="node1"), Do.UNWISH, 0),
        (seen(wisher="node1", wish="move"), Memory(drained=True), Do.UNWISH, 0),
    ],
)
def test_the_step_that_is_due(sight: Seen, memory: Memory, do: Do, part: int) -> None:
    resource = replace(WEB, nodes={"node1": 3, "node2": 2, "node3": 1})
    step = next_step(resource, sight, memory, NOW)
    assert (step.do, step.part) == (do, part), step


RANKED = replace(WEB, nodes={"node1": 3, "node2": 2, "node3": 1}, prefer="", check_interval=7.0)
LOOSE = replace(RANKED, sticky=False)
LEVEL = replace(LOOSE, nodes={"node1": 0, "node2": 0, "node3": 1})
BELOW = replace(LOOSE, nodes={"node1": 0, "node2": -1, "node3": -1})
ANYWHERE = replace(WEB, sticky=False)
OTHERS = "others come first"
LATER, BOTH = NOW + 4, (RUNS, RUNS)


def held(parts: tuple[State, ...] = BOTH, me: str = "node1", **more: object) -> Seen:
    return seen(held=True, parts=parts, me=me, **more)


@pytest.mark.parametrize(
    ("sight", "memory", "step"),
    [
        # It is not to run here: what runs is stopped, then the lock is released.
        (held(), Memory(drained=True), Step(Do.STOP, 1, text="drained")),
        (held((RUNS, STOPPED)), Memory(stopping=True), Step(Do.STOP, 0, text="the agent stops")),
        (held((STOPPED, UNKNOWN)), Memory(drained=True), Step(Do.STOP, 1, text="drained")),
        (held(), Memory(drained=True, stuck=LATER), Step(Do.REST, seconds=4, text="cannot be stopped")),
        (held(), Memory(drained=True, stuck=NOW), Step(Do.STOP, 1, text="drained")),
        (held((STOPPED, STOPPED)), Memory(drained=True, stuck=LATER), Step(Do.RELEASE, text="drained")),
        (held(wisher="node2", wish="move"), Memory(), Step(Do.STOP, 1, text="node2 is to run it")),
        (held((STOPPED, STOPPED), wisher="node2", wish="move"), Memory(), Step(Do.RELEASE, text="node2 is to run it")),
        (held(wisher="node9", wish="move"), Memory(), Step(Do.REST, seconds=7)),
        (held(wisher="node2", wish="x"), Memory(), Step(Do.REST, seconds=7)),
        (held(wish="move"), Memory(), Step(Do.REST, seconds=7)),
        # It is defined otherwise now.
        (held(), Memory(restart=True), Step(Do.STOP, 1, text="it is defined otherwise now")),
        (held((RUNS, STOPPED)), Memory(restart=True), Step(Do.STOP, 0, text="it is defined otherwise now")),
        (held(), Memory(restart=True, stuck=NOW), Step(Do.STOP, 1, text="it is defined otherwise now")),
        (held(), Memory(restart=True, stuck=LATER), Step(Do.REST, seconds=4, text="cannot be stopped")),
        (
            held((STOPPED, STOPPED)),
            Memory(restart=True),
            Step(Do.REST, seconds=0.05, text="its new parts are read"),
        ),
        # Its label says where it goes.
        (held(wisher="node1", wish="move"), Memory(target="node2"), Step(Do.UNWISH)),
        (held(), Memory(target="node2"), Step(Do.LABEL, text="to node2")),
        (held(label="to node3"), Memory(target="node2"), Step(Do.LABEL, text="to node2")),
        (held(label="to node2"), Memory(target="node2"), Step(Do.REST, seconds=7)),
        (held(label="to node2"), Memory(), Step(Do.LABEL)),
        # Its parts.
        (held(), Memory(), Step(Do.REST, seconds=7)),
        (held((STOPPED, STOPPED)), Memory(stuck=LATER), Step(Do.START, 0)),
        (held((RUNS, STOPPED)), Memory(), Step(Do.START, 1)),
        (held((STOPPED, RUNS)), Memory(), Step(Do.STOP, 1, text="part 1 does not run")),
        (held((UNKNOWN, RUNS)), Memory(), Step(Do.STOP, 1, text="part 1 does not run")),
        (held((UNKNOWN, STOPPED)), Memory(), Step(Do.STOP, 0, text="part 1 does not run", failed=True)),
        (held((RUNS, UNKNOWN)), Memory(stuck=NOW), Step(Do.STOP, 1, text="part 2 does not run", failed=True)),
        (held((RUNS, UNKNOWN)), Memory(stuck=LATER), Step(Do.REST, seconds=4, text="cannot be stopped")),
        # Nothing runs without its lock.
        (seen(parts=BOTH), Memory(), Step(Do.STOP, 1, text="it runs without its lock")),
        (seen(parts=(UNKNOWN, STOPPED)), Memory(stuck=NOW), Step(Do.STOP, 0, text="it runs without its lock")),
        (
            seen(parts=BOTH),
            Memory(stuck=LATER),
            Step(Do.REST, seconds=4, text="runs without its lock, and cannot be stopped"),
        ),
        # It rests.
        (seen(), Memory(drained=True), Step(Do.REST, seconds=60, text="drained")),
        (seen(), Memory(leaves=True), Step(Do.REST, seconds=60, text="failed here")),
        (seen(), Memory(retry=LATER), Step(Do.REST, seconds=4, text="failed here")),
        (seen(), Memory(yields=LATER), Step(Do.REST, seconds=60, text="left to others")),
        (seen(label="to node2"), Memory(yields=LATER), Step(Do.REST, seconds=60, text="left to others")),
        (seen(), Memory(drained=True, retry=NOW), Step(Do.REST, seconds=60, text="drained")),
        (seen(wisher="node1", wish="move"), Memory(yields=LATER), Step(Do.UNWISH)),
        (seen(wisher="node2", wish="move"), Memory(drained=True), Step(Do.REST, seconds=60, text="drained")),
        # It wishes, or leaves it to the one that does.
        (seen(holder="node2"), Memory(pull=True), Step(Do.WISH, text="move")),
        (seen(holder="node2", label="to node1"), Memory(), Step(Do.WISH, text="move")),
        (seen(holder="node2", label="to node3"), Memory(), Step(Do.REST, seconds=1, text="node3 is to run it")),
        (seen(holder="node2", wisher="node3"), Memory(), Step(Do.REST, seconds=1, text="node3 is to run it")),
        (seen(holder="node2", wisher="node3"), Memory(pull=True), Step(Do.REST, seconds=1, text="node3 is to run it")),
        (seen(holder="node2"), Memory(asked_by="node3"), Step(Do.TAKE, seconds=2)),
        (seen(wisher="node1", wish="move", holder="node3"), Memory(asked_by="node2"), Step(Do.TAKE, seconds=10)),
        (seen(wisher="node1", wish="move", holder="node2"), Memory(asked_by="node2"), Step(Do.UNWISH)),
        (seen(wisher="node1", wish="move", holder="node2"), Memory(), Step(Do.UNWISH)),
        (seen(wisher="node1", wish="prefer"), Memory(), Step(Do.TAKE, seconds=10)),
        (seen(wisher="node1"), Memory(), Step(Do.UNWISH)),
        # It tries in its turn.
        (seen(), Memory(), Step(Do.TAKE, seconds=2)),
        (seen(), Memory(retry=NOW, yields=NOW), Step(Do.TAKE, seconds=2)),
        (seen(holder="node2"), Memory(), Step(Do.TAKE, seconds=2)),
        (seen(holder="node9"), Memory(), Step(Do.TAKE, seconds=2)),
        (seen(holder="node1"), Memory(), Step(Do.REST, seconds=1, text="node1 runs it")),
        (seen(me="node2", holder="node1"), Memory(), Step(Do.TAKE, seconds=2)),
        (seen(me="node3", holder="node1", free=9), Memory(), Step(Do.REST, seconds=1, text="node1 runs it")),
        (seen(me="node2", free=2.9), Memory(), Step(Do.REST, seconds=1, text=OTHERS)),
        (seen(me="node2", free=3), Memory(), Step(Do.TAKE)),
        (seen(me="node3", free=5.9), Memory(), Step(Do.REST, seconds=1, text=OTHERS)),
        (seen(me="node3", free=6), Memory(), Step(Do.TAKE)),
    ],
)
def test_the_whole_step_that_is_due_with_its_reason(sight: Seen, memory: Memory, step: Step) -> None:
    assert next_step(RANKED, sight, memory, NOW) == step


@pytest.mark.parametrize(
    ("resource", "sight", "step"),
    [
        (LOOSE, held(me="node2", wisher="node1", wish="prefer"), Step(Do.STOP, 1, text="node1 has a higher priority")),
        (LOOSE, held(wisher="node2", wish="prefer"), Step(Do.REST, seconds=7)),
        (RANKED, held(me="node2", wisher="node1", wish="prefer"), Step(Do.REST, seconds=7)),
        (LEVEL, held(wisher="node3", wish="prefer"), Step(Do.STOP, 1, text="node3 has a higher priority")),
        (LEVEL, held(wisher="node2", wish="prefer"), Step(Do.REST, seconds=7)),
        (LOOSE, seen(holder="node2"), Step(Do.WISH, text="prefer")),
        (LOOSE, seen(holder="node9"), Step(Do.TAKE, seconds=2)),
        (LOOSE, seen(me="node2", holder="node1"), Step(Do.TAKE, seconds=2)),
        (LOOSE, seen(), Step(Do.TAKE, seconds=2)),
        (LEVEL, seen(me="node3", holder="node2"), Step(Do.WISH, text="prefer")),
        (LEVEL, seen(holder="node2"), Step(Do.REST, seconds=1, text="node2 runs it")),
        (LOOSE, seen(holder="node2", wisher="node1", wish="prefer"), Step(Do.TAKE, seconds=10)),
        (RANKED, seen(holder="node2", wisher="node1", wish="prefer"), Step(Do.UNWISH)),
        (LOOSE, held(me="node2", wisher="node1", wish="x"), Step(Do.REST, seconds=7)),
        (BELOW, seen(holder="node2"), Step(Do.WISH, text="prefer")),
        (ANYWHERE, held(wish="move"), Step(Do.REST, seconds=10)),
        (ANYWHERE, seen(), Step(Do.TAKE, seconds=2)),
        (ANYWHERE, seen(wish="move"), Step(Do.TAKE, seconds=2)),
        (replace(LOOSE, nodes={"node9": 1}), seen(me="node9", free=99), Step(Do.REST, seconds=1, text=OTHERS)),
    ],
)
def test_only_what_is_not_sticky_goes_to_the_higher_priority(resource: Resource, sight: Seen, step: Step) -> None:
    assert next_step(resource, sight, Memory(), NOW) == step


def test_what_is_gone_is_said_to_be_absent():
    assert next_step(None, held(), Memory(), NOW) == Step(Do.STOP, 1, text="absent")
    assert next_step(None, held((STOPPED, STOPPED)), Memory(), NOW) == Step(Do.RELEASE, text="absent")
    assert next_step(None, seen(), Memory(), NOW) == Step(Do.REST, seconds=60, text="absent")
    assert next_step(None, seen(wisher="node1", wish="move"), Memory(pull=True), NOW) == Step(Do.UNWISH)


@pytest.mark.parametrize(
    ("resource", "sight", "memory", "why"),
    [
        (None, held(), Memory(), "absent"),
        (replace(RANKED, state="stopped"), held(), Memory(), "stopped"),
        (RANKED, held(), Memory(stopping=True), "the agent stops"),
        (RANKED, held(), Memory(drained=True), "drained"),
        (replace(RANKED, nodes={"node2": 1}), held(), Memory(), "not on this node"),
        (replace(RANKED, nodes={"node1": 0}), held(), Memory(), ""),
        (RANKED, held(), Memory(leaves=True), "failed here"),
        (RANKED, held(), Memory(retry=NOW + 0.1), "failed here"),
        (RANKED, held(), Memory(retry=NOW), ""),
        (RANKED, held(), Memory(yields=LATER), ""),
        (RANKED, seen(), Memory(yields=NOW + 0.1), "left to others"),
        (RANKED, seen(), Memory(yields=NOW), ""),
        (RANKED, seen(), Memory(yields=LATER, pull=True), ""),
        (RANKED, seen(label="to node1"), Memory(yields=LATER), ""),
        (RANKED, seen(label="to node2"), Memory(yields=LATER), "left to others"),
        (RANKED, seen(label="node1"), Memory(yields=LATER), "left to others"),
        (RANKED, seen(), Memory(), ""),
    ],
)
def test_why_a_node_must_not_run_it(resource: Resource | None, sight: Seen, memory: Memory, why: str) -> None:
    assert election.should_run(resource, sight, memory, NOW) == why


@pytest.mark.parametrize(
    ("resource", "sight", "memory", "words"),
    [
        (RANKED, held(), Memory(stuck=LATER), "runs here"),
        (RANKED, held((RUNS, UNKNOWN)), Memory(stuck=LATER), "cannot be stopped"),
        (RANKED, held((RUNS, UNKNOWN)), Memory(stuck=NOW), "stops"),
        (RANKED, held((RUNS, STOPPED)), Memory(), "starts"),
        (RANKED, held((STOPPED, STOPPED)), Memory(drained=True), "has the lock"),
        (RANKED, seen(parts=(STOPPED, UNKNOWN), holder="node2"), Memory(), "runs without its lock"),
        (RANKED, seen(holder="node2"), Memory(drained=True), "on node2"),
        (RANKED, seen(), Memory(drained=True), "drained"),
        (RANKED, seen(), Memory(), "waits for the lock"),
        (None, seen(), Memory(), "absent"),
    ],
)
def test_people_are_told_the_state_in_a_word_or_two(
    resource: Resource | None, sight: Seen, memory: Memory, words: str
) -> None:
    step = next_step(resource, sight, memory, NOW)
    assert election.describe(resource, sight, memory, step, NOW) == words


def test_a_summary_counts_the_parts_by_their_states():
    assert election.summary((RUNS, UNKNOWN, RUNS)) == {"runs": 2, "stopped": 0, "unknown": 1}
    assert election.summary(()) == {"runs": 0, "stopped": 0, "unknown": 0}


def test_agents_of_every_version_rank_equal_nodes_alike():
    """Otherwise two would be first, or none."""
    equal = [replace(WEB, name=f"r{number}", prefer="") for number in range(6)]
    orders = ["".join(sorted("123", key=lambda n: election.rank(one, seen(me=f"node{n}")) or 0)) for one in equal]
    assert orders == ["231", "123", "123", "231", "132", "321"]


@pytest.mark.parametrize("name", [f"r{number}" for number in range(8)])
def test_the_priority_comes_before_the_order_of_equals(name: str) -> None:
    ranked = replace(WEB, name=name, prefer="node2", nodes={"node1": 0, "node2": 0, "node3": 1})
    places = {node: election.rank(ranked, seen(me=node)) for node in [*NODES, "node9"]}
    assert places == {"node2": 0, "node3": 1, "node1": 2, "node9": None}


@pytest.mark.parametrize("name", [f"r{number}" for number in range(8)])
def test_a_priority_below_0_is_behind_those_that_are_not_named(name: str) -> None:
    assert [election.rank(replace(BELOW, name=name), seen(me=node)) for node in ("node1", "node9")] == [0, None]


def test_a_node_that_must_not_run_it_has_no_rank_and_does_not_count():
    two = replace(RANKED, nodes={"node1": -1, "node3": -2})
    assert [election.rank(two, seen(me=node)) for node in NODES] == [0, None, 1]


def test_nothing_is_said_where_nothing_is_known():
    assert Step(Do.START) == (Do.START, 0, 0.0, "", False)
    assert Seen("node1", False, ()) == Seen("node1", False, (), "", "", "", "", 0.0, {})


def test_agents_of_every_version_understand_each_others_owner_texts():
    assert (election.MOVE, election.PREFER, election.TO) == ("move", "prefer", "to ")


def test_a_step_is_called_by_a_word_of_the_trade():
    words = ["start", "stop", "release", "take", "wish", "unwish", "label", "rest"]
    assert [step.value for step in Do] == words
    assert [state.value for state in State] == ["runs", "stopped", "unknown"]


def test_who_has_given_a_resource_up_leaves_it_alone_for_longer_than_its_hand_over_takes():
    assert (election.WAIT_SECONDS, election.HAND_OVER_SECONDS, election.YIELD_SECONDS) == (2.0, 10.0, 20.0)
    assert election.STUCK_SECONDS == 10.0


def test_what_is_not_configured_any_more_is_stopped_released_and_left_alone():
    assert next_step(None, seen(held=True, parts=(RUNS, RUNS)), Memory(), NOW).do is Do.STOP
    assert next_step(None, seen(held=True), Memory(), NOW).do is Do.RELEASE
    assert next_step(None, seen(), Memory(), NOW).do is Do.REST


def test_a_node_of_higher_priority_gets_what_is_not_sticky():
    loose = replace(WEB, sticky=False)
    candidate = seen(me="node1", holder="node2")
    assert next_step(loose, candidate, Memory(), NOW).text == "prefer"
    holder = seen(me="node2", held=True, parts=(RUNS, RUNS), wisher="node1", wish="prefer")
    assert next_step(loose, holder, Memory(), NOW).do is Do.STOP
    assert next_step(WEB, holder, Memory(), NOW).do is Do.REST


def test_the_first_in_rank_waits_and_the_others_come_later_one_by_one():
    ranked = replace(WEB, nodes={"node1": 3, "node2": 2, "node3": 1}, prefer="")
    places = {name: election.rank(ranked, seen(me=name, holder="node1")) for name in NODES}
    assert places == {"node1": None, "node2": 0, "node3": 1}
    assert next_step(ranked, seen(me="node3", free=election.RANK_SECONDS * 1.5), Memory(), NOW).do is Do.REST
    step = next_step(ranked, seen(me="node3", free=election.RANK_SECONDS * 2), Memory(), NOW)
    assert (step.do, step.seconds) == (Do.TAKE, 0)


def test_equal_nodes_share_the_resources():
    first = {
        min(NODES, key=lambda name: election.rank(replace(WEB, name=f"r{number}", prefer=""), seen(me=name)) or 0)
        for number in range(20)
    }
    assert first == set(NODES)


def test_failures_count_within_their_window_and_the_back_off_doubles():
    memory = Memory()
    memory.failed(0.0, WEB)
    memory.failed(WEB.window + 1, WEB)
    assert not memory.leaves, "too far apart"
    memory.failed(WEB.window + 2, WEB)
    assert (memory.leaves, memory.retry) == (True, WEB.window + 2 + WEB.backoff)
    memory.leaves = False
    for now in (1000.0, 1001.0):
        memory.failed(now, WEB)
    assert memory.retry == 1001.0 + 2 * WEB.backoff
    memory.given_up = 30
    for now in (9000.0, 9001.0):
        memory.failed(now, WEB)
    assert memory.retry == 9001.0 + election.LONGEST_BACKOFF
    memory.ran_well(memory.retry + 3 * WEB.window, WEB)
    assert memory.given_up == 0
    memory.failed(1e6, WEB)
    memory.failed(1e6, WEB)
    memory.cleared()
    assert (memory.leaves, memory.retry) == (False, 0.0)


def test_a_failure_counts_for_a_window_and_each_time_in_a_row_it_is_left_alone_for_twice_as_long():
    resource, memory, now, waits = replace(WEB, attempts=3), Memory(), 5000.0, []
    for _time in range(9):
        for _attempt in range(2):
            memory.failed(now, resource)
            assert not memory.leaves
        memory.failed(now, resource)
        assert memory.leaves
        assert memory.failures == []
        waits.append(memory.retry - now)
        memory.leaves = False
        now += 5000
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    memory.failed(1e6, resource)
    memory.failed(1e6 + 299, resource)
    assert memory.failures == [1e6, 1e6 + 299]
    memory.failed(1e6 + 300, resource)
    assert (memory.failures, memory.leaves) == ([1e6 + 299, 1e6 + 300], False)


def test_a_node_that_fails_for_ever_waits_for_an_hour_each_time():
    memory = Memory()
    for _time in range(100):
        memory.failed(0.0, WEB)
    assert (memory.retry, memory.given_up) == (3600.0, 32)


@pytest.mark.parametrize(("after", "given_up"), [(600.0, 2), (600.1, 0)])
def test_twice_the_window_without_a_failure_is_a_new_beginning(after: float, given_up: int) -> None:
    memory = Memory(given_up=2, retry=NOW)
    memory.ran_well(NOW + after, WEB)
    assert memory.given_up == given_up


def test_what_an_operator_has_mended_begins_anew():
    memory = Memory(failures=[1.0], given_up=3, leaves=True, retry=9.0, yields=9.0, stuck=9.0, drained=True, pull=True)
    memory.cleared()
    assert memory == Memory(drained=True, pull=True)
