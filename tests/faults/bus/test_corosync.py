# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bus by way of corosync on real nodes: what corosync itself can do to it. All else is in test_order.py."""

from __future__ import annotations

import os
import time

import pytest

from faults.bus.traffic import (
    COROSYNC,
    PLAY_SECONDS,
    PLAYBOOK,
    members,
    sequencer,
    talking,
    tell,
    up,
    variables,
    wait_for_progress,
    wait_until_all_are_up,
)
from faults.conftest import SETTINGS
from faults.controller import Controller, wait_until
from lab import Lab
from lab.node import Node

KILLS = int(os.environ.get("O2_COROSYNC_KILLS", "10"))
BY_COROSYNC = variables(COROSYNC)


@pytest.fixture(scope="module")
def transport() -> str:
    return COROSYNC


def test_a_second_run_changes_nothing(agents: list[Node], controller: Controller) -> None:
    run = controller.play(PLAYBOOK, PLAY_SECONDS, **BY_COROSYNC)
    assert (run.rc, run.changes) == (0, []), run.output


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
        run = Controller(lab, **SETTINGS).play(PLAYBOOK, PLAY_SECONDS, **BY_COROSYNC)
        assert run.rc == 0, run.output
