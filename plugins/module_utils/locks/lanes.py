# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lanes: the mounts of dlmfs that locks live in, a few for each domain, each kept for as long as it is a member. Pure.

Theory of operation. A mount is an instance of dlmfs of its own: the lock manager takes two mounts of one node for two
holders, and two opens of one file in one mount for one. So **one name never stands twice in a lane**, and a second
holder of the same name on this node has another lane. A mount that went away together with a lock for which another
node waits with a blocking open would panic the kernel: so lanes outlive their locks. Each has a slot of its own from
its birth, and no lock has.

An unlink in a lane keeps its directory locked while it asks a node that has died, for a minute. A lane in which a call
sleeps therefore gets no new locks. A file that no slot claims keeps a lock cached, and other nodes out: a *sweep* of
the lane unlinks it, when its time comes and no other call is under way in that lane.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

USUAL = 4
"""Lanes of a domain from the beginning: as many as workers try for locks at a time."""

MOST = 256
"""Lanes of a domain; more sleepers than that, or holders of one shared lock on one node, have to wait."""


@dataclass
class Lane:
    """`calls` are the jobs that are under way in it: each is a number, and the time from which it counts as asleep."""

    number: int
    slot: int
    calls: dict[int, float] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Locks that stand in it, or are tried for or looked at, by their stored names."""

    stale: set[str] = field(default_factory=set)
    """Locks whose files could not be unlinked: a level may still be cached here, so nobody gets one of these."""

    dirty: bool = True
    """There may be a file that no slot claims."""

    shut: bool = False
    """A lock that nobody can read may stand in it, under any name: until a sweep has shown that none does it gets no
    other."""

    sweeping: bool = False
    swept: float = 0.0

    def sleeps(self, now: float) -> bool:
        return any(late < now for late in self.calls.values())


class Stage(enum.Enum):
    WANTED = "wanted"
    JOINING = "joining"
    SWEEPING = "sweeping"
    JOINED = "joined"


@dataclass
class Domain:
    """A domain of the lock manager that this node is a member of, or becomes one."""

    name: str
    stage: Stage = Stage.WANTED
    lanes: dict[int, Lane] = field(default_factory=dict)
    making: int = 0
    since: float = 0.0

    def lane_for(self, wanted: Collection[str], now: float) -> Lane | None:
        """The lane that has least to do, where none of these names stands, nobody sleeps and nothing is swept."""
        best: Lane | None = None
        for lane in self.lanes.values():
            if lane.shut or lane.sweeping or (lane.calls and lane.sleeps(now)) or not lane.names.isdisjoint(wanted):
                continue
            if lane.stale and not lane.stale.isdisjoint(wanted):
                continue
            if not lane.calls:
                return lane
            if best is None or len(lane.calls) < len(best.calls):
                best = lane
        return best

    def __iter__(self) -> Iterator[Lane]:
        return iter(self.lanes.values())
