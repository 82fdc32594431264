#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lock_info
version_added: 0.1.0
short_description: Show the locks of this node, and who holds a lock anywhere
description:
  - Lists the locks that this node holds. With O(name), also tells which node of the cluster holds that lock.
  - It does not touch the lock itself, so it never makes another node's try fail.
options:
  name:
    description: Name of a lock whose holder is to be told.
    type: str
  domain:
    description: Domain of that lock.
    type: str
    default: o2cb
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.actiongroup_o2cb
  - ocfs2.o2cb._attributes.info_module
seealso:
  - module: ocfs2.o2cb.lock
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Who is in?
  ocfs2.o2cb.lock_info:
    name: maintenance
  register: maintenance
"""

RETURN = r"""
locks:
  description:
    - The locks that this node holds, with C(name), C(domain), C(mode), C(kind), C(owner), C(token) and C(since).
  returned: always
  type: list
  elements: dict
holder:
  description:
    - Who holds the lock O(name), with C(node), C(owner), C(token) and C(since), in microseconds since the epoch.
    - Null when nobody says so. A shared lock, and one of a foreign program, has a holder that does not.
  returned: with O(name)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.client.keep import Client

ARGUMENT_SPEC = {"name": {"type": "str"}, "domain": {"type": "str", "default": "o2cb"}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        client = Client()
        result = {"changed": False, "locks": list(client.locks())}
        if module.params["name"] is not None:
            request = {"op": "who", "name": module.params["name"], "domain": module.params["domain"]}
            answer, _descriptors = client.ask(request, 5)
            result["holder"] = answer["holder"]
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
