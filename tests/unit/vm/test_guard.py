# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The calls in the order in which libvirt makes them: what is held afterwards, what is refused, what is said."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import guard, machine
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.guard import STARTING_SECONDS, Step, Verdict
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.machine import Machine
from ansible_collections.ocfs2.o2cb.tests.unit.vm.world import UUID, Node, World, xml

WEB = machine.parse(xml().encode())


class Lab(World):
    """Three nodes, and what their libvirts do with one machine."""

    def call(self, node: Node, operation: str, found: Machine = WEB) -> Verdict:
        verdict: Verdict = self.run(node, getattr(guard, operation)(found))
        return verdict

    def start(self, node: Node, found: Machine = WEB) -> Verdict:
        """As `virsh start`."""
        for operation in ("prepare", "start"):
            verdict = self.call(node, operation, found)
            if not verdict.allowed:
                assert self.call(node, "release").allowed
                return verdict
        self.launch(node)
        return verdict

    def end(self, node: Node) -> Verdict:
        node.pid = 0
        return self.call(node, "release")

    def receive(self, node: Node) -> Verdict:
        """As a destination, until the machine is there and paused."""
        verdict = self.call(node, "migrate")
        if not verdict.allowed:
            return verdict
        return self.start(node, machine.parse(verdict.output.encode()) if verdict.output else WEB)

    def settle(self, node: Node) -> list[str]:
        """One step of each unit that waits; what they say. Those that are done end."""
        results: list[tuple[int, Step]] = [
            (ending, self.run(node, guard.settle(WEB, ending))) for ending in node.settling
        ]
        node.settling = [ending for ending, step in results if not step.settled]
        return [step.text for _ending, step in results if step.text]

    def held(self) -> dict[str, int]:
        return {name[: -len(UUID)]: node.number for name, (node, _token, _since) in self.locks.items()}


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_machine_is_started_once_and_the_holder_is_named(lab):
    one, two, _three = lab.nodes
    assert lab.start(one).allowed
    refused = lab.start(two)
    assert refused == Verdict(False, f"virtual machine 'web' ({UUID}) is not started here: node 1 holds its lock")
    assert lab.held() == {"vm:": 1}, "a refused start is followed by a release, which touches nobody's lock"
    assert lab.end(one).allowed
    assert lab.held() == {}
    assert lab.start(two).allowed


def test_a_second_libvirt_of_the_same_node_is_refused_too(lab):
    one = lab.nodes[0]
    assert lab.start(one).allowed
    assert "process 1001 of this node runs it already" in lab.call(one, "prepare").text
    assert lab.call(one, "release").allowed
    assert lab.held() == {"vm:": 1}, "whoever runs keeps its lock"


def test_a_second_start_before_the_first_has_a_process_is_refused(lab):
    one = lab.nodes[0]
    assert lab.call(one, "prepare").allowed
    assert "node 1, this one, holds its lock" in lab.call(one, "prepare").text


def test_the_lock_of_a_dead_node_is_had(lab):
    one, two, _three = lab.nodes
    lab.start(one)
    lab.die(one)
    assert lab.start(two).allowed


def test_live_migration_hands_the_lock_over_with_no_gap(lab):
    one, two, three = lab.nodes
    lab.start(one)
    assert lab.receive(two).allowed
    assert lab.held() == {"vm:": 1, "vm-in:": 2}
    assert "being migrated to this node, or has been, and node 1 holds its lock" in lab.settle(two)[0]
    assert "node 1 holds its lock" in lab.receive(three).text
    assert lab.end(one).allowed
    assert lab.held() == {"vm-in:": 2}
    for refused in (lab.start(three), lab.receive(three), lab.start(one)):
        assert "node 2 is just starting or receiving it" in refused.text
    assert lab.settle(two) == []
    assert (lab.held(), two.settling) == ({"vm:": 2}, [])


def test_a_migration_that_fails_leaves_all_as_it_was(lab):
    one, two, three = lab.nodes
    lab.start(one)
    lab.receive(two)
    assert lab.end(two).allowed
    assert (lab.settle(two), lab.held(), two.settling) == ([], {"vm:": 1}, [])
    assert lab.receive(three).allowed


def test_a_migration_that_fails_before_its_start_is_forgotten_in_time_and_no_start_passes_for_it(lab):
    """libvirt makes no call then."""
    one, two, three = lab.nodes
    lab.start(one)
    permit = machine.parse(lab.call(two, "migrate").output.encode())
    assert "node 1 holds its lock" in lab.start(two).text, "an ordinary start does not pass for the migration"
    assert lab.receive(two).allowed, "it is tried again"
    lab.end(two)
    assert not lab.call(two, "start", permit).allowed, "an old permit is none"
    lab.call(two, "migrate")
    assert lab.settle(two) != []
    assert not lab.receive(three).allowed
    lab.now += STARTING_SECONDS
    assert lab.settle(two) == []
    assert lab.receive(three).allowed


def test_an_offline_migration_takes_nothing(lab):
    two = lab.nodes[1]
    assert lab.call(two, "migrate") == guard.ALLOWED
    assert (lab.held(), two.settling) == ({}, [])


def test_a_machine_of_a_node_without_the_guard_is_guarded_where_it_goes(lab):
    one, two, _three = lab.nodes
    lab.launch(one)
    assert lab.receive(two).allowed
    assert lab.held() == {"vm:": 2}


def test_when_the_source_dies_the_destination_gets_the_lock(lab):
    one, two, three = lab.nodes
    lab.start(one)
    lab.receive(two)
    lab.die(one)
    assert not lab.start(three).allowed
    assert lab.settle(two) == []
    assert lab.held() == {"vm:": 2}


def test_a_machine_that_outlives_its_end_keeps_its_lock_until_it_is_gone(lab):
    one, two, _three = lab.nodes
    lab.start(one)
    verdict = lab.call(one, "release")
    assert (verdict.allowed, verdict.alarm) == (True, True)
    assert "process 1001 of it lives: its lock stays held" in verdict.text
    assert not lab.start(two).allowed
    assert "process 1001 of it lives" in lab.settle(one)[0]
    one.pid = 0
    assert lab.settle(one) == []
    assert lab.start(two).allowed


def test_when_libvirt_starts_again_all_stays_as_it_is(lab):
    one = lab.nodes[0]
    lab.start(one)
    assert lab.call(one, "reconnect") == guard.ALLOWED
    assert (lab.held(), one.settling) == ({"vm:": 1}, [])


def test_a_machine_that_was_not_guarded_is_when_libvirt_starts_again(lab):
    one, two, _three = lab.nodes
    lab.launch(one)
    assert lab.call(one, "reconnect").allowed
    assert "node 1 holds its lock" in lab.start(two).text


def test_a_machine_that_runs_twice_raises_an_alarm_and_is_not_hindered(lab):
    one, two, _three = lab.nodes
    lab.launch(one)
    lab.start(two)
    verdict = lab.call(one, "reconnect")
    assert (verdict.allowed, verdict.alarm) == (True, True)
    assert "RUNS TWICE, or is about to: it runs on this node, and node 2 holds its lock" in verdict.text
    assert "RUNS TWICE" in lab.settle(one)[0]
    lab.end(two)
    assert lab.settle(one) == []
    assert lab.held() == {"vm:": 1}


def test_when_libvirt_starts_again_in_a_migration_it_is_waited_for_again(lab):
    one, two, _three = lab.nodes
    lab.start(one)
    lab.receive(two)
    two.settling.clear()
    assert lab.call(two, "reconnect") == guard.ALLOWED
    lab.end(one)
    assert lab.settle(two) == []
    assert lab.held() == {"vm:": 2}


def test_a_lock_that_was_left_behind_does_not_keep_the_machine_from_its_own_node(lab):
    """libvirt was killed between prepare and the start of QEMU."""
    one, two, _three = lab.nodes
    lab.call(one, "prepare")
    token = lab.locks[WEB.run][1]
    lab.now += STARTING_SECONDS
    assert "node 1 holds its lock" in lab.start(two).text
    assert lab.start(one).allowed
    assert lab.locks[WEB.run][1] > token
    lab.end(one)
    lab.call(one, "prepare")
    lab.now += STARTING_SECONDS
    assert lab.run(one, guard.settle(WEB)) == guard.SETTLED
    assert lab.held() == {}


def test_a_hook_that_was_killed_does_not_keep_the_machine_from_its_own_node(lab):
    one = lab.nodes[0]
    lab.locks[WEB.incoming] = (one, 7, lab.now)
    assert "just starting or receiving" in lab.start(one).text
    lab.locks[WEB.incoming] = (one, 7, lab.now - 10)
    assert lab.start(one).allowed


@pytest.mark.parametrize("seconds", [0, 300])
def test_qemu_is_not_launched_when_its_lock_is_gone_or_about_to_be(lab, seconds):
    one = lab.nodes[0]
    lab.call(one, "prepare")
    lab.now += seconds
    if not seconds:
        lab.locks.clear()
    assert "start it again" in lab.call(one, "start").text


@pytest.mark.parametrize("operation", ["prepare", "start", "migrate"])
def test_without_o2keep_nothing_starts(lab, operation):
    lab.nodes[0].keeper = False
    assert lab.call(lab.nodes[0], operation) == Verdict(False, "o2keep does not answer")


@pytest.mark.parametrize("when", range(1, 5))
@pytest.mark.parametrize("operation", ["prepare", "migrate"])
def test_when_o2keep_fails_in_the_middle_nothing_is_started_and_nothing_stays_for_long(lab, operation, when):
    one, two, _three = lab.nodes
    if operation == "migrate":
        lab.start(two)
    events = lab.steps(one, getattr(guard, operation)(WEB))
    verdict = None
    for number, event in enumerate(events, start=1):
        one.keeper = number != when
        verdict = event[1] if event else verdict
    one.keeper = True
    assert verdict is not None
    if not verdict.allowed:
        lab.call(one, "release")
    lab.now += STARTING_SECONDS
    lab.run(one, guard.settle(WEB))
    lab.settle(one)
    assert lab.held() == ({"vm:": 2} if operation == "migrate" else {})


def test_the_name_of_a_machine_means_nothing(lab):
    one, two, _three = lab.nodes
    lab.start(one)
    renamed = machine.parse(xml(UUID.upper(), "old-web").encode())
    assert not lab.start(two, renamed).allowed
