# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages come in one order everywhere, are answered by all, and all nodes are told who goes and comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from faults.controller import Controller, wait_until
from lab import Lab, Node

EACH = 20
"""Messages that each node sends."""

LOST_SECONDS = 150.0
"""For o2cb to evict a node, and o2dlm to recover its locks: the dead time is a minute."""


def members(node: Node) -> dict[str, Any]:
    done = node.run("o2ctl members --json", timeout=30)
    found: dict[str, Any] = json.loads(done.stdout) if done.ok else {"members": [], "on_bus": False}
    return found


def states(node: Node) -> dict[str, str]:
    return {one["name"]: one["state"] for one in members(node)["members"]}


def complete(nodes: list[Node]) -> bool:
    """Whether each node sees each up."""
    wanted = {node.name: "up" for node in nodes}
    return all(members(node)["on_bus"] and states(node) == wanted for node in nodes)


def wait_for_all(nodes: list[Node], seconds: float = 60) -> None:
    wait_until(lambda: complete(nodes), seconds, lambda: f"{[states(node) for node in nodes]}")


def events(node: Node) -> list[list[str]]:
    """What the program at events has written down on this node: event, name, number, incarnation, position, quorate."""
    return [line.split() for line in node.run("cat /run/events", timeout=30).stdout.splitlines()]


def forget_events(nodes: list[Node]) -> None:
    for node in nodes:
        node.run("rm -f /run/events", timeout=30, check=True)


@pytest.fixture(autouse=True)
def all_there(nodes: list[Node]) -> None:
    wait_for_all(nodes)


def test_all_nodes_agree_who_is_there(nodes: list[Node]) -> None:
    seen = [members(node) for node in nodes]
    assert [one["node"] for one in seen] == [node.number for node in nodes]
    assert {one["sequencer"] for one in seen} <= {node.number for node in nodes}
    assert len({one["sequencer"] for one in seen}) == 1
    assert len({tuple(row["incarnation"] for row in one["members"]) for one in seen}) == 1
    assert all(one["quorate"] and one["waits"] == [] for one in seen)


def test_messages_of_all_come_in_one_order_on_all(lab: Lab, nodes: list[Node]) -> None:
    count = EACH * len(nodes)
    listen = f"o2ctl listen order --events --json --count {count} > /run/order"

    def begin(node: Node) -> None:
        node.run(f"rm -f /run/order; systemd-run --quiet --unit=order sh -c '{listen}'", timeout=30, check=True)

    def has_begun() -> bool:
        return all(node.run("grep -q view /run/order", timeout=30).ok for node in nodes)

    def send(node: Node) -> None:
        one_after_the_other = f"for i in $(seq {EACH}); do o2ctl send order $i > /dev/null || exit 1; done"
        node.run(one_after_the_other, timeout=120, check=True)

    lab.each(begin)
    wait_until(has_begun, 60, lambda: "a listener has not begun")
    lab.each(send)
    wait_until(
        lambda: all(not node.run("systemctl is-active --quiet order", timeout=30).ok for node in nodes),
        60,
        lambda: "not all messages have come",
    )
    heard = []
    for node in nodes:
        lines = [json.loads(line) for line in node.run("cat /run/order", check=True).stdout.splitlines()]
        heard.append([(line["position"], line["name"], line["data"]) for line in lines if line["event"] == "message"])
    assert len(heard[0]) == count
    assert all(one == heard[0] for one in heard)
    for node in nodes:
        assert [data for _position, name, data in heard[0] if name == node.name] == [str(i + 1) for i in range(EACH)]
    assert sorted(heard[0]) == heard[0]


def test_each_node_answers(nodes: list[Node]) -> None:
    done = nodes[0].run("o2ctl ask who 'asks node1' --json", timeout=60, check=True)
    found = json.loads(done.stdout)
    assert found["answers"] == {node.name: f"{node.name} asks node1\n" for node in nodes}
    assert found["missing"] == found["down"] == []


def test_one_node_can_be_asked_by_name(nodes: list[Node]) -> None:
    done = nodes[0].run(f"o2ctl ask who x --to {nodes[-1].name} --json", timeout=60, check=True)
    assert json.loads(done.stdout)["answers"] == {nodes[-1].name: f"{nodes[-1].name} x\n"}


def test_a_playbook_sends_and_collects(controller: Controller, nodes: list[Node]) -> None:
    asking = {"channel": "who", "data": "go", "collect": True}
    would = controller.module("message", asking, hosts=nodes[0].name, check=True)
    assert would.rc == 0, would.output
    assert "answers" not in would.of(nodes[0].name)
    done = controller.module("message", asking, hosts=nodes[0].name)
    assert done.rc == 0, done.output
    assert would.actions(nodes[0].name) == done.actions(nodes[0].name) == ["ask 2 bytes on channel who to all nodes"]
    assert done.of(nodes[0].name)["answers"] == {node.name: f"{node.name} go\n" for node in nodes}
    seen = controller.module("members_info", {}, hosts=nodes[0].name).of(nodes[0].name)
    assert (seen["node"], seen["on_bus"], seen["quorate"]) == (nodes[0].name, True, True)
    assert seen["position"] >= done.of(nodes[0].name)["position"]


def test_a_playbook_is_told_who_does_not_answer(controller: Controller, nodes: list[Node]) -> None:
    asking = {"channel": "nobody", "collect": True, "timeout": 3}
    refused = controller.module("message", asking, hosts=nodes[0].name)
    assert refused.failures[nodes[0].name].startswith("no answer of node1, node2, node3 within 3 s")
    ignored = controller.module("message", {**asking, "on_missing": "ignore"}, hosts=nodes[0].name)
    assert ignored.of(nodes[0].name)["missing"] == [node.name for node in nodes]


def test_all_are_told_of_an_agent_that_was_killed_and_came_back(nodes: list[Node]) -> None:
    forget_events(nodes)
    old = {one["name"]: str(one["incarnation"]) for one in members(nodes[0])["members"]}[nodes[1].name]
    nodes[1].run("systemctl kill -s KILL --kill-who=main o2agent", timeout=30, check=True)
    others = [nodes[0], nodes[2]]

    def told() -> bool:
        # The one that hangs has to run into its deadline first.
        return all([line[0] for line in events(node) if line[0] != "quorum"][-1:] == ["agent_up"] for node in others)

    wait_until(told, 150, lambda: f"{[events(node) for node in nodes]}")
    mine = [[line for line in events(node) if line[0] in ("agent_down", "agent_up")] for node in others]
    assert mine[0] == mine[1]
    assert mine[0][0][:4] == ["agent_down", nodes[1].name, str(nodes[1].number), old]
    assert int(mine[0][0][4]) < int(mine[0][1][4]), "positions"
    assert int(old) < int(mine[0][1][3]), "incarnations"
    came = [line for line in events(nodes[1]) if line[0] == "agent_up"]
    assert {line[1] for line in came} == {node.name for node in nodes}
    journal = nodes[0].run("journalctl -b -t o2agent -o cat", timeout=60, check=True).stdout
    assert "05-fails at agent_down node2 2: ended with 3" in journal
    assert "20-hangs at suspect node2 2: had not ended after 60 s" in journal
    assert "30-open can be written by others" in journal
    assert not any("open" in line or "old" in line for node in nodes for line in events(node))


def test_survivors_are_told_of_a_node_that_died_at_one_position(
    nodes: list[Node], comes_online: Callable[[Node], None]
) -> None:
    for node in nodes:
        node.run("rm -f /etc/o2agent/events.d/20-hangs", timeout=30, check=True)
    forget_events(nodes)
    lost, others = nodes[-1], nodes[:-1]
    lost.kill()
    try:
        wait_until(
            lambda: all("node_down" in [line[0] for line in events(node)] for node in others),
            LOST_SECONDS,
            lambda: f"{[events(node) for node in others]}",
        )
        told = [[line for line in events(node) if line[0] in ("agent_down", "node_down")] for node in others]
        assert told[0] == told[1]
        assert [line[:2] for line in told[0]] == [["agent_down", lost.name], ["node_down", lost.name]]
        assert all(states(node)[lost.name] == "node down" for node in others)
        done = others[0].run("o2ctl ask who x --json", timeout=60, check=True)
        assert sorted(json.loads(done.stdout)["answers"]) == [node.name for node in others]
    finally:
        lost.boot()
        comes_online(lost)
    wait_for_all(nodes, 120)


def test_the_agents_are_taken_away(controller: Controller, nodes: list[Node]) -> None:
    for node in nodes:
        node.run("systemctl stop answer-who; rm /etc/systemd/system/answer-who.service", timeout=60, check=True)
        node.run("systemctl daemon-reload; rm -f /etc/o2agent/events.d/* /run/events /run/order", check=True)
    removed = controller.module("agent", {"state": "absent"})
    assert removed.rc == 0, removed.output
