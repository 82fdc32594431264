# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2keep is upgraded, survives what systemd does to services, and goes down with many locks.

O2_LOAD_SECONDS is for how long nodes are upgraded under load (60), O2_MANY how many locks a node has at its shutdown
(10000).
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from faults import kernel
from faults.conftest import REFEREE
from faults.controller import wait_until
from faults.referee.remote import TAKES_A_LOCK, main_process, remotes, wait_for
from lab import Lab
from lab.node import Node

LOAD_SECONDS = int(os.environ.get("O2_LOAD_SECONDS", "60"))
MANY = int(os.environ.get("O2_MANY", "10000"))
CLIENTS = 8
PAUSE_SECONDS = 8.0
"""Between two upgrades of a node: more than a new o2keep needs for its first answer on a slow machine."""

AT_ONCE = 100
BLOCKS = iter(range(2**22, 2**23, 4096))
"""Blocks of the shared disk that the other suites do not use."""

UPGRADE = "systemctl kill --kill-who=main --signal=TERM o2keep"
"""As the role does it."""

SPOILER = "python3 /root/spoiler.py"


def upgrade_all(nodes: list[Node], until: float) -> int:
    """All nodes, one after another and again and again. How often in all."""
    done = 0
    while time.monotonic() < until:
        for node in nodes:
            node.run(UPGRADE, timeout=60, check=True)
            done += 1
            time.sleep(PAUSE_SECONDS / len(nodes))
    return done


def test_an_upgrade_under_load_refuses_nobody_and_no_token_falls(lab: Lab, players: list[Node]) -> None:
    """On each node 8 clients, each of which counts under a lock that three nodes want; and one waits for a lock."""
    offsets = [next(BLOCKS) for _client in range(CLIENTS)]
    for offset in offsets:
        players[0].run(
            f"dd if=/dev/zero of=/dev/mapper/data bs=4096 count=1 seek={offset // 4096} oflag=direct conv=notrunc",
            check=True,
        )

    def client(node: Node, offset: int) -> Any:
        command = f"timeout {LOAD_SECONDS + 300} python3 /root/player.py load {LOAD_SECONDS} {offset}"
        done = node.run(command, LOAD_SECONDS + 330)
        assert done.ok, f"{node.name}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    with remotes(players) as (holder, waiter, _third), ThreadPoolExecutor(3 * CLIENTS + 1) as pool:
        assert holder.ask(op="take", name="upgraded", wait=10)["held"]
        waits = pool.submit(waiter.ask, op="take", name="upgraded", wait=LOAD_SECONDS + 600)
        loads = [pool.submit(client, node, offset) for node in players for offset in offsets]
        upgrades = upgrade_all(players, time.monotonic() + LOAD_SECONDS)
        assert not waits.done(), f"somebody holds it, and who waits has an answer: {waits.result()}"
        assert holder.ask(op="release", name="upgraded", wait=10)["released"]
        assert waits.result()["held"], "who waits, waits through all upgrades"
        assert waiter.ask(op="release", name="upgraded", wait=10)["released"]
        results = [load.result() for load in loads]
    print(f"\n{upgrades} upgrades: {[result['done'] for result in results]} locks", flush=True)
    assert [result for result in results if result.get("refused") or result["unanswered"]] == []
    for number, offset in enumerate(offsets):
        verdict = json.loads(players[0].run(f"python3 /root/player.py verdict {offset}", check=True).stdout)
        assert verdict == {"value": sum(result["done"] for result in results[number::CLIENTS]), "falls": 0}


def test_rescue_mode_and_back_keeps_every_lock(players: list[Node]) -> None:
    """`systemctl isolate rescue.target` stops nearly everything; sshd is kept, so that somebody can look."""
    with remotes(players) as (holder, waiter, third):
        assert holder.ask(op="take", name="rescued", wait=10)["held"]
        for one in (waiter, third):
            one.ask(op="block", name="rescued")
    node = players[0]
    before = main_process(node)
    node.run("mkdir -p /run/systemd/system/ssh.service.d /run/systemd/system/rescue.service.d", check=True)
    node.run("printf '[Unit]\\nIgnoreOnIsolate=yes\\n' > /run/systemd/system/ssh.service.d/keep.conf", check=True)
    node.run(
        "printf '[Service]\\nExecStart=\\nExecStart=/bin/sleep 600\\nStandardInput=null\\n' "
        "> /run/systemd/system/rescue.service.d/no-console.conf; systemctl daemon-reload",
        check=True,
    )
    node.run("systemd-run --collect systemctl isolate rescue.target", timeout=120, check=True)
    wait_for(node, "systemctl is-active rescue.target", 120)
    assert "rescued" in node.run("o2ctl lock list", timeout=60, check=True).stdout
    assert main_process(node) == before, "o2keep was not even restarted"
    node.run("systemd-run --collect systemctl isolate multi-user.target", timeout=120, check=True)
    wait_for(node, "systemctl is-active multi-user.target o2cb", 180)
    assert "rescued" in node.run("o2ctl lock list", timeout=60, check=True).stdout
    refused = players[1].run("o2ctl lock hold rescued", timeout=60)
    assert refused.rc != 0
    node.run("o2ctl lock release rescued", timeout=60, check=True)
    wait_for(players[1], "o2ctl lock hold rescued --wait 5 && o2ctl lock release rescued", 60)
    node.run("rm -r /run/systemd/system/ssh.service.d /run/systemd/system/rescue.service.d; systemctl daemon-reload")


def test_a_node_with_many_locks_shuts_down_in_good_order_and_others_get_them(lab: Lab, players: list[Node]) -> None:
    node, other = players[0], players[1]
    with remotes([node]) as (holder,):
        began = time.monotonic()
        for first in range(0, MANY, AT_ONCE):
            names = [f"many{number}" for number in range(first, first + AT_ONCE)]
            assert holder.ask(op="take", names=names, wait=30)["held"]
        taken = time.monotonic() - began
    boots = node.boots()
    began = time.monotonic()
    node.run("systemd-run --collect --on-active=1 systemctl reboot", check=True)
    wait_until(lambda: node.boots() > boots, 300, lambda: f"{node.name} does not go down")
    down = time.monotonic() - began
    print(f"\n{MANY} locks: taken in {taken:.1f} s, down after {down:.1f} s", flush=True)
    for number in (0, MANY // 2, MANY - 1):
        wait_for(other, f"o2ctl lock hold many{number} --wait 5 && o2ctl lock release many{number}", 30)
    wait_for(node, TAKES_A_LOCK, 240)


@pytest.mark.parametrize("how", ["future", "truncated", "random"])
def test_a_slot_that_cannot_be_read_is_shown_and_released_by_its_name(players: list[Node], how: str) -> None:
    """What it is of stays held, all else is served."""
    node, other = players[0], players[1]
    node.put("/root/spoiler.py", (REFEREE / "spoiler.py").read_text(encoding="utf-8"))
    node.run("o2ctl lock hold good && o2ctl lock hold spoilt", timeout=60, check=True)
    print(node.run(f"{SPOILER} spoil spoilt {how}", timeout=60, check=True).stdout)
    node.run("systemctl kill --kill-who=main --signal=KILL o2keep", check=True)
    wait_for(node, "o2ctl keep status", 60)
    assert node.run("o2ctl lock hold another && o2ctl lock release another", timeout=60).ok
    assert [lock["name"] for lock in json.loads(node.run("o2ctl lock list --json", check=True).stdout)["locks"]] == [
        "good"
    ]
    status = node.run("o2ctl keep status", timeout=60, check=True).stdout
    slot = next(word.strip(",.:;") for word in status.split() if word.startswith("slot:"))
    assert other.run("o2ctl lock hold spoilt", timeout=60).rc != 0, "nobody knows who relies on it"
    assert other.run("o2ctl lock hold good", timeout=60).rc != 0
    leaves = node.run(f"/usr/bin/python3 {kernel.PROGRAM} offline", timeout=60)
    assert leaves.rc != 0
    assert slot in leaves.stderr, "a node with such a slot does not leave the cluster"
    node.run(f"o2ctl lock release {slot}", timeout=60, check=True)
    wait_for(other, "o2ctl lock hold spoilt --wait 5 && o2ctl lock release spoilt", 30)
    node.run("o2ctl lock release good", timeout=60, check=True)
    assert "slot:" not in node.run("o2ctl keep status", timeout=60, check=True).stdout


def test_a_bounded_service_of_root_passes_descriptors_beside_a_thousand_locks(players: list[Node]) -> None:
    """The kernel counts descriptors in flight by user, and refuses more than the sender's limit of files."""
    node = players[0]
    node.put("/root/spoiler.py", (REFEREE / "spoiler.py").read_text(encoding="utf-8"))
    with remotes([node]) as (holder,):
        for first in range(0, 1000, AT_ONCE):
            names = [f"flying{number}" for number in range(first, first + AT_ONCE)]
            assert holder.ask(op="take", names=names, wait=30)["held"]
        bounded = "systemd-run --wait --pipe --collect -p CapabilityBoundingSet=CAP_CHOWN -p LimitNOFILE=1024"
        assert node.run(f"{bounded} {SPOILER} pass 500", timeout=60, check=True).stdout.split() == ["500"]
        for first in range(0, 1000, AT_ONCE):
            names = [f"flying{number}" for number in range(first, first + AT_ONCE)]
            assert holder.ask(op="release", names=names, wait=30)["released"]


def test_a_root_file_system_that_is_read_only_stops_no_lock(players: list[Node]) -> None:
    node = players[0]
    node.run("echo u > /proc/sysrq-trigger; sleep 1; touch /x 2>&1", timeout=30)
    assert not node.run("touch /var/x").ok, "it is read-only now"
    try:
        for turn in range(5):
            node.run(f"o2ctl lock hold readonly{turn} && o2ctl lock release readonly{turn}", timeout=60, check=True)
    finally:
        node.run("mount -o remount,rw /", timeout=30, check=True)
