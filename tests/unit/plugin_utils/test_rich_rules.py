# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What firewalld is told of the cluster's nodes."""

from __future__ import annotations

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils.inventory import rich_rules

NODES = [{"address": "10.22.0.11", "port": 7777}, {"address": "10.22.0.12", "port": "7777"}]


def rule(address: str, port: int, protocol: str) -> str:
    return f'rule family="ipv4" source address="{address}" port port="{port}" protocol="{protocol}" accept'


def test_each_node_is_accepted_at_the_port_of_o2cb():
    assert rich_rules(NODES) == [rule("10.22.0.11", 7777, "tcp"), rule("10.22.0.12", 7777, "tcp")]


def test_the_ports_of_agents_and_of_corosync_are_accepted_too_and_none_twice():
    expected = [("tcp", 7777), ("tcp", 7778), ("udp", 5405)]
    assert rich_rules(NODES, [7778, 7777], ["5405"]) == [
        rule(node["address"], port, protocol) for node in NODES for protocol, port in expected
    ]
