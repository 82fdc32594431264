# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fifteen operations of a clvmd-like daemon on real nodes, and the small clvmd of docs/examples under faults."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from faults.bus.traffic import ON_BUS
from faults.conftest import REFEREE
from faults.controller import Controller, wait_until
from faults.referee.remote import Remote, wait_for
from lab import Lab
from lab.node import Node

MESSAGES = int(os.environ.get("O2_OPS_MESSAGES", "500"))
CHANGES = int(os.environ.get("O2_OPS_CHANGES", "10"))
NODE_KILLS = int(os.environ.get("O2_OPS_NODE_KILLS", "10"))
PROGRAM_KILLS = int(os.environ.get("O2_OPS_PROGRAM_KILLS", "10"))

EXAMPLE = Path(__file__).parents[3] / "docs/examples/clvmd_like.py"
UNIT = """[Unit]
After=o2agent.service
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 /root/clvmd_like.py serve
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
"""

NL, CR, _CW, PR, PW, EX = range(6)
NOQUEUE, CONVERT = 1, 4
COMPATIBLE = {(NL, other) for other in (NL, CR, PR, PW, EX)} | {(CR, CR), (CR, PR), (CR, PW), (PR, PR)}
"""The table of the VMS lock manager, each pair once."""

RESUME_SECONDS = 120.0
BACK_SECONDS = 240.0


@pytest.fixture(scope="session")
def equipped(lab: Lab, controller: Controller, provisioned: list[Node]) -> list[Node]:
    """The nodes, with agents, the operator and the small clvmd."""
    controller.play("ocfs2.o2cb.resources", o2cb_locks=True, o2cb_agent_purge=True)
    for node in provisioned:
        node.run("systemctl stop clvmd_like; true", timeout=60)
        for source, target in (
            ((REFEREE / "operations.py").read_text(encoding="utf-8"), "/root/operations.py"),
            (EXAMPLE.read_text(encoding="utf-8"), "/root/clvmd_like.py"),
            (UNIT, "/etc/systemd/system/clvmd_like.service"),
        ):
            node.put(target, source)
        node.run("systemctl daemon-reload", check=True, timeout=60)
    for node in provisioned:
        wait_for(node, ON_BUS, BACK_SECONDS)
    return provisioned


@pytest.fixture
def operators(equipped: list[Node]) -> Iterator[list[Remote]]:
    """One on each node, which know one another."""
    with ExitStack() as stack:
        found = []
        for node in equipped:
            remote = Remote(node, "python3 /root/operations.py opstest")
            stack.callback(remote.close)
            found.append(remote)

        def complete() -> bool:
            return all(remote.ask(op="look", wait=120)["code"] == 0 for remote in found)

        wait_until(complete, 120, lambda: "not all know all")
        yield found


def recorded(remote: Remote) -> list[Any]:
    order: list[Any] = remote.ask(op="record")["order"]
    return order


# the operations


def test_all_operations_say_the_same_on_all_nodes(operators: list[Remote]) -> None:
    for number, remote in enumerate(operators, 1):
        found = remote.ask(op="look")
        assert (found["us"], found["csid"]) == (number, f"{number:08x}")
        assert found["names"] == ["node1", "node2", "node3"]
        assert found["back"] == [1, 2, 3]
        assert found["nodes"] == {"1": True, "2": True, "3": True}
        assert (found["count"], found["code"], found["quorate"]) == (3, 0, True)
        assert found["cluster"] == "lab"
        assert found["fd"] > 2
    operators[2].ask(op="close")
    wait_until(
        lambda: all(recorded(remote)[-1][1:3] == ["program", 3] for remote in operators[:2]),
        30,
        lambda: f"{[recorded(remote) for remote in operators[:2]]}",
    )
    assert operators[0].ask(op="look")["nodes"] == {"1": True, "2": True, "3": False}
    assert operators[0].ask(op="look")["code"] == -1


def test_messages_of_all_come_to_all_in_one_order(operators: list[Remote]) -> None:
    for number, remote in enumerate(operators, 1):
        remote.ask(op="send", texts=[f"{number}-{count}" for count in range(MESSAGES)])
    operators[0].ask(op="send", texts=["only for 2"], to=2)

    def messages(remote: Remote) -> list[Any]:
        return [told for told in recorded(remote) if told[1] == "message"]

    def got_all() -> bool:
        return all(sum(one[3] != "only for 2" for one in messages(remote)) == 3 * MESSAGES for remote in operators)

    wait_until(got_all, 120, lambda: f"{[len(messages(remote)) for remote in operators]}")
    orders = [messages(remote) for remote in operators]
    assert [one for one in orders[1] if one[3] == "only for 2"]
    orders[1] = [one for one in orders[1] if one[3] != "only for 2"]
    assert orders[0] == orders[1] == orders[2]
    positions = [one[0] for one in orders[0]]
    assert positions == sorted(set(positions))
    for remote in operators:
        assert all(not error for _position, error in remote.ask(op="record")["sent"])


def test_every_pair_of_modes_on_two_nodes_is_as_in_the_table(operators: list[Remote]) -> None:
    one, other, _third = operators
    for first, second in itertools.product((NL, CR, PR, PW, EX), repeat=2):
        held = one.ask(op="lock", resource="pair", mode=first)["lockid"]
        answer = other.ask(op="lock", resource="pair", mode=second, flags=NOQUEUE)
        fits = (first, second) in COMPATIBLE or (second, first) in COMPATIBLE
        assert ("lockid" in answer) == fits, (first, second, answer)
        if fits:
            other.ask(op="unlock", lockid=answer["lockid"])
        else:
            assert answer["errno"] == errno.EAGAIN
        one.ask(op="unlock", lockid=held)


def test_every_conversion_holds_what_it_says_to_the_other_nodes(operators: list[Remote]) -> None:
    one, other, _third = operators
    for old, new in itertools.product((NL, CR, PR, PW, EX), repeat=2):
        lockid = one.ask(op="lock", resource="conv", mode=old)["lockid"]
        answer = one.ask(op="lock", resource="conv", mode=new, flags=CONVERT | NOQUEUE, lockid=lockid)
        assert answer == {"lockid": lockid}, (old, new, answer)
        for tried in (CR, PR, PW, EX):
            probe = other.ask(op="lock", resource="conv", mode=tried, flags=NOQUEUE)
            fits = (new, tried) in COMPATIBLE or (tried, new) in COMPATIBLE
            assert ("lockid" in probe) == fits, (old, new, tried, probe)
            if fits:
                other.ask(op="unlock", lockid=probe["lockid"])
        one.ask(op="unlock", lockid=lockid)


def test_a_conversion_that_another_node_stands_in_the_way_of_changes_nothing(operators: list[Remote]) -> None:
    one, other, _third = operators
    mine = one.ask(op="lock", resource="rise", mode=PR)["lockid"]
    theirs = other.ask(op="lock", resource="rise", mode=PR)["lockid"]
    refused = one.ask(op="lock", resource="rise", mode=EX, flags=CONVERT, lockid=mine, seconds=2)
    assert refused["errno"] == errno.ETIMEDOUT
    other.ask(op="unlock", lockid=theirs)
    assert one.ask(op="lock", resource="rise", mode=EX, flags=CONVERT, lockid=mine)["lockid"] == mine
    assert other.ask(op="lock", resource="rise", mode=CR, flags=NOQUEUE)["errno"] == errno.EAGAIN
    one.ask(op="unlock", lockid=mine)


def test_a_node_that_dies_is_told_at_one_place_and_its_locks_go_to_who_waits(
    operators: list[Remote], equipped: list[Node]
) -> None:
    operators[2].ask(op="lock", resource="dying", mode=EX)
    operators[0].ask(op="begin", resource="dying", mode=EX, seconds=120)
    equipped[2].kill()
    started = time.monotonic()
    for number, remote in enumerate(operators[:2]):
        remote.ask(op="send", texts=[f"after {number}-{count}" for count in range(20)])
    try:
        wait_until(
            lambda: all(any(told[1] == "node_down" for told in recorded(remote)) for remote in operators[:2]),
            120,
            lambda: f"{[recorded(remote)[-5:] for remote in operators[:2]]}",
        )
        wait_until(lambda: bool(operators[0].ask(op="record")["locks"]), 120, lambda: "the lock was not got")
        print(f"node down and its lock got after {time.monotonic() - started:.1f} s")
        assert operators[0].ask(op="record")["locks"][0][1] == ""

        def all_came() -> bool:
            return all(sum("after" in told[3] for told in recorded(remote)) == 40 for remote in operators[:2])

        wait_until(all_came, 60, lambda: f"{[recorded(remote)[-5:] for remote in operators[:2]]}")
        orders = [[told for told in recorded(remote) if told[1] != "up"] for remote in operators[:2]]
        assert orders[0] == orders[1]
    finally:
        back(equipped[2])


# the small clvmd


def back(node: Node) -> None:
    node.boot()
    wait_for(node, ON_BUS, BACK_SECONDS)


@pytest.fixture
def clvmds(equipped: list[Node]) -> Iterator[list[Node]]:
    """The nodes with the small clvmd on each, and one device that is as the metadata say."""
    for node in equipped:
        node.run("systemctl disable --now clvmd_like; dmsetup remove --force shared; true", timeout=90)
    equipped[0].run("python3 /root/clvmd_like.py format 8192", check=True, timeout=60)
    for node in equipped:
        node.run("systemctl enable --now clvmd_like", check=True, timeout=60)
    wait_for_all(equipped, lambda found: found == (8192, "ACTIVE"))
    yield equipped
    for node in equipped:
        if node.running():
            node.run("systemctl disable --now clvmd_like; dmsetup remove --force shared; true", timeout=90)


def device(node: Node) -> tuple[int, str]:
    """Its size and its state as the kernel of this node says; 0 where it is not there."""
    done = node.run("dmsetup table shared; dmsetup info -c --noheadings -o suspended shared", timeout=60)
    lines = done.stdout.split("\n")
    if not done.ok or len(lines) < 2 or not lines[0]:
        return 0, "none"
    return int(lines[0].split()[1]), lines[1].upper()


def wait_for_all(
    nodes: list[Node], true: Callable[[tuple[int, str]], bool], seconds: float = RESUME_SECONDS
) -> tuple[int, str]:
    """Until it is so on all, and the same on all."""
    seen: list[tuple[int, str]] = []

    def so() -> bool:
        seen[:] = [device(node) for node in nodes]
        return all(true(one) for one in seen) and len(set(seen)) == 1

    wait_until(so, seconds, lambda: f"{seen}: {[journal(node) for node in nodes]}")
    return seen[0]


def journal(node: Node) -> str:
    return node.run("journalctl -u clvmd_like -n 15 --no-pager -o cat", timeout=60).stdout


def change(node: Node, size: int, seconds: float = 0.0) -> dict[str, Any]:
    done = node.run(f"python3 /root/clvmd_like.py change {size} {seconds}", timeout=300)
    return json.loads(done.stdout) if done.stdout.strip() else {"error": f"no answer: {done.stderr}"}


def change_all(node: Node, sizes: list[int]) -> list[dict[str, Any]]:
    return [change(node, size) for size in sizes]


def until_a_change_is_possible(node: Node) -> None:
    """Every node that is up runs the program again, and the bus goes."""
    seen: list[dict[str, Any]] = []

    def possible() -> bool:
        seen.append(change(node, 8192))
        return not seen[-1]["error"]

    wait_until(possible, BACK_SECONDS, lambda: f"{seen[-1]}")


def test_changes_from_all_nodes_at_once_are_made_one_after_the_other(clvmds: list[Node]) -> None:
    until_a_change_is_possible(clvmds[0])
    before = change(clvmds[0], 8192)["generation"]
    sizes = {node.name: [8192 + 8 * (100 * node.number + count) for count in range(CHANGES)] for node in clvmds}
    started = time.monotonic()
    with ThreadPoolExecutor(len(clvmds)) as pool:
        work = [pool.submit(change_all, node, sizes[node.name]) for node in clvmds]
        answers = [answer for done in work for answer in done.result()]
    print(f"{len(answers)} changes in {time.monotonic() - started:.1f} s")
    assert [answer["error"] for answer in answers] == [""] * len(answers)
    assert len({answer["generation"] for answer in answers}) == len(answers)
    last = max(answers, key=lambda answer: answer["generation"])
    assert last["generation"] == before + len(answers)
    wait_for_all(clvmds, lambda found: found == (last["size"], "ACTIVE"))


FAILING = """#!/bin/sh
if [ "$1" = load ] && [ -e /run/fail-load ]; then rm /run/fail-load; echo "as the test wants" >&2; exit 1; fi
exec /usr/sbin/dmsetup "$@"
"""
"""Fails once: the new table cannot be loaded, the old one can again."""


def test_a_node_that_fails_makes_all_go_back(clvmds: list[Node]) -> None:
    until_a_change_is_possible(clvmds[0])
    bad = clvmds[1]
    bad.run("cat > /usr/local/sbin/dmsetup; chmod +x /usr/local/sbin/dmsetup", stdin=FAILING, check=True, timeout=60)
    try:
        bad.run("touch /run/fail-load", check=True, timeout=60)
        answer = change(clvmds[0], 16384)
    finally:
        bad.run("rm -f /usr/local/sbin/dmsetup /run/fail-load", check=True, timeout=60)
    assert "refresh on node2" in answer["error"]
    assert "as the test wants" in answer["error"]
    assert answer["size"] == 8192
    wait_for_all(clvmds, lambda found: found == (8192, "ACTIVE"))


def test_a_change_that_no_node_can_make_is_undone(clvmds: list[Node]) -> None:
    until_a_change_is_possible(clvmds[0])
    answer = change(clvmds[2], 1 << 40)
    assert "refresh on node3" in answer["error"]
    assert answer["size"] == 8192
    wait_for_all(clvmds, lambda found: found == (8192, "ACTIVE"))


@pytest.mark.parametrize("whose", ["coordinator", "participant"])
def test_a_node_killed_in_the_middle_of_a_change_leaves_nothing_suspended(clvmds: list[Node], whose: str) -> None:
    until_a_change_is_possible(clvmds[0])
    coordinator, victim = clvmds[0], clvmds[0 if whose == "coordinator" else 1]
    survivors = [node for node in clvmds if node is not victim]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(change, coordinator, 16384, 20.0)
        wait_until(lambda: device(clvmds[2])[1] == "SUSPENDED", 60, lambda: "no change began")
        victim.kill()
        started = time.monotonic()
        try:
            found = wait_for_all(survivors, lambda one: one[1] == "ACTIVE")
            print(f"{whose} killed: all resumed after {time.monotonic() - started:.1f} s with {found[0]}")
            assert found == (8192, "ACTIVE")
            if whose == "participant":
                assert "agent_down" in asked.result(120)["error"]
        finally:
            back(victim)
    wait_for_all(clvmds, lambda one: one == found, BACK_SECONDS)
    until_a_change_is_possible(survivors[0])


KILL = "kill -9 $(systemctl show -P MainPID {unit})"


def test_programs_and_agents_killed_at_random_moments_leave_nothing_suspended(clvmds: list[Node]) -> None:
    until_a_change_is_possible(clvmds[0])
    dice = random.Random(7)
    results: dict[str, int] = {"made": 0, "not made": 0}
    worst = 0.0
    for _turn in range(PROGRAM_KILLS):
        unit, victim, coordinator = dice.choice(("clvmd_like", "o2agent")), *dice.choices(clvmds, k=2)
        size = 8192 + 8 * dice.randrange(1000)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(change, coordinator, size, 0.5)
            time.sleep(dice.uniform(0, 3))
            victim.run(KILL.format(unit=unit), timeout=60)
            started = time.monotonic()
            answer = asked.result(400)
        results["not made" if answer["error"] else "made"] += 1
        found = wait_for_all(clvmds, lambda one: one[1] == "ACTIVE", BACK_SECONDS)
        worst = max(worst, time.monotonic() - started)
        assert found[0] == size or answer["error"], (answer, found)
        until_a_change_is_possible(coordinator)
    print(f"{PROGRAM_KILLS} kills: {results}, all resumed after at most {worst:.1f} s")


def test_nodes_killed_at_random_moments_leave_nothing_suspended(clvmds: list[Node]) -> None:
    dice = random.Random(11)
    worst = 0.0
    for _turn in range(NODE_KILLS):
        until_a_change_is_possible(clvmds[0])
        victim, coordinator = dice.choices(clvmds, k=2)
        survivors = [node for node in clvmds if node is not victim]
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(change, coordinator, 8192 + 8 * dice.randrange(1000), 0.3)
            time.sleep(dice.uniform(0, 3))
            victim.kill()
            started = time.monotonic()
            try:
                # Told down first: before that, the answer of one that is about to die is waited for.
                wait_for(survivors[0], f"o2ctl members | grep '^{victim.name} ' | grep -q 'node down'", 120)
                if coordinator is not victim:
                    asked.result(300)
                found = wait_for_all(survivors, lambda one: one[1] == "ACTIVE")
                worst = max(worst, time.monotonic() - started)
            finally:
                back(victim)
        assert wait_for_all(clvmds, lambda one: one[1] == "ACTIVE", BACK_SECONDS) == found
    print(f"{NODE_KILLS} kills: all resumed after at most {worst:.1f} s")
