# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wanted cluster as the inventory describes it: one view of all hosts, in which they must not contradict each
other.

A host's own variables name the node; the cluster's settings are variables of the group, or of the play, and every host
has to see the same. What differs is found here, before anything is asked of any host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError, join_problems
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import model

SHARED = (
    "o2cb_cluster_name",
    "o2cb_heartbeat_mode",
    "o2cb_heartbeat_dead_threshold",
    "o2cb_idle_timeout_ms",
    "o2cb_keepalive_delay_ms",
)
"""Settings that must be the same on all nodes: o2net refuses a peer that differs, or the two are different clusters."""


def nodes(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """All nodes of the cluster, from the variables of these hosts, as the module `cluster` takes them.

    `defaults` are the settings as the role sees them on the current host, which is how play variables come in.
    Raises O2cbError with every contradiction, each with host, value and remedy.
    """
    if not hosts:
        raise O2cbError("the group of the cluster's nodes is empty: set o2cb_group to the group that holds them")
    problems = []
    found = []
    for host in hosts:
        values = hostvars[host]
        missing = [name for name in ("o2cb_node_number", "o2cb_node_address") if values.get(name) in (None, "")]
        problems += [f"{host}: {name} is not set: give it in the inventory, for this host" for name in missing]
        if missing:
            continue
        number = str(values["o2cb_node_number"])
        if not number.isdigit():
            problems.append(f"{host}: o2cb_node_number is {number!r}: give a number from 0 to {model.MAX_NODE_NUMBER}")
            continue
        found.append(
            {
                "name": str(values.get("o2cb_node_name") or host),
                "number": int(number),
                "address": str(values["o2cb_node_address"]),
                "port": int(values.get("o2cb_port") or defaults["o2cb_port"]),
            }
        )
    members = [model.Node.from_mapping(node) for node in found]
    for member in members:
        problems += model.node_problems(member)
    problems += model.duplicate_problems(members)
    problems += _contradictions(hosts, hostvars, defaults)
    if problems:
        raise O2cbError(join_problems(problems))
    return sorted(found, key=lambda node: int(node["number"]))


def _contradictions(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> list[str]:
    problems = []
    for name in SHARED:
        seen = {host: str(hostvars[host].get(name, defaults.get(name))) for host in hosts}
        first = seen[hosts[0]]
        problems += [
            f"{host}: {name} is {value}, and {first} on {hosts[0]}: set it once, for the whole group"
            for host, value in seen.items()
            if value != first
        ]
    return problems


def region_uuids(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The UUIDs of the regions that were found on these hosts, where all of them found the same.

    By the role `heartbeat` after it had some formatted, else by the module `preflight`.

    Raises O2cbError naming two hosts that differ: the same path leads to different disks, or a disk is cloned.
    """
    found = {
        host: hostvars[host].get("__o2cb_regions", {}).get("regions")
        or hostvars[host].get("__o2cb_preflight", {}).get("regions")
        or []
        for host in hosts
    }
    if not any(found.values()):
        return []
    first = found[hosts[0]]
    uuids = sorted(region["uuid"] for region in first)
    for host, regions in found.items():
        if sorted(region["uuid"] for region in regions) != uuids:
            raise O2cbError(
                f"{host} finds other heartbeat regions than {hosts[0]}: {_listed(regions)}, and {_listed(first)}: "
                "make o2cb_regions name the same shared disks on both"
            )
    return uuids


def _listed(regions: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{region['uuid']} on {region['device']}" for region in regions) or "none"


def differences(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What would not be the same in the clusters of these hosts, which come from the inventory and from each host's own
    cluster.conf. No node could join a domain then.

    Taken from what the module `preflight` found on each host. Regions that are still to be formatted have no name yet.
    """
    problems = []
    for what in ("nodes", "regions"):
        found = {host: {_told(one) for one in hostvars[host]["__o2cb_preflight"]["cluster"][what]} for host in hosts}
        for extra in sorted(set().union(*found.values()) - {""}):
            having = [host for host in hosts if extra in found[host]]
            lacking = [host for host in hosts if extra not in found[host]]
            if lacking:
                problems.append(
                    f"{', '.join(having)} would have {extra}, and {', '.join(lacking)} not: it is in the cluster.conf "
                    "of the one only; give it in the inventory, or remove it by o2cb_purge=true"
                )
    return problems


def _told(member: Mapping[str, Any] | str) -> str:
    if isinstance(member, str):
        return "" if member.startswith(model.PENDING) else f"region {member}"
    return f"node {model.Node.from_mapping(member)}"


def rich_rules(nodes: Sequence[Mapping[str, Any]], more: Sequence[int] = (), udp: Sequence[int] = ()) -> list[str]:
    """firewalld's rich rules that accept the cluster's ports from each of its nodes, as it lists them itself."""
    tcp = sorted({int(node["port"]) for node in nodes} | {int(port) for port in more})
    ports = [*((port, "tcp") for port in tcp), *((port, "udp") for port in sorted(map(int, udp)))]
    return [
        f'rule family="ipv4" source address="{node["address"]}" port port="{port}" protocol="{protocol}" accept'
        for node in nodes
        for port, protocol in ports
    ]
