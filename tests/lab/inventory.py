# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as an Ansible inventory: how to reach the nodes, and what a playbook of this collection needs to know."""

from __future__ import annotations

import shlex

from . import disks, network, ssh, state


def render(lab: str, nodes: int) -> str:
    """The inventory in YAML. Node numbers are host variables, as they have to be on real clusters.

    Ansible names its shared connections by user, host and port only, which are the same in every lab: each lab keeps
    them in a directory of its own, or a task for one lab would run in another.
    """
    arguments = " ".join(shlex.quote(option) for option in ssh.options(lab))
    lines = [
        f"# The nodes of the lab {lab}, written by bin/lab up.",
        "nodes:",
        "  vars:",
        "    ansible_user: root",
        f"    ansible_ssh_private_key_file: {ssh.KEY}",
        "    ansible_python_interpreter: /usr/bin/python3",
        f"    ansible_ssh_common_args: {_quoted(arguments)}",
        f"    ansible_control_path_dir: {_quoted(str(state.Paths(lab).connections))}",
        "    o2cb_cluster_name: lab",
        "    o2cb_regions:",
        *(f"      - device: /dev/mapper/{name}" for name in disks.HEARTBEAT),
        "  hosts:",
    ]
    for number in range(1, nodes + 1):
        lines += [
            f"    node{number}:",
            f"      ansible_host: {network.address(number)}",
            f"      o2cb_node_number: {number}",
            f"      o2cb_node_address: {network.address(number)}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
