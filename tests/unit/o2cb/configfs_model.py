# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small model of one node, to carry out plans on: the rules of configfs as far as they forbid a step.

It is a model, and proves nothing about the kernel: the rules are transcribed from fs/ocfs2/cluster/nodemanager.c,
heartbeat.c and tcp.c of Linux 6.1, and what they say is proved on real nodes elsewhere. What it proves is that plans
keep these rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import GLOBAL, Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.plan import Plan, Step, Verb
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have, Live, LiveRegion
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts

_TIMEOUTS = {
    "heartbeat/dead_threshold": "heartbeat_dead_threshold",
    "idle_timeout_ms": "idle_timeout_ms",
    "keepalive_delay_ms": "keepalive_delay_ms",
    "reconnect_delay_ms": "reconnect_delay_ms",
}


class Illegal(AssertionError):
    """The kernel would refuse, or silently ignore, this step."""


def require(condition: bool, rule: str) -> None:
    if not condition:
        raise Illegal(rule)


@dataclass
class ConfigfsModel:
    """One node. `regions` tells of each region whether it beats; `peers` are the numbers of connected nodes."""

    have: Have
    name: str | None = None
    mode: str = "local"
    timeouts: Timeouts = field(default_factory=Timeouts)
    fence_method: str = "reset"
    nodes: dict[str, Node] = field(default_factory=dict)
    regions: dict[str, bool] = field(default_factory=dict)
    local: str | None = None
    peers: frozenset[int] = frozenset()
    domains: tuple[str, ...] = ()

    @classmethod
    def of(cls, have: Have) -> ConfigfsModel:
        live = have.live
        if live is None:
            return cls(have)
        return cls(
            have=have,
            name=live.cluster.name,
            mode=live.cluster.heartbeat_mode,
            timeouts=live.cluster.timeouts,
            fence_method=live.cluster.fence_method,
            nodes={node.name: node for node in live.cluster.nodes},
            regions={region.uuid: region.started for region in live.regions},
            local=live.local,
            peers=live.connected,
            domains=live.domains,
        )

    @property
    def beating(self) -> int:
        return sum(self.regions.values())

    def read(self) -> Have:
        """What `system.System.read` would find."""
        if self.name is None:
            return replace(self.have, live=None)
        cluster = Cluster(
            self.name,
            tuple(self.nodes.values()),
            tuple(uuid for uuid, beats in self.regions.items() if beats),
            self.mode,
            self.timeouts,
            self.fence_method,
        )
        regions = tuple(LiveRegion(uuid, "dm-0" if beats else "") for uuid, beats in sorted(self.regions.items()))
        return replace(self.have, live=Live(cluster, regions, self.local, self.peers, self.domains))

    def apply(self, plan: Plan, count: int | None = None) -> None:
        """The first `count` steps, or all; like `system.System.apply`, which leaves the domains before it goes."""
        steps = plan.steps[:count]
        if steps and any(step.verb is Verb.UNREGISTER for step in plan.steps):
            self.domains = ()
        for step in steps:
            try:
                getattr(self, "_" + step.verb.name.lower())(step)
            except Illegal as error:
                raise Illegal(f"{error}: step '{step}' of {[str(step) for step in plan.steps]}") from None

    def _write_conf(self, step: Step) -> None:
        self.have = replace(self.have, conf=step.value)

    def _write_sysconfig(self, step: Step) -> None:
        require(step.subject == self.have.sysconfig_path, "another file")
        self.have = replace(self.have, sysconfig=step.value)

    def _load_module(self, step: Step) -> None:
        left = tuple(name for name in self.have.missing_modules if name != step.subject)
        require(left != self.have.missing_modules, "loaded already")
        self.have = replace(self.have, missing_modules=left)

    def _select_stack(self, step: Step) -> None:
        require(not self.have.missing_modules, "there is no stack without its module")
        require(not self.domains, "EBUSY: the stack is in use")
        self.have = replace(self.have, stack=step.subject)

    def _register(self, step: Step) -> None:
        require(not self.have.missing_modules, "there is no configfs directory without the module")
        require(self.name is None, "ENOSPC: one cluster only")
        self.name, self.mode, self.timeouts, self.fence_method = step.subject, "local", Timeouts(), "reset"

    def _unregister(self, step: Step) -> None:
        require(self.name == step.subject, "ENOENT")
        require(not self.nodes and not self.regions, "ENOTEMPTY")
        self.name = None

    def _set(self, step: Step) -> None:
        require(self.name is not None, "ENOENT")
        if step.subject == "heartbeat/mode":
            require(not self.regions, "the mode is ignored while a region exists")
            self.mode = step.value
        elif step.subject == "fence_method":
            require(step.value in ("reset", "panic"), "EINVAL")
            self.fence_method = step.value
        else:
            self._set_timeout(step.subject, int(step.value))

    def _set_timeout(self, subject: str, value: int) -> None:
        if subject == "heartbeat/dead_threshold":
            require(not self.regions, "the threshold is ignored while a region exists")
            require(value > 2, "ignored")
        elif subject != "reconnect_delay_ms":
            require(not self.peers, "EINVAL: a peer is connected")
        self.timeouts = replace(self.timeouts, **{_TIMEOUTS[subject]: value})
        require(self.timeouts.keepalive_delay_ms < self.timeouts.idle_timeout_ms, "EINVAL: keepalive >= idle")

    def _add_node(self, step: Step) -> None:
        node = step.node
        require(self.name is not None, "ENOENT")
        require(node is not None and node.name == step.subject, "no node")
        for other in self.nodes.values():
            same = other.name == node.name or other.number == node.number or other.address == node.address
            require(not same, f"EEXIST: {other}")
        self.nodes[node.name] = node

    def _remove_node(self, step: Step) -> None:
        require(step.subject in self.nodes, "ENOENT")
        require(self.nodes[step.subject].number not in self.peers, "EBUSY: it is connected")
        require(self.local != step.subject or not self.beating, "EBUSY: the heartbeat pins this node")
        del self.nodes[step.subject]
        if self.local == step.subject:
            self.local, self.peers = None, frozenset()

    def _claim_node(self, step: Step) -> None:
        require(step.subject in self.nodes, "ENOENT")
        require(self.local is None, "EBUSY: this machine is another node already")
        self.local = step.subject

    def _start_region(self, step: Step) -> None:
        require(self.mode == GLOBAL and self.local is not None, "EINVAL")
        require(step.subject not in self.regions, "EEXIST")
        require(len(self.regions) < 32, "EFBIG")
        self.regions[step.subject] = True

    def _stop_region(self, step: Step) -> None:
        require(step.subject in self.regions, "ENOENT")
        pinned = self.regions[step.subject] and bool(self.domains) and self.beating <= 3
        require(not pinned, "EBUSY: the last three regions are pinned while a domain is joined")
        del self.regions[step.subject]
        if not self.beating:
            self.peers = frozenset()

    def _start_unit(self, _step: Step) -> None:
        require(self.have.unit == "inactive", "it is active")
        self.have = replace(self.have, unit="active")

    def _stop_unit(self, _step: Step) -> None:
        require(self.have.unit == "active", "it is inactive")
        require(self.name is None, "it would leave the cluster by itself")
        self.have = replace(self.have, unit="inactive")
