# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bus on real nodes: one order everywhere, and nothing that was acknowledged is lost, whatever dies.

On each node one program sends and one records what comes (referee/talker.py). In the end the records are compared.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from faults.conftest import REFEREE, SETTINGS
from faults.controller import Controller, wait_until
from faults.referee.remote import wait_for
from lab.node import Node

MESSAGES = int(os.environ.get("O2_BUS_MESSAGES", "20000"))
NODE_KILLS = int(os.environ.get("O2_BUS_NODE_KILLS", "50"))
AGENT_KILLS = int(os.environ.get("O2_BUS_AGENT_KILLS", "50"))

DEAD_SECONDS = SETTINGS["o2cb_heartbeat_dead_threshold"] * 2
BACK_SECONDS = 200.0
LOG, SENT = "/root/bus.log", "/root/sent.log"
ON_BUS = "o2ctl members --json | grep -q '\"on_bus\": true'"


@dataclass
class Record:
    """What was written down on one node."""

    node: str
    orders: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """Id and digest of a message by history and position."""

    streams: list[tuple[str, int, int]] = field(default_factory=list)
    """History, first and last position of what was recorded without a gap."""

    events: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def read(node: Node) -> Record:
    """The records of a node, with the rules that each of them keeps by itself."""
    found = Record(node.name)
    history, last = "", 0
    for line in node.run(f"cat {LOG} 2>/dev/null", timeout=120).stdout.splitlines():
        kind, _space, rest = line.partition(" ")
        if kind == "S":
            history, position, _members = rest.split(" ", 2)
            last = int(position)
            found.streams.append((history, last, last))
        elif kind == "M":
            position, _sender, name, digest = rest.split()
            assert int(position) > last, f"{node.name}: position {position} after {last}"
            last = int(position)
            found.orders[history, last] = (name, digest)
            found.streams[-1] = (history, found.streams[-1][1], last)
        elif kind == "E":
            found.events.append(json.loads(rest))
    for line in node.run(f"cat {SENT} 2>/dev/null", timeout=120).stdout.splitlines():
        words = line.split()
        if words[0] == "A":
            found.acknowledged[words[1]] = int(words[2])
        elif words[0] == "U":
            found.unknown.append(words[1])
    return found


def compare(records: list[Record]) -> dict[str, Any]:
    """Assert that all have the same order, without a gap, a loss or a duplicate."""
    order: dict[tuple[str, int], tuple[str, str]] = {}
    for record in records:
        for place, message in record.orders.items():
            assert order.setdefault(place, message) == message, f"{record.node}, {place}: {message}, {order[place]}"
    seen: dict[str, tuple[str, int]] = {}
    for place in sorted(order):
        name = order[place][0]
        assert name not in seen, f"{name} is at {seen[name]} and at {place}"
        seen[name] = place
    for record in records:
        for history, first, last in record.streams:
            inside = {place for place in order if place[0] == history and first < place[1] <= last}
            missing = inside - record.orders.keys()
            assert not missing, f"{record.node} lacks {sorted(missing)[:3]} of {len(inside)}"
        for name, position in record.acknowledged.items():
            assert name in seen, f"{name} was acknowledged at {position} and is nowhere"
            assert seen[name][1] == position, f"{name} is at {seen[name]}, and its sender was told {position}"
    last_number: dict[str, int] = defaultdict(lambda: -1)
    for place in sorted(order):
        sender, _dash, number = order[place][0].rpartition("-")
        assert int(number) > last_number[sender], f"{order[place][0]} after {last_number[sender]}"
        last_number[sender] = int(number)
    return {
        "messages": len(order),
        "acknowledged": sum(len(record.acknowledged) for record in records),
        "unknown": sum(len(record.unknown) for record in records),
        "histories": sorted({place[0] for place in order}),
    }


@pytest.fixture(scope="session")
def agents(controller: Controller, provisioned: list[Node]) -> list[Node]:
    """The nodes, with o2agent and no resources."""
    controller.play("ocfs2.o2cb.resources", o2cb_locks=True, o2cb_agent_purge=True)
    return provisioned


@pytest.fixture
def hosts(agents: list[Node]) -> Iterator[list[Node]]:
    """The nodes, all on the bus, before and after."""
    text = (REFEREE / "talker.py").read_text(encoding="utf-8")
    for node in agents:
        hush(node)
        node.run(f"rm -f {LOG} {SENT}; cat > /root/talker.py && sync", stdin=text, timeout=60, check=True)
    wait_until_all_are_up(agents)
    yield agents
    for node in agents:
        hush(node)


def hush(node: Node, verb: str = "") -> None:
    """End what talks, or what records too. The pattern does not match the shell that it is given to."""
    node.run(f"pkill -f '/root/[t]alker.py {verb}'", timeout=60)


def members(node: Node) -> dict[str, Any]:
    done = node.run("o2ctl members --json", timeout=30)
    found: dict[str, Any] = json.loads(done.stdout) if done.ok else {"members": []}
    return found


def up(node: Node) -> set[int]:
    return {one["node"] for one in members(node)["members"] if one["state"] == "up"}


def wait_until_all_are_up(nodes: list[Node], seconds: float = BACK_SECONDS) -> None:
    everyone = {node.number for node in nodes}
    wait_until(
        lambda: all(up(node) == everyone for node in nodes),
        seconds,
        lambda: f"{[(node.name, members(node)) for node in nodes]}",
    )


def begin(node: Node, words: str) -> None:
    node.run(f"setsid -f python3 /root/talker.py {words} > /root/talker.out 2>&1 < /dev/null", timeout=60, check=True)


def record(nodes: list[Node]) -> None:
    for node in nodes:
        begin(node, f"record {LOG} t")
    for node in nodes:
        wait_for(node, f"grep -q ^S {LOG}", 30)


def talk(nodes: list[Node], count: int, most: int = 2000, window: int = 4, pace: float = 0.02, seed: int = 0) -> None:
    for node in nodes:
        begin(node, f"send {SENT} t {seed} {count} 0 {most} {window} {pace}")


@contextmanager
def talking(nodes: list[Node], **more: Any) -> Iterator[None]:
    """All send and record until the end of the block; then the records are compared."""
    record(nodes)
    talk(nodes, 10**9, **more)
    yield
    for node in nodes:
        hush(node, "send")
    time.sleep(2)
    print(compare([read(node) for node in nodes]), flush=True)


def sequencer(nodes: list[Node]) -> Node:
    found = {members(node).get("sequencer") for node in nodes} - {None}
    return next(node for node in nodes if node.number in found)


def progress(nodes: list[Node]) -> list[int]:
    """How many messages each has recorded."""
    return [int(node.run(f"grep -c ^M {LOG}", timeout=60).stdout or 0) for node in nodes]


def wait_for_progress(nodes: list[Node], seconds: float, more: int = 20) -> float:
    """Until each has recorded so many more messages; how long that took."""
    before, began = progress(nodes), time.monotonic()
    wait_until(
        lambda: all(now >= then + more for now, then in zip(progress(nodes), before, strict=True)),
        seconds,
        lambda: f"{before}, {progress(nodes)}: {[members(node).get('waits') for node in nodes]}",
    )
    return time.monotonic() - began


def tell(what: str, pauses: list[float]) -> None:
    median, most = statistics.median(pauses), max(pauses)
    print(f"{what} {len(pauses)} times: the others go on after median {median:.1f}, max {most:.1f} s", flush=True)


def test_three_senders_have_one_order_on_all_nodes(hosts: list[Node]) -> None:
    record(hosts)
    talk(hosts, MESSAGES, most=60000, window=16, pace=0)
    for node in hosts:
        wait_for(node, f"grep -q ^D {SENT}", 60 + MESSAGES / 2)
    time.sleep(2)
    found = compare([read(node) for node in hosts])
    print(found, flush=True)
    assert found["messages"] == found["acknowledged"] == 3 * MESSAGES
    digests = {node.run(f"grep ^M {LOG} | sha256sum", timeout=120).stdout for node in hosts}
    assert len(digests) == 1


def test_an_agent_that_is_killed_takes_nothing_with_it(hosts: list[Node]) -> None:
    """Killed at random moments: each in turn the sequencer's, and anybody's."""
    dice = random.Random(AGENT_KILLS)
    pauses = []
    with talking(hosts):
        for turn in range(AGENT_KILLS):
            victim = sequencer(hosts) if turn % 2 else dice.choice(hosts)
            time.sleep(dice.uniform(0, 2))
            victim.run("systemctl kill -s KILL --kill-who=main o2agent; systemctl reset-failed o2agent", timeout=60)
            pauses.append(wait_for_progress([node for node in hosts if node is not victim], 60))
            wait_for(victim, ON_BUS, 90)
    print(
        f"agent killed: others go on after median {statistics.median(pauses):.1f}, max {max(pauses):.1f} s", flush=True
    )


def test_a_node_that_is_killed_takes_nothing_with_it(hosts: list[Node]) -> None:
    dice = random.Random(NODE_KILLS)
    pauses = []
    with talking(hosts):
        for turn in range(NODE_KILLS):
            victim = sequencer(hosts) if turn % 2 else dice.choice(hosts)
            others = [node for node in hosts if node is not victim]
            time.sleep(dice.uniform(0, 2))
            victim.kill()
            pauses.append(wait_for_progress(others, DEAD_SECONDS + 60))
            downs = [event["event"] for event in read(others[0]).events if event.get("node") == victim.number]
            assert "agent_down" in downs
            victim.boot()
            wait_for(victim, ON_BUS, BACK_SECONDS)
            begin(victim, f"record {LOG} t")
            talk([victim], 10**9, seed=turn + 1)
            wait_until_all_are_up(hosts)
    print(
        f"node killed: others go on after median {statistics.median(pauses):.1f}, max {max(pauses):.1f} s", flush=True
    )


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


@pytest.mark.parametrize("seconds", [8, 120])
def test_a_node_that_is_cut_off_and_healed(hosts: list[Node], seconds: int) -> None:
    """Below o2cb's verdict nobody goes; beyond, the others go on without the one that is reset."""
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


def test_a_new_authority_under_load_loses_nothing(hosts: list[Node], controller: Controller) -> None:
    incarnations = [members(node)["incarnation"] for node in hosts]
    old = hosts[0].run("sha256sum < /etc/o2agent/tls/trusted.crt", check=True).stdout
    with talking(hosts):
        controller.play("ocfs2.o2cb.resources", o2cb_locks=True, o2cb_agent_renew_authority=True)
        controller.play("ocfs2.o2cb.resources", o2cb_locks=True)
        wait_for_progress(hosts, 60)
    assert [members(node)["incarnation"] for node in hosts] == incarnations
    new = {node.run("sha256sum < /etc/o2agent/tls/trusted.crt", check=True).stdout for node in hosts}
    assert len(new) == 1
    assert old not in new
    unknown = [name for node in hosts for name in read(node).unknown]
    assert unknown == []


def test_a_sick_agent_does_not_stop_the_others(hosts: list[Node]) -> None:
    """Its certificate has expired: the others refuse it, and it can be heard by nobody."""
    sick = sequencer(hosts)
    others = [node for node in hosts if node is not sick]
    expire = (
        "cd /etc/o2agent/tls && cp -p node.pem /root/node.pem && python3 - <<'EOF'\n"
        "import sys; sys.path.insert(0, '/usr/local/lib/ocfs2.o2cb/o2cb.pyz')\n"
        "from ocfs2_o2cb.agent import authority\n"
        f"open('/etc/o2agent/tls/node.pem', 'w').write(authority.issue({sick.number}, authority.have(), -1))\n"
        "authority.AUTHORITY\nEOF\n"
        "mv authority.pem /root/; systemctl kill -s KILL --kill-who=main o2agent"
    )
    back = "cd /etc/o2agent/tls && mv /root/node.pem node.pem && mv /root/authority.pem . && systemctl restart o2agent"
    with talking(hosts), sick.changed(expire, back):
        print(f"the others went on after {wait_for_progress(others, 90):.1f} s", flush=True)
        wait_until(
            lambda: (
                "expired" in sick.run("journalctl -t o2agent -n 50", timeout=30).stdout
                or "expired" in others[0].run("journalctl -t o2agent -n 50", timeout=30).stdout
            ),
            60,
            lambda: "nobody says that the certificate has expired",
        )
        wait_for_progress(others, 60)
        assert members(sick)["on_bus"] is False
    wait_until_all_are_up(hosts)


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
        wait_for(node, f"grep -q ^D {SENT}", 600)
    after = int(hosts[0].run(memory, check=True).stdout)
    found = compare([read(node) for node in hosts])
    assert found["messages"] == found["acknowledged"] == 3000
    assert after - before < 200 << 10, f"{before}, {after} KiB"
    print(f"{found}, {before} and {after} KiB", flush=True)
