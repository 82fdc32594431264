#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: status
version_added: 0.1.0
short_description: Print what cluster_info found on all hosts as one page
description:
  - Prints a table of the nodes, the heartbeat regions with the last beat of each node, what the timeouts mean, and
    everything a person should do something about.
  - This is an action that runs on the controller. The playbook C(ocfs2.o2cb.status) calls it once for all hosts.
options:
  hosts:
    description:
      - The results of M(ocfs2.o2cb.cluster_info) by host name. A host that gave none is shown as the others see it.
    type: dict
    required: true
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.actiongroup_o2cb
  - ocfs2.o2cb._attributes.info_module
seealso:
  - module: ocfs2.o2cb.cluster_info
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Look at all nodes
  ocfs2.o2cb.cluster_info:
  register: cluster

- name: Print the page
  ocfs2.o2cb.status:
    hosts: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'cluster'))) }}"
  run_once: true
"""

RETURN = r"""
page:
  description: The page.
  returned: always
  type: str
"""
