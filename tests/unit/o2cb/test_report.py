# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report on a node: who is live and by what, the regions, and variables that make the same cluster again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import arguments
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, plan, report
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.domains import Domain
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.report import Facts
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.sound_facts import (
    CLUSTER,
    NODES,
    REGIONS,
    beat,
    facts,
    live,
    reading,
)


def result(found: Facts) -> dict:
    """As the module returns it, which has to be JSON."""
    made = report.make(found)
    return json.loads(json.dumps(report.as_result(made, [])))


def member(found: dict, name: str) -> dict:
    return next(row for row in found["members"] if row["name"] == name)


def test_a_sound_node_reports_itself_and_its_peers():
    found = result(facts())
    assert (found["online"], found["cluster_name"], found["node_name"], found["node_number"]) == (
        True,
        "lab",
        "node1",
        1,
    )
    assert [(row["live"], row["live_by"], row["connected"]) for row in found["members"]] == [
        (True, "kernel", True),
        (True, "connection", True),
        (True, "connection", True),
    ]
    assert found["quorate"] is True
    assert found["timeouts"]["seconds"]["self_fence"] == 60.0
    assert found["regions"][0]["beats"] == {"node1": 0.5, "node2": 0.5, "node3": 0.5}


def test_a_host_with_nothing_installed_reports_that():
    found = result(Facts("new"))
    assert (found["online"], found["cluster_name"], found["members"], found["variables"]) == (False, None, [], {})
    assert found["files"]["cluster_conf"] == {
        "path": conf.PATH, "present": False, "clusters": [], "error": None,
    }  # fmt: skip


def test_an_unparseable_file_is_an_error_in_the_report_and_the_kernel_still_counts():
    found = result(facts(conf="node:\r\n"))
    assert "carriage return" in found["files"]["cluster_conf"]["error"]
    assert member(found, "node2")["configured"] is False
    assert found["variables"]["o2cb_cluster_name"] == "lab"


def test_an_offline_node_reports_the_cluster_of_its_files():
    found = result(facts(live=None, reading=reading()))
    assert (found["online"], found["cluster_name"], found["node_number"]) == (False, "lab", 1)
    assert found["variables"]["o2cb_state"] == "offline"
    assert member(found, "node2")["registered"] is False


def test_a_node_that_only_the_file_has_is_a_member_too():
    more = replace(CLUSTER, nodes=(*NODES, Node("node4", 4, "10.0.0.4")))
    found = result(facts(conf=conf.Document().with_cluster(more).render()))
    row = member(found, "node4")
    assert (row["configured"], row["registered"], row["live"]) == (True, False, False)


def test_a_split_cluster_is_not_quorate_on_the_higher_half():
    rows = (beat(1), beat(2))
    pair = Cluster("lab", NODES[:2], REGIONS)
    found = result(facts(hostname="node2", live=live(pair, connected=(), local="node2"), reading=reading(*rows)))
    assert found["quorate"] is False
    assert "node 1, is not among them" in found["quorum_reason"]


def test_domains_come_with_their_mount_and_number_of_locks():
    found = result(facts(domains=(Domain("vm", "/dlm", ("a", "b")), Domain("unseen", ""))))
    assert found["domains"] == [
        {"name": "vm", "mount": "/dlm", "locks": 2},
        {"name": "unseen", "mount": None, "locks": 0},
    ]


def test_a_region_that_lost_its_disk_stays_among_the_variables():
    found = result(facts(live=live(replace(CLUSTER, regions=REGIONS[:2]))))
    assert found["variables"]["o2cb_regions"] == [{"uuid": uuid} for uuid in REGIONS]


@pytest.mark.parametrize("local", ["node1", "node2", "node3"])
def test_the_variables_of_all_hosts_make_a_plan_without_a_step(local):
    """What the role does: one cluster from the variables of all its hosts, then the plan."""
    cluster = Cluster("lab", NODES, REGIONS, "global", Timeouts(61, 60000, 5000, 3000), "panic")
    sources = {
        node.name: facts(
            hostname=node.name,
            live=live(cluster, connected=(), local=node.name),
            conf=conf.Document().with_cluster(cluster).render(),
        )
        for node in NODES
    }
    variables = {name: result(found)["variables"] for name, found in sources.items()}
    shared = variables[local]
    options = {
        "name": shared["o2cb_cluster_name"],
        "nodes": [
            {
                "name": host["o2cb_node_name"],
                "number": host["o2cb_node_number"],
                "address": host["o2cb_node_address"],
                "port": host["o2cb_port"],
            }
            for host in variables.values()
        ],
        "heartbeat_mode": shared["o2cb_heartbeat_mode"],
        "timeouts": {name: shared[f"o2cb_{name}"] for name in vars(Timeouts())},
        "fence_method": shared["o2cb_fence_method"],
    }
    want = arguments.wanted(options, [region["uuid"] for region in shared["o2cb_regions"]])
    assert want == cluster
    source = sources[local]
    have = Have(local, conf=source.conf, live=source.live, stack="o2cb")
    assert plan.online_steps(have, want) == []
