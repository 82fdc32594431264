# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A resource runs on one node, moves, rests and goes, as the module says; and the second time nothing changes."""

from __future__ import annotations

import json
from typing import Any

from faults.controller import Controller, Run, wait_until
from lab import Node


def holders(nodes: list[Node], name: str = "lonely") -> list[str]:
    """The nodes that say that they hold the lock of the resource."""
    found = []
    for node in nodes:
        listed = json.loads(node.run("o2ctl resource list --json", timeout=30, check=True).stdout)["resources"]
        found += [node.name for one in listed if one["name"] == name and one["held"]]
    return found


def active(nodes: list[Node]) -> list[str]:
    return [node.name for node in nodes if node.run("systemctl is-active --quiet lonely", timeout=30).ok]


def change(controller: Controller, nodes: list[Node], **options: Any) -> Run:
    """Twice: the second time changes nothing. Check mode says before that it would, and does nothing."""
    before = active(nodes)
    would = controller.module("resource", {"name": "lonely", **options}, check=True)
    assert would.rc == 0, would.output
    assert active(nodes) == before
    done = controller.module("resource", {"name": "lonely", **options})
    assert done.rc == 0, done.output
    assert [would.actions(node.name) for node in nodes] == [done.actions(node.name) for node in nodes]
    again = controller.module("resource", {"name": "lonely", **options})
    assert all(again.actions(node.name) == [] for node in nodes), again.output
    return done


def test_it_runs_on_one_node(nodes: list[Node]) -> None:
    wait_until(lambda: len(active(nodes)) == 1, 60, lambda: f"{active(nodes)}")
    assert holders(nodes) == active(nodes)


def test_it_moves_to_where_it_is_wanted(controller: Controller, nodes: list[Node]) -> None:
    target = next(node.name for node in nodes if node.name not in active(nodes))
    done = change(controller, nodes, move=target)
    assert sum(len(done.actions(node.name)) for node in nodes) == 2, "the giving node and the taking one"
    assert active(nodes) == [target]


def test_a_drained_node_runs_nothing_and_a_resumed_one_may(controller: Controller, nodes: list[Node]) -> None:
    (where,) = active(nodes)
    drained = controller.module("resource", {"drain": True}, hosts=where)
    assert drained.actions(where) == ["drain this node"]
    assert controller.module("resource", {"drain": True}, hosts=where).actions(where) == []
    wait_until(lambda: len(active(nodes)) == 1 and where not in active(nodes), 60, lambda: f"{active(nodes)}")
    assert controller.module("resource", {"drain": False}, hosts=where).actions(where) == ["resume this node"]


def test_what_is_not_understood_changes_nothing(controller: Controller, nodes: list[Node]) -> None:
    refused = controller.module("resource", {"name": "lonely", "parts": [{"unit": "nonsense"}]})
    assert all("no name of a unit" in text for text in refused.failures.values())
    assert len(refused.failures) == len(nodes)
    assert len(active(nodes)) == 1


def test_it_stops_everywhere_and_starts_again_and_goes(controller: Controller, nodes: list[Node]) -> None:
    change(controller, nodes, state="stopped")
    assert active(nodes) == []
    change(controller, nodes, state="started")
    assert len(active(nodes)) == 1
    change(controller, nodes, state="absent")
    assert active(nodes) == holders(nodes) == []


def test_the_agent_is_taken_away_without_a_trace(controller: Controller, nodes: list[Node]) -> None:
    removed = controller.module("agent", {"state": "absent"})
    assert removed.rc == 0, removed.output
    assert not any(node.run("ls /etc/systemd/system/o2agent*", timeout=30).ok for node in nodes)
