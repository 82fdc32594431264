#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: members_info
version_added: 0.1.0
short_description: Tell which nodes are on the agents' message bus
description:
  - Tells who is on the bus as the agent of this node sees it, whether this node is on the side that decides, who
    numbers the messages, and what the bus waits for. Changes nothing.
  - Experimental. Needs the role P(ocfs2.o2cb.agent#role).
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.info_module
  - ocfs2.o2cb._attributes.actiongroup_o2cb
seealso:
  - module: ocfs2.o2cb.message
  - module: ocfs2.o2cb.cluster_info
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: See who is there
  ocfs2.o2cb.members_info:
  register: bus

- name: Go on only while all nodes answer
  ansible.builtin.assert:
    that:
      - bus.on_bus
      - bus.waits | length == 0
      - bus.members | rejectattr('state', 'eq', 'up') | length == 0
"""

RETURN = r"""
node:
  description: Name of this node; null while it is not on the bus.
  returned: always
  type: str
on_bus:
  description: Whether this node's agent is on the bus.
  returned: always
  type: bool
quorate:
  description: Whether this node is on the side that decides, as the kernel counts it.
  returned: always
  type: bool
sequencer:
  description: Name of the node whose agent numbers the messages; null where this node does not know of one.
  returned: always
  type: str
position:
  description: Position of the last message or view in the order of all; null while this node is not on the bus.
  returned: always
  type: int
members:
  description:
    - Each node of the cluster with C(node), its number, C(name), C(address), C(state), and for those that have been on
      the bus C(incarnation) of their agent and C(since), in seconds since the epoch.
    - The state is V(up), V(suspect), which means that everything waits for it, V(agent down), V(node down), or
      V(no agent) where none has been on the bus since this one is.
  returned: always
  type: list
  elements: dict
waits:
  description: What the bus waits for, in words; nothing when all is well.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.client.agent import Client


def run(client: Client) -> dict[str, Any]:
    """What the module returns: what the agent says, with names for numbers."""
    found = client.ask("members")
    names = {row["node"]: row["name"] or str(row["node"]) for row in found["members"]}
    for key in ("node", "sequencer"):
        found[key] = names.get(found[key])
    return found


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        with Client() as client:
            result = run(client)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
