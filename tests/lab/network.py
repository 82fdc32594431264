# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: one namespace, in it one bridge, on it one tap per node.

The namespace has no way out and nobody has a way in but `ip netns exec`, so every lab can use the same addresses.
A node is cut off by taking its tap off the bridge. Taps outlive the node's kernel, so a cut stays through a reboot.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import LabError

BRIDGE = "lab"
PREFIX = "10.22.0"
CONTROLLER = f"{PREFIX}.1"
NETMASK = 24


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
    """The namespace's network devices by name, as `ip -json link` shows them."""
    return {
        link["ifname"]: link for link in json.loads(_run("ip", "-n", namespace(lab), "-json", "link", "show") or "[]")
    }


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
    """Put the node's tap on the bridge."""
    _run("ip", "-n", namespace(lab), "link", "set", tap(number), "master", BRIDGE, "up")


def disconnect(lab: str, number: int) -> None:
    """Take the node's tap off the bridge; its own side sees a working cable to nowhere."""
    _run("ip", "-n", namespace(lab), "link", "set", tap(number), "nomaster")


def connected(lab: str, number: int) -> bool:
    """Is the node's tap on the bridge?"""
    return links(lab).get(tap(number), {}).get("master") == BRIDGE


def remove(lab: str) -> None:
    """Remove the namespace and everything in it."""
    if Path("/run/netns", namespace(lab)).exists():
        _run("ip", "netns", "delete", namespace(lab))


def enter(lab: str, command: Sequence[str]) -> list[str]:
    """`command` as it runs inside the namespace."""
    return ["ip", "netns", "exec", namespace(lab), *command]
