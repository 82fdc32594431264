# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster is: its nodes, its heartbeat regions, its timeouts; and when such a description is sound.

The same classes describe the cluster somebody wants, the one in cluster.conf and the one in the running kernel. The
rules are stricter than those of the o2cb tool, which accepts duplicate numbers and ports that the kernel then refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, Iterable, Mapping

from .timeouts import Timeouts

MAX_NODE_NUMBER = 254
"""O2NM_MAX_NODES is 255 (ocfs2_nodemanager.h), so numbers run from 0 to 254."""

MAX_REGIONS = 32
"""O2NM_MAX_REGIONS; a further region is EFBIG."""

MAX_NODE_NAME = 64
"""O2NM_MAX_NAME_LEN; a longer name is ENAMETOOLONG in configfs."""

GLOBAL = "global"
LOCAL = "local"
FENCE_METHODS = ("reset", "panic")

PENDING = "pending:"
"""Marks a region whose device is still to be formatted: it has no UUID yet. Only a plan in check mode may hold one."""


@dataclass(frozen=True)
class Node:
    """A member as configured. `address` is a dotted IPv4 address, `port` a TCP port."""

    name: str
    number: int
    address: str
    port: int = 7777

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Node:
        return cls(
            name=str(values["name"]),
            number=int(values["number"]),
            address=str(values["address"]),
            port=int(values.get("port") or 7777),
        )

    def __str__(self) -> str:
        return f"{self.name} (number {self.number}, {self.address}:{self.port})"


@dataclass(frozen=True)
class Cluster:
    """A whole cluster. Nodes are sorted by number and regions by UUID, so that equal clusters compare equal."""

    name: str
    nodes: tuple[Node, ...] = ()
    regions: tuple[str, ...] = ()
    heartbeat_mode: str = GLOBAL
    timeouts: Timeouts = field(default_factory=Timeouts)
    fence_method: str = "reset"

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(sorted(self.nodes, key=lambda node: (node.number, node.name))))
        object.__setattr__(self, "regions", tuple(sorted(self.regions)))

    def node(self, name: str) -> Node | None:
        for node in self.nodes:
            if node.name == name:
                return node
        return None

    def merged_with(self, other: Cluster) -> Cluster:
        """This cluster, plus the nodes and regions that only `other` has. A node listed here wins by name."""
        own = {node.name for node in self.nodes}
        return replace(
            self,
            nodes=self.nodes + tuple(node for node in other.nodes if node.name not in own),
            regions=self.regions + tuple(region for region in other.regions if region not in self.regions),
        )


def matches_hostname(name: str, hostname: str) -> bool:
    """Whether the o2cb tool takes the node called `name` for the machine called `hostname` (op_register.c).

    The comparison ignores case; the host name counts in full or up to its first dot.
    """
    return name.lower() in (hostname.lower(), hostname.lower().split(".")[0])


def local_node(nodes: Iterable[Node], hostname: str) -> Node | None:
    """The node that this machine is, or None: also where two match, a short name and a full one."""
    found = [node for node in nodes if matches_hostname(node.name, hostname)]
    return found[0] if len(found) == 1 else None


def cluster_name_problem(name: str) -> str | None:
    """Why the kernel or the o2cb tool would not take this cluster name (CLUSTER_NAME_MAX in stackglue.h), or None."""
    if re.fullmatch(r"[0-9A-Za-z]{1,16}", name):
        return None
    return (
        f"cluster name {name!r} is {len(name)} characters long: use 1 to 16 of the characters 0-9, A-Z and a-z, no dash"
    )


def address_problem(address: str) -> str | None:
    """Why o2net cannot use this address, or None. It speaks IPv4 only, and no name is resolved."""
    try:
        ip = IPv4Address(address)
    except AddressValueError:
        try:
            IPv6Address(address)
        except AddressValueError:
            return f"address {address!r} is not a dotted IPv4 address: o2cb resolves no names, write it as 10.0.0.1"
        return (
            f"address {address!r} is IPv6, which o2cb does not support: give an IPv4 address of the cluster's network"
        )
    if ip.is_multicast or ip.is_unspecified or ip == IPv4Address("255.255.255.255"):
        return f"address {address!r} is not the address of a host: give the node's own IPv4 address"
    return None


def node_problems(node: Node) -> list[str]:
    """What is wrong with one node taken by itself, each with the remedy."""
    found = []
    if not re.fullmatch(r"[0-9A-Za-z]([0-9A-Za-z._-]*[0-9A-Za-z])?", node.name) or len(node.name) > MAX_NODE_NAME:
        found.append(
            f"name {node.name!r} is not a host name of 1 to {MAX_NODE_NAME} characters: use what `uname -n` prints"
        )
    if not 0 <= node.number <= MAX_NODE_NUMBER:
        found.append(
            f"number {node.number} is out of range: use 0 to {MAX_NODE_NUMBER}, low numbers keep the heartbeat quick"
        )
    address = address_problem(node.address)
    if address:
        found.append(address)
    if not 1 <= node.port <= 65534:
        found.append(f"port {node.port} is out of range: use 1 to 65534; 7777 is the default")
    return [f"node {node.name}: {problem}" for problem in found]


def duplicate_problems(nodes: Iterable[Node]) -> list[str]:
    """Numbers, names and addresses that two nodes share. The kernel answers EEXIST, half way through."""
    found = []
    for what in ("number", "name", "address"):
        first: dict[str, Node] = {}
        for node in nodes:
            value = str(getattr(node, what))
            other = first.setdefault(value.lower(), node)
            if other is not node:
                found.append(f"node {node}: {what} {value} is also that of {other}: give each node its own")
    return found


def region_problem(region: str) -> str | None:
    """Why this cannot be a heartbeat region, or None. A region is the UUID of an OCFS2 volume.

    32 upper-case hex digits.
    """
    if region.startswith(PENDING) or re.fullmatch(r"[0-9A-F]{32}", region):
        return None
    return f"region {region!r} is not the UUID of an OCFS2 volume, 32 upper-case hex digits: see `mounted.ocfs2 -d`"


def problems(cluster: Cluster) -> list[str]:
    """Everything that is wrong with a wanted cluster, each with the value and the remedy; empty when it is sound."""
    found = []
    name = cluster_name_problem(cluster.name)
    if name:
        found.append(name)
    for node in cluster.nodes:
        found += node_problems(node)
    found += duplicate_problems(cluster.nodes)
    found += cluster.timeouts.problems()
    if cluster.heartbeat_mode not in (GLOBAL, LOCAL):
        found.append(f"heartbeat_mode is {cluster.heartbeat_mode!r}: use global or local")
    if cluster.fence_method not in FENCE_METHODS:
        found.append(f"fence_method is {cluster.fence_method!r}: use reset or panic")
    found += [problem for problem in map(region_problem, cluster.regions) if problem]
    if len(set(cluster.regions)) != len(cluster.regions):
        found.append("a heartbeat region is listed twice: list each once")
    if len(cluster.regions) > MAX_REGIONS:
        found.append(f"{len(cluster.regions)} heartbeat regions: the kernel takes at most {MAX_REGIONS}")
    return found
