# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bus on real nodes: one order everywhere, and nothing that was acknowledged is lost, whatever dies.

Each test runs over TCP and by way of corosync: O2_BUS_TRANSPORTS says over which.
"""

from __future__ import annotations

import json
import os
import random
import time

import pytest

from faults.bus.traffic import (
    BACK_SECONDS,
    COROSYNC,
    DEAD_SECONDS,
    LOG,
    ON_BUS,
    SENT,
    TCP,
    begin,
    compare,
    going_on_without,
    read,
    record,
    sequencer,
    talk,
    talking,
    tell,
    wait_for_progress,
    wait_until_all_are_up,
)
from faults.referee.remote import wait_for
from lab.node import Node

TRANSPORTS = os.environ.get("O2_BUS_TRANSPORTS", f"{TCP} {COROSYNC}").split()
MESSAGES = int(os.environ.get("O2_BUS_MESSAGES", "20000"))
NODE_KILLS = int(os.environ.get("O2_BUS_NODE_KILLS", "50"))
AGENT_KILLS = int(os.environ.get("O2_BUS_AGENT_KILLS", "50"))


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_nodes_send_and_have_one_order(hosts: list[Node]) -> None:
    record(hosts)
    talk(hosts, MESSAGES, most=60000, window=16, pace=0)
    for node in hosts:
        wait_for(node, f"grep -aq ^D {SENT}", 60 + MESSAGES / 2)
    time.sleep(2)
    found = compare([read(node) for node in hosts])
    print(found, flush=True)
    assert found["messages"] == found["acknowledged"] == len(hosts) * MESSAGES
    digests = {node.run(f"grep -a ^M {LOG} | sha256sum", timeout=120).stdout for node in hosts}
    assert len(digests) == 1


def test_an_agent_that_is_killed_takes_nothing_with_it(hosts: list[Node]) -> None:
    """Killed at random moments: each in turn the sequencer's, and anybody's."""
    dice = random.Random(AGENT_KILLS)
    pauses: list[float] = []
    with talking(hosts):
        for turn in range(AGENT_KILLS):
            victim = sequencer(hosts) if turn % 2 else dice.choice(hosts)
            time.sleep(dice.uniform(0, 2))
            with going_on_without(victim, [node for node in hosts if node is not victim], 60, pauses):
                victim.run("systemctl kill -s KILL --kill-who=main o2agent; systemctl reset-failed o2agent", timeout=60)
            wait_for(victim, ON_BUS, 90)
    tell("agent killed", pauses)


def test_a_node_that_is_killed_takes_nothing_with_it(hosts: list[Node]) -> None:
    dice = random.Random(NODE_KILLS)
    pauses: list[float] = []
    with talking(hosts):
        for turn in range(NODE_KILLS):
            victim = sequencer(hosts) if turn % 2 else dice.choice(hosts)
            others = [node for node in hosts if node is not victim]
            time.sleep(dice.uniform(0, 2))
            with going_on_without(victim, others, DEAD_SECONDS + 60, pauses):
                victim.kill()
            victim.boot()
            wait_for(victim, ON_BUS, BACK_SECONDS)
            begin(victim, f"record {LOG} t")
            talk([victim], 10**9, seed=turn + 1)
            wait_until_all_are_up(hosts)
    tell("node killed", pauses)


@pytest.mark.parametrize("seconds", [5, 40])
def test_a_node_that_is_frozen_and_thaws(hosts: list[Node], seconds: int) -> None:
    """Below the dead time it goes on where it was; beyond, the others go on, and it comes back as a new incarnation."""
    victim = sequencer(hosts)
    others = [node for node in hosts if node is not victim]
    boots = victim.boots()
    with talking(hosts):
        time.sleep(2)
        victim.freeze()
        time.sleep(seconds)
        if seconds > DEAD_SECONDS:
            wait_for_progress(others, 60)
        victim.thaw()
        if seconds > DEAD_SECONDS:
            victim.wait_for_boot(boots)
        wait_for_progress(others, 60)
        wait_for(victim, ON_BUS, BACK_SECONDS)
        wait_until_all_are_up(hosts)


@pytest.mark.parametrize("seconds", [8, 12, 120])
def test_a_node_that_is_cut_off_and_healed(hosts: list[Node], seconds: int) -> None:
    """Below o2cb's verdict nobody goes, though after 12 s o2net has given the connection up, and corosync has split;
    beyond, the others go on without the one that is reset."""
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


def test_a_rolling_restart_under_load_loses_nothing(hosts: list[Node]) -> None:
    with talking(hosts):
        for node in hosts * 2:
            node.run("systemctl restart o2agent", timeout=60, check=True)
            wait_for(node, ON_BUS, 90)
            wait_for_progress(hosts, 60)


def test_a_reader_that_never_reads_is_let_go_and_nobody_waits_for_it(hosts: list[Node]) -> None:
    program = (
        "import socket, time; s = socket.socket(socket.AF_UNIX); s.connect('/run/o2agent/socket'); "
        's.sendall(b\'{"op": "listen", "channels": null}\\n\'); time.sleep(600)'
    )
    hosts[0].run(f"setsid -f python3 -c {json.dumps(program)} < /dev/null > /dev/null 2>&1", timeout=30, check=True)
    record(hosts)
    memory = "ps -o rss= -p $(systemctl show -p MainPID --value o2agent)"
    before = int(hosts[0].run(memory, check=True).stdout)
    talk(hosts, 1000, most=60000, window=16, pace=0)
    for node in hosts:
        wait_for(node, f"grep -aq ^D {SENT}", 600)
    after = int(hosts[0].run(memory, check=True).stdout)
    found = compare([read(node) for node in hosts])
    assert found["messages"] == found["acknowledged"] == 3000
    assert after - before < 200 << 10, f"{before}, {after} KiB"
    print(f"{found}, {before} and {after} KiB", flush=True)
