#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dlmfs
version_added: 0.1.0
short_description: Mount dlmfs and prove that the lock manager works
description:
  - Starts or stops the mount unit that M(ocfs2.o2cb.boot) has installed, and starts o2keep where that is installed.
  - With O(verify=true), proves that the nodes agree and see each other.
options:
  path:
    description: Mount point of dlmfs.
    type: path
    default: /dlm
  verify:
    description:
      - With O(verify_join), join a test domain. Then see O(verify_nodes), and have quorum.
      - RV(ocfs2.o2cb.preflight#module:proved) tells later whether the cluster has changed since.
    type: bool
    default: false
  verify_join:
    description:
      - Join the domain O(verify_domain), which counts as no change. That is refused where regions, node table or
        timeouts differ from those of a node that is in it. So this node stays in it, for the others that come after it;
        leave it with M(ocfs2.o2cb.domain) once all nodes were in it.
    type: bool
    default: true
  verify_domain:
    description: Name of the test domain.
    type: str
    default: o2cbverify
  verify_nodes:
    description: Names or numbers of nodes that this one has to see live, as M(ocfs2.o2cb.membership) takes them.
    type: list
    elements: str
    default: []
  state:
    description: V(unmounted) is refused while locks are held under the mount point.
    type: str
    choices: [mounted, unmounted]
    default: mounted
  timeout:
    description: Seconds to wait for the proof. A node that is not connected is noticed after 60 s.
    type: int
    default: 130
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
  - module: ocfs2.o2cb.domain
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Mount dlmfs, and prove that the nodes agree and see each other
  ocfs2.o2cb.dlmfs:
    verify: true
    verify_nodes: [node1, node2, node3]

- name: Leave the test domain
  ocfs2.o2cb.domain:
    name: o2cbverify
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [mount dlmfs on /dlm]
verified:
  description: Whether the test domain was joined, with O(verify_join), and O(verify_nodes) seen.
  returned: always
  type: bool
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError, join_problems
from ..module_utils.base.systemd import Systemd
from ..module_utils.o2cb import domains, keeping, observe, proof, units
from ..module_utils.o2cb.waiting import Eyes, Wanted, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping

ARGUMENT_SPEC = {
    "path": {"type": "path", "default": "/dlm"},
    "verify": {"type": "bool", "default": False},
    "verify_join": {"type": "bool", "default": True},
    "verify_domain": {"type": "str", "default": "o2cbverify"},
    "verify_nodes": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["mounted", "unmounted"], "default": "mounted"},
    "timeout": {"type": "int", "default": 130},
}


def run(options: Mapping[str, Any], systemd: Systemd, check: bool) -> dict[str, Any]:
    path = options["path"]
    mounted = path in domains.mounts()
    wanted = options["state"] == "mounted"
    unit = units.mount_unit_name(path)
    if not wanted:
        held = [domain for domain in domains.joined() if domain.mount == path and domain.locks]
        if held:
            reasons = [f"domain {domain.name} has {len(domain.locks)} lock(s)" for domain in held]
            raise O2cbError(f"{path} is in use: {join_problems(reasons)}; release them first")
    actions = []
    if mounted != wanted:
        actions.append(f"{'mount' if wanted else 'unmount'} dlmfs on {path}")
        if not check:
            systemd.tell("start" if wanted else "stop", unit)
            if (path in domains.mounts()) != wanted:
                raise O2cbError(f"{path} is still not {options['state']}: see `systemctl status {unit}`")
    if wanted and os.path.exists(units.KEEPER) and not keeping.runs():
        actions.append("start o2keep")
        if not check:
            systemd.tell("start", units.KEEPER_SERVICE)
    verifies = wanted and options["verify"] and not check
    if verifies:
        prove(options)
    before, after = ("unmounted\n", "mounted\n") if wanted else ("mounted\n", "unmounted\n")
    return {
        "changed": bool(actions),
        "actions": actions,
        "verified": verifies,
        "diff": {
            "before_header": path,
            "after_header": path,
            "before": before if mounted != wanted else after,
            "after": after,
        },
    }


def prove(options: Mapping[str, Any]) -> None:
    """Raises O2cbError with what this node and the others do not agree on, or who is not seen."""
    name, deadline = options["verify_domain"], time.monotonic() + options["timeout"]
    if options["verify_join"] and not os.path.isdir(f"{options['path']}/{name}"):
        domains.join_within(name, options["path"], options["timeout"])
    wait(Wanted(options["verify_nodes"], quorate=True), Eyes(), max(0.0, deadline - time.monotonic()))
    live = observe.live()
    if options["verify_join"] and live is not None:
        proof.note(live)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, Systemd(), module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
