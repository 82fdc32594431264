# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every node is an online member, as the distribution's tools and the kernel itself tell it."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

CONFIGURED = {
    "fence_method": "reset",
    "heartbeat/dead_threshold": "31",
    "heartbeat/mode": "global",
    "idle_timeout_ms": "30000",
    "keepalive_delay_ms": "2000",
    "reconnect_delay_ms": "2000",
}
NODES = {f"node{number}": [str(number), f"10.22.0.{10 + number}", "7777"] for number in (1, 2, 3)}
MODULES = {"configfs", "ocfs2_nodemanager", "ocfs2_stackglue", "ocfs2_stack_o2cb", "ocfs2_dlm", "ocfs2_dlmfs"}

QUESTIONS = {
    "name": "uname -n",
    "configured": "o2cb list-cluster lab --oneline",
    "status": "o2cb cluster-status lab",
    "volumes": "mounted.ocfs2 -d",
    "values": f"cd /sys/kernel/config/cluster/lab && grep . {' '.join(CONFIGURED)}",
    "nodes": "cd /sys/kernel/config/cluster/lab/node && "
    "for node in *; do echo $node $(cat $node/num $node/ipv4_address $node/ipv4_port); done",
    "own": "cd /sys/kernel/config/cluster/lab/node && grep -l 1 */local",
    "beating": "cd /sys/kernel/config/cluster/lab/heartbeat && grep -l . */dev",
    "connections": "ss --numeric --tcp --no-header state established '( sport = 7777 or dport = 7777 )'",
    "dlmfs": "grep ' /dlm ' /proc/mounts",
    "enabled": "systemctl is-enabled o2cb.service dlm.mount 2>/dev/null",
    "active": "systemctl is-active o2cb.service dlm.mount",
    "loaded": "cut -d ' ' -f 1 /proc/modules",
    "at boot": "grep -v '#' /etc/modules-load.d/ocfs2.o2cb.conf",
    "sysctl": "sysctl kernel.panic kernel.panic_on_oops",
}
"""A connection costs more than all of these, so they are asked at once."""


@pytest.fixture(scope="module")
def said(host: Any) -> dict[str, list[str]]:
    """What the node answers to each question, as lines."""
    script = "\n".join(f"echo '== {name}'; ({command})" for name, command in QUESTIONS.items())
    answers = host.run(script).stdout.split("== ")[1:]
    return {answer.splitlines()[0]: answer.splitlines()[1:] for answer in answers}


@pytest.fixture(scope="module")
def regions(said: dict[str, list[str]]) -> dict[str, str]:
    """Devices of the volumes that are marked as regions of this cluster's global heartbeat, by UUID."""
    found = [line.split() for line in said["volumes"] if line.startswith("/dev/mapper/")]
    return {words[4]: words[0] for words in found if words[1:4] == ["o2cb", "lab", "G"]}


def test_the_tools_accept_cluster_conf(said: dict[str, list[str]], regions: dict[str, str]) -> None:
    listed = [line.split() for line in said["configured"]]
    assert set(NODES) <= {words[2] for words in listed if words[0] == "node:"}
    assert {words[1] for words in listed if words[0] == "heartbeat:"} == set(regions)


def test_the_tools_call_the_cluster_online(said: dict[str, list[str]]) -> None:
    assert said["status"] == ["Cluster 'lab' is online"]


def test_the_kernel_has_every_value(said: dict[str, list[str]]) -> None:
    assert said["values"] == [f"{name}:{value}" for name, value in CONFIGURED.items()]
    registered = {line.split()[0]: line.split()[1:] for line in said["nodes"]}
    assert {name: registered.get(name) for name in NODES} == NODES
    assert said["own"] == [f"{said['name'][0]}/local"]


def test_every_node_beats_on_every_region(host: Any, said: dict[str, list[str]], regions: dict[str, str]) -> None:
    assert {path.partition("/")[0] for path in said["beating"]} == set(regions)

    devices = " ".join(regions.values())

    def beats() -> dict[tuple[str, int], str]:
        dumps = host.check_output(f"for d in {devices}; do echo == $d; debugfs.ocfs2 -n -R hb $d; done")
        return {
            (dump.split()[0], int(number)): sequence
            for dump in dumps.split("== ")[1:]
            for number, sequence in re.findall(r"^\s+(\d+):\s+\d+\s+([0-9a-f]+)", dump, re.MULTILINE)
        }

    first = beats()
    silent = {(device, int(number)) for device in regions.values() for number, _address, _port in NODES.values()}
    deadline = time.monotonic() + 30
    while silent and time.monotonic() < deadline:
        silent -= {key for key, sequence in beats().items() if sequence != first.get(key)}
    assert silent == set()


def test_every_node_is_connected_to_each_other(said: dict[str, list[str]]) -> None:
    peers = {line.split()[-1].partition(":")[0] for line in said["connections"]}
    assert peers == {address for name, (_number, address, _port) in NODES.items() if name != said["name"][0]}


def test_dlmfs_is_mounted(said: dict[str, list[str]]) -> None:
    assert said["dlmfs"][0].split()[2] == "ocfs2_dlmfs"


def test_the_next_boot_is_provided_for(said: dict[str, list[str]]) -> None:
    assert said["enabled"] == ["enabled", "enabled"]
    assert said["active"] == ["active", "active"]
    assert set(said["loaded"]) >= MODULES > set(said["at boot"])
    assert "ocfs2_dlmfs" in said["at boot"]


def test_a_node_that_oopses_panics_and_reboots(said: dict[str, list[str]]) -> None:
    assert said["sysctl"] == ["kernel.panic = 30", "kernel.panic_on_oops = 1"]
