#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt
version_added: 0.1.0
short_description: Let each virtual machine run on one node at a time
description:
  - Installs a hook by which libvirt takes a lock before it starts a machine of QEMU, and releases it when the machine
    is gone. A start on another node is refused, with the name of the node that has the machine. In a live migration
    the lock is handed over. Machines are known by their UUIDs.
  - libvirt is reloaded where it runs, machines that run already are guarded from then on, and locks that are left over
    are released. It fails where a machine turns out to run on two nodes; nothing is ended.
  - libvirt is told to start after o2keep, and machines to end before it.
  - Experimental. Needs o2keep, which the roles install with C(o2cb_locks=true).
options:
  unguarded:
    description:
      - Machines that may start without a lock, by name, by a pattern for names such as C(test-*), or by UUID. Name
        those that have their own disks on each node, and those that have to start while the cluster is offline.
      - It has to be the same on all nodes.
    type: list
    elements: str
    default: []
  state:
    description: V(absent) removes the hook, and is refused while machines run that are guarded.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: With O(state=absent), release the locks of machines that run, too. Nothing guards them any more then.
    type: bool
    default: false
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
  - module: ocfs2.o2cb.lock
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Guard all machines but those for tests
  ocfs2.o2cb.libvirt:
    unguarded: [test-*]
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in its order.
  returned: always
  type: list
  elements: str
  sample: [write /etc/libvirt/hooks/qemu.d/ocfs2.o2cb, reload libvirtd.service]
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.base.systemd import Systemd
from ..module_utils.install import libvirt
from ..module_utils.o2cb import units

ARGUMENT_SPEC = {
    "unguarded": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        plan = libvirt.plan(module.params, Systemd())
        if not module.check_mode:
            if module.params["state"] == "present" and not os.path.exists(units.KEEPER):
                raise O2cbError("o2keep is not installed, and every start would be refused: set o2cb_locks: true")
            plan.apply()
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(changed=bool(plan.actions), actions=plan.actions, diff=plan.diff)


if __name__ == "__main__":
    main()
