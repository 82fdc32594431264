# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report on one node, from facts that were read: its cluster, members, regions, and the variables that make it again.

What a person should do something about is in `advice`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from . import blocks, liveness, model, quorum, sysconfig
from . import conf as conf_file
from .blocks import Beat, Beats, Reading
from .conf import ConfError, Document
from .domains import Domain
from .liveness import Verdict
from .model import GLOBAL, Cluster, Node
from .state import Live, LiveRegion
from .sysconfig import DEBIAN_PATH


@dataclass(frozen=True)
class Facts:
    """What `survey` reads. `now` is the wall clock at the reading of the heartbeat; texts are None without a file."""

    hostname: str
    release: str = ""
    root: bool = True
    now: float = 0.0
    conf: str | None = None
    sysconfig: str | None = None
    sysconfig_path: str = DEBIAN_PATH
    live: Live | None = None
    stack: str = ""
    tools: str | None = None
    modules_missing: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    domains: tuple[Domain, ...] = ()
    reading: Reading = field(default_factory=Reading)
    before: Beats | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    live_nodes: frozenset[int] | None = None
    quorum_regions: frozenset[str] | None = None


@dataclass(frozen=True)
class Member:
    """A node of this cluster: in cluster.conf, in the kernel, or in both, where the kernel's entry counts."""

    node: Node
    configured: bool
    registered: bool
    own: bool
    verdict: Verdict
    connected: bool
    beat: Beat | None
    age: float | None
    """Seconds since its last beat, by the clocks of both; negative when its clock is ahead."""


@dataclass(frozen=True)
class Report:
    """The facts, and what follows from them. `cluster` is the live one, else the one that the files describe."""

    facts: Facts
    document: Document | None
    conf_error: str
    configured: Cluster | None
    cluster: Cluster | None
    own: Node | None
    members: tuple[Member, ...]
    quorate: bool
    reason: str

    @property
    def online(self) -> bool:
        return self.facts.live is not None and self.facts.live.online


def make(facts: Facts) -> Report:
    """Conclude from the facts. Never raises: what cannot be read is part of the report."""
    document, conf_error = _parse(facts.conf)
    configured = _configured(facts, document)
    live = facts.live
    cluster = live.cluster if live else configured
    own = _own(facts, cluster)
    members = _members(facts, configured, own)
    if live is None or not live.online or own is None:
        quorate, reason = False, "this node is not online"
    else:
        alive = [member.node.number for member in members if member.verdict.live]
        quorate, reason = quorum.decide(own.number, alive, live.connected)
    return Report(facts, document, conf_error, configured, cluster, own, members, quorate, reason)


def _parse(text: str | None) -> tuple[Document | None, str]:
    try:
        return (None, "") if text is None else (conf_file.parse(text), "")
    except ConfError as error:
        return None, str(error)


def _configured(facts: Facts, document: Document | None) -> Cluster | None:
    """The cluster that the files describe: the live one's, else that of the next boot, else the first."""
    if document is None:
        return None
    settings = facts.sysconfig or ""
    names = document.cluster_names()
    wanted = facts.live.cluster.name if facts.live else sysconfig.boot_cluster(settings) or "".join(names[:1])
    found = document.cluster(wanted)
    if found is None:
        return None
    return Cluster(
        name=found.name,
        nodes=found.nodes,
        regions=found.regions,
        heartbeat_mode=found.heartbeat_mode,
        timeouts=sysconfig.timeouts(settings),
        fence_method=sysconfig.fence_method(settings),
    )


def _own(facts: Facts, cluster: Cluster | None) -> Node | None:
    if cluster is None:
        return None
    if facts.live and facts.live.local:
        return cluster.node(facts.live.local)
    return model.local_node(cluster.nodes, facts.hostname)


def _members(facts: Facts, configured: Cluster | None, own: Node | None) -> tuple[Member, ...]:
    live = facts.live
    registered = {node.name: node for node in live.cluster.nodes} if live else {}
    listed = {node.name: node for node in configured.nodes} if configured else {}
    nodes = sorted({**listed, **registered}.values(), key=lambda node: (node.number, node.name))
    return tuple(
        _member(facts, node, node.name in listed, node.name in registered, own is not None and node.name == own.name)
        for node in nodes
    )


def _member(facts: Facts, node: Node, configured: bool, registered: bool, own: bool) -> Member:
    live = facts.live
    beat = liveness.newest(facts.reading.beats, node.number)
    connected = live.connected if live else frozenset()
    if own:
        verdict = Verdict(live is not None and live.online, "kernel")
    else:
        verdict = liveness.judge(node.number, facts.reading.beats, connected, facts.now, facts.live_nodes, facts.before)
    return Member(
        node=node,
        configured=configured,
        registered=registered,
        own=own,
        verdict=verdict,
        connected=(own and verdict.live is True) or node.number in connected,
        beat=beat,
        age=None if beat is None else blocks.age(beat, facts.now),
    )


def as_result(report: Report, problems: list[str]) -> dict[str, Any]:
    """The report as plain data, the result of the module cluster_info."""
    facts, cluster = report.facts, report.cluster
    return {
        "online": report.online,
        "cluster_name": cluster.name if cluster else None,
        "heartbeat_mode": cluster.heartbeat_mode if cluster else None,
        "node_name": report.own.name if report.own else None,
        "node_number": report.own.number if report.own else None,
        "hostname": facts.hostname,
        "stack": facts.stack or None,
        "quorate": report.quorate,
        "quorum_reason": report.reason,
        "members": [_member_facts(member) for member in report.members],
        "regions": _regions(report),
        "timeouts": {**vars(cluster.timeouts), "seconds": cluster.timeouts.seconds()} if cluster else None,
        "fence_method": cluster.fence_method if cluster else None,
        "domains": [
            {"name": domain.name, "mount": domain.mount or None, "locks": len(domain.locks)} for domain in facts.domains
        ],
        "kernel": {
            "release": facts.release,
            "modules_missing": list(facts.modules_missing),
            "tools": facts.tools,
            **{name: int(value) if value.isdigit() else None for name, value in sorted(facts.sysctls.items())},
        },
        "files": {
            "cluster_conf": {
                "path": conf_file.PATH,
                "present": facts.conf is not None,
                "clusters": report.document.cluster_names() if report.document else [],
                "error": report.conf_error or None,
            },
            "sysconfig": {
                "path": facts.sysconfig_path,
                "present": facts.sysconfig is not None,
                "boot_cluster": sysconfig.boot_cluster(facts.sysconfig or ""),
            },
        },
        "variables": variables(report),
        "problems": problems,
    }


def _member_facts(member: Member) -> dict[str, Any]:
    return {
        **vars(member.node),
        "own": member.own,
        "configured": member.configured,
        "registered": member.registered,
        "live": member.verdict.live,
        "live_by": member.verdict.by or None,
        "connected": member.connected,
        "last_beat": member.age,
        "dead_ms": member.beat.dead_ms if member.beat else None,
    }


def _regions(report: Report) -> list[dict[str, Any]]:
    """The regions in the kernel and in cluster.conf."""
    live = {region.uuid: region for region in report.facts.live.regions} if report.facts.live else {}
    listed = report.configured.regions if report.configured else ()
    names = {member.node.number: member.node.name for member in report.members}
    found = []
    for uuid in sorted({*live, *listed}):
        counts = report.facts.quorum_regions
        found.append(
            {
                "uuid": uuid,
                "device": report.facts.paths.get(uuid),
                "label": report.facts.reading.volumes.get(uuid, ("", ""))[1] or None,
                "configured": uuid in listed,
                "started": live.get(uuid, LiveRegion(uuid)).started,
                "quorum": None if counts is None else uuid in counts,
                "beats": {
                    names.get(number, str(number)): blocks.age(beat, report.facts.now)
                    for number, beat in report.facts.reading.beats.get(uuid, {}).items()
                    if beat.valid and not beat.left
                },
                "error": report.facts.reading.problems.get(uuid),
            }
        )
    return found


def variables(report: Report) -> dict[str, Any]:
    """The variables of this collection's roles that describe this cluster and this host; empty without a cluster.

    A region that is only in the file is one of them: a lost disk does not change what the cluster is to be.
    """
    cluster, own = report.cluster, report.own
    if cluster is None:
        return {}
    regions = {*cluster.regions, *(report.configured.regions if report.configured else ())}
    found: dict[str, Any] = {
        "o2cb_cluster_name": cluster.name,
        "o2cb_heartbeat_mode": cluster.heartbeat_mode,
        "o2cb_regions": [{"uuid": uuid} for uuid in sorted(regions)] if cluster.heartbeat_mode == GLOBAL else [],
        **{f"o2cb_{name}": value for name, value in vars(cluster.timeouts).items()},
        "o2cb_fence_method": cluster.fence_method,
        "o2cb_state": "online" if report.online else "offline",
    }
    if own is not None:
        found.update(
            o2cb_node_name=own.name, o2cb_node_number=own.number, o2cb_node_address=own.address, o2cb_port=own.port
        )
    return found
