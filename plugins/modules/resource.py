#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource
version_added: 0.1.0
short_description: Run a service, an address or commands on one node at a time
description:
  - Defines a resource for the agent of a node, gives orders about it, and waits until it is so. Run it on all nodes
    that may run the resource, with the same values.
  - An option that is not given stays as it is defined on the node.
  - Experimental. Needs the role P(ocfs2.o2cb.agent#role).
options:
  name:
    description: Name of the resource, up to 64 letters, digits, C(.), C(_) and C(-). Needed but for O(drain).
    type: str
  state:
    description:
      - V(started) runs it on one of its nodes. V(stopped) and V(absent) run it nowhere once all nodes know.
    type: str
    choices: [started, stopped, absent]
    default: started
  parts:
    description:
      - What belongs together and starts in this order, on the same node. Each has either C(unit), a unit of systemd
        that is not enabled, or C(address) with its prefix and C(device), or the commands C(start), C(stop) and
        C(check), lists of words.
      - C(check) ends with 0 where it runs, and with 3 or 7 where it surely does not.
      - C(start_timeout), C(stop_timeout) and C(check_timeout) are in seconds.
    type: list
    elements: dict
  nodes:
    description: Nodes that may run it, with their priorities. The largest comes first. By default all nodes may.
    type: dict
  prefer:
    description: The node that comes before all others.
    type: str
  sticky:
    description: Stay where it runs when a node of higher priority comes. By default it stays.
    type: bool
  check_interval:
    description: Seconds between two checks that it runs. By default 10.
    type: float
  attempts:
    description: So many failures within O(window) seconds are a reason to leave it to another node. By default 2.
    type: int
  window:
    description: Seconds in which failures count together. By default 300.
    type: float
  backoff:
    description: Seconds for which the node does not try again then, twice as many each time. By default 30.
    type: float
  move:
    description: Name of the node that is to run it now. It takes effect on that node and on the one that runs it.
    type: str
  clear:
    description: Forget its failures on this node.
    type: bool
    default: false
  drain:
    description:
      - With V(true), this node runs no resources any more, and takes none until V(false) is given. It concerns all
        resources of the node.
    type: bool
  wait:
    description: Seconds to wait until it is as wanted; V(0) does not wait.
    type: float
    default: 60
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
  - module: ocfs2.o2cb.resource_info
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: A web server with its address, on one node at a time
  ocfs2.o2cb.resource:
    name: web
    prefer: node1
    parts:
      - address: 192.0.2.10/24
        device: eth0
      - unit: nginx.service

- name: Move it
  ocfs2.o2cb.resource:
    name: web
    move: node2

- name: Empty this node before it is rebooted
  ocfs2.o2cb.resource:
    drain: true
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in its order.
  returned: always
  type: list
  elements: str
  sample: [write /etc/o2agent/resources.d/web.json, reload o2agent]
resource:
  description:
    - The resource as this node's agent sees it, with C(state), C(node), C(held), C(runs), C(token), C(parts) and
      C(error); null where it is unknown.
  returned: with O(name)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.client.agent import Client
from ..module_utils.install import defining

ARGUMENT_SPEC = {
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
    "parts": {"type": "list", "elements": "dict"},
    "nodes": {"type": "dict"},
    "prefer": {"type": "str"},
    "sticky": {"type": "bool"},
    "check_interval": {"type": "float"},
    "attempts": {"type": "int"},
    "window": {"type": "float"},
    "backoff": {"type": "float"},
    "move": {"type": "str"},
    "clear": {"type": "bool", "default": False},
    "drain": {"type": "bool"},
    "wait": {"type": "float", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_one_of=[("name", "drain")])
    try:
        client = Client()
        plan = defining.plan(module.params, client)
        found = None
        if not module.check_mode:
            plan.apply()
            found = defining.wait(module.params, client)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(changed=bool(plan.actions), actions=plan.actions, diff=plan.diff, resource=found)


if __name__ == "__main__":
    main()
