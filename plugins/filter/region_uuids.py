# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `region_uuids`: the heartbeat regions that all hosts found. The logic is in plugin_utils/inventory.py."""

from __future__ import annotations

DOCUMENTATION = r"""
name: region_uuids
version_added: 0.1.0
short_description: The heartbeat regions that all hosts found
description:
  - Makes the list of regions that M(ocfs2.o2cb.cluster#module) takes from what the role C(heartbeat) found on each
    host.
  - Fails when two hosts found different ones.
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
- name: Show the regions after the role heartbeat
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts | ocfs2.o2cb.region_uuids(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The UUIDs, sorted.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import inventory


def region_uuids(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    try:
        return inventory.region_uuids(hosts, hostvars)
    except O2cbError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"region_uuids": region_uuids}
