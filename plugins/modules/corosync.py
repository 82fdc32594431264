#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: corosync
version_added: 0.1.0
short_description: corosync on the nodes of a cluster of o2cb, to carry the agents' messages
description:
  - Writes C(corosync.conf) from C(cluster.conf), and the key of the ring, and starts, reloads or restarts corosync. It
    comes back by itself when it ends.
  - A corosync that connects nodes and was not set up by this module is refused.
  - The role C(agent) uses this module three times. It looks at the keys on all nodes, takes one or has it made, and
    then sets all nodes up.
options:
  name:
    description: Name of the cluster in C(cluster.conf).
    type: str
  nodes:
    description:
      - Nodes that C(cluster.conf) has, or will have when the role C(cluster) has run, which a run in check mode does
        not do.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      number:
        description: Its number. For corosync number 0 is 255.
        type: int
        required: true
      address:
        description: Its IPv4 address in the cluster's network, which corosync uses as well.
        type: str
        required: true
      port:
        description: TCP port of o2net. It does not matter here.
        type: int
        default: 7777
  purge:
    description: Leave out the nodes that are only in C(cluster.conf).
    type: bool
    default: false
  timeouts:
    description: Timeouts of o2cb, to check O(token) against them.
    type: dict
    default: {}
    suboptions:
      heartbeat_dead_threshold:
        description: Beats of 2 seconds after which a node is dead.
        type: int
        default: 31
      idle_timeout_ms:
        description: Milliseconds of silence after which o2net drops a connection.
        type: int
        default: 30000
      keepalive_delay_ms:
        description: It does not matter here.
        type: int
        default: 2000
      reconnect_delay_ms:
        description: It does not matter here.
        type: int
        default: 2000
  token:
    description:
      - Milliseconds without the token of the ring after which corosync looks for the node that is gone. It knows after
        2.2 times this. At least V(3000); it has to know before o2cb resets a node, and before o2net gives up.
    type: int
    default: 3000
  port:
    description: UDP port of corosync, on the addresses that o2cb uses.
    type: int
    default: 5405
  quorum:
    description:
      - Quorum in C(corosync.conf), for people who look at it. The agents ask o2cb's, and never this one.
    type: str
    choices: [none, votequorum]
    default: none
  key:
    description: The key of the ring, in base64. Where there is one already, and it is to stay, leave it out.
    type: str
  create:
    description: With O(state=key) return the key, this node's or a new one. Use C(no_log) with it.
    type: bool
    default: false
  state:
    description:
      - V(key) changes nothing, and returns what there is of a key.
      - V(absent) stops corosync and removes what this module has written, and nothing else.
    type: str
    choices: [present, absent, key]
    default: present
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.actiongroup_o2cb
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ocfs2.o2cb.agent
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: A key for the ring
  ocfs2.o2cb.corosync:
    state: key
    create: true
  register: ring
  run_once: true
  no_log: true

- name: A ring of the nodes in cluster.conf
  ocfs2.o2cb.corosync:
    name: storage
    key: "{{ ring.key }}"
"""

RETURN = r"""
key_mark:
  description: By what keys can be compared without telling them; empty where there is none.
  returned: with O(state=key)
  type: str
key:
  description: The key in base64.
  returned: with O(create)
  type: str
actions:
  description: What was done, or would be in check mode, in its order.
  returned: always
  type: list
  elements: str
  sample: [write /etc/corosync/corosync.conf, restart corosync.service]
"""

import copy
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.base.systemd import Systemd
from ..module_utils.install import arguments, corosync

ARGUMENT_SPEC = {
    "name": {"type": "str"},
    "nodes": copy.deepcopy(arguments.CLUSTER["nodes"]),
    "purge": {"type": "bool", "default": False},
    "timeouts": copy.deepcopy(arguments.CLUSTER["timeouts"]),
    "token": {"type": "int", "default": 3000, "no_log": False},
    "port": {"type": "int", "default": 5405},
    "quorum": {"type": "str", "choices": ["none", "votequorum"], "default": "none"},
    "key": {"type": "str", "no_log": True},
    "create": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent", "key"], "default": "present"},
}


def run(options: dict[str, Any], systemd: Systemd, check: bool) -> dict[str, Any]:
    """What the module returns."""
    if options["state"] == "key":
        return {"changed": False, "actions": [], **corosync.key_facts(options["create"])}
    plan = corosync.plan(options, systemd)
    if not check:
        plan.apply()
    return {"changed": bool(plan.actions), "actions": plan.actions, "diff": plan.diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ["name"])],
    )
    try:
        result = run(module.params, Systemd(), module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
