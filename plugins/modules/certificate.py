#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate
version_added: 0.1.0
short_description: The cluster's own certificate authority, and this node's certificate
description:
  - The agents of a cluster know one another by certificates of an authority that is the cluster's own. Each node has
    the authority's key, and renews its own certificate by itself.
  - The role C(agent) uses this module three times. It looks on all nodes, creates an authority on one where there is
    none, and then hands it to all.
options:
  number:
    description: This node's number. Its certificate is for that.
    type: int
    required: true
  create:
    description:
      - Return an authority with its key, the one that this node has, or a new one of this name. Nothing is written.
        Use C(no_log) with it.
    type: str
  renew:
    description: Return a new authority, with O(create), although this node has one.
    type: bool
    default: false
  authority:
    description: Certificate of the authority that signs, as PEM. Without it the module only looks, and changes nothing.
    type: str
  authority_key:
    description: Its key, as PEM.
    type: str
  use:
    description:
      - V(false) only trusts the authority. Let all nodes trust a new one before the first one uses it, so that no
        message is lost.
    type: bool
    default: true
  purge:
    description: Do not trust other authorities any more.
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
notes:
  - Needs openssl(1) on the node.
seealso:
  - module: ocfs2.o2cb.agent
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: What there is
  ocfs2.o2cb.certificate:
    number: 1
  register: found

- name: An authority
  ocfs2.o2cb.certificate:
    number: 1
    create: storage
  register: made
  run_once: true
  no_log: true

- name: A certificate for this node
  ocfs2.o2cb.certificate:
    number: 1
    authority: "{{ made.authority }}"
    authority_key: "{{ made.authority_key }}"
"""

RETURN = r"""
authority:
  description: Certificate of the authority of this node; empty where there is none.
  returned: always
  type: str
authority_key:
  description: Its key.
  returned: with O(create)
  type: str
trusted:
  description: Certificates of the authorities that this node trusts.
  returned: when nothing was to be written
  type: list
  elements: str
openssl:
  description: Whether openssl(1) is installed.
  returned: when nothing was to be written
  type: bool
good:
  description: Whether this node has a certificate of this authority that is valid for long enough.
  returned: when nothing was to be written
  type: bool
actions:
  description: What was done, or would be in check mode, in its order.
  returned: always
  type: list
  elements: str
  sample: [write /etc/o2agent/tls/node.pem]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.install import certificates
from ..module_utils.transport import authority

ARGUMENT_SPEC = {
    "number": {"type": "int", "required": True},
    "create": {"type": "str"},
    "renew": {"type": "bool", "default": False},
    "authority": {"type": "str"},
    "authority_key": {"type": "str", "no_log": True},
    "use": {"type": "bool", "default": True},
    "purge": {"type": "bool", "default": False},
}


def run(options: dict[str, Any], check: bool) -> dict[str, Any]:
    """What the module returns."""
    number = options["number"]
    if options["create"]:
        found = None if options["renew"] else authority.have()
        made = found or authority.create(options["create"])
        return {"changed": False, "actions": [], "authority": made.certificate, "authority_key": made.key}
    if options["authority"] is None:
        return {"changed": False, "actions": [], **certificates.look(number)}
    plan = certificates.plan(options)
    if not check:
        plan.apply()
    changed = bool(plan.actions)
    return {"changed": changed, "actions": plan.actions, "diff": plan.diff, "authority": options["authority"]}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("authority", "authority_key")],
        mutually_exclusive=[("create", "authority")],
    )
    try:
        result = run(module.params, module.check_mode)
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
