#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: heartbeat
version_added: 0.1.0
short_description: Make, find, start and stop global heartbeat regions of o2cb
description:
  - A heartbeat region is a small OCFS2 volume on a shared disk, on which each node writes a sign of life every two
    seconds. Use three on different disks, so that the loss of one does no harm.
  - A device is formatted only with O(format=true), and only when nothing at all is on it. There is no option to
    overwrite.
  - A device whose name the o2cb tool does not search, such as NVMe, is refused, with the way out.
  - Format on one host only (C(run_once)), and let the others find the region.
options:
  cluster:
    description: Name of the cluster to which the regions belong.
    type: str
    required: true
  regions:
    description: The regions, each given by its device, its UUID, or both.
    type: list
    elements: dict
    required: true
    suboptions:
      device:
        description: Path of the block device on this host.
        type: path
      uuid:
        description: UUID of the volume, 32 upper-case hexadecimal digits.
        type: str
      label:
        description: Label of a volume that is formatted. The last part of the device's path by default.
        type: str
  format:
    description: Format blank devices.
    type: bool
    default: false
  state:
    description:
      - V(present) finds the regions, and formats blank devices if allowed.
      - V(started) also adds them to C(cluster.conf), and beats on them when this node is online.
      - V(stopped) stops beating on them until the next start of the cluster.
      - V(absent) stops them and removes them from C(cluster.conf). The volumes stay as they are.
      - Do the last three on all nodes in one play. Members with different regions do not let each other join domains.
    type: str
    choices: [present, started, stopped, absent]
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
  - module: ocfs2.o2cb.cluster
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Make a region on a blank disk
  ocfs2.o2cb.heartbeat:
    cluster: storage
    regions:
      - device: /dev/mapper/hb1
    format: true
  run_once: true
  register: heartbeat

- name: Add a fourth region to the running cluster, on all nodes
  ocfs2.o2cb.heartbeat:
    cluster: storage
    regions:
      - uuid: 6617721D55364FF1B01FB7259C85410E
    state: started
"""

RETURN = r"""
regions:
  description: The regions as found on this host.
  returned: when O(state) is V(present) or V(started)
  type: list
  elements: dict
  contains:
    uuid:
      description: UUID of the volume; V(pending:PATH) for a device that check mode would format.
      type: str
      returned: always
    device:
      description: Path of the device on this host.
      type: str
      returned: always
    label:
      description: Label of the volume.
      type: str
      returned: always
    formatted:
      description: Whether it was formatted by this call.
      type: bool
      returned: always
  sample: [{uuid: 6617721D55364FF1B01FB7259C85410E, device: /dev/mapper/hb1, label: hb1, formatted: false}]
actions:
  description: What was done, or would be in check mode, in its order.
  returned: always
  type: list
  elements: str
notices:
  description:
    - What took time because this node crashed before. It ends its earlier life on disk before its first beat.
  returned: always
  type: list
  elements: str
  sample: ["vmhost1 did not leave in good order: it watches its slots for 6 s, and ends its earlier life there"]
"""

from contextlib import nullcontext

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError, join_problems
from ..module_utils.install import arguments
from ..module_utils.install.regions import Region, resolve
from ..module_utils.o2cb import model, online
from ..module_utils.o2cb import plan as planning
from ..module_utils.o2cb.plan import Verb
from ..module_utils.o2cb.system import System

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping

ARGUMENT_SPEC = {
    "cluster": {"type": "str", "required": True},
    "regions": {**arguments.REGION, "required": True},
    "format": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "started", "stopped", "absent"], "default": "present"},
}


def find(options: Mapping[str, Any], system: System, check: bool) -> list[Region]:
    """All regions, or one error that names every one that is missing or refused.

    Nothing is formatted before all are known.
    """
    problems = []
    for dry_run in (True, check):
        found = []
        for region in options["regions"]:
            try:
                found.append(resolve(system, region, options["cluster"], options["format"], check=dry_run))
            except O2cbError as error:
                problems.append(str(error))
        if problems:
            raise O2cbError(join_problems(problems))
        uuids = [region.uuid for region in found]
        if len(set(uuids)) != len(uuids):
            raise O2cbError("two of the listed devices are the same region: list each once")
    return found


def run(options: Mapping[str, Any], system: System, check: bool) -> dict[str, Any]:
    with nullcontext() if check else system.turn():
        return change(options, system, check)


def change(options: Mapping[str, Any], system: System, check: bool) -> dict[str, Any]:
    name_problem = model.cluster_name_problem(options["cluster"])
    if name_problem:
        raise O2cbError(name_problem)
    adds = options["state"] in ("present", "started")
    regions = find(options, system, check) if adds else []
    formatted = [region for region in regions if region.formatted]
    actions = [f"format {region.device} as heartbeat region" for region in formatted]
    diff = [
        {
            "before_header": region.device,
            "after_header": region.device,
            "before": "blank\n",
            "after": f"{region.uuid}\n",
        }
        for region in formatted
    ]
    notices: list[str] = []
    if options["state"] != "present":
        uuids = [region.uuid for region in regions] or named_uuids(options["regions"])
        plan = planning.change_regions(
            system.read(),
            options["cluster"],
            uuids,
            Verb.START_REGION if adds else Verb.STOP_REGION,
            keep_conf=options["state"] == "stopped",
        )
        if not check:
            online.carry_out(system, plan, say=notices.append)
        actions += [str(step) for step in plan.steps]
        diff += plan.diff()
    return {
        "changed": bool(actions),
        "regions": [dict(vars(region)) for region in regions],
        "actions": actions,
        "notices": notices,
        "diff": diff,
    }


def named_uuids(regions: list[dict[str, str | None]]) -> list[str]:
    """The UUIDs to stop or remove. A lost disk cannot be looked at, so they have to be given."""
    missing = [str(region["device"]) for region in regions if not region["uuid"]]
    if missing:
        raise O2cbError(f"give the uuid of {', '.join(missing)}: a region is stopped and removed by its UUID")
    return [str(region["uuid"]) for region in regions]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, System(), module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
