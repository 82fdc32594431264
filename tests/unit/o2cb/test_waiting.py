# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for members: how long it looks, what it returns, and what it says when time is up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beats
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.waiting import Eyes, Look, Wanted, wait
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.sound_facts import NOW, beat, beats, live


class Scene(Eyes):
    """Nodes that beat every 2 s from a second `since` on until a second `until`, as node1 sees them. Time is free."""

    hostname = "node1"

    def __init__(self, since: dict[int, float], until: dict[int, float] | None = None, debugfs: bool = False) -> None:
        super().__init__()
        self.now = 0.0
        self.since, self.until, self.debugfs = since, until or {}, debugfs
        self.online_from = 0.0
        self.seen: Live = live()

    def beats(self) -> Beats:
        rows = []
        for number, start in self.since.items():
            if self.now >= start:
                at = min(self.now, self.until.get(number, self.now))
                rows.append(replace(beat(number), sequence=int(NOW + at // 2 * 2)))
        return beats(*rows)

    def look(self) -> Look:
        if self.now < self.online_from:
            return Look(None, {})
        if self.debugfs:
            return Look(self.seen, {}, frozenset(number for number, start in self.since.items() if self.now >= start))
        return Look(self.seen, self.beats())

    def monotonic(self) -> float:
        return self.now

    def clock(self) -> float:
        return NOW + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_live_nodes_are_proved_within_two_beats():
    found = wait(Wanted(nodes=("node1", "2", "3"), quorate=True), Scene({1: 0, 2: 0, 3: 0}), 0)
    assert (found["live"], found["quorate"]) == (["node1", "node2", "node3"], True)
    assert found["waited"] <= 2.5


def test_with_debugfs_the_answer_is_there_at_once():
    scene = Scene({1: 0, 2: 0}, debugfs=True)
    assert wait(Wanted(nodes=("node2",), gone=("node3",)), scene, 0)["waited"] == 0


def test_no_time_to_wait_is_still_a_whole_look():
    with pytest.raises(O2cbError, match=r"^node1, after 4\.5 s: node3 is not live: bring it online") as caught:
        wait(Wanted(nodes=("node2", "node3")), Scene({1: 0, 2: 0, 3: 0}, until={3: 0}), 0)
    assert caught.value.facts["live"] == ["node1", "node2"]
    assert [text.split(":")[0] for text in caught.value.facts["missing"]] == ["node3 is not live"]


def test_a_node_that_comes_later_is_waited_for():
    assert 20 <= wait(Wanted(live=3), Scene({1: 0, 2: 0, 3: 20}), 60)["waited"] <= 23


def test_a_dead_node_is_gone_after_its_dead_time_even_while_its_connection_stands():
    found = wait(Wanted(gone=("node3",)), Scene({1: 0, 2: 0, 3: 0}, until={3: 10}), 120)
    assert 72 <= found["waited"] <= 74


def test_quorum_waits_until_each_node_is_known():
    scene = Scene({1: 0, 2: 0, 3: 0}, until={2: 0})
    scene.seen = live(connected=(), local="node3")
    with pytest.raises(O2cbError, match="this node has no quorum, 1 of 2 heartbeating nodes") as caught:
        wait(Wanted(quorate=True), scene, 0)
    assert caught.value.facts["quorate"] is False


def test_a_node_that_is_offline_is_told_to_come_online_or_waited_for():
    scene = Scene({1: 0})
    scene.online_from = 10
    with pytest.raises(O2cbError, match="it is not online itself"):
        wait(Wanted(live=1), scene, 5)
    assert wait(Wanted(live=1), scene, 30)["live"] == ["node1"]


def test_unreadable_disks_prove_nothing():
    scene = Scene({1: 0})
    scene.beats = dict  # type: ignore[method-assign]
    with pytest.raises(O2cbError, match="none of its heartbeat regions could be read") as caught:
        wait(Wanted(gone=("node2",)), scene, 0)
    assert caught.value.facts["gone"] == []


def test_a_name_that_is_no_node_is_an_error_at_once():
    scene = Scene({1: 0})
    with pytest.raises(O2cbError, match=r"^node9: no node of this cluster \(node1, node2, node3\)"):
        wait(Wanted(gone=("node9",)), scene, 60)
    assert scene.now == 0
