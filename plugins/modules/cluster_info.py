#!/usr/bin/python
# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
version_added: 0.1.0
short_description: Report a node's o2cb cluster, members, heartbeat regions and what is wrong with them
description:
  - Reads the files, the running kernel and the heartbeat blocks on disk, and changes nothing. Is quick, has a deadline
    for each disk, and works on a host that has nothing of o2cb installed.
  - What a person should do something about is in RV(problems), each with its remedy.
  - The cluster comes back as role variables in RV(variables).
  - Run it as root. Without, it tells what it can, and says so in RV(problems).
options:
  probe:
    description:
      - Read the heartbeat twice, 4.2 seconds apart, so that RV(members[].live) is proved where debugfs is not at hand.
      - Otherwise one look tells it from the heartbeat generation, the connections and, at last, the time stamp.
      - Read the regions' superblocks as well. Otherwise a region that was formatted again is noticed on the node where
        that was done, by what udev says of its device.
    type: bool
    default: false
extends_documentation_fragment:
  - ocfs2.o2cb._attributes
  - ocfs2.o2cb._attributes.actiongroup_o2cb
  - ocfs2.o2cb._attributes.info_module
seealso:
  - module: ocfs2.o2cb.cluster
  - module: ocfs2.o2cb.membership
author:
  - the ocfs2.o2cb authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Look at the cluster
  ocfs2.o2cb.cluster_info:
  register: o2cb

- name: Fail when there is anything to do
  ansible.builtin.assert:
    that: o2cb.problems | length == 0
    fail_msg: "{{ o2cb.problems | join('; ') }}"

- name: Keep the running cluster as host variables
  ansible.builtin.copy:
    content: "{{ o2cb.variables | to_nice_yaml }}"
    dest: "host_vars/{{ inventory_hostname }}/o2cb.yml"
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
online:
  description: Whether this node takes part in a cluster.
  returned: always
  type: bool
cluster_name:
  description: Name of the cluster in the kernel, else of the one in the files; null without any.
  returned: always
  type: str
  sample: storage
heartbeat_mode:
  description: V(global) or V(local); null without a cluster.
  returned: always
  type: str
  sample: global
node_name:
  description: Name of this node in the cluster; null when it is none of its nodes.
  returned: always
  type: str
  sample: node1
node_number:
  description: Number of this node in the cluster.
  returned: always
  type: int
  sample: 1
hostname:
  description: What C(uname -n) prints.
  returned: always
  type: str
  sample: node1
stack:
  description: The cluster stack that the kernel uses; null when none is loaded.
  returned: always
  type: str
  sample: o2cb
quorate:
  description: Whether this node would survive a decision on quorum now.
  returned: always
  type: bool
quorum_reason:
  description: Why, in words.
  returned: always
  type: str
  sample: 3 of 3 heartbeating nodes are connected, 2 are needed
members:
  description: The nodes of the cluster, in the kernel or in cluster.conf, by number.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      type: str
      returned: always
    number:
      description: Number of the node.
      type: int
      returned: always
    address:
      description: Its IPv4 address.
      type: str
      returned: always
    port:
      description: Its TCP port.
      type: int
      returned: always
    own:
      description: Whether it is this node.
      type: bool
      returned: always
    configured:
      description: Whether it is in cluster.conf.
      type: bool
      returned: always
    registered:
      description: Whether it is in the kernel.
      type: bool
      returned: always
    live:
      description: Whether it is live; null when nothing here can tell.
      type: bool
      returned: always
    live_by:
      description:
        - How that is known, V(kernel) for this node, V(debugfs), V(probe) for two readings, V(generation) for a node
          that left or never came, V(connection), or V(time stamp), which is as good as the clocks.
      type: str
      returned: always
    connected:
      description: Whether this node has a connection to it.
      type: bool
      returned: always
    last_beat:
      description: Seconds since its last heartbeat, by its clock and this node's; negative when its clock is ahead.
      type: float
      returned: always
    dead_ms:
      description: Its own dead threshold in milliseconds, as it writes it to disk.
      type: int
      returned: always
regions:
  description: The heartbeat regions, in the kernel or in cluster.conf.
  returned: always
  type: list
  elements: dict
  contains:
    uuid:
      description: UUID of the region.
      type: str
      returned: always
    device:
      description: Path of its device here; null when it does not beat.
      type: str
      returned: always
    label:
      description: Label of its volume.
      type: str
      returned: always
    configured:
      description: Whether it is in cluster.conf.
      type: bool
      returned: always
    started:
      description: Whether this node beats on it.
      type: bool
      returned: always
    quorum:
      description: Whether it counts for quorum; null without debugfs.
      type: bool
      returned: always
    beats:
      description: Seconds since the last beat of each node on this region, by node name.
      type: dict
      returned: always
      sample: {node1: 0.4, node2: 1.7}
    error:
      description: Why it could not be read; null when it was.
      type: str
      returned: always
timeouts:
  description: The timeouts as they are set, and in C(seconds) what they mean; null without a cluster.
  returned: always
  type: dict
  sample:
    heartbeat_dead_threshold: 31
    idle_timeout_ms: 30000
    keepalive_delay_ms: 2000
    reconnect_delay_ms: 2000
    seconds: {self_fence: 60.0, dead: 62.0, network_decision: 96.0, idle: 30.0, keepalive: 2.0, reconnect: 2.0}
fence_method:
  description: V(reset) or V(panic); null without a cluster.
  returned: always
  type: str
  sample: reset
domains:
  description: The lock domains that this node has joined.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the domain.
      type: str
      returned: always
    mount:
      description: The dlmfs mount that shows it; null when a volume or an unseen mount has joined it.
      type: str
      returned: always
    locks:
      description: Number of lock files under that mount.
      type: int
      returned: always
kernel:
  description:
    - The running kernel's C(release), the modules it does not have in C(modules_missing), the sysctls C(panic) and
      C(panic_on_oops), and the version of ocfs2-tools in C(tools), null where that is not cheap to tell.
  returned: always
  type: dict
  sample: {release: 6.1.0-28-amd64, modules_missing: [], tools: 1.8.7-1, panic: 30, panic_on_oops: 1}
files:
  description:
    - C(cluster_conf) with C(path), C(present), C(clusters) and C(error); C(sysconfig) with C(path), C(present) and
      C(boot_cluster), the cluster that comes online at boot.
  returned: always
  type: dict
  sample:
    cluster_conf: {path: /etc/ocfs2/cluster.conf, present: true, clusters: [storage], error: null}
    sysconfig: {path: /etc/default/o2cb, present: true, boot_cluster: storage}
variables:
  description:
    - The cluster as variables of this collection's roles. Given to them as they are, they change nothing.
    - Those of the node, such as C(o2cb_node_number), are of this host. Empty without a cluster.
  returned: always
  type: dict
  sample:
    o2cb_cluster_name: storage
    o2cb_heartbeat_mode: global
    o2cb_regions: [{uuid: 6617721D55364FF1B01FB7259C85410E}]
    o2cb_node_name: node1
    o2cb_node_number: 1
    o2cb_node_address: 10.0.0.1
    o2cb_port: 7777
problems:
  description: What a person should do something about, each with its remedy; empty when all is well.
  returned: always
  type: list
  elements: str
  sample: ["1 heartbeat region(s): the loss or stall of it resets this node; use three, which bear the loss of one"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import O2cbError
from ..module_utils.o2cb import advice, report, survey


def main() -> None:
    module = AnsibleModule(argument_spec={"probe": {"type": "bool", "default": False}}, supports_check_mode=True)
    try:
        found = report.make(survey.facts(module.params["probe"]))
    except O2cbError as error:
        module.fail_json(msg=str(error), **error.facts)
    module.exit_json(changed=False, **report.as_result(found, advice.advice(found)))


if __name__ == "__main__":
    main()
