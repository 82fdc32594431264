# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory that playbooks get."""

from __future__ import annotations

import shlex

import yaml

from lab import inventory, state


def test_every_node_has_number_and_address_and_the_group_what_is_common():
    nodes = yaml.safe_load(inventory.render("demo", 3))["nodes"]
    assert list(nodes["hosts"]) == ["node1", "node2", "node3"]
    assert nodes["hosts"]["node3"] == {
        "ansible_host": "10.22.0.13",
        "o2cb_node_number": 3,
        "o2cb_node_address": "10.22.0.13",
    }
    assert nodes["vars"]["o2cb_cluster_name"] == "lab"
    assert [region["device"] for region in nodes["vars"]["o2cb_regions"]] == [
        "/dev/mapper/hb1",
        "/dev/mapper/hb2",
        "/dev/mapper/hb3",
    ]


def test_ssh_goes_into_the_labs_own_namespace_and_gives_up_on_dead_nodes():
    arguments = yaml.safe_load(inventory.render("demo", 1))["nodes"]["vars"]["ansible_ssh_common_args"]
    words = shlex.split(arguments)
    assert "ProxyCommand=ip netns exec o2cb-demo nc %h %p" in words
    assert "ServerAliveInterval=5" in words
    assert "ServerAliveCountMax=3" in words
    assert "ConnectTimeout=10" in words


def test_two_labs_never_share_open_connections():
    directories = [
        yaml.safe_load(inventory.render(name, 1))["nodes"]["vars"]["ansible_control_path_dir"] for name in ("a", "b")
    ]
    assert directories == [str(state.STATE / "a" / "ssh"), str(state.STATE / "b" / "ssh")]
