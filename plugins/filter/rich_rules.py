# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `rich_rules`: what firewalld calls rich rules, for the cluster's nodes.

The logic is in plugin_utils/inventory.py.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: rich_rules
version_added: 0.1.0
short_description: Rules of firewalld that accept the nodes of an o2cb cluster
description:
  - Makes firewalld's rich rules from the list of nodes that P(ocfs2.o2cb.nodes#filter) makes.
options:
  _input:
    description: The nodes.
    type: list
    elements: dict
    required: true
  more:
    description: TCP ports besides that of o2cb, such as that of the agents.
    type: list
    elements: int
    default: []
  udp:
    description: UDP ports, such as that of corosync.
    type: list
    elements: int
    default: []
positional: more, udp
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Show the rules
  ansible.builtin.debug:
    msg: "{{ nodes | ocfs2.o2cb.rich_rules }}"
"""

RETURN = r"""
_value:
  description: The rules, in the form in which firewalld lists them.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import inventory


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rich_rules": inventory.rich_rules}
