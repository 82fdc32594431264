# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is ordered, and what follows from it: entries, and the view they add up to. Pure.

Messages, joins and downs are entries of one order. Whoever applies the same entries from the same start has the same
view; that is why every member knows at which position another one came or went.
"""

from __future__ import annotations

from typing import AbstractSet, NamedTuple, Tuple

Ident = Tuple[int, int]
"""A member: node number and incarnation, which grows from one start of the node's agent to the next."""

Epoch = Tuple[int, int, int]
"""The reign of one sequencer: number, node, incarnation. Compared in this order; no two sequencers share one."""

NO_EPOCH: Epoch = (0, 0, 0)
NOBODY: Ident = (0, 0)
"""Incarnations start at 1, so this is no member."""

MESSAGE = 0
JOIN = 1
AGENT_DOWN = 2
NODE_DOWN = 3
KINDS = (MESSAGE, JOIN, AGENT_DOWN, NODE_DOWN)


class Entry(NamedTuple):
    """One thing in the order. A message's id is (node, incarnation, counter); the others are about that member."""

    kind: int
    node: int
    incarnation: int
    counter: int = 0
    channel: str = ""
    payload: bytes = b""


class View:
    """All that the entries up to `position` add up to. Bounded by the number of nodes."""

    __slots__ = ("absent", "counters", "members", "position")

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.members: dict[int, int] = {}
        """Incarnation by node."""
        self.counters: dict[int, int] = {}
        """The last message's counter by member. What was counted once is not numbered again."""
        self.absent: dict[int, int] = {}
        """Members whose agent is down while nothing has been said of their node, incarnation by node."""

    def apply(self, entry: Entry) -> None:
        """Take in the entry of the next position."""
        self.position += 1
        kind, node, incarnation = entry[:3]
        if kind == MESSAGE:
            self.counters[node] = entry.counter
        elif kind == JOIN:
            self.members[node] = incarnation
            self.counters[node] = 0
            self.absent.pop(node, None)
        elif kind == AGENT_DOWN:
            if self.members.get(node) == incarnation:
                del self.members[node]
                self.counters.pop(node, None)
                self.absent[node] = incarnation
        else:
            self.absent.pop(node, None)

    def copy(self) -> View:
        other = View(self.position)
        other.members = dict(self.members)
        other.counters = dict(self.counters)
        other.absent = dict(self.absent)
        return other


def quorate(reached: AbstractSet[int], voters: AbstractSet[int]) -> bool:
    """Whether those reached decide for all voters: more than half, or half with the lowest node.

    That is the rule by which o2cb fences (fs/ocfs2/cluster/quorum.c), so that both end on the same side.
    """
    both = 2 * len(reached & voters)
    return both > len(voters) or (both == len(voters) and (not voters or min(voters) in reached))
