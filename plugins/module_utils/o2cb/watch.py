# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is live, by watching the heartbeat; and what somebody waits for.

Theory of operation. A sequence number that changes between two readings proves life, whatever the clocks say. One that
has not changed for `blocks.PROBE_SECONDS` is silent: the node is not counted as live any more. It is *gone* when the
cluster holds it for dead as well: it left in good order, or it was silent for its own dead time, or it is silent, not
connected, and its last time stamp is older than that. Where debugfs tells whom the kernel holds for live, that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Iterable, Mapping

from . import blocks, quorum
from .blocks import Beats
from .liveness import newest


class Watch:
    """Readings in their order, and what they prove. Times are monotonic seconds, except `clock`."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], tuple[int, int]] = {}
        self._since: dict[int, float] = {}
        self._proved: set[int] = set()
        self._beats: Beats = {}
        self._first: float | None = None

    def add(self, beats: Beats, at: float) -> None:
        """Take in the reading made at `at`. A region that could not be read may be missing from it."""
        self._beats = beats
        self._first = at if self._first is None else self._first
        for uuid, region in beats.items():
            for number, beat in region.items():
                mark = (beat.sequence, beat.generation)
                last = self._last.setdefault((uuid, number), mark)
                self._since.setdefault(number, at)
                if beat.valid and last != mark:
                    self._last[uuid, number] = mark
                    self._since[number] = at
                    self._proved.add(number)

    def silence(self, number: int, at: float) -> float:
        """Seconds that this node's blocks have not changed, as far as it was watched."""
        return at - self._since.get(number, at)

    def live(self, number: int, at: float) -> bool | None:
        """True when proved, False when it left or is silent, None while it is too early to tell."""
        if self._first is None:
            return None
        beat = newest(self._beats, number)
        if beat is None or beat.left:
            return False
        if self.silence(number, at) >= blocks.PROBE_SECONDS:
            return False
        return True if number in self._proved else None

    def gone(self, number: int, at: float, clock: float, connected: Collection[int]) -> bool | None:
        """True when the cluster holds it for dead as well, None while it is too early to tell."""
        if self._first is None:
            return None
        beat = newest(self._beats, number)
        if beat is None or beat.left:
            return True
        silence, dead = self.silence(number, at), beat.dead_ms / 1000
        if silence < blocks.PROBE_SECONDS:
            return False if number in self._proved else None
        return silence >= dead or (number not in connected and abs(clock - beat.sequence) > dead)


@dataclass(frozen=True)
class Wish:
    """What is to be so: these numbers live, these gone, at least `count` live, this node quorate."""

    live: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    count: int = 0
    quorate: bool = False


@dataclass(frozen=True)
class Sight:
    """What is known at one moment; None for what it is too early to tell."""

    live: Mapping[int, bool | None]
    gone: Mapping[int, bool | None]
    quorate: bool | None = None
    reason: str = ""

    def alive(self) -> list[int]:
        return sorted(number for number, live in self.live.items() if live)

    @property
    def settled(self) -> bool:
        """Whether looking for longer would tell nothing new about this very moment."""
        return None not in self.live.values() and None not in self.gone.values()

    @classmethod
    def of(
        cls, own: int, live: Mapping[int, bool | None], gone: Mapping[int, bool | None], connected: Collection[int]
    ) -> Sight:
        """With the decision on quorum, which nobody can tell before it is known of each node whether it lives."""
        if None in live.values():
            return cls(live, gone, None)
        return cls(live, gone, *quorum.decide(own, [number for number, alive in live.items() if alive], connected))


def unmet(wish: Wish, sight: Sight, names: Mapping[int, str]) -> list[str]:
    """What is not so (yet), in words, with the remedy; empty when the wish is met."""
    found = [
        f"{names.get(number, number)} is not live: bring it online, or ask cluster_info there what keeps it"
        for number in wish.live
        if not sight.live.get(number)
    ]
    found += [
        f"{names.get(number, number)} is not gone: take it offline, or wait for its dead time"
        for number in wish.gone
        if not sight.gone.get(number)
    ]
    if len(sight.alive()) < wish.count:
        found.append(f"{len(sight.alive())} node(s) are live and {wish.count} should be: bring more of them online")
    if wish.quorate and not sight.quorate:
        found.append(f"this node has no quorum, {sight.reason or 'as far as was seen'}: mend the network between them")
    return found


def numbers(wanted: Iterable[str], table: Mapping[int, str]) -> tuple[list[int], list[str]]:
    """The numbers of nodes given by name or number, and those that are not in the table."""
    by_name = {name: number for number, name in table.items()}
    found, unknown = [], []
    for text in wanted:
        if text in by_name:
            found.append(by_name[text])
        elif text.isdecimal() and int(text) in table:
            found.append(int(text))
        else:
            unknown.append(text)
    return found, unknown
