#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster
version_added: 0.1.0
short_description: Configure an o2cb cluster on a node and bring it online or offline
description:
  - Takes the whole desired cluster in one call and makes this node a member of it, by C(/etc/ocfs2/cluster.conf),
    the sysconfig file and the running kernel.
  - First a plan is made from what is to what is wanted. Each of its steps is marked C(online), C(node offline) or
    C(cluster offline), and O(change_policy) says which of them may be done. The plan is the diff in check mode and
    stands in the result.
  - Every value that is written to the kernel is read back. A node that comes online and is not connected to each live
    node goes offline again, because it would keep them from joining new domains.
  - Nothing is removed that is not listed, unless O(purge=true). Comments, unknown keys and other clusters in
    C(cluster.conf) stay.
  - The role M(ocfs2.o2cb.preflight) checks before any host is changed; in playbooks use the roles of this collection.
options:
  regions:
    description:
      - UUIDs of the OCFS2 volumes that are the heartbeat regions, 32 upper-case hexadecimal digits each.
        M(ocfs2.o2cb.heartbeat) makes and finds them. Use three, so that the loss of one does no harm.
      - In check mode, V(pending:/dev/...) stands for a device that is still to be formatted.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - ocfs2.o2cb._cluster
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.actiongroup_o2cb
attributes:
  check_mode:
    support: full
    details: Predicts a change that needs the whole cluster offline also while other nodes are live.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ocfs2.o2cb.cluster_info
  - module: ocfs2.o2cb.heartbeat
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Be a member of the cluster
  ocfs2.o2cb.cluster:
    name: storage
    nodes:
      - {name: node1, number: 1, address: 10.0.0.1}
      - {name: node2, number: 2, address: 10.0.0.2}
      - {name: node3, number: 3, address: 10.0.0.3}
    regions:
      - 6617721D55364FF1B01FB7259C85410E
    timeouts:
      heartbeat_dead_threshold: 61

- name: Show what a change would need
  ocfs2.o2cb.cluster:
    name: storage
    nodes: "{{ nodes }}"
    regions: "{{ regions }}"
    change_policy: plan
  register: change

- name: Leave the cluster
  ocfs2.o2cb.cluster:
    name: storage
    state: absent
"""

RETURN = r"""
actions:
  description: The steps that were done, or would be in check mode, in their order.
  returned: always
  type: list
  elements: str
  sample: ["start region 6617721D55364FF1B01FB7259C85410E [online]"]
notices:
  description:
    - What took time because this node crashed before. It ends its earlier life on disk before its first beat.
  returned: always
  type: list
  elements: str
  sample: ["vmhost1 did not leave in good order: it watches its slots for 6 s, and ends its earlier life there"]
scope:
  description: What the plan needs, V(online), V(node offline) or V(cluster offline).
  returned: always
  type: str
  sample: online
cluster:
  description: The cluster after the call, as it stands in the files and in the kernel; empty when there is none.
  returned: always
  type: dict
  sample: {name: storage, heartbeat_mode: global, nodes: [], regions: []}
"""

from contextlib import nullcontext

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.install import arguments, policy
from ..module_utils.o2cb import online
from ..module_utils.o2cb import plan as planning
from ..module_utils.o2cb.system import System

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping

ARGUMENT_SPEC = {**arguments.CLUSTER, "regions": {"type": "list", "elements": "str", "default": []}}


def run(options: Mapping[str, Any], system: System, check: bool) -> dict[str, Any]:
    looks = check or options["change_policy"] == "plan"
    with nullcontext() if looks else system.turn():
        return change(options, system, looks)


def change(options: Mapping[str, Any], system: System, looks: bool) -> dict[str, Any]:
    plan = planning.plan(
        system.read(),
        arguments.wanted(options, options["regions"]),
        options["state"],
        options["purge"],
        options["force"],
    )
    if not looks or options["change_policy"] == "online_only":
        policy.refuse(plan, options["change_policy"], system)
    notices: list[str] = []
    if looks:
        system.locate(plan)
    else:
        online.carry_out(system, plan, options["force"], notices.append)
    return {
        "changed": bool(plan.steps) and options["change_policy"] != "plan",
        "actions": [str(step) for step in plan.steps],
        "notices": notices,
        "scope": str(plan.scope),
        "cluster": planning.as_facts(plan.target),
        "diff": plan.diff(),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=arguments.REQUIRED_IF,
    )
    try:
        result = run(module.params, System(), module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
