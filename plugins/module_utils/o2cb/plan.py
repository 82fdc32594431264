# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what is to what is wanted: the steps, and what each of them needs.

Theory of operation. A plan is made before anything changes, from the files, the running kernel and the wish:

1. **Files.** cluster.conf and the sysconfig file are merged with the wish: what is not listed stays, unless `purge`.
2. **Kernel.** The live cluster is compared with the merged one. Every difference has a scope:
   * *online*: a node or region is added, a peer that is not connected is removed or gets another address, the reconnect
     delay, the fence method; a region is removed while more than three beat or no domain is joined.
   * *node offline*: the kernel pins what has to change on this node (its own entry, one of the last three regions).
   * *cluster offline*: the value must be the same on all nodes at all times: the name, the heartbeat mode, the three
     timeouts that o2net compares, the entry of a connected peer.
3. If any difference needs more than *online*, the plan takes this node offline and brings it back; otherwise it is just
   the differences. The steps run in this order and each can be repeated: a run that was interrupted is finished by the
   next.

Sources: the table "Online changes" was measured on Linux 6.1; configfs in fs/ocfs2/cluster/{nodemanager,heartbeat}.c.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Iterable

from ..base.errors import O2cbError, join_problems
from . import conf as conf_file
from . import model, sysconfig, units
from .model import GLOBAL, Cluster, Node
from .state import Have, Live

PINNED_REGIONS = 3
"""O2HB_PIN_CUT_OFF: with no more regions than this, all of them are pinned while a domain is joined."""


class Scope(enum.IntEnum):
    """What a step needs: nothing, this node offline, or every node offline."""

    ONLINE = 0
    NODE_OFFLINE = 1
    CLUSTER_OFFLINE = 2

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


class Verb(enum.Enum):
    """What a step does. The value is how it is told to people."""

    WRITE_CONF = "write"
    WRITE_SYSCONFIG = "write settings"
    LOAD_MODULE = "load module"
    SELECT_STACK = "select cluster stack"
    REGISTER = "register cluster"
    UNREGISTER = "unregister cluster"
    SET = "set"
    ADD_NODE = "add node"
    REMOVE_NODE = "remove node"
    CLAIM_NODE = "claim to be node"
    START_REGION = "start region"
    STOP_REGION = "stop region"
    START_UNIT = "start unit"
    STOP_UNIT = "stop unit"


@dataclass(frozen=True)
class Step:
    """One change. `value` is the new value of a setting or the text of a file, `node` the node to add."""

    verb: Verb
    subject: str
    value: str = ""
    node: Node | None = None
    scope: Scope = Scope.ONLINE
    why: str = ""

    def __str__(self) -> str:
        text = f"{self.verb.value} {self.node or self.subject}"
        if self.verb is Verb.SET:
            text += f" to {self.value}"
        if self.why:
            text += f" ({self.why})"
        return f"{text} [{self.scope}]"


@dataclass(frozen=True)
class Plan:
    """The steps in their order, and what they start from and lead to."""

    have: Have
    steps: tuple[Step, ...]
    target: Cluster | None
    """The cluster that is live once the steps are done; None when there is none."""

    @property
    def scope(self) -> Scope:
        return max((step.scope for step in self.steps), default=Scope.ONLINE)

    def diff(self) -> list[dict[str, str]]:
        """Before and after, for Ansible's --diff: the two files and the cluster in the kernel."""
        parts = []
        for step in self.steps:
            if step.verb in (Verb.WRITE_CONF, Verb.WRITE_SYSCONFIG):
                before = self.have.conf if step.verb is Verb.WRITE_CONF else self.have.sysconfig
                parts.append(_diff(step.subject, before or "", step.value))
        live = self.have.live.cluster if self.have.live else None
        outside = (Verb.WRITE_CONF, Verb.WRITE_SYSCONFIG, Verb.START_UNIT, Verb.STOP_UNIT)
        if any(step.verb not in outside for step in self.steps):
            parts.append(_diff("/sys/kernel/config/cluster", describe(live), describe(self.target)))
        return parts


def _diff(path: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def describe(cluster: Cluster | None) -> str:
    """A cluster as lines of text, one a fact, so that a diff reads well."""
    if cluster is None:
        return ""
    lines = [f"cluster {cluster.name}", f"heartbeat {cluster.heartbeat_mode}", f"fence_method {cluster.fence_method}"]
    lines += [f"{name} {value}" for name, value in sorted(vars(cluster.timeouts).items())]
    lines += [f"node {node}" for node in cluster.nodes]
    lines += [f"region {region}" for region in cluster.regions]
    return "".join(line + "\n" for line in lines)


def plan(have: Have, want: Cluster, state: str = "online", purge: bool = False, force: bool = False) -> Plan:
    """The plan that leads to `want` in this state: online, offline or absent. Offline without any node listed only
    leaves the cluster of that name, whose entry in cluster.conf stays as it is.

    Raises O2cbError, naming value and remedy, when the wish is unsound, when this machine is not one of the nodes, when
    cluster.conf cannot be read (it is never overwritten then), and when the node must go offline while it is in use,
    unless `force`.
    """
    document = conf_file.parse(have.conf or "")
    merged = _merged(document, want, purge)
    leaves_only = state == "offline" and not want.nodes
    if state != "absent" and not leaves_only:
        _refuse_unsound(merged, want, have.hostname, state)
    files = _disabling_steps(have, want.name) if leaves_only else _file_steps(have, document, merged, state)
    if state == "online":
        live_steps = online_steps(have, merged) + _unit_steps(have, Verb.START_UNIT)
    else:
        live_steps = _offline_steps(have.live, want.name, Scope.NODE_OFFLINE, f"{want.name} is to be {state}")
        if have.live is None or have.live.cluster.name == want.name:
            live_steps += _unit_steps(have, Verb.STOP_UNIT)
    if not force:
        _refuse_in_use(have, live_steps)
    return Plan(have, tuple(files + live_steps), _target(have, merged, state))


def _merged(document: conf_file.Document, want: Cluster, purge: bool) -> Cluster:
    old = document.cluster(want.name)
    return want if old is None or purge else want.merged_with(old)


def _refuse_unsound(merged: Cluster, want: Cluster, hostname: str, state: str) -> None:
    found = model.problems(want)
    if not found:
        found = [
            f"{problem} (it is in {conf_file.PATH} only: purge=true removes it)" for problem in model.problems(merged)
        ]
    if state == "online" and merged.heartbeat_mode == GLOBAL and not merged.regions:
        found.append("the heartbeat is global and there is no region: give at least one, at best three")
    if model.local_node(merged.nodes, hostname) is None:
        names = ", ".join(node.name for node in merged.nodes) or "none"
        found.append(
            f"this machine's `uname -n` is {hostname!r}, and the nodes are {names}: "
            "the node name must be the host name, rename the one or the other"
        )
    if found:
        raise O2cbError(join_problems(found), problems=found)


def _refuse_in_use(have: Have, steps: Iterable[Step]) -> None:
    if have.in_use and any(step.verb is Verb.UNREGISTER for step in steps):
        raise O2cbError(
            f"this node cannot go offline while it is in use: {join_problems(have.in_use)}; "
            "release or unmount them first, or use force, which drops them",
            in_use=list(have.in_use),
        )


def _file_steps(have: Have, document: conf_file.Document, merged: Cluster, state: str) -> list[Step]:
    old_settings = have.sysconfig or ""
    if state == "absent":
        text = document.without_cluster(merged.name).render()
        settings = sysconfig.disabled(old_settings, merged.name)
    else:
        text = document.with_cluster(merged).render()
        settings = sysconfig.merged(old_settings, sysconfig.wanted(merged, enabled=state == "online"))
    if state == "offline" and sysconfig.boot_cluster(old_settings) not in (None, merged.name):
        settings = old_settings
    steps = []
    if text != (have.conf or ""):
        steps.append(Step(Verb.WRITE_CONF, conf_file.PATH, text))
    if settings != old_settings:
        steps.append(Step(Verb.WRITE_SYSCONFIG, have.sysconfig_path, settings))
    return steps


def _disabling_steps(have: Have, name: str) -> list[Step]:
    """The cluster of that name is not started at the next boot."""
    settings = have.sysconfig or ""
    if sysconfig.boot_cluster(settings) != name:
        return []
    return [Step(Verb.WRITE_SYSCONFIG, have.sysconfig_path, sysconfig.merged(settings, {"O2CB_ENABLED": "false"}))]


def online_steps(have: Have, want: Cluster) -> list[Step]:
    """What the kernel needs to take part in `want`; nothing when it does so already."""
    steps = [Step(Verb.LOAD_MODULE, module) for module in have.missing_modules]
    if have.stack != "o2cb":
        steps.append(Step(Verb.SELECT_STACK, "o2cb"))
    live = have.live
    reasons = _offline_reasons(live, want, have.hostname) if live else []
    if live is None or not reasons:
        return steps + _difference_steps(live, want, have.hostname)
    scope = max(scope for scope, _why in reasons)
    why = join_problems(why for _scope, why in reasons)
    back = [replace(step, scope=scope) for step in _difference_steps(None, want, have.hostname)]
    return _offline_steps(live, live.cluster.name, scope, why) + steps + back


def _offline_reasons(live: Live, want: Cluster, hostname: str) -> list[tuple[Scope, str]]:
    """The differences that cannot be mended while this node, or any node, takes part."""
    have = live.cluster
    reasons = []
    if have.name != want.name:
        reasons.append((Scope.CLUSTER_OFFLINE, f"the kernel holds cluster {have.name}, and only one at a time"))
    if have.heartbeat_mode != want.heartbeat_mode and live.regions:
        reasons.append((Scope.CLUSTER_OFFLINE, f"heartbeat {have.heartbeat_mode} -> {want.heartbeat_mode}"))
    for name in ("heartbeat_dead_threshold", "idle_timeout_ms", "keepalive_delay_ms"):
        old, new = getattr(have.timeouts, name), getattr(want.timeouts, name)
        if old != new and (live.regions or live.connected):
            reasons.append((Scope.CLUSTER_OFFLINE, f"{name} {old} -> {new}"))
    for node in have.nodes:
        new_node = want.node(node.name)
        if new_node == node:
            continue
        word = f"node {node} becomes {new_node}" if new_node else f"node {node} goes"
        if node.name == live.local:
            reasons.append((Scope.NODE_OFFLINE, word))
        elif node.number in live.connected:
            reasons.append(
                (Scope.CLUSTER_OFFLINE, f"{word}, and it is connected: take it offline first to spare the others")
            )
    local = model.local_node(want.nodes, hostname)
    if local and live.local and local.name != live.local and want.node(live.local):
        reasons.append((Scope.NODE_OFFLINE, f"the kernel takes this machine for node {live.local}, it is {local.name}"))
    gone = [region for region in have.regions if region not in want.regions and want.heartbeat_mode == GLOBAL]
    if gone and live.domains and len(have.regions) - len(gone) < PINNED_REGIONS:
        reasons.append(
            (
                Scope.NODE_OFFLINE,
                (
                    f"region {', '.join(gone)} goes, and with {PINNED_REGIONS} or fewer left the kernel pins them all "
                    f"while a domain is joined ({', '.join(live.domains)})"
                ),
            )
        )
    return reasons


def _difference_steps(live: Live | None, want: Cluster, hostname: str) -> list[Step]:
    """The steps of an online change, or of coming online when nothing is registered."""
    steps = []
    have = live.cluster if live else Cluster(name=want.name)
    if live is None:
        steps.append(Step(Verb.REGISTER, want.name))
    if live is None or have.heartbeat_mode != want.heartbeat_mode:
        steps.append(_set("heartbeat/mode", want.heartbeat_mode, have.heartbeat_mode if live else ""))
    steps += _timeout_steps(live, want)
    if live is None or have.fence_method != want.fence_method:
        steps.append(_set("fence_method", want.fence_method, have.fence_method if live else ""))
    steps += _node_steps(live, want, hostname)
    if want.heartbeat_mode == GLOBAL:
        steps += _region_steps(live, want)
    return steps


def _set(subject: str, value: object, old: object = "") -> Step:
    return Step(Verb.SET, subject, str(value), why=f"was {old}" if old != "" else "")


def _timeout_steps(live: Live | None, want: Cluster) -> list[Step]:
    """The keepalive is raised after, and lowered before, the idle timeout: the kernel wants it shorter at any time."""
    files = {
        "heartbeat_dead_threshold": "heartbeat/dead_threshold",
        "idle_timeout_ms": "idle_timeout_ms",
        "keepalive_delay_ms": "keepalive_delay_ms",
        "reconnect_delay_ms": "reconnect_delay_ms",
    }
    have = live.cluster.timeouts if live else Cluster("").timeouts
    names = list(files)
    if want.timeouts.idle_timeout_ms <= have.keepalive_delay_ms:
        names = ["heartbeat_dead_threshold", "keepalive_delay_ms", "idle_timeout_ms", "reconnect_delay_ms"]
    steps = []
    for name in names:
        old, new = getattr(have, name), getattr(want.timeouts, name)
        if live is None or old != new:
            steps.append(_set(files[name], new, old if live else ""))
    return steps


def _node_steps(live: Live | None, want: Cluster, hostname: str) -> list[Step]:
    have = live.cluster.nodes if live else ()
    removed = [node for node in have if want.node(node.name) != node]
    added = [node for node in want.nodes if node not in have]
    steps = [Step(Verb.REMOVE_NODE, node.name) for node in removed]
    steps += [Step(Verb.ADD_NODE, node.name, node=node) for node in added]
    local = model.local_node(want.nodes, hostname)
    if local is not None and (live is None or live.local != local.name):
        steps.append(Step(Verb.CLAIM_NODE, local.name))
    return steps


def _region_steps(live: Live | None, want: Cluster) -> list[Step]:
    """New regions are started before old ones are stopped: the cluster never has fewer than it needs."""
    regions = live.regions if live else ()
    broken = [region.uuid for region in regions if not region.started]
    beating = [region.uuid for region in regions if region.started]
    steps = [Step(Verb.STOP_REGION, uuid, why="it does not beat") for uuid in broken]
    steps += [Step(Verb.START_REGION, uuid) for uuid in want.regions if uuid not in beating]
    steps += [Step(Verb.STOP_REGION, uuid) for uuid in beating if uuid not in want.regions]
    return steps


def _unit_steps(have: Have, verb: Verb) -> list[Step]:
    """systemd has to know that the cluster is online, or it would not stop it in good order at shutdown."""
    state_before = {Verb.START_UNIT: "inactive", Verb.STOP_UNIT: "active"}[verb]
    return [Step(verb, units.SERVICE)] if have.unit == state_before else []


def _offline_steps(live: Live | None, name: str, scope: Scope, why: str) -> list[Step]:
    """Leave the cluster of that name; nothing when the kernel does not hold it."""
    if live is None or live.cluster.name != name:
        return []
    steps = [Step(Verb.STOP_REGION, region.uuid, scope=scope, why=why) for region in live.regions]
    steps += [Step(Verb.REMOVE_NODE, node.name, scope=scope, why=why) for node in live.cluster.nodes]
    return [*steps, Step(Verb.UNREGISTER, name, scope=scope, why=why)]


def _target(have: Have, merged: Cluster, state: str) -> Cluster | None:
    if state == "online":
        return merged
    live = have.live.cluster if have.live else None
    return None if live is None or live.name == merged.name else live


def change_regions(have: Have, name: str, regions: Iterable[str], verb: Verb, keep_conf: bool = False) -> Plan:
    """Add (START_REGION) or remove (STOP_REGION) regions of a configured cluster, in its file and, online, in the
    kernel.

    Raises O2cbError when the cluster is not configured here, or when a region cannot be removed while the node is
    online.
    """
    document = conf_file.parse(have.conf or "")
    old = document.cluster(name)
    if old is None:
        raise O2cbError(f"cluster {name!r} is not in {conf_file.PATH}: run the module cluster on this host first")
    named = list(regions)
    kept = [region for region in old.regions if region not in named]
    new = replace(old, regions=tuple(kept + named if verb is Verb.START_REGION else kept))
    text = document.with_cluster(new).render()
    steps = [] if keep_conf or text == have.conf else [Step(Verb.WRITE_CONF, conf_file.PATH, text)]
    live = have.live
    if live is None or live.cluster.name != name or not live.online:
        return Plan(have, tuple(steps), live.cluster if live else None)
    beating = [region for region in live.cluster.regions if region not in named]
    target = replace(live.cluster, regions=tuple(beating + named if verb is Verb.START_REGION else beating))
    reasons = [why for _scope, why in _offline_reasons(live, target, have.hostname)]
    if reasons:
        raise O2cbError(f"this cannot be done online: {join_problems(reasons)}")
    return Plan(have, tuple(steps + _region_steps(live, target)), target)


def leaves(have: Have, name: str) -> Plan:
    """The plan by which this node leaves the cluster of that name, its files untouched. Nothing is refused."""
    steps = _offline_steps(have.live, name, Scope.NODE_OFFLINE, "")
    return Plan(have, tuple(steps), _target(have, Cluster(name), "offline"))


def as_facts(cluster: Cluster | None) -> dict[str, object]:
    """A cluster as plain data, in the form in which the module `cluster` takes it."""
    if cluster is None:
        return {}
    return {
        "name": cluster.name,
        "nodes": [dict(vars(node)) for node in cluster.nodes],
        "heartbeat_mode": cluster.heartbeat_mode,
        "regions": list(cluster.regions),
        "timeouts": dict(vars(cluster.timeouts)),
        "fence_method": cluster.fence_method,
    }
