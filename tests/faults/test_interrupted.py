# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run of the playbook `site` that is broken off anywhere is finished by the next one.

Runs are broken off by kill -9: of the controller with all its helpers after each task and in the middle of the long
ones, of the module on a node, and of a whole node, which is a power cut. Nothing tidies up before the next run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import kernel
from faults.conftest import SETTINGS
from faults.controller import SITE, TEARDOWN, Controller, Running, wait_until
from lab import Lab
from lab.node import Node

CHECK = "Check this host before any host is changed"
INSTALL = "Install the packages"
BOOT = "Install what brings the node online at each boot"
FORMAT = "Make the heartbeat regions, on one host"
FIND = "Find the heartbeat regions"
OFFLINE = "Take all nodes offline for a change that needs it"
CONFIGURE = "Configure the cluster and bring the node online"
MOUNT = "Mount dlmfs, and join a test domain there to see every other node of this play"

MODULE = "pkill -9 -f -x /usr/bin/python3"
"""Kills the module that Ansible runs on a node: it comes by standard input, so its command line has nothing more."""


@pytest.fixture
def bare(lab: Lab, nodes: list[Node], controller: Controller) -> Iterator[Controller]:
    """Nodes without a cluster, and blank disks. The packages are there."""
    lab.up()
    run = controller.play(TEARDOWN, o2cb_force=True)
    assert run.rc == 0, run.output
    for disk in ("hb1", "hb2", "hb3"):
        kernel.blank(nodes[0], f"/dev/mapper/{disk}")
    yield controller
    lab.up()


def assert_finished_by_the_next_run(controller: Controller, nodes: list[Node], **variables: int) -> None:
    controller.site(**variables)
    found = [kernel.regions(node) for node in nodes]
    assert len(found[0]) == 3
    assert all(regions == found[0] for regions in found)
    with kernel.joined(nodes, "finished"):
        pass
    assert controller.site(**variables).changes == []


def wait_for_regions(node: Node, running: Running) -> None:
    """Wait until the node is in the middle of starting its regions."""
    running.wait_for_task(CONFIGURE)
    wait_until(
        lambda: node.run(f"ls -d {kernel.TREE}/lab/heartbeat/*/").ok,
        120,
        lambda: f"{node.name} started no region",
    )


@pytest.mark.parametrize("task", [CHECK, BOOT, FORMAT, FIND, CONFIGURE, MOUNT])
def test_a_run_that_ends_after_a_task_is_finished(bare: Controller, nodes: list[Node], task: str) -> None:
    with bare.start(SITE, stop_after=task) as running:
        assert running.finish().rc < 0
    assert_finished_by_the_next_run(bare, nodes)


def test_a_run_that_ends_after_the_packages_is_finished(bare: Controller, nodes: list[Node], lab: Lab) -> None:
    lab.each(lambda node: node.run("apt-get -qq purge --yes ocfs2-tools && rm -rf /etc/ocfs2", timeout=120, check=True))
    with bare.start(SITE, stop_after=INSTALL) as running:
        assert running.finish().rc < 0
    assert_finished_by_the_next_run(bare, nodes)


def test_a_controller_that_dies_while_packages_are_installed(bare: Controller, nodes: list[Node], lab: Lab) -> None:
    lab.each(lambda node: node.run("apt-get -qq purge --yes ocfs2-tools && rm -rf /etc/ocfs2", timeout=120, check=True))
    with bare.start(SITE) as running:
        running.wait_for_task(INSTALL)
        wait_until(lambda: nodes[1].run("pgrep -x dpkg").ok, 120, lambda: "dpkg did not start")
        running.kill()
    assert_finished_by_the_next_run(bare, nodes)


def test_a_controller_that_dies_while_regions_start(bare: Controller, nodes: list[Node]) -> None:
    with bare.start(SITE) as running:
        wait_for_regions(nodes[0], running)
        running.kill()
    assert_finished_by_the_next_run(bare, nodes)


def test_a_module_that_dies_while_it_formats(bare: Controller, nodes: list[Node]) -> None:
    """What is half formatted may look like somebody's data: it is refused then with the way out, never overwritten."""
    with bare.start(SITE) as running:
        running.wait_for_task(FORMAT)
        nodes[0].run(f"until pgrep -x mkfs.ocfs2; do sleep 0.01; done; {MODULE}; pkill -9 -x mkfs.ocfs2", timeout=60)
        assert running.finish().rc > 0
    again = bare.play(SITE)
    if again.rc:
        assert all("wipe its first and last MiB" in message for message in again.failures.values()), again.output
        for disk in ("hb1", "hb2", "hb3"):
            kernel.blank(nodes[0], f"/dev/mapper/{disk}")
    assert_finished_by_the_next_run(bare, nodes)


def test_a_module_that_dies_while_regions_start(bare: Controller, nodes: list[Node]) -> None:
    """The module is the oldest of its processes; the one that waits for the region lives on."""
    with bare.start(SITE) as running:
        wait_for_regions(nodes[1], running)
        nodes[1].run(f"{MODULE} --oldest", check=True)
        run = running.finish()
    assert "node2" in run.failures, run.output
    assert_finished_by_the_next_run(bare, nodes)


def test_a_region_whose_start_was_broken_off_is_left_alone_until_the_reboot(
    bare: Controller, nodes: list[Node]
) -> None:
    """Its removal, by which a next run would begin, panics the kernel."""
    with bare.start(SITE) as running:
        wait_for_regions(nodes[1], running)
        nodes[1].run(MODULE, check=True)
        running.finish()
    boots = nodes[1].boots()
    again = bare.play(SITE)
    assert "was broken off, and the kernel panics when it is removed: reboot this node" in again.failures["node2"]
    assert nodes[1].boots() == boots
    nodes[1].kill()
    nodes[1].boot()
    assert_finished_by_the_next_run(bare, nodes)


def test_a_node_that_loses_power_while_it_comes_online(bare: Controller, nodes: list[Node]) -> None:
    with bare.start(SITE) as running:
        wait_for_regions(nodes[2], running)
        nodes[2].kill()
        run = running.finish()
    assert "node3" in run.failures, run.output
    nodes[2].boot()
    assert_finished_by_the_next_run(bare, nodes)


def test_all_nodes_lose_power_while_they_come_online(bare: Controller, nodes: list[Node], lab: Lab) -> None:
    with bare.start(SITE) as running:
        wait_for_regions(nodes[0], running)
        running.kill()
    lab.each(Node.kill)
    lab.up()
    assert_finished_by_the_next_run(bare, nodes)


def test_a_change_that_ends_with_all_nodes_offline_is_finished(cluster: Controller, nodes: list[Node]) -> None:
    idle = 12000
    with cluster.start(SITE, stop_after=OFFLINE, o2cb_idle_timeout_ms=idle) as running:
        assert running.finish().rc < 0
    assert all(kernel.regions(node) == [] for node in nodes)
    assert_finished_by_the_next_run(cluster, nodes, o2cb_idle_timeout_ms=idle)


def test_a_change_that_ends_while_nodes_come_back_is_finished(cluster: Controller, nodes: list[Node]) -> None:
    idle = SETTINGS["o2cb_idle_timeout_ms"] + 2000
    with cluster.start(SITE, o2cb_idle_timeout_ms=idle) as running:
        running.wait_for_task(OFFLINE)
        wait_for_regions(nodes[0], running)
        running.kill()
    assert_finished_by_the_next_run(cluster, nodes, o2cb_idle_timeout_ms=idle)
