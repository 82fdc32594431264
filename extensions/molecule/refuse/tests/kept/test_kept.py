# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in a host's cluster.conf and is not ours is kept, and the tools go on to accept the file."""

from __future__ import annotations

from faults.controller import Controller
from lab import Node

CONF = "/etc/ocfs2/cluster.conf"
SPACES = """\
# written by hand
cluster:
    name = lab
    node_count = 1
    heartbeat_mode = global
    colour = green

node:
    name = node1
    number = 1
    ip_address = 10.22.0.11
    ip_port = 7777
    cluster = lab
    rack = 7
"""
OTHER = """\
cluster:
\tname = other
\tnode_count = 1
\theartbeat_mode = local

node:
\tname = node1
\tnumber = 7
\tip_address = 10.99.0.7
\tip_port = 7779
\tcluster = other
"""


def test_what_is_not_ours_is_kept(controller: Controller, nodes: list[Node]) -> None:
    for node, text in zip(nodes, (SPACES, OTHER, f"{OTHER}\n{SPACES}"), strict=True):
        node.run(f"mkdir -p /etc/ocfs2 && cat > {CONF}", stdin=text, check=True)
    controller.site()
    first, second, third = (node.run(f"cat {CONF}", check=True).stdout for node in nodes)
    for text in (first, third):
        assert "# written by hand\n" in text
        assert "colour = green\n" in text
        assert "rack = 7\n" in text
    for text in (second, third):
        assert OTHER.strip() in text
    for node in nodes:
        listed = node.run("o2cb list-cluster lab --oneline", check=True).stdout
        assert all(f" {name} " in listed for name in ("node1", "node2", "node3"))
    assert controller.site().changes == []
