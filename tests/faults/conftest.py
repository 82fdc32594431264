# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab of these tests, an administrator's Ansible, and a healthy cluster as every test finds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults import kernel
from faults.controller import Controller
from lab import Lab
from lab.node import Node

SETTINGS: dict[str, Any] = {
    "o2cb_heartbeat_dead_threshold": 7,
    "o2cb_idle_timeout_ms": 10000,
    "o2cb_purge": True,
    "o2cb_device_wait": 10,
}
"""Short timeouts, since the tests wait for them; and every run takes away what the test before has added."""


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that bin/lab exec names, brought up where it is not."""
    found = Lab(os.environ.get("O2CB_LAB", "test"))
    found.up()
    return found


@pytest.fixture(scope="session")
def controller(lab: Lab) -> Controller:
    return Controller(lab, **SETTINGS)


@pytest.fixture
def nodes(lab: Lab) -> list[Node]:
    return lab.nodes()


@pytest.fixture(scope="session")
def health() -> list[str]:
    """The state of each node when `site` had nothing more to do on them; empty in the beginning."""
    return []


@pytest.fixture
def cluster(lab: Lab, nodes: list[Node], controller: Controller, health: list[str]) -> Iterator[Controller]:
    """The cluster `lab`, online on all nodes with three regions. No node may reset itself during the test."""
    if not health or lab.each(kernel.state) != health:
        lab.up()
        controller.site()
        health[:] = lab.each(kernel.state)
    before = {node.name: node.resets() for node in nodes}
    yield controller
    assert {node.name: node.resets() for node in nodes} == before


@pytest.fixture
def regions(cluster: Controller, nodes: list[Node]) -> list[str]:
    """The UUIDs of the three regions."""
    found = kernel.regions(nodes[0])
    assert len(found) == 3
    return found


@pytest.fixture
def wanted(nodes: list[Node], regions: list[str]) -> dict[str, Any]:
    """The running cluster, in the words of the module `cluster`."""
    return {
        "name": "lab",
        "nodes": [{"name": node.name, "number": node.number, "address": node.address} for node in nodes],
        "regions": regions,
        "timeouts": {
            "heartbeat_dead_threshold": SETTINGS["o2cb_heartbeat_dead_threshold"],
            "idle_timeout_ms": SETTINGS["o2cb_idle_timeout_ms"],
        },
    }


RELEASE_ALL = """o2ctl lock list --json | python3 -c '
import json, subprocess, sys
for lock in json.load(sys.stdin)["locks"]:
    if lock["kind"] == "node" and not lock["domain"].startswith("o2agent"):
        subprocess.run(["o2ctl", "lock", "release", lock["name"], "--domain", lock["domain"]], check=True)'
"""
"""A node lock outlives the test that failed with it."""

REFEREE = Path(__file__).parent / "referee"


@pytest.fixture(scope="session")
def provisioned(lab: Lab, controller: Controller) -> list[Node]:
    """The nodes, with o2keep and the programs of the tests of locks on each."""
    if "O2CB_LOCKS" not in os.environ:
        pytest.skip("locks are experimental: set O2CB_LOCKS=1")
    lab.up()
    controller.site(o2cb_locks=True)
    for node in lab.nodes():
        node.run(RELEASE_ALL, check=True, timeout=120)
        for program in ("player.py", "foreign.py"):
            text = (REFEREE / program).read_text(encoding="utf-8")
            node.put(f"/root/{program}", text)
    return lab.nodes()


@pytest.fixture
def players(provisioned: list[Node]) -> Iterator[list[Node]]:
    """The nodes. None of them may reset itself during the test."""
    before = [node.resets() for node in provisioned]
    yield provisioned
    assert [node.resets() for node in provisioned] == before
