# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is there, as consumers are told: the two kinds of going, suspects, quorum. Pure: facts in, events out.

*agent down*: its process is gone, or gave itself up; its node may be up, and goes on holding its locks. *node down*: it
has left the cluster, or was evicted and its locks are recovered. Both come at the same position of the order on every
node. *suspect*, *back* and *quorum* are what this node sees; they are not ordered, and mean: wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from . import effects
from .view import AGENT_DOWN, JOIN, NODE_DOWN, Entry

UP, SUSPECT, DOWN, GONE, ABSENT = "up", "suspect", "agent down", "node down", "no agent"

JOINED, WENT, LEFT, SUSPECTED, BACK, QUORUM = "agent_up", "agent_down", "node_down", "suspect", "back", "quorum"
EVENTS = (JOINED, WENT, LEFT, SUSPECTED, BACK, QUORUM)

_ORDERED = {JOIN: (JOINED, UP), AGENT_DOWN: (WENT, DOWN), NODE_DOWN: (LEFT, GONE)}


@dataclass
class Member:
    """What is known of a node. `since` is of the real clock, in seconds."""

    state: str = ABSENT
    incarnation: int = 0
    since: float = 0.0


class Membership:
    """Of one agent. It begins anew with each incarnation of it."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.position = 0
        """Of the last entry that was given out, 0 before the own join. The core can be some ahead."""

        self.quorate = False

    def begin(self, position: int, members: Mapping[int, int], absent: Mapping[int, int], now: float) -> None:
        """The view that the joining agent was shown; `absent` are nodes whose agent is down."""
        self.position = position
        self.members = {node: Member(DOWN, incarnation, now) for node, incarnation in absent.items()}
        for node, incarnation in members.items():
            self.members[node] = Member(UP, incarnation, now)

    def passed(self, position: int) -> None:
        """An entry that changes nothing here was delivered."""
        if self.position:
            self.position = position

    def delivered(self, position: int, entry: Entry, now: float) -> dict[str, Any]:
        """The event of a view change."""
        what, state = _ORDERED[entry.kind]
        self.position = position
        self.members[entry.node] = Member(state, entry.incarnation, now)
        return {"event": what, "node": entry.node, "incarnation": entry.incarnation, "position": position}

    def reported(self, what: str, node: int, incarnation: int, now: float) -> dict[str, Any] | None:
        """The event of a suspicion, or of its end; None when that says nothing new."""
        member = self.members.get(node)
        wanted, state = (UP, SUSPECT) if what == effects.SUSPECT else (SUSPECT, UP)
        if member is None or member.state != wanted or (incarnation and member.incarnation != incarnation):
            return None
        member.state, member.since = state, now
        return {"event": SUSPECTED if state == SUSPECT else BACK, "node": node, "incarnation": member.incarnation}

    def decides(self, quorate: bool) -> dict[str, Any] | None:
        """The event when this node comes to be on the side that decides, or to be no longer."""
        if quorate == self.quorate:
            return None
        self.quorate = quorate
        return {"event": QUORUM, "quorate": quorate}

    def up(self) -> dict[int, int]:
        """The view: incarnation by node."""
        return {node: member.incarnation for node, member in self.members.items() if member.state in (UP, SUSPECT)}
