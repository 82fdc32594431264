#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lock
version_added: 0.1.0
short_description: Take and release cluster-wide locks of a node
description:
  - Takes locks that exclude all other nodes of the o2cb cluster. They are I(node locks), held by the daemon o2keep on
    this node until they are released, or until the node leaves the cluster or dies. The end of the module, of the ssh
    connection or of o2keep itself does not release them.
  - Several locks are taken in sorted order, all or none.
  - A lock that this node holds already is left as it is, with the same fencing token. At another O(level) it is
    converted without being let go of in between.
  - Experimental. Needs o2keep, which the roles install with C(o2cb_locks=true).
options:
  name:
    description: Name of the lock, 1 to 255 bytes of UTF-8.
    type: str
  names:
    description: Names of several locks.
    type: list
    elements: str
  domain:
    description: Domain of the lock manager.
    type: str
    default: o2cb
  state:
    description: V(held) or V(released). Releasing a lock that this node does not hold changes nothing.
    type: str
    choices: [held, released]
    default: held
  level:
    description:
      - V(exclusive), which is V(EX), excludes all others; V(shared), which is V(PR), only those that write.
      - V(CR) reads beside a writer, V(PW) writes beside careless readers.
    type: str
    choices: [exclusive, shared, CR, PR, PW, EX]
    default: exclusive
  wait:
    description: Seconds to wait for a busy lock. With V(0) it is tried for a quarter of a second.
    type: float
    default: 0
  recall:
    description:
      - Ask nodes where a program has closed the plain dlmfs file of that name, and which so merely cache the lock, to
        give it up. They never do so by themselves. A program that has it open still keeps it.
      - Locks of this collection are never cached.
    type: bool
    default: false
  already_held:
    description:
      - What a lock means that this node holds already. It is the node's, not the run's, so with V(unchanged) a second
        controller that takes it on the same node gets it too.
      - With V(busy) such a lock is as busy as one of another node, so that RV(acquired=true) says that this very task
        has taken it. It is waited for as long as O(wait) says, and nothing is converted.
    type: str
    choices: [unchanged, busy]
    default: unchanged
  on_busy:
    description: What to do when a lock could not be had, V(fail), or V(skip) with RV(acquired=false).
    type: str
    choices: [fail, skip]
    default: fail
  owner:
    description: A text for people who find the lock busy. 28 bytes of it are shown on other nodes.
    type: str
    default: ansible
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.actiongroup_o2cb
attributes:
  check_mode:
    support: full
    details: Takes nothing, and predicts the change without knowing whether the lock is free.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: ocfs2.o2cb.lock_info
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: One maintenance at a time, whoever starts it
  hosts: node1
  gather_facts: false
  tasks:
    - name: Maintain
      block:
        - name: Take the lock, or say who is in
          ocfs2.o2cb.lock:
            name: maintenance
            already_held: busy
            wait: 30
            owner: "{{ lookup('env', 'USER') }}"
          register: taken
        - name: Work
          ansible.builtin.command: /usr/local/sbin/work
          changed_when: true
      always:
        - name: Release the lock
          ocfs2.o2cb.lock:
            name: maintenance
            state: released
          when: taken is succeeded
"""

RETURN = r"""
acquired:
  description: Whether this node holds all of the locks now.
  returned: when O(state=held), outside of check mode
  type: bool
tokens:
  description: Fencing token by lock. It grows from one exclusive holder to the next; give it to what the lock protects.
  returned: when O(state=held), outside of check mode
  type: dict
  sample: {maintenance: 1795172643134132}
token:
  description: Fencing token of O(name).
  returned: when O(name) is held, outside of check mode
  type: int
holder:
  description: Who holds the busy lock, as far as that is known, with C(node), C(since), C(owner) and C(token).
  returned: when a lock is busy
  type: dict
reason:
  description:
    - V(busy), V(recovering) while a node is being recovered, or V(unknown).
    - V(conversion) when another holder keeps a lock that this node holds from rising to O(level). Where two holders
      want to rise, neither can - one has to release the lock first.
  returned: when a lock could not be had
  type: str
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.client import locking
from ..module_utils.client.keep import Client

ARGUMENT_SPEC = {
    "name": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
    "domain": {"type": "str", "default": "o2cb"},
    "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
    "level": {"type": "str", "choices": ["exclusive", "shared", "CR", "PR", "PW", "EX"], "default": "exclusive"},
    "wait": {"type": "float", "default": 0},
    "recall": {"type": "bool", "default": False},
    "already_held": {"type": "str", "choices": ["unchanged", "busy"], "default": "unchanged"},
    "on_busy": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
    "owner": {"type": "str", "default": "ansible"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[("name", "names")],
        required_one_of=[("name", "names")],
    )
    try:
        result = locking.run(module.params, Client(), module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
