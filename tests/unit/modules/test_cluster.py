# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module cluster: check mode foretells the run, and a second run changes nothing."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import policy
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import online
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have
from ansible_collections.ocfs2.o2cb.plugins.modules import cluster
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.fake_system import Clock, FakeSystem

UUID = "A" * 32
OPTIONS = {
    "name": "lab",
    "nodes": [
        {"name": "n1", "number": 1, "address": "10.0.0.1", "port": 7777},
        {"name": "n2", "number": 2, "address": "10.0.0.2", "port": 7777},
    ],
    "heartbeat_mode": "global",
    "regions": [UUID],
    "timeouts": {"heartbeat_dead_threshold": 61},
    "fence_method": "reset",
    "state": "online",
    "change_policy": "apply",
    "purge": False,
    "force": False,
}


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> None:
    for waiting in (online, policy):
        monkeypatch.setattr(waiting, "time", Clock())


def run(system: FakeSystem, check: bool = False, **options: object) -> dict:
    return cluster.run({**OPTIONS, **options}, system, check)


def test_check_mode_foretells_the_run_and_changes_nothing():
    system = FakeSystem(Have("n1"))
    foretold = run(system, check=True)
    assert (system.log, foretold["changed"]) == ([], True)
    assert run(system) == foretold
    assert len(system.log) == len(foretold["actions"])


def test_a_second_run_changes_nothing():
    system = FakeSystem(Have("n1"))
    first = run(system)
    second = run(system)
    assert (second["changed"], second["actions"], second["diff"]) == (False, [], [])
    assert second["cluster"] == first["cluster"]


def test_the_returned_cluster_feeds_straight_back_in():
    system = FakeSystem(Have("n1"))
    found = run(system)["cluster"]
    assert set(found) <= set(OPTIONS)
    assert run(system, purge=True, **found)["changed"] is False


def test_a_plan_is_shown_and_is_no_change():
    system = FakeSystem(Have("n1"))
    shown = run(system, change_policy="plan")
    assert (shown["changed"], system.log) == (False, [])
    assert shown["actions"] == run(system)["actions"]


def test_check_mode_finds_a_missing_region_too():
    system = FakeSystem(Have("n1"), missing="region A is on no block device here")
    with pytest.raises(O2cbError, match="no block device"):
        run(system, check=True)


def test_check_mode_refuses_what_the_policy_refuses():
    system = FakeSystem(Have("n1"))
    run(system)
    with pytest.raises(O2cbError, match="cannot be done online"):
        run(system, check=True, change_policy="online_only", timeouts={})


def test_a_node_leaves_and_its_cluster_is_forgotten():
    system = FakeSystem(Have("n1"))
    run(system)
    gone = run(system, state="absent", nodes=[], regions=[])
    assert (gone["changed"], gone["scope"], gone["cluster"]) == (True, "node offline", {})
    assert (system.have.live, system.have.conf) == (None, "")
    assert run(system, state="absent", nodes=[], regions=[])["changed"] is False
