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
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.election import Do, Memory, Seen, State, next_step
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
