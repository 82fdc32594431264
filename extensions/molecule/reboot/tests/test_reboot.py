# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes come back online by themselves: after a reboot, after a power cut, and with a disk that appears late."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from faults import kernel
from lab import Lab, Node

ComesOnline = Callable[[Node], None]


def reboot(node: Node) -> None:
    boots = node.boots()
    node.run("systemctl reboot", timeout=20)
    node.wait_for_boot(boots)
    assert node.ends()[-1][1] == "rebooted"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_rebooted_node_comes_back(nodes: list[Node], comes_online: ComesOnline, number: int) -> None:
    others = [node for node in nodes if node.number != number]
    boots = [node.boots() for node in others]
    reboot(nodes[number - 1])
    comes_online(nodes[number - 1])
    assert [node.boots() for node in others] == boots


def test_a_disk_that_appears_late_is_waited_for(nodes: list[Node], comes_online: ComesOnline) -> None:
    node = nodes[1]
    regions = kernel.regions(node)
    node.disk_late(40, ["hb1"])
    reboot(node)
    comes_online(node)
    assert kernel.regions(node) == regions
    # The raw disk below the late device is there from the start, and so is its region, under a name that o2cb rejects.
    assert "waiting, " in node.run("journalctl -b -u o2cb", check=True).stdout


def test_all_nodes_come_back_from_a_power_cut(lab: Lab, nodes: list[Node], comes_online: ComesOnline) -> None:
    lab.each(Node.kill)
    lab.each(Node.boot)
    lab.each(comes_online)
