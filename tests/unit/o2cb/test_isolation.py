# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No domain is joined by a node that does not know all who live."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import isolation
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat, Beats
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live

NODES = tuple(Node(name=f"node{number}", number=number, address=f"192.0.2.{number}") for number in (1, 2, 3))
LIVE = Live(cluster=Cluster(name="lab", nodes=NODES), local="node1")


ALWAYS = ((0.0, 1e9),)

Spans = tuple[tuple[float, float], ...]
"""From when to when something is so, in seconds."""


@dataclass
class World:
    """node1 and what it sees as time goes by, which is only when it sleeps. It stands in for the module `time`, too.

    Who beats, from when to when, does it every 2 s, up to `late` seconds after the full second number; connections come
    and go; the region can be read from `readable` on. A crashed node's last block stays as it is.
    """

    beating: dict[int, Spans]
    connected: dict[int, Spans] = field(default_factory=dict)
    readable: float = 0.0
    late: float = 0.0
    now: float = 0.0
    looks: list[float] = field(default_factory=list)
    readings: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return 5000.0 + self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now = round(self.now + seconds, 6)

    def look(self) -> Live:
        assert len(self.looks) < 1000, "it waits without an end"
        self.looks.append(self.now)
        return replace(LIVE, connected=frozenset(n for n, spans in self.connected.items() if within(spans, self.now)))

    def beats(self, _live: Live) -> Beats:
        self.readings.append(self.now)
        if self.now < self.readable:
            return {}
        return {"region": {number: self.beat(number, spans) for number, spans in self.beating.items()}}

    def beat(self, number: int, spans: Spans) -> Beat:
        """The last one that is written by now."""
        last = max((min(self.now, end) for start, end in spans if start <= self.now), default=0.0)
        return Beat(number, int((last - self.late) // 2 * 2), 1, 62000, valid=True)


def within(spans: Spans, now: float) -> bool:
    return any(start <= now < end for start, end in spans)


def joined_at(world: World, monkeypatch: pytest.MonkeyPatch, **options: float) -> float:
    """When node1 joins."""
    monkeypatch.setattr(isolation, "time", world)
    isolation.wait(world.look, world.beats, **options)
    return world.now


@pytest.mark.parametrize(
    ("beating", "connected"),
    [
        ({}, {}),
        ({1: ALWAYS}, {}),
        ({1: ALWAYS, 2: ALWAYS, 3: ALWAYS}, {2: ALWAYS, 3: ALWAYS}),
        ({1: ALWAYS, 2: ALWAYS, 3: ()}, {2: ALWAYS}),
        ({1: ALWAYS, 2: ALWAYS, 3: ((-60.0, -1.0),)}, {2: ALWAYS}),
    ],
    ids=["alone", "its own beat", "all connected", "one never beat", "one has crashed"],
)
def test_who_sees_all_who_live_joins_at_the_second_reading(monkeypatch, beating, connected):
    assert joined_at(World(beating, connected), monkeypatch) == 4.2


@pytest.mark.parametrize("late", [0.0, 0.1, 1.0, 1.9])
@pytest.mark.parametrize("comes", [6.0, 9.9, 25.0])
def test_nobody_is_taken_for_dead_who_beats_every_two_seconds(monkeypatch, late, comes):
    """Two readings that are closer together than two beats show the same block twice, also of a node that lives."""
    world = World({1: ALWAYS, 2: ALWAYS}, {2: ((comes, 1e9),)}, late=late)
    assert comes < joined_at(world, monkeypatch) < comes + 0.51


def test_it_looks_four_times_a_second_once_it_knows_who_lives(monkeypatch):
    world = World({1: ALWAYS, 2: ALWAYS}, {2: ((5.0, 1e9),)})
    assert joined_at(world, monkeypatch) == 5.45
    assert world.looks == world.readings == [0.0, 4.2, 4.45, 4.7, 4.95, 5.2, 5.45]


def test_a_connection_counts_that_two_looks_in_a_row_have_seen(monkeypatch):
    """A peer that refuses the handshake is connected for milliseconds."""
    world = World({1: ALWAYS, 2: ALWAYS}, {2: ((4.2, 4.3), (4.7, 4.8), (5.2, 1e9))})
    assert joined_at(world, monkeypatch) == 5.45


def test_a_connection_that_ends_as_another_comes_does_not_count(monkeypatch):
    world = World({1: ALWAYS, 2: ALWAYS, 3: ALWAYS}, {2: ((0.0, 4.3), (6.7, 1e9)), 3: ((4.2, 1e9),)})
    assert joined_at(world, monkeypatch) == 6.95


def test_the_connection_may_come_while_the_readings_are_made(monkeypatch):
    assert joined_at(World({1: ALWAYS, 2: ALWAYS}, {2: ((4.0, 1e9),)}), monkeypatch) == 4.45


def test_a_node_that_dies_while_it_is_awaited_is_awaited_until_the_end(monkeypatch):
    """Its beats between the two readings prove that it lived. Whether it still does, its dead threshold decides."""
    world = World({1: ALWAYS, 2: ((-60.0, 10.0),)})
    with pytest.raises(O2cbError, match="node1 has no connection to node2"):
        joined_at(world, monkeypatch)


@pytest.mark.parametrize(("readable", "joins"), [(1.0, 8.4), (4.2, 8.4), (9.0, 16.8)])
def test_a_region_that_only_one_reading_saw_proves_nothing(monkeypatch, readable, joins):
    """As on a node that is still brought online: the heartbeat counts as local, and then the first region starts."""
    world = World({1: ALWAYS, 2: ALWAYS, 3: ALWAYS}, {2: ALWAYS, 3: ALWAYS}, readable)
    assert joined_at(world, monkeypatch) == joins


def test_two_readings_of_different_regions_prove_nothing(monkeypatch):
    world = World({1: ALWAYS, 2: ALWAYS})
    monkeypatch.setattr(isolation, "time", world)

    def beats(live: Live) -> Beats:
        seen = next(iter(world.beats(live).values()))
        return {f"region of {len(world.looks)}": seen}

    with pytest.raises(O2cbError, match="node1 cannot read any heartbeat region"):
        isolation.wait(world.look, beats)


def test_nobody_joins_who_can_read_no_region(monkeypatch):
    world = World({1: ALWAYS, 2: ALWAYS, 3: ALWAYS}, {2: ALWAYS, 3: ALWAYS}, readable=1e9)
    with pytest.raises(O2cbError, match="node1 cannot read any heartbeat region"):
        joined_at(world, monkeypatch)
    assert 30.0 < world.now <= 34.2


def test_who_is_not_connected_in_the_end_is_named(monkeypatch):
    world = World({1: ALWAYS, 2: ALWAYS, 3: ALWAYS}, {2: ALWAYS})
    with pytest.raises(O2cbError, match="node1 has no connection to node3, which heartbeats"):
        joined_at(world, monkeypatch)
    assert world.now == 30.2, "the first look after 30 s"
    alone = World({1: ALWAYS, 2: ALWAYS, 3: ALWAYS})
    with pytest.raises(O2cbError, match="no connection to node2, node3, which"):
        joined_at(alone, monkeypatch, seconds=10.0)
    assert alone.now == 10.2


def test_the_last_look_is_at_the_deadline_or_later(monkeypatch):
    world = World({1: ALWAYS, 2: ALWAYS}, {2: ((4.2, 1e9),)})
    assert joined_at(world, monkeypatch, seconds=4.2) == 4.45


@pytest.mark.parametrize("local", [None, "", "node9"])
def test_a_machine_that_the_cluster_does_not_know_joins_nothing(monkeypatch, local):
    world = World({2: ALWAYS})
    monkeypatch.setattr(isolation, "time", world)
    with pytest.raises(O2cbError, match="this machine is no node of the cluster that it runs: run role"):
        isolation.wait(lambda: replace(world.look(), local=local), world.beats)
    assert world.now == 0.0


def test_a_node_that_is_not_online_is_told_so_at_once(monkeypatch):
    world = World({})
    monkeypatch.setattr(isolation, "time", world)

    def offline() -> Live:
        raise O2cbError("the cluster is not online on this node")

    with pytest.raises(O2cbError, match="not online"):
        isolation.wait(offline, world.beats)
    assert world.now == 0.0
