#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: agent
version_added: 0.1.0
short_description: Install the agent that runs each resource on one node
description:
  - Writes the units and settings of o2agent and the definitions of resources, and starts, reloads or upgrades it.
    What runs goes on meanwhile.
  - Experimental. Needs o2keep, which the roles install with C(o2cb_locks=true).
options:
  resources:
    description: Resources as the module M(ocfs2.o2cb.resource) describes them, each with C(name) and C(parts).
    type: list
    elements: dict
    default: []
  purge:
    description: Remove the resources that are not in O(resources). They are stopped.
    type: bool
    default: false
  on_stop:
    description:
      - What becomes of the resources when the agent is stopped by hand. V(keep) lets them run, under their locks.
        V(hand_over) stops them, so that they run elsewhere. When the machine goes down they are handed over.
    type: str
    choices: [keep, hand_over]
    default: keep
  read_group:
    description: Members of this group of the system may look at resources.
    type: str
  full_group:
    description: Members of this group of the system may give orders, too.
    type: str
  transport:
    description:
      - What carries messages between the agents. V(tcp) is TCP with mutual TLS, by certificates that
        M(ocfs2.o2cb.certificate) makes. V(corosync) is the closed process groups of a corosync that runs on all nodes.
    type: str
    choices: [tcp, corosync]
    default: tcp
  port:
    description: TCP port of the agents, on the addresses that o2cb uses.
    type: int
    default: 7778
  reload:
    description: Let the agent read its files again, such as certificates, even where nothing else has changed.
    type: bool
    default: false
  state:
    description: V(absent) removes the agent, and is refused while a resource runs on the node.
    type: str
    choices: [present, absent]
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
  - module: ocfs2.o2cb.resource
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: A web server with its address, on one node at a time
  ocfs2.o2cb.agent:
    resources:
      - name: web
        prefer: node1
        parts:
          - address: 192.0.2.10/24
            device: eth0
          - unit: nginx.service
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in its order.
  returned: always
  type: list
  elements: str
  sample: [write /etc/o2agent/resources.d/web.json, reload o2agent]
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.base.systemd import Systemd
from ..module_utils.install import agent
from ..module_utils.o2cb import units

ARGUMENT_SPEC = {
    "resources": {"type": "list", "elements": "dict", "default": []},
    "purge": {"type": "bool", "default": False},
    "on_stop": {"type": "str", "choices": ["keep", "hand_over"], "default": "keep"},
    "read_group": {"type": "str"},
    "full_group": {"type": "str"},
    "transport": {"type": "str", "choices": ["tcp", "corosync"], "default": "tcp"},
    "port": {"type": "int", "default": 7778},
    "reload": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        plan = agent.plan(module.params, Systemd())
        if not module.check_mode:
            if module.params["state"] == "present" and not os.path.exists(units.KEEPER):
                raise O2cbError("o2keep is not installed, and it holds the agent's locks: set o2cb_locks: true")
            plan.apply()
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(changed=bool(plan.actions), actions=plan.actions, diff=plan.diff)


if __name__ == "__main__":
    main()
