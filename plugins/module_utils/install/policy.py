# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which plans may be carried out.

The change policy, and the rule that the whole cluster must be offline when it must.
"""

from __future__ import annotations

import time

from ..base.errors import O2cbError
from ..o2cb import blocks
from ..o2cb.plan import Plan, Scope
from ..o2cb.system import System


def refuse(plan: Plan, change_policy: str, system: System) -> None:
    """Raise O2cbError when this plan must not be carried out under this policy: apply, online_only or plan."""
    beyond = [str(step) for step in plan.steps if step.scope is not Scope.ONLINE]
    if change_policy == "online_only" and beyond:
        raise O2cbError(
            f"{len(beyond)} step(s) cannot be done online, the first is '{beyond[0]}': "
            "use change_policy=apply in a maintenance window",
            actions=[str(step) for step in plan.steps],
        )
    if change_policy == "apply" and plan.scope is Scope.CLUSTER_OFFLINE:
        peers = live_peers(plan, system)
        if peers:
            raise O2cbError(
                f"'{beyond[0]}' needs the whole cluster offline, and {', '.join(peers)} is live: "
                "set state=offline on all nodes first, as the role ocfs2.o2cb.cluster does",
                live=peers,
            )


def live_peers(plan: Plan, system: System) -> list[str]:
    """The other nodes that are connected, or that beat on a region of this node.

    Takes 4.2 s where it has to look twice.
    """
    live = plan.have.live
    if live is None:
        return []
    alive = set(live.connected)
    regions = [region for region in live.regions if region.started]
    numbers = [node.number for node in live.cluster.nodes if node.name != live.local]
    if not alive and regions and numbers:
        before = system.beats(regions, numbers)
        time.sleep(blocks.PROBE_SECONDS)
        alive.update(blocks.alive_on_any(before, system.beats(regions, numbers)))
    return [node.name for node in live.cluster.nodes if node.number in alive]
