# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person should know about a node, and do: each with the remedy. Pure; the report comes from `report`."""

from __future__ import annotations

from typing import Iterator

from . import conf as conf_file
from . import sysconfig
from .model import GLOBAL, Cluster
from .report import Facts, Member, Report
from .state import Live
from .timeouts import BEAT_INTERVAL

CLOCK_SECONDS = 5.0
"""A peer's beat that is this much too old, or comes from the future, shows a wrong clock."""

_ONLINE = "bring the node online with ocfs2.o2cb.cluster and state=online"


def advice(report: Report) -> list[str]:
    """Everything that is worth a person's look, the most fundamental first; empty when all is well."""
    found = list(_host(report.facts))
    found += _files(report)
    live = report.facts.live
    if live is None:
        if report.configured is not None:
            found.append(f"cluster {report.configured.name} is configured and not in the kernel: {_ONLINE}")
        return found
    found += _registration(live, report)
    found += _differences(live.cluster, report)
    found += _settings(live.cluster, report)
    found += _regions(live, report)
    for member in report.members:
        found += _member(member, live, report)
    found += _strangers(report)
    if live.online and not report.quorate:
        found.append(f"this node has no quorum, {report.reason}: mend the network before it resets itself")
    return found


def _host(facts: Facts) -> Iterator[str]:
    if not facts.root:
        yield "not root, so disks and some states could not be read: run the task with become=true"
    if facts.modules_missing:
        yield (
            f"kernel {facts.release} has no module {', '.join(facts.modules_missing)}: install the distribution's "
            "kernel that has OCFS2, as ocfs2.o2cb.preflight names it"
        )
    if facts.stack not in ("", "o2cb"):
        yield f"the cluster stack is {facts.stack!r}: o2cb needs its own, write o2cb to /sys/fs/ocfs2/cluster_stack"
    if facts.live is not None:
        for name, why in (("panic", "a panic would halt it for good"), ("panic_on_oops", "an oops would not fence it")):
            if facts.sysctls.get(name) == "0":
                yield f"sysctl kernel.{name} is 0, {why}: set it to {30 if name == 'panic' else 1}, see o2cb(7)"


def _files(report: Report) -> Iterator[str]:
    facts = report.facts
    if facts.conf is None:
        yield f"there is no {conf_file.PATH}: configure the cluster with the role ocfs2.o2cb.cluster"
    if report.conf_error:
        yield f"{report.conf_error}; until then the o2cb tool rejects the whole file"
    if report.document is not None and report.configured is None:
        name = facts.live.cluster.name if facts.live else sysconfig.boot_cluster(facts.sysconfig or "") or ""
        yield f"cluster {name!r} is not in {conf_file.PATH}: configure it with the role ocfs2.o2cb.cluster"
    if report.cluster is not None and report.own is None:
        names = ", ".join(member.node.name for member in report.members)
        yield f"no node is called {facts.hostname!r} as `uname -n` is ({names}): rename the node or the host"
    if facts.live is not None and sysconfig.boot_cluster(facts.sysconfig or "") != facts.live.cluster.name:
        yield f"{facts.sysconfig_path} does not start {facts.live.cluster.name} at boot: {_ONLINE}"


def _registration(live: Live, report: Report) -> Iterator[str]:
    name = live.cluster.name
    if live.local is None:
        yield f"cluster {name} is registered and no node of it is this one, so nothing runs: {_ONLINE}"
    elif not live.online:
        yield (
            f"cluster {name} is registered and no region beats, whatever the unit's state says: look at the devices, "
            f"and {_ONLINE}"
        )


def _differences(live: Cluster, report: Report) -> Iterator[str]:
    """cluster.conf against the kernel."""
    configured = report.configured
    if configured is None:
        return
    remedy = "run the role ocfs2.o2cb.cluster on all nodes"
    for node in configured.nodes:
        other = live.node(node.name)
        if other is None:
            yield f"node {node} is in {conf_file.PATH} and not in the kernel: {remedy}"
        elif other != node:
            yield f"node {node} of {conf_file.PATH} is {other} in the kernel: {remedy}"
    for node in live.nodes:
        if configured.node(node.name) is None:
            yield f"node {node} is in the kernel and not in {conf_file.PATH}: {remedy}"
    here, there = live.heartbeat_mode, configured.heartbeat_mode
    if here != there:
        yield f"heartbeat is {here} in the kernel and {there} in {conf_file.PATH}: {remedy}"
    if live.heartbeat_mode == GLOBAL:
        for uuid in sorted(set(configured.regions) - set(live.regions)):
            yield f"region {uuid} is in {conf_file.PATH} and does not beat: look for its disk, then {remedy}"
        for uuid in sorted(set(live.regions) - set(configured.regions)):
            yield f"region {uuid} beats and is not in {conf_file.PATH}: {remedy}"


def _settings(live: Cluster, report: Report) -> Iterator[str]:
    """Timeouts and fence method: against the sysconfig file, and whether they are sound."""
    yield from live.timeouts.problems()
    if report.facts.sysconfig is None:
        return
    next_time = sysconfig.timeouts(report.facts.sysconfig)
    remedy = "they would differ between nodes after a restart of one, run the role ocfs2.o2cb.cluster"
    for name, value in vars(live.timeouts).items():
        other = getattr(next_time, name)
        if other != value:
            yield f"{name} is {value} in the kernel and {other} in {report.facts.sysconfig_path}: {remedy}"


def _regions(live: Live, report: Report) -> Iterator[str]:
    if live.cluster.heartbeat_mode == GLOBAL and live.online:
        count = len(live.cluster.regions)
        if count < 3:
            losses = "the loss or stall of it resets" if count == 1 else "the loss or stall of one of them resets"
            yield f"{count} heartbeat region(s): {losses} this node; use three, which bear the loss of one"
    for region in live.regions:
        if region.started:
            yield from _region(region.uuid, live, report)
        else:
            yield f"region {region.uuid} is in the kernel and was not started: {_ONLINE}"


def _region(uuid: str, live: Live, report: Report) -> Iterator[str]:
    """What a started region's disk shows."""
    reading = report.facts.reading
    name = f"region {uuid} on {report.facts.paths.get(uuid, 'its device')}"
    if uuid in reading.problems:
        if report.facts.root:
            yield f"{name} could not be read, {reading.problems[uuid]}: look at its storage path"
        return
    volume = reading.volumes.get(uuid, (uuid, ""))[0]
    if volume != uuid:
        yield (
            f"{name} was formatted again and is {volume or 'no OCFS2 volume'} now: no node can start it any more, "
            "replace it by another region with ocfs2.o2cb.heartbeat"
        )
    beats = reading.beats.get(uuid, {})
    for member in report.members:
        number = member.node.number
        if number in beats and not beats[number].valid:
            yield f"{name}: the block of node {number} is damaged or foreign: look for a node with the same number"
    own = beats.get(report.own.number) if report.own else None
    age = report.facts.now - own.sequence if own and not own.left else None
    if age is None or age > 3 * BEAT_INTERVAL:
        since = "none" if age is None else f"{age:.0f} s old"
        seconds = live.cluster.timeouts.self_fence_seconds
        yield (
            f"{name}: the last beat of this node is {since}, and it resets itself after {seconds:.0f} s "
            "where half of the regions fail: look at its storage path"
        )


def _member(member: Member, live: Live, report: Report) -> Iterator[str]:
    if member.own or not live.online:
        return
    name = f"node {member.node.name}"
    if member.verdict.live is False:
        if member.configured:
            yield f"{name} is configured and not live: bring it online, or remove it from the cluster"
        return
    if member.verdict.live and not member.connected:
        yield (
            f"{name} is live and not connected, so no new domain can be joined: compare timeouts and address on both, "
            f"and open TCP port {member.node.port} between them"
        )
    if member.beat is None or member.age is None:
        return
    if member.beat.dead_ms != live.cluster.timeouts.dead_ms:
        yield (
            f"{name} has a dead threshold of {member.beat.dead_ms // 2000} and this node of "
            f"{live.cluster.timeouts.heartbeat_dead_threshold}: take the whole cluster offline and make them equal"
        )
    if not member.connected:
        return
    if member.age < -CLOCK_SECONDS:
        yield f"the clock of {name} is {-member.age:.0f} s ahead: synchronise the clocks, as with chrony"
    if member.age > CLOCK_SECONDS + BEAT_INTERVAL:
        yield (
            f"the last beat of {name} is {member.age:.0f} s old: it hangs or died, and is held for dead after "
            f"{member.beat.dead_ms / 1000:.0f} s, or its clock is behind: then synchronise the clocks, as with chrony"
        )


def _strangers(report: Report) -> Iterator[str]:
    """Somebody beats on our regions who is no node of this cluster."""
    known = {member.node.number for member in report.members}
    seen = {
        number
        for beats in report.facts.reading.beats.values()
        for number, beat in beats.items()
        if number not in known and beat.valid and not beat.left and abs(report.facts.now - beat.sequence) < 60
    }
    for number in sorted(seen):
        yield (
            f"somebody heartbeats as node {number}, which is no node of this cluster here: compare {conf_file.PATH} "
            "on all nodes, or find the foreign cluster that uses these disks"
        )
