# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `authority`: which host signs. The logic is in plugin_utils/authority.py."""

from __future__ import annotations

DOCUMENTATION = r"""
name: authority
version_added: 0.1.0
short_description: Which host of a cluster has its certificate authority
description:
  - For the role C(agent). Looks at what M(ocfs2.o2cb.certificate#module) has returned on each host.
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
    msg: "{{ (ansible_play_hosts | ocfs2.o2cb.authority(hostvars)).host }}"
"""

RETURN = r"""
_value:
  description: The host, and what is still to be done.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils.authority import authority


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"authority": authority}
