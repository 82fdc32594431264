#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: record
version_added: 0.1.0
short_description: Make the record of fencing tokens on the heartbeat regions
description:
  - Writes a header on each heartbeat region that has none, in the part of its heartbeat file that the kernel does not
    use. From then on fencing tokens come from the marks that the nodes write there, and no clock decides.
  - Run it on one node, when all nodes have answered to M(ocfs2.o2cb.record_info) in the same play. The role
    P(ocfs2.o2cb.dlmfs#role) does both.
  - The record is made only while every node of the running cluster is in O(nodes) without a problem, and beats on all
    regions. Otherwise nothing is changed, and RV(reasons) says why, as a warning does. The task does not fail then.
  - A region that was added to all nodes gets its header while every node that is live beats there. A node that is down
    does not stand against it.
  - A header that is torn, of another cluster or program, or of a later version is never written over. The task fails
    with the remedy.
  - Where the heartbeat is local there is no record.
  - Experimental.
options:
  nodes:
    description: What all nodes say of themselves, RV(ocfs2.o2cb.record_info#module:member) of each.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      mark:
        description: The largest fencing token that it may have given out.
        type: int
        required: true
      problem:
        description: Why it would not go by a record that is made now.
        type: str
        default: ""
  foreseen:
    description:
      - In check mode, the cluster as it will be when the record is made. Then all nodes in O(nodes) are taken to be
        online. RV(ocfs2.o2cb.preflight#module:cluster) has it. Without it the cluster is looked at as it is.
      - Ignored outside of check mode.
    type: dict
    suboptions:
      name:
        description: Name of the cluster.
        type: str
        required: true
      nodes:
        description: Its nodes, each with C(name) and C(number).
        type: list
        elements: dict
        required: true
      regions:
        description: UUIDs of its regions, C(pending:PATH) for one that is still to be formatted.
        type: list
        elements: str
        required: true
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
  - module: ocfs2.o2cb.record_info
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Make the record
  hosts: nodes
  gather_facts: false
  tasks:
    - name: Ask every node
      ocfs2.o2cb.record_info:
      register: told

    - name: Make it on one of them
      ocfs2.o2cb.record:
        nodes: "{{ ansible_play_hosts | map('extract', hostvars, ['told', 'member']) }}"
      when: inventory_hostname == ansible_play_hosts[0]
"""

RETURN = r"""
created:
  description: UUIDs of the regions that got a header, or would in check mode; C(pending:PATH) for one without a volume.
  returned: always
  type: list
  elements: str
  sample: [6617721D55364FF1B01FB7259C85410E]
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [write the header of the record on region 6617721D55364FF1B01FB7259C85410E]
reasons:
  description: Why there is no record, or why a region has no part in it, each with its remedy. A warning has them too.
  returned: always
  type: list
  elements: str
  sample: ["this run leaves out node3: run it on all nodes, without --limit"]
usable:
  description: Whether a majority of the regions answers now, so that fencing tokens come from the record.
  returned: always
  type: bool
regions:
  description: What each region holds now, as RV(ocfs2.o2cb.record_info#module:regions) tells it.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.install import record
from ..module_utils.install.record import Member
from ..module_utils.marks import creating, looking
from ..module_utils.marks.format import BLANK, View
from ..module_utils.marks.looking import NOTHING, Look
from ..module_utils.o2cb import devices, observe
from ..module_utils.o2cb.model import PENDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

    from ..module_utils.o2cb.state import Live

ARGUMENT_SPEC = {
    "nodes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "mark": {"type": "int", "required": True},
            "problem": {"type": "str", "default": ""},
        },
    },
    "foreseen": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "nodes": {"type": "list", "elements": "dict", "required": True},
            "regions": {"type": "list", "elements": "str", "required": True},
        },
    },
}


def run(options: Mapping[str, Any], live: Live | None, check: bool) -> dict[str, Any]:
    """`live` is the running cluster of this node."""
    members = [Member(one["name"], one["mark"], one["problem"]) for one in options["nodes"]]
    if check and options["foreseen"]:
        return foretell(options["foreseen"], live, members)
    if live is None or not live.online:
        raise O2cbError("this node is not online in an o2cb cluster: see `systemctl status o2cb`")
    if live.cluster.heartbeat_mode == "local":
        return _result([], ["the heartbeat is local: it has no record, and clocks decide"], True, [], NOTHING)
    uuids = [region.uuid for region in live.regions]
    nodes = {node.number: node.name for node in live.cluster.nodes}
    look = looking.look(live.regions)
    verdict = record.judge(live.cluster.name, nodes, uuids, look, members)
    created, reasons = list(verdict.wanting), list(verdict.reasons)
    try:
        if created and check:
            creating.refuse_silent(live, created, verdict.first)
        elif created:
            created = record.make(live, members, created)
            look = looking.look(live.regions)
    except creating.SilentError as error:
        created, reasons = [], [*reasons, str(error)]
    return _result(created, reasons, verdict.first, uuids, look)


def foretell(foreseen: Mapping[str, Any], live: Live | None, members: Sequence[Member]) -> dict[str, Any]:
    """What a run will do that brings these nodes online before."""
    uuids = foreseen["regions"]
    beating = [region for region in live.regions if region.uuid in uuids] if live is not None and live.online else []
    rest = set(uuids) - {region.uuid for region in beating}
    look = looking.together([looking.look(beating), *map(_ahead, sorted(rest))])
    nodes = {int(node["number"]): str(node["name"]) for node in foreseen["nodes"]}
    willing = [one._replace(problem="") for one in members]
    verdict = record.judge(foreseen["name"], nodes, uuids, look, willing)
    return _result(verdict.wanting, verdict.reasons, verdict.first, uuids, look)


def _ahead(uuid: str) -> Look:
    """A region on which this node does not beat yet."""
    if uuid.startswith(PENDING):
        return NOTHING._replace(views={uuid: View(BLANK, None, {}, {})})
    try:
        return looking.look_at_volumes({uuid: devices.find_regions([uuid])[uuid].path})
    except O2cbError as error:
        return NOTHING._replace(problems={uuid: str(error)})


def _result(
    created: Sequence[str], reasons: Sequence[str], first: bool, uuids: Sequence[str], look: Look
) -> dict[str, Any]:
    return {
        "changed": bool(created),
        "created": list(created),
        "actions": [f"write the header of the record on region {uuid}" for uuid in created],
        "reasons": list(reasons),
        "usable": bool(uuids) and record.usable(uuids, look),
        "regions": record.regions(uuids, look),
        "diff": [record.shown(uuid) for uuid in created],
        "warnings": [record.warning(reasons, first and not created)] if reasons else [],
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, observe.live(), module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    for text in result.pop("warnings"):
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
