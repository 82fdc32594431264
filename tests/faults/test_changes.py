# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of a running cluster: what is done online, what takes all nodes offline, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from faults import kernel
from faults.controller import SITE, Controller
from lab.node import Node

FOURTH = {"name": "node4", "number": 4, "address": "10.22.0.14"}
"""A node that is off: this lab has three."""


@pytest.fixture
def fourth_disk(cluster: Controller, nodes: list[Node]) -> Iterator[str]:
    """A further shared disk on all nodes, blank."""
    for node in nodes:
        node.run('dmsetup create hb4 --table "0 524288 linear /dev/ubde 1048576"', check=True)
    kernel.blank(nodes[0], "/dev/mapper/hb4")
    yield "/dev/mapper/hb4"
    cluster.site()
    for node in nodes:
        node.run("dmsetup remove --retry hb4", check=True)


def test_a_node_is_added_online_and_domains_go_on(
    cluster: Controller, nodes: list[Node], wanted: dict[str, Any]
) -> None:
    with kernel.joined(nodes, "before"):
        run = cluster.module("cluster", {**wanted, "nodes": [*wanted["nodes"], FOURTH]})
        assert run.rc == 0, run.output
        for node in nodes:
            assert run.of(node.name)["scope"] == "online"
            assert any(action.startswith("add node node4") for action in run.actions(node.name))
            assert kernel.members(node)["node4"] == FOURTH["address"]
            assert kernel.regions(node) == wanted["regions"]
        with kernel.joined(nodes, "after"):
            pass


def test_the_address_of_a_node_that_is_off_is_changed_online(
    cluster: Controller, nodes: list[Node], wanted: dict[str, Any]
) -> None:
    assert cluster.module("cluster", {**wanted, "nodes": [*wanted["nodes"], FOURTH]}).rc == 0
    moved = {**FOURTH, "address": "10.22.0.15"}
    run = cluster.module("cluster", {**wanted, "nodes": [*wanted["nodes"], moved]})
    assert run.rc == 0, run.output
    for node in nodes:
        assert run.of(node.name)["scope"] == "online"
        assert kernel.members(node)["node4"] == "10.22.0.15"
        assert kernel.regions(node) == wanted["regions"]
    with kernel.joined(nodes, "moved"):
        pass


def test_the_address_of_a_connected_node_is_not_changed_under_its_feet(
    cluster: Controller, nodes: list[Node], wanted: dict[str, Any]
) -> None:
    moved = [dict(node) for node in wanted["nodes"]]
    moved[2]["address"] = "10.22.0.99"
    before = kernel.state(nodes[0])
    run = cluster.module("cluster", {**wanted, "nodes": moved}, hosts="node1")
    assert "needs the whole cluster offline" in run.failures["node1"]
    assert "10.22.0.99" in run.failures["node1"]
    assert kernel.state(nodes[0]) == before


def test_a_region_is_added_and_removed_while_a_domain_is_joined(
    cluster: Controller, nodes: list[Node], regions: list[str], fourth_disk: str
) -> None:
    devices = [{"device": f"/dev/mapper/hb{number}"} for number in range(1, 4)] + [{"device": fourth_disk}]
    with kernel.joined(nodes, "before"):
        run = cluster.site(o2cb_regions=devices)
        four = kernel.regions(nodes[0])
        assert len(four) == 4
        assert set(regions) < set(four)
        assert all(kernel.regions(node) == four for node in nodes)
        with kernel.joined(nodes, "four"):
            pass
        assert cluster.site(o2cb_regions=devices).changes == []

        added = (set(four) - set(regions)).pop()
        run = cluster.module("heartbeat", {"cluster": "lab", "regions": [{"uuid": added}], "state": "absent"})
        assert run.rc == 0, run.output
        assert all(kernel.regions(node) == regions for node in nodes)
        with kernel.joined(nodes, "three"):
            pass
    assert cluster.site().changes == []


def test_the_last_three_regions_stay_while_a_domain_is_joined(
    cluster: Controller, nodes: list[Node], regions: list[str]
) -> None:
    before = [kernel.state(node) for node in nodes]
    with kernel.joined(nodes, "pins"):
        run = cluster.module("heartbeat", {"cluster": "lab", "regions": [{"uuid": regions[0]}], "state": "absent"})
    assert set(run.failures) == {node.name for node in nodes}
    for message in run.failures.values():
        assert regions[0] in message
        assert "pins" in message
    assert [kernel.state(node) for node in nodes] == before


def test_new_timeouts_take_all_nodes_offline_and_back(
    cluster: Controller, nodes: list[Node], regions: list[str]
) -> None:
    before = [kernel.state(node) for node in nodes]
    run = cluster.play(SITE, o2cb_idle_timeout_ms=12000, o2cb_change_policy="online_only")
    assert all("idle_timeout_ms 10000 -> 12000" in run.failures[node.name] for node in nodes), run.output
    assert run.changes == []
    assert [kernel.state(node) for node in nodes] == before

    run = cluster.site(o2cb_idle_timeout_ms=12000)
    for node in nodes:
        assert f"{node.name}: ocfs2.o2cb.cluster : Take all nodes offline for a change that needs it" in run.changes
        assert kernel.attribute(node, "idle_timeout_ms") == "12000"
        assert kernel.regions(node) == regions
    assert cluster.site(o2cb_idle_timeout_ms=12000).changes == []


def test_one_node_alone_does_not_change_the_timeouts(
    cluster: Controller, nodes: list[Node], wanted: dict[str, Any]
) -> None:
    before = kernel.state(nodes[0])
    timeouts = {**wanted["timeouts"], "heartbeat_dead_threshold": 9}
    run = cluster.module("cluster", {**wanted, "timeouts": timeouts}, hosts="node1")
    assert "needs the whole cluster offline, and node2, node3 is live" in run.failures["node1"]
    assert kernel.state(nodes[0]) == before


def test_a_plan_changes_nothing(cluster: Controller, nodes: list[Node]) -> None:
    before = [kernel.state(node) for node in nodes]
    run = cluster.site(o2cb_idle_timeout_ms=12000, o2cb_change_policy="plan")
    assert run.changes == []
    plans = [outcome for outcome in run.outcomes if outcome.task.endswith("Check this host before any host is changed")]
    assert len(plans) == len(nodes)
    for plan in plans:
        assert plan.values["scope"] == "cluster offline"
        assert any("set idle_timeout_ms to 12000" in action for action in plan.values["actions"])
    assert [kernel.state(node) for node in nodes] == before


def test_the_heartbeat_mode_and_the_name_are_changed_by_site(
    cluster: Controller, nodes: list[Node], regions: list[str]
) -> None:
    local = {"o2cb_heartbeat_mode": "local", "o2cb_regions": []}
    cluster.site(**local)
    for node in nodes:
        assert kernel.attribute(node, "heartbeat/mode") == "local"
        assert kernel.regions(node) == []
        assert kernel.claims(node) == node.name
    assert cluster.site(**local).changes == []

    cluster.site(**local, o2cb_cluster_name="renamed")
    assert all(node.run(f"ls {kernel.TREE}").stdout.split() == ["renamed"] for node in nodes)

    cluster.site()
    for node in nodes:
        assert node.run(f"ls {kernel.TREE}").stdout.split() == ["lab"]
        assert kernel.attribute(node, "heartbeat/mode") == "global"
        assert kernel.regions(node) == regions
    assert cluster.site().changes == []
    assert cluster.module("cluster", {"name": "renamed", "state": "absent"}).rc == 0


def test_a_new_name_is_refused_while_the_regions_belong_to_the_old_one(cluster: Controller, nodes: list[Node]) -> None:
    before = [kernel.state(node) for node in nodes]
    run = cluster.play(SITE, o2cb_cluster_name="renamed")
    assert all("'lab'" in run.failures[node.name] for node in nodes), run.output
    assert [kernel.state(node) for node in nodes] == before


def test_the_fence_method_is_set_online_and_at_each_boot(
    cluster: Controller, nodes: list[Node], regions: list[str]
) -> None:
    run = cluster.site(o2cb_fence_method="panic")
    assert not any("offline" in change for change in run.changes)
    assert all(kernel.attribute(node, "fence_method") == "panic" for node in nodes)
    boots = nodes[2].boots()
    nodes[2].run("systemctl reboot", timeout=20)
    nodes[2].wait_for_boot(boots)
    nodes[2].run("systemctl is-system-running --wait", timeout=90)
    assert kernel.regions(nodes[2]) == regions
    assert kernel.attribute(nodes[2], "fence_method") == "panic"
    assert cluster.site(o2cb_fence_method="panic").changes == []


def test_a_second_machine_with_the_same_number_never_beats(
    cluster: Controller, nodes: list[Node], wanted: dict[str, Any], regions: list[str]
) -> None:
    assert cluster.module("cluster", {"name": "lab", "state": "absent"}, hosts="node3").rc == 0
    mistaken = [dict(node) for node in wanted["nodes"]]
    mistaken[1]["number"], mistaken[2]["number"] = 3, 2
    run = cluster.module("cluster", {**wanted, "nodes": mistaken}, hosts="node3")
    assert "another machine heartbeats as node number 2" in run.failures["node3"]
    assert kernel.regions(nodes[2]) == []
    for node in nodes[:2]:
        assert "Another node is heartbeating" not in kernel.kernel_log(node)
        assert kernel.regions(node) == regions
    with kernel.joined(nodes[:2], "unharmed"):
        pass
