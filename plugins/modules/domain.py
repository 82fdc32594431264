#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain
version_added: 0.1.0
short_description: Join or leave a lock domain of o2dlm
description:
  - A directory in a dlmfs mount is a lock domain that this node has joined. Programs take locks in it.
  - Joining needs every live node to agree on nodes and regions. The kernel's answer comes back in words, and what only
    needs another try is tried again until the deadline.
  - Joining and leaving sleep in the kernel, which no signal ends; this module comes back at its deadline all the same.
options:
  name:
    description: Name of the domain, 1 to 63 bytes, without a slash.
    type: str
    required: true
  mount:
    description: Where dlmfs is mounted.
    type: path
    default: /dlm
  state:
    description:
      - V(present) joins the domain, V(absent) leaves it.
    type: str
    choices: [present, absent]
    default: present
  force:
    description:
      - Leave although there are locks, and remove those. A lock that a process holds is never removed.
    type: bool
    default: false
  timeout:
    description: Seconds for all of it. A node that died delays joining by its dead time.
    type: float
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
  - module: ocfs2.o2cb.cluster_info
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Join a domain
  ocfs2.o2cb.domain:
    name: backup

- name: Leave it, whatever locks are cached in it
  ocfs2.o2cb.domain:
    name: backup
    state: absent
    force: true
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in its order.
  returned: always
  type: list
  elements: str
  sample: [join domain backup on /dlm]
joined:
  description:
    - Whether this node has joined the domain after the call. It can still after V(absent), by another mount or by a
      process that stands in its directory.
  returned: always
  type: bool
locks:
  description: Names of the lock files in the domain before the call.
  returned: always
  type: list
  elements: str
  sample: [nightly]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.o2cb import domains

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Protocol

    class Dlm(Protocol):
        """What this module does to the system; the library's file `domains` in earnest."""

        def joined(self) -> list[domains.Domain]: ...

        def join_within(self, name: str, mount: str, seconds: float) -> None: ...

        def leave(self, name: str, mount: str, force: bool, seconds: float) -> None: ...


ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "mount": {"type": "path", "default": domains.DEFAULT_MOUNT},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "force": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 130},
}


def run(options: Mapping[str, Any], dlm: Dlm, check: bool) -> dict[str, Any]:
    name, mount, present = options["name"], options["mount"], options["state"] == "present"
    problem = domains.name_problem(name)
    if problem:
        raise O2cbError(problem)
    have = {(domain.name, domain.mount): domain for domain in dlm.joined()}
    here = have.get((name, mount))
    locks = list(here.locks) if here else []
    actions = []
    if present and here is None:
        actions = [f"join domain {name} on {mount}"]
        if not check:
            dlm.join_within(name, mount, options["timeout"])
    elif not present and here is not None:
        if locks and not options["force"]:
            raise O2cbError(domains.locks_problem(name, locks), locks=locks)
        actions = [f"remove lock {lock} of domain {name}" for lock in locks]
        actions.append(f"leave domain {name} on {mount}")
        if not check:
            dlm.leave(name, mount, options["force"], options["timeout"])
    joined = present if check else any(domain.name == name for domain in dlm.joined())
    before = _lines(mount, name if here else "", locks)
    after = _lines(mount, name if present else "", locks)
    return {
        "changed": bool(actions),
        "actions": actions,
        "joined": joined,
        "locks": locks,
        "diff": {"before_header": mount, "after_header": mount, "before": before, "after": after},
    }


def _lines(mount: str, name: str, locks: list[str]) -> str:
    """A domain and its locks as paths, one a line, so that a diff reads well."""
    if not name:
        return ""
    return "".join(f"{path}\n" for path in (f"{mount}/{name}", *(f"{mount}/{name}/{lock}" for lock in locks)))


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, domains, module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
