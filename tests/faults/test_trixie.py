# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian 13: a unit of the package's own, which rewrites its settings at each start and stop if it is let."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from faults import kernel
from faults.controller import Controller, wait_until
from lab import Lab
from lab.node import Node

MARK = "# kept by hand"


@pytest.fixture(scope="module")
def trixie() -> Iterator[Lab]:
    """A lab of its own, which lives as long as these tests."""
    lab = Lab(f"{os.environ.get('O2CB_LAB', 'test')}13")
    lab.up(nodes=2, release="trixie", fresh=True)
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="module")
def node(trixie: Lab) -> Node:
    """A node of a cluster that the playbook made, with a line in its settings that only a rewrite would drop."""
    controller = Controller(trixie)
    controller.site()
    node = trixie.node("node2")
    node.run(f"echo '{MARK}' >> {kernel.SETTINGS}", check=True)
    assert controller.site().changes == []
    return node


def online(node: Node) -> bool:
    return node.run("mountpoint -q /dlm && o2cb cluster-status lab", timeout=10).ok


def test_the_unit_is_the_packages_own(node: Node) -> None:
    assert node.run(". /etc/os-release && echo $VERSION_CODENAME").stdout.strip() == "trixie"
    fragment = node.run("systemctl show --property FragmentPath --value o2cb.service", check=True).stdout.strip()
    assert fragment.endswith("/lib/systemd/system/o2cb.service")


def test_the_packages_unit_rewrites_the_settings(node: Node) -> None:
    with kernel.restored(node, kernel.SETTINGS), kernel.distribution_unit(node):
        node.run("systemctl stop o2cb.service", timeout=90)
        stopped = kernel.value(node, kernel.SETTINGS)
        node.run("systemctl start o2cb.service", timeout=90)
        started = kernel.value(node, kernel.SETTINGS)
        node.run("systemctl stop o2cb.service", timeout=90)
    kernel.clear(node)
    assert "O2CB_ENABLED=false" in stopped
    assert "O2CB_ENABLED=true" in started
    assert MARK not in started
    node.run("systemctl start o2cb.service", timeout=120, check=True)


def test_start_and_stop_leave_the_settings_alone(node: Node) -> None:
    before = kernel.value(node, kernel.SETTINGS)
    assert MARK in before
    for verb in ("stop", "start", "restart"):
        node.run(f"systemctl {verb} o2cb.service", timeout=120, check=True)
        assert kernel.value(node, kernel.SETTINGS) == before
    node.run("systemctl start dlm.mount", timeout=60, check=True)
    assert online(node)


def test_a_reboot_brings_the_node_back_and_leaves_the_settings_alone(node: Node) -> None:
    before = kernel.value(node, kernel.SETTINGS)
    boots = node.boots()
    node.run("systemctl reboot", timeout=20)
    node.wait_for_boot(boots)
    wait_until(lambda: online(node), 120, lambda: node.run("journalctl -b -u o2cb --no-pager").stdout)
    assert kernel.value(node, kernel.SETTINGS) == before
    assert len(kernel.regions(node)) == 3
