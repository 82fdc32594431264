#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: boot
version_added: 0.1.0
short_description: Install what brings a node online at each boot
description:
  - Installs a program that brings the node online with the same checks as M(ocfs2.o2cb.cluster), a drop-in by which
    C(o2cb.service) runs it after the network and the storage, the mount unit of dlmfs, the list of kernel modules, and
    the sysctls that o2cb needs.
  - The drop-in replaces the distribution's start and stop commands. Those report success without a heartbeat, do not
    wait for disks, rewrite their settings file, and kill every process that holds a lock when they stop.
  - The units are enabled here and started by the role M(ocfs2.o2cb.cluster), after the cluster is configured.
options:
  device_wait:
    description: Seconds to wait at boot for the heartbeat devices and the node's address, before systemd tries again.
    type: int
    default: 120
  locks:
    description:
      - Also install o2keep, the daemon that holds the locks of M(ocfs2.o2cb.lock), and the command C(o2ctl) with its
        manual page and its completion for bash.
      - They are experimental. O(locks=false) removes them, unless locks are held.
    type: bool
    default: false
  mount:
    description: Mount point of dlmfs.
    type: path
    default: /dlm
  sysctl:
    description: Kernel settings, written to C(/etc/sysctl.d) and to the running kernel.
    type: dict
    default:
      kernel.panic: 30
      kernel.panic_on_oops: 1
  digest:
    description: The program's SHA-256, in hexadecimal. The action plugin of this name provides it.
    type: str
  program:
    description:
      - The program as a zipapp, compressed by zlib, in base64. The action plugin of this name provides it, and only to
        a node that answered RV(program_wanted).
    type: str
  state:
    description: V(absent) removes the files and disables the units. The sysctls of the running kernel stay.
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
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Come online at each boot, and wait up to five minutes for the disks
  ocfs2.o2cb.boot:
    device_wait: 300
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in its order.
  returned: always
  type: list
  elements: str
  sample: [write /usr/local/lib/ocfs2.o2cb/o2cb.pyz, reload systemd, enable o2cb.service]
program_wanted:
  description: The program of O(digest) is neither on the node nor in O(program). Nothing was compared or done.
  returned: to the action plugin, which asks again
  type: bool
  sample: true
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.base.systemd import Systemd
from ..module_utils.install import boot

ARGUMENT_SPEC = {
    "device_wait": {"type": "int", "default": 120},
    "locks": {"type": "bool", "default": False},
    "mount": {"type": "path", "default": "/dlm"},
    "sysctl": {"type": "dict", "default": {"kernel.panic": 30, "kernel.panic_on_oops": 1}},
    "digest": {"type": "str"},
    "program": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def _program(params: dict[str, Any]) -> bytes | None:
    """The program to be installed, None when it has to be sent."""
    if params["state"] == "absent":
        return b""
    if params["program"] is not None:
        return boot.decoded(params["program"], params["digest"])
    here = boot.installed()
    return here if boot.sha256(here) == params["digest"] else None


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_if=[("state", "present", ["digest"])]
    )
    try:
        program = _program(module.params)
        if program is None:
            module.exit_json(changed=False, actions=[], program_wanted=True)
        plan = boot.plan(module.params, program, Systemd())
        if not module.check_mode:
            plan.apply()
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(changed=bool(plan.actions), actions=plan.actions, diff=plan.diff)


if __name__ == "__main__":
    main()
