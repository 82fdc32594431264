#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: record_info
version_added: 0.1.0
short_description: Tell what the heartbeat regions hold of the record of fencing tokens
description:
  - Tells for each heartbeat region whether it has the record from which fencing tokens come, and the mark that each
    node has there, above which that node gives out no token. Reads the disks, and changes nothing.
  - Also tells what M(ocfs2.o2cb.record) has to know of every node before it makes the record.
  - Experimental.
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.info_module
  - ocfs2.o2cb._attributes.actiongroup_o2cb
seealso:
  - module: ocfs2.o2cb.record
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Look at the record
  ocfs2.o2cb.record_info:
  register: record

- name: Go on only where no clock decides about fencing tokens
  ansible.builtin.assert:
    that: record.usable
"""

RETURN = r"""
usable:
  description: Whether a majority of the regions answers, so that fencing tokens come from the record.
  returned: always
  type: bool
regions:
  description: The regions of the running cluster; none while this node is not online.
  returned: always
  type: list
  elements: dict
  contains:
    uuid:
      description: UUID of the region.
      type: str
      returned: always
      sample: 6617721D55364FF1B01FB7259C85410E
    header:
      description:
        - V(valid), V(blank) where the record was never made, V(torn), V(foreign), which is of another program, region
          or volume, V(of a later version), V(no room) where blocks are as small as the disk's sectors, or
          V(unreadable).
      type: str
      returned: always
      sample: valid
    answers:
      description: Whether the region counts, with a valid header and slots.
      type: bool
      returned: always
    cluster:
      description: Name of the cluster in the header; null without a valid one.
      type: str
      returned: always
    floor:
      description: No token was above it when the region became part of the record; null without a valid header.
      type: int
      returned: always
    generation:
      description: Number of this set of regions, one more each time that a region joins.
      type: int
      returned: always
    marks:
      description: The number C(node) and the C(mark) of each node that has written there.
      type: list
      elements: dict
      returned: always
      sample: [{node: 1, mark: 1795879532001000}]
    problem:
      description: Why the region does not answer; empty when it does.
      type: str
      returned: always
member:
  description: What this node says of itself, for the option O(ocfs2.o2cb.record#module:nodes).
  returned: always
  type: dict
  contains:
    name:
      description: Name of this node in the cluster; what C(uname -n) prints while it is not online.
      type: str
      returned: always
    mark:
      description: The largest fencing token that this node may have given out, by its own file; 0 for none.
      type: int
      returned: always
    problem:
      description:
        - Why this node would not go by a record that was made now, such as an o2keep of a version that does not know
          it; empty when it would.
      type: str
      returned: always
  sample: {name: node1, mark: 1795879532001000, problem: ""}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.install import record
from ..module_utils.marks import looking
from ..module_utils.o2cb import observe


def run() -> dict[str, Any]:
    live = observe.live()
    online = live is not None and live.online
    found = live.regions if live is not None and online else ()
    look = looking.look(found)
    uuids = [region.uuid for region in found]
    return {
        "usable": bool(uuids) and record.usable(uuids, look),
        "regions": record.regions(uuids, look),
        "member": record.member(live, os.uname().nodename)._asdict(),
    }


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        result = run()
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
