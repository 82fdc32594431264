# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `differences`: would all hosts have the same cluster? The logic is in plugin_utils/inventory.py."""

from __future__ import annotations

DOCUMENTATION = r"""
name: differences
version_added: 0.1.0
short_description: What would not be the same in the clusters of these hosts
description:
  - Compares the clusters that M(ocfs2.o2cb.preflight#module) foresees on all hosts. They come from the inventory and
    from what each host's C(cluster.conf) has beyond it.
  - Nodes that differ in the table of nodes, or in the regions, do not let each other join domains.
options:
  _input:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: Variables of all hosts, the variable of the same name.
    type: dict
    required: true
positional: hostvars
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Show what differs after the role node
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts | ocfs2.o2cb.differences(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Each difference with the remedy; empty when there is none.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import inventory


def differences(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return inventory.differences(hosts, hostvars)


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"differences": differences}
