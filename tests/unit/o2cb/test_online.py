# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Coming online does no harm to those who are online, and is undone when it would."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import online, plan
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.plan import Verb
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.fake_system import Clock, FakeSystem, beat

UUID = "A" * 32
OWN, PEER = Node("n1", 1, "10.0.0.1"), Node("n2", 2, "10.0.0.2")
LAB = Cluster("lab", (OWN, PEER), (UUID, "B" * 32))
LEFT = ["stop region " + uuid for uuid in LAB.regions] + ["remove node n1", "remove node n2", "unregister cluster lab"]


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(online, "time", clock)
    return clock


def come_online(system: FakeSystem, want: Cluster = LAB) -> None:
    online.carry_out(system, plan.plan(system.read(), want))


def on_disk(*beats) -> dict:
    return {UUID: {one.node: one for one in beats}}


def test_a_node_alone_comes_online(clock):
    system = FakeSystem(Have("n1"))
    come_online(system)
    assert system.have.live is not None
    assert (system.have.live.online, system.have.live.cluster) == (True, LAB)
    assert clock.now == 1000, "nothing to wait for"


def test_a_node_waits_for_the_connection_to_each_node_that_beats():
    nobody, peer = frozenset(), frozenset((2,))
    system = FakeSystem(Have("n1"), [on_disk(beat(2)), on_disk(beat(2, 1004))], [nobody, nobody, peer, peer])
    come_online(system)
    assert system.have.live is not None
    assert system.have.live.online
    assert system.connected == [peer]


@pytest.mark.parametrize("glimpses", [[], [frozenset((2,))]], ids=["never connected", "refused at each attempt"])
def test_a_node_that_a_live_peer_does_not_talk_to_goes_offline_again(clock, glimpses):
    system = FakeSystem(Have("n1"), [on_disk(beat(2)), on_disk(beat(2, 1004))], [*glimpses, frozenset()])
    with pytest.raises(O2cbError, match="no connection to n2, so it went offline again"):
        come_online(system)
    assert system.have.live is None
    assert system.log[-5:] == LEFT
    assert 30 <= clock.now - 1000 < 31


def test_a_peer_that_crashed_or_left_is_not_waited_for():
    system = FakeSystem(Have("n1"), [on_disk(beat(2)), on_disk(beat(2))])
    come_online(system)
    left = FakeSystem(Have("n1"), [on_disk(beat(2)), on_disk(beat(2, 1004, generation=0))])
    come_online(left)
    assert [node.have.live.online for node in (system, left)] == [True, True]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (beat(1), beat(1, 1004), "another machine heartbeats as node number 1"),
        (beat(2, threshold=61), beat(2, 1004, threshold=61), "node n2 is live with a dead threshold of 61 \\(122 s\\)"),
    ],
)
def test_a_conflict_on_disk_is_refused_before_the_first_step(before, after, words):
    system = FakeSystem(Have("n1"), [on_disk(before), on_disk(after)])
    with pytest.raises(O2cbError, match=words):
        come_online(system)
    assert system.log == []


def test_a_live_peer_out_of_reach_is_refused_before_the_first_step():
    system = FakeSystem(Have("n1"), [on_disk(beat(2)), on_disk(beat(2, 1004))], cut_off=frozenset((2,)))
    with pytest.raises(O2cbError, match=r"n2 \(10\.0\.0\.2:7777\) is live and cannot be reached") as refusal:
        come_online(system)
    assert system.log == []
    assert not isinstance(refusal.value, online.Refused), "it may be tried again"


def test_a_crashed_peer_need_not_be_within_reach():
    system = FakeSystem(Have("n1"), [on_disk(beat(2))], cut_off=frozenset((2,)))
    come_online(system)
    assert system.have.live is not None
    assert system.have.live.online


@pytest.mark.parametrize("relic", [beat(1), beat(2, threshold=61), beat(1, threshold=61, generation=0)])
def test_what_a_crash_left_on_disk_is_no_conflict(relic):
    system = FakeSystem(Have("n1"), [on_disk(relic)])
    come_online(system)
    assert system.have.live is not None
    assert system.have.live.online


# its own earlier life


def test_a_node_that_crashed_ends_its_earlier_life_before_the_first_step(clock):
    system, said = FakeSystem(Have("n1"), [on_disk(beat(1), beat(2, generation=0))]), []
    online.carry_out(system, plan.plan(system.read(), LAB), say=said.append)
    assert system.log[0] == f"write slot 1 of region {UUID}"
    assert system.have.live is not None
    assert system.have.live.online
    assert said[0].startswith("n1 did not leave in good order")
    assert 12 < clock.now - 1000 < 14, "and it is not looked at twice"


@pytest.mark.parametrize("relic", [[], [beat(1, generation=0)]])
def test_a_node_that_left_in_good_order_or_never_was_there_writes_nothing_and_is_not_delayed(clock, relic):
    system = FakeSystem(Have("n1"), [on_disk(*relic)])
    come_online(system)
    assert not any(line.startswith("write slot") for line in system.log)
    assert clock.now == 1000


def test_a_node_does_not_beat_while_a_write_into_its_slot_has_not_returned():
    system = FakeSystem(Have("n1"), pending=True)
    with pytest.raises(O2cbError, match="that write has not returned: it may land when n1 lives again") as refusal:
        come_online(system)
    assert system.log == []
    assert not isinstance(refusal.value, online.Refused), "it may be tried again"


def test_a_region_that_is_added_to_a_running_node_is_treated_alike(clock):
    system = FakeSystem(Have("n1"))
    come_online(system)
    added = "C" * 32
    system.readings, system.log = [{added: {1: beat(1)}}], []
    come_online(system, replace(LAB, regions=(*LAB.regions, added)))
    assert (system.log[0], system.log[-1]) == (f"write slot 1 of region {added}", f"start region {added}")
    assert 12 < clock.now - 1000 < 14


def test_a_second_run_on_a_running_node_looks_at_no_slot(clock):
    system = FakeSystem(Have("n1"))
    come_online(system)
    system.readings, system.pending = [on_disk(beat(1))], True
    come_online(system)
    assert clock.now == 1000


def test_only_a_conflict_is_looked_at_twice():
    assert online.suspicious(on_disk(beat(1)), OWN, LAB)
    assert online.suspicious(on_disk(beat(2, threshold=30)), OWN, LAB)
    assert online.suspicious(on_disk(beat(9)), OWN, LAB), "nobody has the number 9"
    assert not online.suspicious(on_disk(beat(2)), OWN, LAB)
    assert not online.suspicious(on_disk(beat(1, generation=0)), OWN, LAB)


def test_a_live_machine_that_the_table_does_not_have_is_refused():
    with pytest.raises(O2cbError, match=r"node number 9 on region .*name it among the nodes"):
        online.refuse_conflicts(on_disk(beat(9)), on_disk(beat(9, 1004)), OWN, LAB)


def test_a_failure_from_the_first_beat_on_takes_the_node_offline_again():
    system = FakeSystem(Have("n1", unit="inactive"), fails_at=Verb.START_UNIT)
    with pytest.raises(O2cbError, match=r"^EIO at o2cb\.service$"):
        come_online(system)
    assert system.log[-5:] == LEFT
    assert system.have.live is None


def test_a_failure_before_the_first_beat_leaves_a_node_that_was_online_as_it_was():
    system = FakeSystem(Have("n1"))
    come_online(system)
    system.fails_at, system.log = Verb.STOP_REGION, []
    with pytest.raises(O2cbError, match="EIO at A"):
        come_online(system, replace(LAB, nodes=(replace(OWN, port=7778), PEER)))
    assert system.log == ["write /etc/ocfs2/cluster.conf"]
    assert system.have.live is not None
    assert system.have.live.online


def test_a_missing_region_stops_everything_before_the_first_step():
    system = FakeSystem(Have("n1"), missing="region A is on no block device here")
    with pytest.raises(O2cbError, match="no block device"):
        come_online(system)
    assert system.log == []


def test_a_region_that_is_still_to_be_formatted_is_never_written_to_a_file():
    system = FakeSystem(Have("n1"))
    with pytest.raises(O2cbError, match="pending:/dev/mapper/hb9 is a region of check mode only"):
        come_online(system, replace(LAB, regions=(UUID, "pending:/dev/mapper/hb9")))
    assert system.log == []


def test_an_online_change_needs_no_checks():
    system = FakeSystem(Have("n1"))
    come_online(system)
    system.readings = [on_disk(beat(1), beat(2)), on_disk(beat(1, 1004), beat(2, 1004))]
    come_online(system, replace(LAB, regions=(*LAB.regions, "C" * 32)))
    assert system.log[-1] == "start region " + "C" * 32
