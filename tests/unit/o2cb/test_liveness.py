# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one look says of who is live, and what watching proves."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.liveness import Verdict, judge, newest
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.watch import Sight, Watch, Wish, numbers, unmet
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.sound_facts import NOW, beat, beats


@pytest.mark.parametrize(
    ("rows", "connected", "live_nodes", "verdict"),
    [
        ((beat(2),), (), {2}, Verdict(True, "debugfs")),
        ((beat(2),), (2,), set(), Verdict(False, "debugfs")),
        ((beat(2, generation=0),), (2,), None, Verdict(False, "generation")),
        ((beat(1),), (), None, Verdict(False, "generation")),
        ((beat(2, age=500),), (2,), None, Verdict(True, "connection")),
        ((beat(2),), (), None, Verdict(True, "time stamp")),
        ((beat(2, age=500),), (), None, Verdict(False, "time stamp")),
        ((beat(2, valid=False),), (), None, Verdict(False, "generation")),
    ],
)
def test_one_look_uses_the_best_evidence_there_is(rows, connected, live_nodes, verdict):
    assert judge(2, beats(*rows), connected, NOW, live_nodes) == verdict


def test_without_any_readable_region_only_a_connection_tells():
    assert judge(2, {}, {2}, NOW) == Verdict(True, "connection")
    assert judge(3, {}, {2}, NOW) == Verdict(None, "")


@pytest.mark.parametrize(("age", "live"), [(2.5, True), (0.5, False)])
def test_two_readings_prove_by_change_alone(age, live):
    before = beats(beat(2, age=age))
    assert judge(2, beats(beat(2)), {2}, NOW, before=before) == Verdict(live, "probe")


def test_the_newest_beat_is_that_of_a_region_the_node_has_not_left():
    found = {"A": {2: beat(2, age=0, generation=0)}, "B": {2: beat(2, age=3)}}
    assert newest(found, 2) == beat(2, age=3)


def watched(*readings):
    """A watch that has seen these: pairs of a time and beats."""
    watch = Watch()
    for at, seen in readings:
        watch.add(seen, at)
    return watch


def test_a_changed_sequence_number_proves_life_whatever_the_clock():
    watch = watched((0.0, beats(beat(2, age=9000))), (2.0, beats(beat(2, age=8998))))
    assert watch.live(2, 2.0) is True
    assert watch.gone(2, 2.0, NOW, ()) is False


def test_nothing_is_said_before_two_beats_could_have_been_seen():
    watch = watched((0.0, beats(beat(2))), (4.0, beats(beat(2))))
    assert watch.live(2, 4.0) is None
    assert watch.gone(2, 4.0, NOW, ()) is None


def test_a_silent_node_is_not_live_and_not_yet_gone():
    watch = watched((0.0, beats(beat(2))), (4.3, beats(beat(2))))
    assert watch.live(2, 4.3) is False
    assert watch.gone(2, 4.3, NOW + 4.3, {2}) is False


def test_silence_for_its_own_dead_time_makes_it_gone():
    watch = watched((0.0, beats(beat(2, dead_ms=14000))), (14.0, beats(beat(2, dead_ms=14000))))
    assert watch.gone(2, 13.9, NOW, {2}) is False
    assert watch.gone(2, 14.0, NOW, {2}) is True


@pytest.mark.parametrize(("connected", "gone"), [((), True), ((2,), False)])
def test_one_that_died_long_ago_is_gone_after_one_probe_unless_connected(connected, gone):
    old = beats(beat(2, age=500))
    assert watched((0.0, old), (4.3, old)).gone(2, 4.3, NOW, connected) is gone


@pytest.mark.parametrize("rows", [(), (beat(2, generation=0),)])
def test_one_that_left_or_never_came_is_gone_at_once(rows):
    watch = watched((0.0, beats(beat(1), *rows)))
    assert (watch.live(2, 0.0), watch.gone(2, 0.0, NOW, ())) == (False, True)


def test_a_region_that_falls_out_of_the_readings_proves_nothing():
    both = beats(beat(2), regions=("A", "B"))
    watch = watched((0.0, both), (1.0, beats(beat(2), regions=("A",))), (2.0, both))
    assert watch.live(2, 2.0) is None


def test_one_whose_beat_stops_is_live_until_it_is_silent():
    watch = watched((0.0, beats(beat(2, age=4))), (1.0, beats(beat(2, age=2))), (6.0, beats(beat(2, age=2))))
    assert watch.live(2, 5.0) is True
    assert watch.live(2, 5.3) is False


def test_quorum_is_not_decided_before_all_is_known():
    assert Sight.of(1, {1: True, 2: None}, {}, {2}).quorate is None
    assert Sight.of(1, {1: True, 2: True}, {}, {2}).quorate is True
    assert Sight.of(2, {1: True, 2: True}, {}, ()).quorate is False


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(live=(1,)), []),
        (Wish(live=(1, 2)), ["node2 is not live"]),
        (Wish(gone=(2, 3)), ["node2 is not gone"]),
        (Wish(count=2), ["1 node(s) are live and 2 should be"]),
        (Wish(quorate=True), ["this node has no quorum, as far as was seen"]),
    ],
)
def test_what_is_missing_is_named(wish, words):
    sight = Sight({1: True, 2: None, 3: False}, {1: False, 2: None, 3: True})
    found = unmet(wish, sight, {1: "node1", 2: "node2", 3: "node3"})
    assert [text.split(":")[0] for text in found] == words


def test_a_node_is_found_by_name_before_number():
    table = {1: "2", 2: "other"}
    assert numbers(["2", "1", "other", "x", "7"], table) == ([1, 1, 2], ["x", "7"])
