# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the bus do on nodes: talk, write down what comes (referee/talker.py), and compare the records."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from faults.conftest import SETTINGS
from faults.controller import wait_until
from faults.referee.remote import wait_for
from lab.node import Node

TCP, COROSYNC = "tcp", "corosync"
PORTS = {TCP: 7778, COROSYNC: 5405}
PLAYBOOK = "ocfs2.o2cb.resources"
PLAY_SECONDS = 900.0

DEAD_SECONDS = SETTINGS["o2cb_heartbeat_dead_threshold"] * 2
BACK_SECONDS = 200.0
LOG, SENT = "/root/bus.log", "/root/sent.log"
END = " ;"
"""Of each line in them."""

ON_BUS = "o2ctl members --json | grep -q '\"on_bus\": true'"


def variables(transport: str) -> dict[str, Any]:
    """Of the playbook that brings the nodes agents without resources."""
    return {"o2cb_locks": True, "o2cb_agent_purge": True, "o2cb_agent_transport": transport}


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


def lines_of(node: Node, path: str, show: str = "cat") -> list[str]:
    """The whole lines of a file: a power cut leaves the beginning of one, and zeros."""
    text = node.run(f"{show} {path} 2>/dev/null", timeout=120).stdout
    return [line[: -len(END)] for line in text.replace("\0", "\n").split("\n") if line.endswith(END)]


def read(node: Node) -> Record:
    """The records of a node, with the rules that each of them keeps by itself."""
    found = Record(node.name)
    history, last = "", 0
    for line in lines_of(node, LOG):
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
    for line in lines_of(node, SENT):
        words = line.split()
        if words[0] == "A":
            found.acknowledged[words[1]] = int(words[2])
        elif words[0] == "U":
            found.unknown.append(words[1])
    return found


def told_of(node: Node, number: int) -> list[str]:
    """What one node was told of another, by the names of the events."""
    events = [json.loads(line[2:]) for line in lines_of(node, LOG, "grep -a ^E")]
    return [event["event"] for event in events if event.get("node") == number]


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
        wait_for(node, f"grep -aq ^S {LOG}", 30)


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
    return [int(node.run(f"grep -ac ^M {LOG}", timeout=60).stdout or 0) for node in nodes]


def wait_for_progress(nodes: list[Node], seconds: float, more: int = 20) -> float:
    """Until each has recorded so many more messages; how long that took."""
    before, began = progress(nodes), time.monotonic()
    wait_until(
        lambda: all(now >= then + more for now, then in zip(progress(nodes), before, strict=True)),
        seconds,
        lambda: f"{before}, {progress(nodes)}: {[members(node).get('waits') for node in nodes]}",
    )
    return time.monotonic() - began


@contextmanager
def going_on_without(victim: Node, others: list[Node], seconds: float, pauses: list[float]) -> Iterator[None]:
    """In the block an agent ends. The others are told so, each once, and go on; how long that took is noted."""
    before = [told_of(node, victim.number) for node in others]
    began = time.monotonic()
    yield

    def told() -> bool:
        now = [told_of(node, victim.number) for node in others]
        return all(new[len(old) :].count("agent_down") == 1 for new, old in zip(now, before, strict=True))

    wait_until(told, seconds, lambda: f"of {victim.name} they know {[members(node) for node in others]}")
    wait_for_progress(others, seconds)
    pauses.append(time.monotonic() - began)


def tell(what: str, pauses: list[float]) -> None:
    median, most = statistics.median(pauses), max(pauses)
    print(f"{what} {len(pauses)} times: the others go on after median {median:.1f}, max {most:.1f} s", flush=True)
