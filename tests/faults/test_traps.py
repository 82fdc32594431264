# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The traps of the kernel and of the distributions' scripts: each is shown first, by the distribution's own tools or by
plain writes, and then what this collection does instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faults import kernel
from faults.conftest import SETTINGS
from faults.controller import SITE, Controller, wait_until
from lab.node import Node

MISSING = "0123456789ABCDEF0123456789ABCDEF"
"""A region that is on no disk."""

OTHER_IDLE_TIMEOUT = 12000
BLOCKED = 55.0
"""Seconds. A join that waits for a peer that is not connected gives up after 60."""
AT_ONCE = 5.0


def stop(node: Node) -> None:
    """Take a node out of the cluster in good order, by the unit that this collection installs."""
    node.run("systemctl stop o2cb", timeout=60, check=True)
    assert kernel.regions(node) == []


def start_by_hand(node: Node) -> str:
    """Bring a node online by the distribution's init script; what it said."""
    done = node.run(f"modprobe -a ocfs2_stack_o2cb ocfs2_dlmfs; {kernel.INIT} online lab", timeout=90)
    assert done.ok
    return done.stdout


def set_idle_timeout(node: Node, milliseconds: int) -> None:
    node.run(f"sed -i 's/^O2CB_IDLE_TIMEOUT_MS=.*/O2CB_IDLE_TIMEOUT_MS={milliseconds}/' {kernel.SETTINGS}", check=True)


@contextmanager
def host_name(node: Node, name: str) -> Iterator[None]:
    node.run(f"echo {name} > /proc/sys/kernel/hostname", check=True)
    try:
        yield
    finally:
        node.run(f"echo {node.name} > /proc/sys/kernel/hostname", check=True)


def unit_state(node: Node) -> str:
    return node.run("systemctl is-active o2cb").stdout.strip()


def unit_log(node: Node) -> str:
    """What the last start of the unit said."""
    invocation = "$(systemctl show --property InvocationID --value o2cb)"
    return node.run(f"journalctl --no-pager _SYSTEMD_INVOCATION_ID={invocation}").stdout


@contextmanager
def out_of_reach(node: Node, peers: list[Node]) -> Iterator[None]:
    routes = [f"unreachable {peer.address}/32" for peer in peers]
    node.run(" && ".join(f"ip route add {route}" for route in routes), check=True)
    try:
        yield
    finally:
        node.run(" && ".join(f"ip route delete {route}" for route in routes), check=True)


def test_a_missing_region_does_not_stop_those_that_beat(
    cluster: Controller, nodes: list[Node], wanted: dict[str, Any], regions: list[str]
) -> None:
    ours, trapped = nodes[1], nodes[2]
    stanza = rf"printf '\nheartbeat:\n\tcluster = lab\n\tregion = {MISSING}\n' >> {kernel.CONF}"
    with kernel.restored(ours, kernel.CONF), kernel.restored(trapped, kernel.CONF):
        for node in (ours, trapped):
            node.run(stanza, check=True)

        trapped.run("o2cb start-heartbeat lab", timeout=90)
        assert kernel.regions(trapped) == []

        run = cluster.module("cluster", {**wanted, "regions": [*regions, MISSING]}, hosts=ours.name)
        assert f"region {MISSING} is on no block device here" in run.failures[ours.name]
        arguments = {"cluster": "lab", "regions": [{"uuid": MISSING}], "state": "started"}
        run = cluster.module("heartbeat", arguments, hosts=ours.name)
        assert f"region {MISSING} is on no block device here" in run.failures[ours.name]
        done = ours.run(f"python3 {kernel.PROGRAM} online --wait 2", timeout=60)
        assert done.rc == 1
        assert MISSING in done.stderr
        assert kernel.regions(ours) == regions


def test_the_unit_is_not_active_without_a_heartbeat_and_comes_up_when_the_disks_do(
    cluster: Controller, nodes: list[Node], regions: list[str]
) -> None:
    node = nodes[2]
    stop(node)
    with kernel.disk_gone(node, "hb1", "hb2", "hb3"):
        with kernel.distribution_unit(node):
            assert node.run("systemctl start o2cb", timeout=90).ok
            assert unit_state(node) == "active"
            assert kernel.regions(node) == []
            node.run("systemctl stop o2cb", timeout=60)
        kernel.clear(node)

        assert not node.run("systemctl start o2cb", timeout=90).ok
        assert unit_state(node) != "active"
        said = unit_log(node)
        assert "gave up after 10 s" in said
        assert all(region in said for region in regions)
    wait_until(lambda: unit_state(node) == "active", 90, lambda: node.run("systemctl status o2cb").stdout)
    assert kernel.regions(node) == regions


def test_a_value_that_the_kernel_drops_in_silence_is_an_error(cluster: Controller, nodes: list[Node]) -> None:
    node = nodes[0]
    top = f"{kernel.TREE}/lab"
    done = node.run(f"python3 -c \"open('{top}/idle_timeout_ms', 'w').write('1'); print('written')\"")
    assert (done.rc, done.stdout, done.stderr) == (0, "written\n", "")
    done = node.run(f"echo 61 > {top}/heartbeat/dead_threshold")
    assert (done.rc, done.stderr) == (0, "")
    assert kernel.attribute(node, "idle_timeout_ms") == str(SETTINGS["o2cb_idle_timeout_ms"])
    assert kernel.attribute(node, "heartbeat/dead_threshold") == str(SETTINGS["o2cb_heartbeat_dead_threshold"])

    def set_by_us(name: str, value: str) -> str:
        script = f"from ocfs2_o2cb.o2cb.configfs import ConfigFs; ConfigFs().set('lab', '{name}', '{value}')"
        done = node.run(f'PYTHONPATH={kernel.PROGRAM} python3 -c "{script}"')
        assert done.rc == 1
        return done.stderr

    assert "O2cbError: EINVAL setting idle_timeout_ms to 1: the kernel refuses" in set_by_us("idle_timeout_ms", "1")
    assert "the kernel ignored it and the value is still 7" in set_by_us("heartbeat/dead_threshold", "61")


def test_a_node_with_another_idle_timeout_does_not_keep_the_others_from_joining(
    cluster: Controller, nodes: list[Node], wanted: dict[str, Any]
) -> None:
    healthy, wrong = nodes[0], nodes[2]
    stop(wrong)
    with kernel.restored(wrong, kernel.SETTINGS):
        set_idle_timeout(wrong, OTHER_IDLE_TIMEOUT)
        start_by_hand(wrong)
        assert len(kernel.regions(wrong)) == 3
        trap = kernel.join(healthy, "trap")
        kernel.clear(wrong)
    assert trap.error == "ENOTCONN"
    assert trap.seconds > BLOCKED
    assert f"uses a network idle timeout of {OTHER_IDLE_TIMEOUT} ms" in kernel.kernel_log(healthy)

    timeouts = {**wanted["timeouts"], "idle_timeout_ms": OTHER_IDLE_TIMEOUT}
    run = cluster.module("cluster", {**wanted, "timeouts": timeouts}, hosts=wrong.name)
    assert "heartbeats and has no connection to node1, node2, so it went offline again" in run.failures[wrong.name]
    assert kernel.regions(wrong) == []
    assert unit_state(wrong) != "active"
    ours = kernel.join(healthy, "ours")
    assert ours.error == ""
    assert ours.seconds < AT_ONCE
    kernel.leave(healthy, "ours")


def test_a_node_that_boots_with_another_idle_timeout_tries_once(cluster: Controller, nodes: list[Node]) -> None:
    healthy, wrong = nodes[0], nodes[2]
    stop(wrong)
    with kernel.restored(wrong, kernel.SETTINGS):
        set_idle_timeout(wrong, OTHER_IDLE_TIMEOUT)
        assert not wrong.run("systemctl start o2cb", timeout=120).ok
        assert "so it went offline again" in unit_log(wrong)
        assert unit_state(wrong) == "failed"
        assert kernel.regions(wrong) == []
        ours = kernel.join(healthy, "ours")
    assert ours.error == ""
    assert ours.seconds < AT_ONCE
    kernel.leave(healthy, "ours")


def test_a_node_whose_peers_are_out_of_reach_beats_only_when_they_are_not(
    cluster: Controller, nodes: list[Node], regions: list[str]
) -> None:
    healthy, node = nodes[0], nodes[2]
    stop(node)
    with out_of_reach(node, nodes[:2]):
        assert not node.run("systemctl start o2cb", timeout=120).ok
        assert "is live and cannot be reached from node3" in unit_log(node)
        assert kernel.regions(node) == []
        ours = kernel.join(healthy, "ours")
    assert ours.error == ""
    assert ours.seconds < AT_ONCE
    kernel.leave(healthy, "ours")
    wait_until(lambda: unit_state(node) == "active", 90, lambda: unit_log(node))
    assert kernel.regions(node) == regions


def test_another_dead_threshold_is_refused_before_the_first_beat(
    cluster: Controller, nodes: list[Node], wanted: dict[str, Any]
) -> None:
    wrong = nodes[2]
    stop(wrong)
    timeouts = {**wanted["timeouts"], "heartbeat_dead_threshold": 9}
    run = cluster.module("cluster", {**wanted, "timeouts": timeouts}, hosts=wrong.name)
    assert "node node1 is live with a dead threshold of 7 (14 s), and node3 is to have 9" in run.failures[wrong.name]
    assert kernel.members(wrong) == {}


def test_timeouts_that_differ_in_the_inventory_are_refused_before_any_host_is_changed(
    cluster: Controller, nodes: list[Node]
) -> None:
    before = [kernel.state(node) for node in nodes]
    differs = "{{ {'node3': 12000}.get(inventory_hostname, 10000) }}"
    run = cluster.play(SITE, o2cb_idle_timeout_ms=differs)
    assert run.rc != 0
    assert "node3: o2cb_idle_timeout_ms is 12000, and 10000 on node1" in run.output
    assert run.changes == []
    assert [kernel.state(node) for node in nodes] == before


def test_tables_that_differ_are_named_and_made_equal(cluster: Controller, nodes: list[Node]) -> None:
    values = {"ipv4_port": "7777", "ipv4_address": "10.22.0.99", "num": "9"}
    writes = " && ".join(f"echo {value} > {name}" for name, value in values.items())
    entry = f"{kernel.TREE}/lab/node/node9"
    nodes[0].run(f"mkdir {entry} && cd {entry} && {writes}", check=True)
    assert kernel.join(nodes[0], "tables").error == ""
    try:
        assert kernel.join(nodes[1], "tables").error == "EINVAL"
        run = cluster.module("dlmfs", {"verify": True, "verify_domain": "tables"}, hosts="node2")
        assert "has other nodes, regions or another heartbeat mode" in run.failures["node2"]
    finally:
        kernel.leave(nodes[0], "tables")

    run = cluster.site()
    assert run.changes == ["node1: ocfs2.o2cb.cluster : Configure the cluster and bring the node online"]
    with kernel.joined(nodes, "tables"):
        pass


def test_a_wrong_host_name_is_no_success(cluster: Controller, nodes: list[Node], wanted: dict[str, Any]) -> None:
    node = nodes[2]
    stop(node)
    with host_name(node, "mistaken"):
        said = start_by_hand(node)
        assert "OK" in said
        assert "Failed" not in said
        assert kernel.claims(node) == ""
        assert kernel.regions(node) == []
        assert node.run("o2cb start-heartbeat lab").ok
        kernel.clear(node)

        run = cluster.module("cluster", wanted, hosts=node.name)
        assert "this machine's `uname -n` is 'mistaken'" in run.failures[node.name]
        assert not node.run("systemctl start o2cb", timeout=60).ok
        assert "mistaken is not a node of cluster lab" in unit_log(node)
        assert kernel.members(node) == {}
        node.run("systemctl stop o2cb", check=True)
