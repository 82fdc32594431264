# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a member of the bus waits for, in words. Pure: it only looks at the core."""

from __future__ import annotations

from typing import Mapping

from .core import Core
from .sequencer import Sequencer
from .takeover import Founding, Takeover


def waits(core: Core, names: Mapping[int, str], troubles: Mapping[int, str]) -> list[str]:
    """One line for each thing; nothing when all goes well. `troubles` says why there is no link to a node."""

    def named(node: int) -> str:
        return names.get(node, f"node {node}")

    def because(node: int) -> str:
        return f" ({troubles[node]})" if node in troubles else ""

    role = core.role
    if core.phase == core.STARTING:
        return ["waits for its own lock `alive`, which a probe or an earlier agent of this node still has"]
    if isinstance(role, Founding):
        return [
            f"wants to found the bus: waits for {named(node)} to answer, or for the proof that it has no "
            f"agent{because(node)}"
            for node in sorted(role.wanted())
            if node not in role.replies
        ]
    if isinstance(role, Takeover):
        return [
            f"takes over as sequencer: waits for {named(node)} to answer, or to be proven down{because(node)}"
            for node, incarnation in sorted(role.wanted().items())
            if node not in role.replies or role.replies[node].incarnation != incarnation
        ]
    if isinstance(role, Sequencer):
        return [
            f"{named(node)} has not answered for {core.clock - follower.heard:.0f} s: nothing is delivered until it "
            f"answers or is proven down{because(node)}"
            for node, follower in sorted(role.followers.items())
            if not role.in_contact(follower)
        ]
    if core.phase in (core.FRESH, core.LEARNING):
        leads = max((link.leads for link in core.links.values()), default=None)
        found = leads is not None and leads[0] > 0
        return [f"waits for {named(leads[1])} to let it join" if found and leads else "looks for a sequencer"]
    leader = core.promised[1]
    if core.clock - core.heard > core.settings.suspect_after:
        silence = f"{core.clock - core.heard:.0f} s"
        return [f"the sequencer, {named(leader)}, has been silent for {silence}: waits for it, or for another one"]
    return []
