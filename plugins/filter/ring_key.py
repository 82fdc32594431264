# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `ring_key`: which host has the key of corosync's ring. The logic is in plugin_utils/authority.py."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ring_key
version_added: 0.1.0
short_description: Which host of a cluster has the key of corosync's ring
description:
  - For the role C(agent). Looks at what M(ocfs2.o2cb.corosync#module) has returned on each host.
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
- name: Show it
  ansible.builtin.debug:
    msg: "{{ (ansible_play_hosts | ocfs2.o2cb.ring_key(hostvars)).host }}"
"""

RETURN = r"""
_value:
  description: The host, and whether all hosts have its key.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils.authority import ring_key


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ring_key": ring_key}
