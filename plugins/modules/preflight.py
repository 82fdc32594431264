#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
version_added: 0.1.0
short_description: Check everything an o2cb cluster needs of a host before anything is changed
description:
  - Checks the wanted cluster, this host's name, address and port, its kernels, its C(cluster.conf), and each heartbeat
    region. All problems are reported at once, each with the value and the remedy.
  - Run it on all hosts of the cluster with C(any_errors_fatal), so that one host's problem stops the run before
    any host is changed. The roles of this collection do.
options:
  regions:
    description: The heartbeat regions, as M(ocfs2.o2cb.heartbeat) takes them.
    type: list
    elements: dict
    default: []
    suboptions:
      device:
        description: Path of the block device on this host.
        type: path
      uuid:
        description: UUID of the volume, 32 upper-case hexadecimal digits.
        type: str
      label:
        description: Label of a volume that is to be formatted.
        type: str
extends_documentation_fragment:
  - ocfs2.o2cb._cluster
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.actiongroup_o2cb
  - ocfs2.o2cb._attributes.info_module
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Check all hosts before any of them is changed
  hosts: nodes
  any_errors_fatal: true
  gather_facts: false
  tasks:
    - name: Check
      ocfs2.o2cb.preflight:
        name: storage
        nodes:
          - {name: node1, number: 1, address: 10.0.0.1}
          - {name: node2, number: 2, address: 10.0.0.2}
        regions:
          - device: /dev/mapper/hb1
"""

RETURN = r"""
hostname:
  description: What C(uname -n) prints.
  returned: success
  type: str
kernel:
  description: Release of the running kernel.
  returned: success
  type: str
next_kernel:
  description: Release of the kernel that is booted next, as far as it can be told.
  returned: success
  type: str
distribution:
  description: Kind of distribution, V(debian), V(ubuntu), V(oracle), V(suse) or V(unknown).
  returned: success
  type: str
missing_packages:
  description: Packages of the distribution that are still to be installed.
  returned: success
  type: list
  elements: str
regions:
  description: The wanted regions as they are here, their C(uuid) and C(device).
  returned: success
  type: list
  elements: dict
  sample: [{uuid: 6617721D55364FF1B01FB7259C85410E, device: /dev/mapper/hb1}]
running:
  description: Name of the cluster that the kernel holds now; null without any.
  returned: success
  type: str
  sample: storage
scope:
  description: What the change would need, V(online), V(node offline) or V(cluster offline).
  returned: success
  type: str
  sample: online
actions:
  description: The steps of the change, as M(ocfs2.o2cb.cluster) would do them.
  returned: success
  type: list
  elements: str
proved:
  description: Whether M(ocfs2.o2cb.dlmfs) has proved the cluster with a test domain, and nothing changes it since.
  returned: success
  type: bool
  sample: true
cluster:
  description: The cluster as this host would have it, from the options and what its C(cluster.conf) has beyond them.
  returned: success
  type: dict
  sample: {name: storage, heartbeat_mode: global, nodes: [], regions: []}
problems:
  description: Everything that stands in the way, each with its remedy.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError, join_problems
from ..module_utils.install import arguments, preflight
from ..module_utils.o2cb import plan as planning
from ..module_utils.o2cb import proof
from ..module_utils.o2cb.system import System

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping

ARGUMENT_SPEC = {**arguments.CLUSTER, "regions": {**arguments.REGION, "default": []}}


def run(options: Mapping[str, Any], system: System) -> dict[str, Any]:
    host = preflight.examine_host(system)
    foreseen = preflight.examine(system, host, options)
    plan = foreseen.plan
    if plan is None:
        problems = foreseen.problems
        raise O2cbError(f"{host.hostname} is not ready: {join_problems(problems)}", problems=problems)
    return {
        "changed": False,
        "hostname": host.hostname,
        "kernel": host.kernel,
        "next_kernel": host.next_kernel,
        "distribution": host.distribution.name if host.distribution else "unknown",
        "missing_packages": list(host.missing_packages),
        "regions": [{"uuid": region.uuid, "device": region.device} for region in foreseen.regions],
        "running": plan.have.live.cluster.name if plan.have.live else None,
        "scope": str(plan.scope),
        "actions": [str(step) for step in plan.steps],
        "proved": not plan.steps and proof.noted(plan.have.live),
        "cluster": planning.as_facts(plan.target),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_if=arguments.REQUIRED_IF)
    try:
        result = run(module.params, System())
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
