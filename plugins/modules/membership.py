#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: membership
version_added: 0.1.0
short_description: Assert, or wait for, who is live in an o2cb cluster
description:
  - Looks from this node at the members of its cluster until all that is asked for is so, or time is up.
  - A node is live when its heartbeat changes between two readings of the disk, or, where debugfs is at hand, when the
    kernel says so at once. Without debugfs it takes 4.2 seconds to say that a node is not live.
options:
  nodes:
    description: Names or numbers of nodes that should be live.
    type: list
    elements: str
    default: []
  live:
    description: How many nodes should be live at least, this one included.
    type: int
    default: 0
  gone:
    description:
      - Names or numbers of nodes that should be gone, which is when they left in good order, or when the cluster holds
        them for dead after their dead time. Only then are their locks free.
    type: list
    elements: str
    default: []
  quorate:
    description: Whether this node should have quorum among the live ones.
    type: bool
    default: false
  timeout:
    description: Seconds to wait. V(0) is one look, now.
    type: float
    default: 0
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
- name: Wait until all nodes are live and connected well enough
  ocfs2.o2cb.membership:
    nodes: "{{ groups['nodes'] }}"
    quorate: true
    timeout: 120

- name: Wait until the cluster has given up a node that was switched off
  ocfs2.o2cb.membership:
    gone: [node3]
    timeout: 180

- name: Go on only while two nodes are live
  ocfs2.o2cb.membership:
    live: 2
"""

RETURN = r"""
live:
  description: Names of the nodes that are live, as far as it had to be found out.
  returned: always
  type: list
  elements: str
  sample: [node1, node2]
gone:
  description: Names of the nodes that are gone, as far as it had to be found out.
  returned: always
  type: list
  elements: str
  sample: [node3]
connected:
  description: Names of the nodes to which this node has a connection.
  returned: always
  type: list
  elements: str
  sample: [node2]
quorate:
  description: Whether this node has quorum; null when that was not asked for and it was too early to tell.
  returned: always
  type: bool
reason:
  description: Why, in words.
  returned: always
  type: str
  sample: 3 of 3 heartbeating nodes are connected, 2 are needed
waited:
  description: Seconds until it was so.
  returned: always
  type: float
  sample: 2.1
missing:
  description: What is not so, each with its remedy.
  returned: failure
  type: list
  elements: str
  sample: ["node2 is not live: bring it online, or ask cluster_info there what keeps it"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.o2cb.waiting import Eyes, Wanted, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping

ARGUMENT_SPEC = {
    "nodes": {"type": "list", "elements": "str", "default": []},
    "live": {"type": "int", "default": 0},
    "gone": {"type": "list", "elements": "str", "default": []},
    "quorate": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 0},
}


def run(options: Mapping[str, Any], eyes: Eyes) -> dict[str, Any]:
    wanted = Wanted(options["nodes"], options["gone"], options["live"], options["quorate"])
    return {"changed": False, **wait(wanted, eyes, options["timeout"])}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, Eyes())
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
