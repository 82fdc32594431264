# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that describe a wanted cluster, as `module_utils/install/arguments.py` specifies them."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description: Name of the cluster, 1 to 16 characters of 0-9, A-Z and a-z.
    type: str
    required: true
  nodes:
    description:
      - All nodes of the cluster. Numbers belong to a node for good and are never derived from the order of the list.
      - Required with O(state=online).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What C(uname -n) prints on that node, in full or up to its first dot.
        type: str
        required: true
      number:
        description: Number of the node, 0 to 254. The lowest number survives when the cluster is split in halves.
        type: int
        required: true
      address:
        description: IPv4 address of the node in the cluster's network.
        type: str
        required: true
      port:
        description: TCP port of o2net.
        type: int
        default: 7777
  heartbeat_mode:
    description:
      - V(global) beats on the regions in O(regions), V(local) on each OCFS2 volume while it is mounted.
    type: str
    choices: [global, local]
    default: global
  timeouts:
    description: Timeouts of the cluster. The first three must be the same on all nodes.
    type: dict
    default: {}
    suboptions:
      heartbeat_dead_threshold:
        description:
          - Beats, of 2 seconds each, after which a node is dead. At least V(7). A node resets itself one beat earlier.
        type: int
        default: 31
      idle_timeout_ms:
        description: Milliseconds of silence after which a connection is dropped. At least V(5000).
        type: int
        default: 30000
      keepalive_delay_ms:
        description:
          - Milliseconds of silence after which a keepalive is sent. At least V(1000), less than the idle
            timeout.
        type: int
        default: 2000
      reconnect_delay_ms:
        description: Milliseconds between two attempts to connect. At least V(2000).
        type: int
        default: 2000
  fence_method:
    description:
      - What the node does to itself when it must not go on, V(reset) or V(panic). V(panic) is for kdump and needs the
        sysctl C(kernel.panic) to be greater than 0.
    type: str
    choices: [reset, panic]
    default: reset
  state:
    description:
      - V(online) configures the cluster and makes this node take part, now and at each boot.
      - V(offline) configures it and leaves it, now and at each boot. Without O(nodes) it only leaves it.
      - V(absent) leaves it and removes it from the files.
    type: str
    choices: [online, offline, absent]
    default: online
  change_policy:
    description:
      - V(apply) does what is needed. A step that needs the whole cluster offline is refused while another node is live.
      - V(online_only) refuses a plan with any other step than online ones.
      - V(plan) changes nothing and returns the plan.
    type: str
    choices: [apply, online_only, plan]
    default: apply
  purge:
    description:
      - Remove nodes and regions from C(cluster.conf) that are not listed. Those that only the running kernel has, and
        no file, are removed in any case.
    type: bool
    default: false
  force:
    description:
      - Leave the cluster although locks are held under a dlmfs mount. They are dropped. Mounted file systems and
        locks that a process holds are never touched.
    type: bool
    default: false
"""
