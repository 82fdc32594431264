# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts whose own cluster.conf would make their cluster another one than that of the rest."""

from __future__ import annotations

from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils.inventory import differences

NODES = [{"name": f"n{number}", "number": number, "address": f"10.0.0.{number}", "port": 7777} for number in (1, 2, 9)]
REGION = "6617721D55364FF1B01FB7259C85410E"


def hostvars(**clusters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {host: {"__o2cb_preflight": {"cluster": cluster}} for host, cluster in clusters.items()}


def test_equal_clusters_have_no_differences() -> None:
    cluster = {"nodes": NODES, "regions": [REGION]}
    assert differences(["n1", "n2"], hostvars(n1=cluster, n2=dict(cluster))) == []


def test_a_node_that_only_one_host_has_is_named_with_the_hosts() -> None:
    found = differences(
        ["n1", "n2"], hostvars(n1={"nodes": NODES[:2], "regions": []}, n2={"nodes": NODES, "regions": []})
    )
    assert len(found) == 1
    assert found[0].startswith("n2 would have node n9 (number 9, 10.0.0.9:7777), and n1 not")
    assert "o2cb_purge=true" in found[0]


def test_a_region_that_only_one_host_has_is_named_but_not_a_device_to_be_formatted() -> None:
    one = {"nodes": NODES, "regions": [REGION, "pending:/dev/sda"]}
    other = {"nodes": NODES, "regions": ["pending:/dev/mapper/same"]}
    found = differences(["n1", "n2"], hostvars(n1=one, n2=other))
    assert [text.partition(",")[0] for text in found] == [f"n1 would have region {REGION}"]
