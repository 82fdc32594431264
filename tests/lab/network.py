# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: one namespace, in it one bridge, on it one tap per node.

The namespace has no way out and nobody has a way in but `ip netns exec`, so every lab can use the same addresses.
A node is cut off by taking its tap off the bridge, or one way by what the bridge does with this port: a port without
flooding and without learnt addresses is sent nothing, one that is locked (bridge(8)) has sent nothing. Taps outlive
the node's kernel, so a cut stays through a reboot.

Packets are lost inside the node, since not every host's kernel can (tc-netem(8)): those from and to other nodes, in
both directions, until `heal` or the node's next boot. What the lab itself says to the node by ssh is not among them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import LabError

BRIDGE = "lab"
PREFIX = "10.22.0"
CONTROLLER = f"{PREFIX}.1"
NETMASK = 24

BOTH, IN, OUT = "both", "in", "out"
DIRECTIONS = (BOTH, IN, OUT)
"""What a cut keeps from passing: all, what others send to the node, what it sends to others."""


def namespace(lab: str) -> str:
    """Name of the lab's network namespace."""
    return f"o2cb-{lab}"


def address(number: int) -> str:
    """IPv4 address of node `number` (1-8): 10.22.0.11 for node1."""
    return f"{PREFIX}.{10 + number}"


def hardware_address(number: int) -> str:
    """A node keeps its MAC address over boots, so that no neighbour has to learn it again."""
    return f"52:54:00:22:00:{number:02x}"


def tap(number: int) -> str:
    """Name of the node's tap inside the namespace."""
    return f"tap{number}"


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=30)
    if result.returncode:
        raise LabError(f"{' '.join(command)}: {result.stderr.strip() or f'status {result.returncode}'}")
    return result.stdout


def exists(lab: str) -> bool:
    """Is there a namespace of this lab that can be entered?"""
    name = namespace(lab)
    if not Path("/run/netns", name).exists():
        return False
    return (
        subprocess.run(
            ["ip", "-n", name, "link", "show", "lo"], capture_output=True, check=False, timeout=30
        ).returncode
        == 0
    )


def links(lab: str) -> dict[str, dict[str, Any]]:
    """The namespace's network devices by name, as `ip -details -json link` shows them."""
    found = _run("ip", "-n", namespace(lab), "-details", "-json", "link", "show")
    return {link["ifname"]: link for link in json.loads(found or "[]")}


def ensure(lab: str) -> None:
    """Make namespace and bridge, or mend what is left of them."""
    name = namespace(lab)
    if not exists(lab):
        if Path("/run/netns", name).exists():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False, timeout=30)
        _run("ip", "netns", "add", name)
    if BRIDGE not in links(lab):
        _run("ip", "-n", name, "link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0")
    _run("ip", "-n", name, "address", "replace", f"{CONTROLLER}/{NETMASK}", "dev", BRIDGE)
    for device in ("lo", BRIDGE):
        _run("ip", "-n", name, "link", "set", device, "up")


def ensure_tap(lab: str, number: int) -> bool:
    """Make the node's tap and put it on the bridge if it is new; True if it was. One that exists keeps its cut."""
    if tap(number) in links(lab):
        return False
    name = namespace(lab)
    _run("ip", "-n", name, "tuntap", "add", tap(number), "mode", "tap")
    _run("ip", "-n", name, "link", "set", tap(number), "master", BRIDGE, "up")
    return True


def connect(lab: str, number: int) -> None:
    """Put the node's tap on the bridge, where it sends and is sent everything."""
    _put_on(lab, number)
    _port(lab, number, flooded=True, locked=False)


def disconnect(lab: str, number: int, direction: str = BOTH) -> None:
    """Keep what others send, or what the node sends, or both from passing; its own side sees a working cable."""
    if direction == BOTH:
        _run("ip", "-n", namespace(lab), "link", "set", tap(number), "nomaster")
        return
    _put_on(lab, number)
    _port(lab, number, flooded=direction != IN, locked=direction == OUT)


def _put_on(lab: str, number: int) -> None:
    _run("ip", "-n", namespace(lab), "link", "set", tap(number), "master", BRIDGE, "up")


def _port(lab: str, number: int, flooded: bool, locked: bool) -> None:
    """Where one direction is cut, the bridge must not know any address behind the port, and not learn one."""
    flood, lock, learn = ("on" if value else "off" for value in (flooded, locked, flooded and not locked))
    flags = ["flood", flood, "mcast_flood", flood, "bcast_flood", flood, "locked", lock, "learning", learn]
    _run("bridge", "-n", namespace(lab), "link", "set", "dev", tap(number), *flags)
    _run("ip", "-n", namespace(lab), "link", "set", "dev", tap(number), "type", "bridge_slave", "fdb_flush")


def cut_of(link: Mapping[str, Any]) -> str:
    """Which direction of a tap is cut, by its entry in `links`; empty for one that is well."""
    if link.get("master") != BRIDGE:
        return BOTH
    port = link.get("linkinfo", {}).get("info_slave_data", {})
    return OUT if port.get("locked") else "" if port.get("flood", True) else IN


def cut(lab: str, number: int) -> str:
    """Which direction of the node's network is cut: one of `DIRECTIONS`, or empty."""
    return cut_of(links(lab).get(tap(number), {}))


LOSS = "loss"
"""File in the directory of a node that loses packets: what is to be said of it. It is removed at a boot."""

LOSSY = f"""set -e
modprobe -a ifb sch_netem sch_prio sch_ingress cls_u32 cls_matchall act_mirred act_gact
ip link show ifb0 >/dev/null 2>&1 || ip link add ifb0 type ifb
ip link set ifb0 up
tc qdisc add dev ifb0 root netem loss {{percent}}%
tc qdisc add dev vec0 root handle 1: prio priomap 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
tc qdisc add dev vec0 parent 1:2 netem loss {{percent}}%
tc filter add dev vec0 parent 1: pref 1 protocol ip u32 match ip dst {CONTROLLER} flowid 1:1
tc qdisc add dev vec0 clsact
tc filter add dev vec0 ingress pref 1 protocol ip u32 match ip src {CONTROLLER} action gact pass
tc filter add dev vec0 ingress pref 2 protocol all matchall action mirred egress redirect dev ifb0"""

LOSSLESS = """tc qdisc delete dev vec0 root 2>/dev/null
tc qdisc delete dev vec0 clsact 2>/dev/null
tc qdisc delete dev ifb0 root 2>/dev/null
true"""


def loss(percent: float) -> str:
    """Shell commands for a node that make it lose so much of what it sends to other nodes, and of what they send."""
    return LOSSLESS + ("\n" + LOSSY.format(percent=f"{percent:g}") if percent else "")


def remove(lab: str) -> None:
    """Remove the namespace and everything in it."""
    if Path("/run/netns", namespace(lab)).exists():
        _run("ip", "netns", "delete", namespace(lab))


def enter(lab: str, command: Sequence[str]) -> list[str]:
    """`command` as it runs inside the namespace."""
    return ["ip", "netns", "exec", namespace(lab), *command]
