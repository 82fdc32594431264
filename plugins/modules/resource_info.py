#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: resource_info
version_added: 0.1.0
short_description: Tell what runs where
description:
  - Lists the resources as the agent of this node sees them. Changes nothing.
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.info_module
  - ocfs2.o2cb._attributes.actiongroup_o2cb
seealso:
  - module: ocfs2.o2cb.resource
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: See what runs where
  ocfs2.o2cb.resource_info:
"""

RETURN = r"""
resources:
  description:
    - Each resource with C(name), C(state), C(node) that runs it, C(held) by this node, C(runs) on this node, fencing
      C(token), C(parts) with their states, C(retry_in) seconds after failures, and C(error).
  returned: always
  type: list
  elements: dict
drained:
  description: Whether this node takes no resources.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.client.agent import Client


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        client = Client()
        resources = client.ask("resources")["resources"]
        drained = client.ask("status")["drained"]
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(changed=False, resources=resources, drained=drained)


if __name__ == "__main__":
    main()
