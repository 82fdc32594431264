# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `nodes`: the cluster's nodes from the inventory. The logic is in plugin_utils/inventory.py."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nodes
version_added: 0.1.0
short_description: The nodes of an o2cb cluster, from the inventory
description:
  - Makes the list of nodes that M(ocfs2.o2cb.cluster#module) takes from the variables C(o2cb_node_number),
    C(o2cb_node_address), C(o2cb_node_name) and C(o2cb_port) of each host.
  - Fails when hosts share a number, a name or an address, or see different settings of the cluster, naming host, value
    and remedy.
options:
  _input:
    description: Names of the hosts that are the cluster's nodes.
    type: list
    elements: str
    required: true
  hostvars:
    description: Variables of all hosts, the variable of the same name.
    type: dict
    required: true
  defaults:
    description: Settings of the cluster as the role sees them, for hosts that do not set them.
    type: dict
    required: true
positional: hostvars, defaults
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Show the nodes
  ansible.builtin.debug:
    msg: "{{ groups['nodes'] | ocfs2.o2cb.nodes(hostvars, {'o2cb_port': 7777}) }}"
"""

RETURN = r"""
_value:
  description: The nodes, sorted by number.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import inventory


def nodes(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> list[dict[str, Any]]:
    try:
        return inventory.nodes(hosts, hostvars, defaults)
    except O2cbError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nodes": nodes}
