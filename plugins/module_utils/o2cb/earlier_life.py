# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that crashed ends its earlier life on disk before the first beat of the next one. Pure.

Theory of operation (fs/ocfs2/cluster/heartbeat.c, fs/ocfs2/dlm/dlmlock.c). The others hold a node for down only when no
region shows it alive. A node starts its regions one after another, so one that is back before its dead time is over is
never silent on all of them: nobody evicts it, the locks that its earlier life mastered still seem to be there, it
refuses the requests for them, and that refusal is a BUG() in each kernel that asked. A booted node is itself the proof
that its earlier life is over. It may say so, in its own slots and in no others: generation 0, what a node writes that
leaves in good order. Whoever reads that evicts it at once.

    nothing   every slot of this number is blank, or was left in good order: there is nothing to end, and no delay.
    watch     else all slots of this number are watched for three beats. One that changes is written by another machine
              with this number, a clone. To write there would evict a living node and grant its locks twice: refused.
    write     generation 0, the next sequence, a right checksum and a mark, into each slot that has another generation.
              The writer compares the slot with what was watched, in the same breath as it writes.
    confirm   a beat of a peer on a region ends a round there: it reads all slots, writes its own, and judges the others
              by what it read. The round that ends with the first beat after the write may have begun before it, the
              round of the second has not. Three beats of every live peer on every region on which it beats, and three
              beats of time, are therefore proof that all have read it. So it is known, although nobody is connected.
    blind     a peer that beats on one region and stands still on another cannot read the other. It goes on holding this
              node for live there, whatever is written and however long this node is silent. Its kernel is the one that
              panics: this node does not come back before that peer has the region again, or is gone.
    mark      a slot that carries it was ended by hand, and whether all have read that is not known if the process was
              broken off or a blind peer was in the way. The next try begins with `confirm`. The kernel's own beats and
              its orderly leave do not carry it.
    unwritten where a slot cannot be written (an error of the disk), the others need its silence for the dead time: it
              has to stand still for that and for two beats more, and each live peer has to beat there as often.
    pending   a write that has not returned may still land, on the living node then. No beat before it has returned.

What this cannot see: a peer that hung on all its regions from before the watch until after the end of `confirm`, and
lives on. It is as silent as a dead one.

A call is a generator: it yields what it asks of the world and is sent the answer, and a test can put anything between.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Collection, Generator, Mapping, Union

from ..base.errors import O2cbError, join_problems
from . import blocks
from .blocks import Beats
from .timeouts import BEAT_INTERVAL

PROOF_BEATS = 3
"""So many beats of each peer on each region after the write; two would do."""

WATCH_SECONDS = PROOF_BEATS * BEAT_INTERVAL + 0.2
"""A living machine writes at least two new beats, mostly three, within it."""

HOLD_SECONDS = 30.0
"""A peer that is just starting beats on its regions one after another, and looks blind for so long at most."""

LOOK_EVERY = 0.5
STILL_BEATS = 2
"""Beats beyond the dead time for which a slot stands still that could not be written."""


class Outcome(enum.Enum):
    """What became of a write. A slot that had changed is not written; one that hangs may still be."""

    WRITTEN = "written"
    CHANGED = "changed"
    FAILED = "failed"
    HUNG = "hung"


@dataclass(frozen=True)
class Written:
    """`why` is the reason of what was not written."""

    outcome: Outcome
    why: str = ""


@dataclass(frozen=True)
class Sight:
    """What a look showed at `at`, in monotonic seconds: all beats, and the blocks of this number byte by byte."""

    at: float
    beats: Beats
    own: Mapping[str, bytes]


# What is asked of the world.


@dataclass(frozen=True)
class Look:
    """Answer: a Sight of all regions."""


@dataclass(frozen=True)
class Pause:
    """Answer: nothing, after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Write:
    """Answer: a Written for each region. `blocks` holds, by UUID, what is in the slot now and what shall be there."""

    blocks: Mapping[str, tuple[bytes, bytes]]


@dataclass(frozen=True)
class Say:
    """Answer: nothing. It is told to whoever waits."""

    text: str


Ask = Union[Look, Pause, Write, Say]
Steps = Generator[Ask, Any, None]


@dataclass(frozen=True)
class Life:
    """Who comes back: its name, its number, its dead time; and the names of all nodes by their numbers."""

    name: str
    number: int
    dead_ms: int
    names: Mapping[int, str] = field(default_factory=dict)

    def name_of(self, number: int) -> str:
        return self.names.get(number, f"node number {number}")


def lives_on(block: bytes, number: int) -> bool:
    """Whether the others may take the node for live by this block: it is neither blank nor an orderly leave.

    A damaged one counts: it may be the last of a living node.
    """
    beat = blocks.decode(block, number)
    return beat is not None and not (beat.valid and beat.left)


def end(life: Life, first: Sight) -> Steps:
    """The steps from the first look to the moment when this node may beat. Raises O2cbError when it must not."""
    stale = [uuid for uuid, block in first.own.items() if lives_on(block, life.number)]
    marked = [uuid for uuid, block in first.own.items() if uuid not in stale and blocks.is_marked(block)]
    if not stale and not marked:
        return
    slots = _Slots(life, first)
    peers = _Peers(life, first)
    still: dict[str, float] = {}
    if stale:
        yield Say(
            f"{life.name} did not leave in good order: it watches its slots for {WATCH_SECONDS:.0f} s, and ends "
            "its earlier life there"
        )
        sight = first
        while sight.at - first.at < WATCH_SECONDS:
            sight = yield from _look_again(slots, peers)
        still = yield from _write(life, stale, slots, sight, first.at)
    else:
        yield Say(f"an earlier start of {life.name} has ended its earlier life on disk; the others are to have read it")
    yield from _confirm(life, slots, peers, first.at, still)


def _look_again(slots: _Slots, peers: _Peers) -> Generator[Ask, Any, Sight]:
    yield Pause(LOOK_EVERY)
    sight: Sight = yield Look()
    slots.check(sight)
    peers.add(sight)
    return sight


def _write(
    life: Life, stale: list[str], slots: _Slots, sight: Sight, watched_since: float
) -> Generator[Ask, Any, dict[str, float]]:
    """Write into the slots. Returns for how long those have to stand still that could not be written, by UUID."""
    blocks_of = {uuid: (sight.own[uuid], blocks.ended(sight.own[uuid], life.number)) for uuid in stale}
    written: Mapping[str, Written] = yield Write(blocks_of)
    for uuid, result in written.items():
        if result.outcome is Outcome.CHANGED:
            raise slots.clone(uuid)
    hung = [f"region {uuid}: {result.why}" for uuid, result in written.items() if result.outcome is Outcome.HUNG]
    if hung:
        raise O2cbError(
            f"{join_problems(hung)}: a write that has not returned may land when {life.name} lives again, and evict "
            "it. It does not heartbeat before that write has returned: mend the storage path, or reboot"
        )
    still = {}
    for uuid, result in written.items():
        slots.may_hold(uuid, blocks_of[uuid][1], only=result.outcome is Outcome.WRITTEN)
        if result.outcome is Outcome.FAILED:
            old = blocks.decode(sight.own[uuid], life.number)
            dead_ms = max(life.dead_ms, old.dead_ms if old and old.valid else 0)
            still[uuid] = dead_ms / 1000 + STILL_BEATS * BEAT_INTERVAL
            yield Say(
                f"the slot of {life.name} on region {uuid} cannot be written ({result.why}): it has to stand still for "
                f"the dead time, {watched_since + still[uuid] - sight.at:.0f} s more"
            )
    done = len(written) - len(still)
    yield Say(f"{life.name} wrote generation 0 into its slot on {done} of {len(stale)} region(s)")
    return still


def _confirm(life: Life, slots: _Slots, peers: _Peers, watched_since: float, still: Mapping[str, float]) -> Steps:
    sight: Sight = yield Look()
    slots.check(sight)
    peers.add(sight)
    peers.count_from_now(keep=still)
    enough = max([sight.at + PROOF_BEATS * BEAT_INTERVAL, *(watched_since + seconds for seconds in still.values())])
    needed = {uuid: int(seconds / BEAT_INTERVAL) for uuid, seconds in still.items()}
    hold_until = None
    while True:
        missing = peers.missing(sight.at, needed)
        if sight.at >= enough and not missing:
            break
        blind = peers.blind(sight.at, missing) if sight.at >= enough else {}
        if not blind:
            hold_until = None
        elif hold_until is None:
            hold_until = sight.at + HOLD_SECONDS
            yield Say(f"waiting, up to {HOLD_SECONDS:.0f} s: {_blindness(life, blind)}")
        elif sight.at >= hold_until:
            raise _refusal(life, blind)
        sight = yield from _look_again(slots, peers)
    names = ", ".join(life.name_of(number) for number in peers.proved())
    yield Say(
        f"{names} evicted the earlier life of {life.name}: three beats of each on each region since"
        if names
        else f"nobody else beats: the earlier life of {life.name} is over"
    )


def _blindness(life: Life, blind: Mapping[int, list[str]]) -> str:
    return join_problems(
        f"{life.name_of(number)} beats, and not on region {', '.join(regions)}" for number, regions in blind.items()
    )


def _refusal(life: Life, blind: Mapping[int, list[str]]) -> O2cbError:
    names = ", ".join(life.name_of(number) for number in blind)
    return O2cbError(
        f"{_blindness(life, blind)}: a node that cannot read a region does not notice that {life.name} died, and its "
        f"kernel may panic when {life.name} is back. So {life.name} does not heartbeat: mend the storage path of "
        f"{names}, or reboot it",
        blind={life.name_of(number): regions for number, regions in blind.items()},
    )


class _Slots:
    """What may stand in the slots of this number, as long as nobody else writes there."""

    def __init__(self, life: Life, first: Sight) -> None:
        self._life = life
        self._allowed = {uuid: [block] for uuid, block in first.own.items()}

    def may_hold(self, uuid: str, block: bytes, only: bool) -> None:
        """A write that failed may have landed all the same."""
        self._allowed[uuid] = [block] if only else [*self._allowed[uuid], block]

    def check(self, sight: Sight) -> None:
        for uuid, block in sight.own.items():
            if block not in self._allowed[uuid]:
                raise self.clone(uuid)

    def clone(self, uuid: str) -> O2cbError:
        life = self._life
        return O2cbError(
            f"another machine heartbeats as node number {life.number} on region {uuid}, and {life.name} has that "
            f"number too: give {life.name} a number of its own, or stop the other machine",
            clone={"number": life.number, "region": uuid},
        )


class _Peers:
    """The other numbers' beats: who lives, and who has beaten often enough where."""

    def __init__(self, life: Life, first: Sight) -> None:
        self._own = life.number
        self._last: dict[tuple[str, int], tuple[int, int]] = {}
        self._changed: dict[tuple[str, int], float] = {}
        self._count: dict[tuple[str, int], int] = {}
        self._beats: Beats = {}
        self.add(first)

    def add(self, sight: Sight) -> None:
        self._beats = sight.beats
        for uuid, region in sight.beats.items():
            for number, beat in region.items():
                if number == self._own or not beat.valid:
                    continue
                place, now = (uuid, number), (beat.sequence, beat.generation)
                if self._last.setdefault(place, now) != now:
                    self._last[place] = now
                    self._changed[place] = sight.at
                    self._count[place] = self._count.get(place, 0) + 1

    def count_from_now(self, keep: Collection[str]) -> None:
        """Count anew, but on the regions to be kept."""
        self._count = {place: count for place, count in self._count.items() if place[0] in keep}

    def _silence(self, number: int, at: float) -> float:
        """Seconds since its last beat on any region."""
        return min(at - when for (_uuid, other), when in self._changed.items() if other == number)

    def _live(self, at: float) -> list[int]:
        """Whoever was seen to beat, until it has been silent everywhere for its own dead time."""
        dead: dict[int, float] = {}
        for region in self._beats.values():
            for number, beat in region.items():
                dead[number] = max(dead.get(number, 0.0), beat.dead_ms / 1000)
        numbers = {number for _uuid, number in self._changed}
        return sorted(number for number in numbers if self._silence(number, at) < dead.get(number, 0.0))

    def missing(self, at: float, needed: Mapping[str, int]) -> dict[int, list[str]]:
        """By number of a live peer, the regions on which it has not beaten often enough, and which it did not leave.

        On most regions PROOF_BEATS are often enough.
        """
        found: dict[int, list[str]] = {}
        for number in self._live(at):
            for uuid, region in self._beats.items():
                beat = region.get(number)
                if beat is None or not beat.valid or beat.left:
                    continue
                if self._count.get((uuid, number), 0) < needed.get(uuid, PROOF_BEATS):
                    found.setdefault(number, []).append(uuid)
        return found

    def blind(self, at: float, missing: Mapping[int, list[str]]) -> dict[int, list[str]]:
        """Those of the missing that stand still there, and beat elsewhere."""
        found: dict[int, list[str]] = {}
        for number, regions in missing.items():
            if self._silence(number, at) > blocks.PROBE_SECONDS:
                continue
            for uuid in regions:
                last = self._changed.get((uuid, number))
                if last is None or at - last > blocks.PROBE_SECONDS:
                    found.setdefault(number, []).append(uuid)
        return found

    def proved(self) -> list[int]:
        return sorted({number for (_uuid, number), count in self._count.items() if count >= PROOF_BEATS})
