# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bus by way of corosync on real nodes: what test_bus.py asks of TCP, and what corosync itself can do to it.

Afterwards the agents are on TCP again, as before.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from faults.conftest import REFEREE, SETTINGS
from faults.controller import Controller, wait_until
from faults.referee.remote import wait_for
from faults.test_bus import (
    BACK_SECONDS,
    DEAD_SECONDS,
    LOG,
    ON_BUS,
    SENT,
    begin,
    compare,
    hush,
    members,
    read,
    record,
    sequencer,
    talk,
    talking,
    up,
    wait_for_progress,
    wait_until_all_are_up,
)
from lab import Lab
from lab.node import Node

MESSAGES = int(os.environ.get("O2_COROSYNC_MESSAGES", "2000"))
KILLS = int(os.environ.get("O2_COROSYNC_KILLS", "3"))

GONE_SECONDS = 2.2 * 3.0
"""So long corosync takes to find that a node is gone, with the token that the role writes."""

PLAYBOOK = "ocfs2.o2cb.resources"
VARIABLES: dict[str, Any] = {"o2cb_locks": True, "o2cb_agent_purge": True}
BY_COROSYNC = {**VARIABLES, "o2cb_agent_transport": "corosync"}
PLAY_SECONDS = 900.0


@pytest.fixture(scope="module")
def agents(controller: Controller, provisioned: list[Node]) -> Iterator[list[Node]]:
    """The nodes, with agents on corosync."""
    run = controller.play(PLAYBOOK, PLAY_SECONDS, **BY_COROSYNC)
    assert run.rc == 0, run.output
    yield provisioned
    run = controller.play(PLAYBOOK, PLAY_SECONDS, **VARIABLES)
    assert run.rc == 0, run.output
    controller.module("corosync", {"state": "absent"})


@pytest.fixture
def hosts(agents: list[Node]) -> Iterator[list[Node]]:
    """The nodes, all on the bus, before and after."""
    text = (REFEREE / "talker.py").read_text(encoding="utf-8")
    for node in agents:
        hush(node)
        node.run(f"rm -f {LOG} {SENT}; cat > /root/talker.py", stdin=text, timeout=60, check=True)
    wait_until_all_are_up(agents)
    yield agents
    for node in agents:
        hush(node)


def others_than(victim: Node, nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node is not victim]


def tell(what: str, pauses: list[float]) -> None:
    print(
        f"{what} {len(pauses)} times: the others go on after {', '.join(f'{one:.1f}' for one in pauses)} s", flush=True
    )


def test_a_second_run_changes_nothing(agents: list[Node], controller: Controller) -> None:
    run = controller.play(PLAYBOOK, PLAY_SECONDS, **BY_COROSYNC)
    assert (run.rc, run.changes) == (0, []), run.output


def test_three_senders_have_one_order_on_all_nodes(hosts: list[Node]) -> None:
    record(hosts)
    began = time.monotonic()
    talk(hosts, MESSAGES, most=60000, window=16, pace=0)
    for node in hosts:
        wait_for(node, f"grep -q ^D {SENT}", 120 + MESSAGES / 2)
    taken = time.monotonic() - began
    time.sleep(2)
    found = compare([read(node) for node in hosts])
    print(f"{found}, in {taken:.0f} s", flush=True)
    assert found["messages"] == found["acknowledged"] == 3 * MESSAGES
    assert len({node.run(f"grep ^M {LOG} | sha256sum", timeout=120).stdout for node in hosts}) == 1


def test_a_corosync_that_is_killed_comes_back_and_nothing_is_lost(hosts: list[Node]) -> None:
    incarnations = [members(node)["incarnation"] for node in hosts]
    pauses = []
    with talking(hosts):
        for turn in range(KILLS):
            victim = sequencer(hosts) if turn % 2 else hosts[turn % 3]
            time.sleep(1)
            victim.run("systemctl kill -s KILL corosync", timeout=60, check=True)
            pauses.append(wait_for_progress(hosts, 90))
            wait_until_all_are_up(hosts)
    tell("corosync killed", pauses)
    assert [members(node)["incarnation"] for node in hosts] == incarnations, "no agent had to begin anew"


def test_a_corosync_that_stands_still_does_not_stop_the_agent(hosts: list[Node]) -> None:
    victim = hosts[1]
    before = members(victim)["incarnation"]
    pid = victim.run("systemctl show --property MainPID --value o2agent", check=True).stdout
    with talking(hosts):
        time.sleep(1)
        with victim.changed("systemctl kill -s STOP corosync", "systemctl kill -s CONT corosync"):
            deadline = time.monotonic() + 25
            while time.monotonic() < deadline:
                assert victim.run("o2ctl agent status", timeout=10).ok, "the agent answers all the time"
                time.sleep(1)
            assert members(victim)["waits"], "and says what it waits for"
            print(members(victim)["waits"], members(hosts[0])["waits"], flush=True)
        wait_for_progress(hosts, 120)
        wait_until_all_are_up(hosts)
    assert victim.run("systemctl show --property MainPID --value o2agent", check=True).stdout == pid
    assert members(victim)["incarnation"] == before


def test_an_agent_that_is_killed_takes_nothing_with_it(hosts: list[Node]) -> None:
    dice = random.Random(KILLS)
    pauses = []
    with talking(hosts):
        for turn in range(KILLS):
            victim = sequencer(hosts) if turn % 2 == 0 else dice.choice(hosts)
            time.sleep(dice.uniform(0, 2))
            victim.run("systemctl kill -s KILL --kill-who=main o2agent; systemctl reset-failed o2agent", timeout=60)
            pauses.append(wait_for_progress(others_than(victim, hosts), 60))
            wait_for(victim, ON_BUS, 90)
            wait_until_all_are_up(hosts)
    tell("agent killed", pauses)


def test_a_node_that_is_killed_takes_nothing_with_it(hosts: list[Node]) -> None:
    pauses = []
    with talking(hosts):
        for turn in range(KILLS):
            victim = sequencer(hosts) if turn % 2 == 0 else hosts[turn % 3]
            others = others_than(victim, hosts)
            time.sleep(1)
            victim.kill()
            pauses.append(wait_for_progress(others, DEAD_SECONDS + 60))
            assert "agent_down" in [one["event"] for one in read(others[0]).events if one.get("node") == victim.number]
            victim.boot()
            wait_for(victim, ON_BUS, BACK_SECONDS)
            begin(victim, f"record {LOG} t")
            talk([victim], 10**9, seed=turn + 1)
            wait_until_all_are_up(hosts)
    tell("node killed", pauses)


@pytest.mark.parametrize("seconds", [GONE_SECONDS + 5, 120])
def test_a_node_that_is_cut_off_and_healed(hosts: list[Node], seconds: float) -> None:
    """Below o2cb's verdict corosync has split and merges again with the same processes: nobody goes, nothing is lost.
    Beyond it, the others go on without the one that is reset."""
    victim = hosts[2]
    others = hosts[:2]
    boots = victim.boots()
    with talking(hosts):
        time.sleep(2)
        victim.cut()
        began = time.monotonic()
        if seconds > 60:
            wait_for_progress(others, 150)
            print(f"cut off: the others went on after {time.monotonic() - began:.0f} s", flush=True)
            victim.heal()
            victim.wait_for_boot(boots)
        else:
            time.sleep(seconds)
            victim.heal()
        wait_for_progress(others, 90)
        wait_for(victim, ON_BUS, BACK_SECONDS)
        wait_until_all_are_up(hosts)
    if seconds < 60:
        assert victim.boots() == boots
        said = others[0].run("journalctl -t o2agent --no-pager --since -3min", timeout=60).stdout
        assert f"the link with {victim.name} ended" in said


def test_a_token_that_does_not_fit_is_refused(agents: list[Node], controller: Controller) -> None:
    run = controller.play(PLAYBOOK, PLAY_SECONDS, **BY_COROSYNC, o2cb_agent_corosync_token=5000)
    assert "o2cb_agent_corosync_token to less than" in str(run.failures), run.output


def test_another_token_is_a_reload_and_no_agent_notices(hosts: list[Node], controller: Controller) -> None:
    incarnations = [members(node)["incarnation"] for node in hosts]
    with talking(hosts):
        run = controller.play(PLAYBOOK, PLAY_SECONDS, **BY_COROSYNC, o2cb_agent_corosync_token=3500)
        assert run.rc == 0, run.output
        wait_for_progress(hosts, 60)
    for node in hosts:
        found = node.run("corosync-cmapctl -g runtime.config.totem.token", check=True).stdout
        assert found.split()[-1] == "3500"
    assert [members(node)["incarnation"] for node in hosts] == incarnations


def test_node_number_zero_is_on_the_bus_like_any_other(lab: Lab, agents: list[Node]) -> None:
    """corosync has no node 0. The number of the last node is changed, for which the whole cluster goes offline."""
    path = lab.inventory.with_name("zero.yml")
    path.write_text(f"nodes:\n  hosts:\n    {agents[2].name}:\n      o2cb_node_number: 0\n", encoding="utf-8")
    try:
        controller = Controller(lab, [path], **SETTINGS)
        run = controller.play(PLAYBOOK, PLAY_SECONDS, **BY_COROSYNC)
        assert run.rc == 0, run.output
        wait_until(
            lambda: all(up(node) == {0, 1, 2} for node in agents), 120, lambda: f"{[members(node) for node in agents]}"
        )
        assert "nodeid: 255" in agents[0].run("cat /etc/corosync/corosync.conf", check=True).stdout
        for node in agents:
            node.run("o2ctl send t hello", timeout=60, check=True)
    finally:
        path.unlink()
