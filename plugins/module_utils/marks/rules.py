# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fencing tokens without clocks: what a node reads and writes on the heartbeat regions before it answers one. Pure.

Theory of operation. The value block of a lock has the last token, and the next is one more. But o2dlm loses a value
block with its node, and forgets it some seconds after the last use. Then the *marks* decide: every node has a slot on
every region (`format`), in which only this node writes, with its mark: it gives out no token above that. Whoever does
not know the last token of a lock reads all marks and takes one more than the largest. All of it holds for a *majority*
of the regions in cluster.conf, so that any two that read or write share a region.

R1  A region counts when it answers whole: a header of this region and version, and every slot blank or valid. Blank,
    torn, foreign or not readable is unknown, and never lowers anything.
R2  M is the largest of all floors and marks of a majority. Fewer than a majority: refused, nothing is guessed.
R3  The token is `previous + 1`, or, when that is unknown, one more than the floors, the marks of others, and the
    largest token that this node has given out itself: for that, after a start, its own mark has to do.
R4  A token above the own mark is answered only when a larger mark is committed: written to a majority, and then read
    back from it, on regions that still answer. Marks are raised by STEP, so rarely.
R5  After that, and after every reading that decided a token, comes the pause check: a node that stood still between
    grant and answer may have been evicted, and its lock granted to another that could not know its mark. The beats of
    the other nodes must not have advanced by half the dead time since a reading that ended *before* the lock was
    tried for. No clock of this node is asked alone: that of a paused machine stands still.
R6  A token that is not above the mark that was committed before the lock was tried for needs neither reading nor
    check: whoever gets the lock after this node reads that mark.
R7  One write at a time for a region (`Lane`). One that does not return is not repeated: it may land later, over a newer
    one. A mark never falls on a region: it is not below any that was tried, or that was read there, and a region is
    read before its first write, when no write of an earlier life is under way any more, and again after a write that
    it has not acknowledged.
R8  Catching up: at the start and every few minutes each node writes M into its own slot where that is below it. So a
    region that was away has all marks again, those of dead nodes too, before the next one fails. The own mark stands
    for those of others then: what a node has once read is part of R3 for all its life.
R9  Which *definitions* a node has stands in its slot as well, as generation and digest: the largest generation of a
    majority is what exists, and one generation with two digests is a split.
R10 Where no region has a header there is no record, and clocks decide as before; but never on a node that has seen a
    header on one of these regions. Where the marks are older than this node's own, the storage was set back: refused.
R11 Regions are added and removed one at a time, and a header's floor is M as read after every node has the region:
    then majorities before and after a change share a region (`admission`).

Every function here that needs the disks is a generator. It yields `Read` or `Write` and is sent a `Reading`, or the
regions that acknowledged.
"""

from __future__ import annotations

from collections import deque
from typing import FrozenSet, Generator, Mapping, NamedTuple, Sequence, TypeVar, Union

from ..base.errors import O2cbError
from ..o2cb.blocks import Beat
from .format import BLANK, Header, Slot, View, majority
from .refusals import NoRecordError, RefusedError, RetakeError

STEP = 1000
"""Tokens by which a mark is ahead of the token that raised it. At 10,000 locks a second on one name it lasts 0.1 s; a
lock that wanders between two nodes uses up so many each time, which is 10^12 a day at most and leaves 2^63 for ever."""

SHORTEST_DEAD_MS = 14_000
"""Below this a pause could hide between beats: 2 s apart, as many from region to region, and in whole seconds."""

BEATS_APART = 3
"""Seconds by which a node's beats on two regions may differ: each region has its own, every 2 s."""

HISTORY_SECONDS = 1.0
"""Readings with the same beats are one entry of the history for so long."""


class Reading(NamedTuple):
    """What the regions hold, each as read after the reading was asked for.

    `seconds` is this node's own clock when it ended, `problems` says why a region is missing, and `placeless` are the
    regions that have no room for the record.
    """

    number: int
    seconds: float
    views: Mapping[str, View]
    beats: Mapping[str, Mapping[int, Beat]]
    problems: Mapping[str, str] = {}
    placeless: frozenset[str] = frozenset()


class Read(NamedTuple):
    """Ask to read all regions, until a majority of those in `among` has answered, or all, or the time is up.

    `whole`: every slot there can be, not only those of the nodes in cluster.conf.
    """

    among: frozenset[str]
    whole: bool = False
    everyone: bool = False
    """Wait for every region, for a moment longer than for a majority."""


class Write(NamedTuple):
    """Ask to write these slots, by region, until a majority of the cluster's regions has acknowledged or cannot."""

    slots: Mapping[str, Slot]


Fact = Union[Reading, FrozenSet[str]]
Outcome = TypeVar("Outcome")
Steps = Generator[Union[Read, Write], Fact, Outcome]


class Asked(NamedTuple):
    """A lock that was acquired and waits for its token.

    `previous` is the token of its value block, None when that is unknown. `granted` is the largest token that this node
    is known to have given out. `since` is the number of a reading that had ended before the lock was tried for.
    """

    previous: int | None
    granted: int
    since: int


class Definitions(NamedTuple):
    """The newest definitions that any node has, by the record. `split` are nodes with others of the same generation."""

    generation: int
    digest: str
    split: Sequence[int]


class Lane:
    """R7: the writes to one region, of which one is under way."""

    def __init__(self) -> None:
        self.under_way: Slot | None = None
        self.next: Slot | None = None
        self.written = -1
        """Sequence number of the last one that the region acknowledged."""

    def want(self, slot: Slot) -> Slot | None:
        """What to write now. While one is under way the newest waits, and takes the place of any that waited."""
        if self.under_way is not None:
            self.next = slot
            return None
        self.under_way = slot
        return slot

    def returned(self, ok: bool) -> Slot | None:
        """The write that was under way has come back. What to write next; nothing after an error, it will fail too."""
        if ok and self.under_way is not None:
            self.written = max(self.written, self.under_way.sequence)
        self.under_way = self.next if ok else None
        self.next = None
        return self.under_way


class Entry(NamedTuple):
    """Readings `first` to the next entry's had these beats; the first of them ended at `seconds`."""

    first: int
    seconds: float
    beats: Mapping[int, int]


class Ledger:
    """This node's side of the record. One of its generators at a time."""

    step = STEP

    def __init__(
        self,
        node: int,
        boot: str,
        regions: Sequence[str],
        dead_ms: int,
        local: int = 0,
        seen: bool = False,
        sequence: int = 0,
    ) -> None:
        """`local`: the mark in this node's own file. `seen`: it has known one of these regions with a header.

        `sequence`: above all sequence numbers of this node's writes before, where the caller knows.
        """
        if dead_ms < SHORTEST_DEAD_MS:
            raise O2cbError(
                f"the dead time is {dead_ms / 1000:g} s, and tokens need {SHORTEST_DEAD_MS / 1000:g}: "
                "set o2cb_heartbeat_dead_threshold to 7 or more"
            )
        self.node, self.boot, self.regions = node, boot, list(regions)
        self._set = frozenset(regions)
        self.half_dead = dead_ms / 2000
        self.local, self.seen = local, seen
        self.started = False
        self.mark = 0
        """Committed: on a majority, and read back."""
        self.lower = 0
        """Every token of this node's lives before, and of other nodes by any reading, is below it or equal."""
        self.tried = 0
        """The largest mark that this node has ever written or tried to write, as far as it can be seen."""
        self.definitions = Definitions(0, "", ())
        self.sequence = sequence
        self.writable: frozenset[str] = frozenset()
        """Regions with a header whose slot of this node is known, as far as they were read in this life."""
        self._history: deque[Entry] = deque()

    # What is asked for

    def sign(self, asked: Sequence[Asked]) -> Steps[list[int | RefusedError]]:
        """The tokens of locks that are held, or why there is none, in the order of `asked`.

        Raises RefusedError where that goes for all of them, and NoRecordError.
        """
        last: Reading | None = None
        if not self.started or any(ask.previous is None for ask in asked):
            last = yield from self._read(Read(frozenset(self.regions), whole=not self.started))
        tokens = [max(self.lower, ask.granted) + 1 if ask.previous is None else ask.previous + 1 for ask in asked]
        top = max(tokens, default=0)
        if top > self.mark:
            last = yield from self._commit(top + self.step)
        elif last is None:
            last = yield from self._read(Read(frozenset(self.regions)))
        self.lower = max(self.lower, top)
        return [self._answer(ask, token, last) for ask, token in zip(asked, tokens)]

    def reach(self, token: int) -> Steps[None]:
        """Raise the mark ahead, for tokens about as large as this."""
        if not self.started:
            yield from self._read(Read(frozenset(self.regions), whole=True))
        if self.mark < token + self.step // 2:
            yield from self._commit(token + self.step)

    def raise_above(self, token: int) -> Steps[None]:
        """By hand, after storage was set back: a mark above this token, and above all that this node has given out.

        Other nodes may have given out tokens up to that one. Their marks do not say so any more, so `lower` has to.
        """
        known = self.local
        if not self.started:
            self.local = 0
            try:
                yield from self._read(Read(frozenset(self.regions), whole=True))
            finally:
                self.local = known
        self.lower = max(self.lower, known, token)
        yield from self._commit(max(token, known, self.mark) + self.step)

    def refresh(self) -> Steps[None]:
        """A reading, before locks are tried for whose tokens may be unknown."""
        yield from self._read(Read(frozenset(self.regions), whole=not self.started))

    def catch_up(self) -> Steps[None]:
        """R8. To be called at the start, when a region answers again, and every few minutes."""
        reading = yield from self._read(Read(frozenset(self.regions), whole=True, everyone=True))
        mark = max(self._top(reading), self.tried)
        behind = frozenset(
            uuid
            for uuid, view in reading.views.items()
            if view.header is not None
            and set(view.bad) <= {self.node}
            and (self.node in view.bad or view.mark(self.node) < self._top(reading))
        )
        if not behind:
            return
        self.tried = mark
        yield from self._write(mark, behind)
        reading = yield from self._read(Read(frozenset(self.regions), everyone=True))
        if len(self._verified(reading, frozenset(self.regions), mark)) >= self.needed():
            self.mark = max(self.mark, mark)

    def publish(self, generation: int, digest: str) -> Steps[None]:
        """R9: this node has definitions of this generation from now on. Raises RefusedError where that is not newer."""
        found = yield from self.look()
        if (generation, digest) == (found.generation, found.digest) == self.definitions[:2]:
            return
        if generation < found.generation or (generation == found.generation and digest != found.digest):
            raise RefusedError(
                f"definitions of generation {generation} ({digest[:8]}) are not newer than those that the record on "
                f"disk names, {found.generation} ({found.digest[:8]}): fetch those of the cluster first"
            )
        self.definitions = Definitions(generation, digest, ())
        yield from self._commit(max(self.mark, self.tried, 1))

    def look(self) -> Steps[Definitions]:
        """R9: what definitions exist."""
        reading = yield from self._read(Read(frozenset(self.regions), whole=True))
        return newest(self._answering(reading))

    def floor(self) -> Steps[int]:
        """M, for the header of another region."""
        reading = yield from self._read(Read(frozenset(self.regions), whole=True))
        return self._top(reading)

    # Reading

    def needed(self) -> int:
        return majority(self.regions)

    def _read(self, wish: Read) -> Steps[Reading]:
        reading = yield wish
        if not isinstance(reading, Reading):
            raise TypeError("a reading is answered by a reading")
        self._accept(reading)
        return reading

    def _accept(self, reading: Reading) -> None:
        """R1, R2, R10. Raises when it is not enough to go by."""
        answering = self._answering(reading)
        later = sorted(uuid for uuid, view in reading.views.items() if view.later)
        if later:
            raise RefusedError(
                f"the record on region {later[0]} is of a later version: upgrade ocfs2.o2cb on this node"
            )
        if len(answering) < self.needed():
            raise self._too_few(reading, len(answering))
        top = self._top(reading)
        if not self.started:
            own = max(view.mark(self.node) for view in answering.values())
            if self.local > top + self.step:
                raise RefusedError(
                    f"this node may have given out token {self.local}, and the record on disk knows of none above "
                    f"{top}: the regions were restored or replaced by older ones. Raise the record above the largest "
                    "of what `o2cb.pyz record mark` says on all nodes: `o2cb.pyz record raise TOKEN`"
                )
            self.started, self.lower = True, max(own, self.local)
            self.mark = own if self._is_on_majority(reading, own) else 0
            mine = [view.slots[self.node] for view in answering.values() if self.node in view.slots]
            newest_own = max(mine, key=lambda slot: slot.generation, default=None)
            if newest_own is not None and not self.definitions.generation:
                self.definitions = Definitions(newest_own.generation, newest_own.digest, ())
        elif top < self.mark:
            raise RefusedError(
                f"the record on disk has lost the mark {self.mark} of this node, and knows of none above {top}: the "
                "regions were restored or replaced by older ones. Raise the record above the largest of what "
                "`o2cb.pyz record mark` says on all nodes: `o2cb.pyz record raise TOKEN`"
            )
        self.seen = True
        self.lower = max(self.lower, self._others(reading))
        for uuid, view in reading.views.items():
            self._write_to(uuid, view.header is not None and uuid in self._set)
        slots = [view.slots[self.node] for view in reading.views.values() if self.node in view.slots]
        self.tried = max([self.tried, *(slot.mark for slot in slots)])
        self.sequence = max([self.sequence, *(slot.sequence for slot in slots)])
        self._remember(reading)

    def _is_on_majority(self, reading: Reading, mark: int) -> bool:
        return len(self._verified(reading, frozenset(self.regions), mark)) >= self.needed()

    def _answering(self, reading: Reading) -> dict[str, View]:
        return {uuid: view for uuid, view in reading.views.items() if uuid in self._set and self.counts(view)}

    def counts(self, view: View) -> bool:
        return view.answers

    def _top(self, reading: Reading) -> int:
        return max((view.top() for view in self._answering(reading).values()), default=0)

    def _others(self, reading: Reading) -> int:
        """R3: floors and the marks of others."""
        return max(
            max(
                [view.header.floor if view.header else 0]
                + [s.mark for node, s in view.slots.items() if node != self.node]
            )
            for view in self._answering(reading).values()
        )

    def _too_few(self, reading: Reading, count: int) -> O2cbError:
        headers = [uuid for uuid, view in reading.views.items() if view.kind != BLANK]
        without = {uuid for uuid, view in reading.views.items() if view.kind == BLANK} | reading.placeless
        if not headers and len(without) >= self.needed() and not self.seen:
            return NoRecordError("the heartbeat regions have no record of tokens")
        words = {uuid: view.trouble() for uuid, view in reading.views.items() if not self.counts(view)}
        words.update(reading.problems)
        words.update(dict.fromkeys(reading.placeless, "its blocks are as small as the disk's sectors"))
        text = "; ".join(
            f"region {uuid}: {words.get(uuid, 'it did not answer')}" for uuid in self.regions if uuid in words
        )
        return RefusedError(
            f"the last token of the lock is not known, and only {count} of {len(self.regions)} heartbeat regions can "
            f"tell, {self.needed()} are needed ({text}): mend the storage, or see `o2ctl keep status`"
        )

    # Writing

    def _commit(self, mark: int) -> Steps[Reading]:
        """R4: have this mark, or a larger one, on a majority. Returns the reading that proves it."""
        mark = self.tried = max(mark, self.tried, self.lower)
        acknowledged = yield from self._write(mark, self.writable)
        if len(acknowledged) < self.needed():
            raise self._uncommitted(mark, len(acknowledged))
        last = yield from self._read(Read(acknowledged))
        verified = self._verified(last, acknowledged, mark)
        if len(verified) < self.needed():
            raise self._uncommitted(mark, len(verified))
        self.mark = max(self.mark, mark)
        return last

    def _write(self, mark: int, regions: frozenset[str]) -> Steps[frozenset[str]]:
        """R7: a region that has not acknowledged is read before it is written again.

        What it holds by then may be more than this mark: the write of an earlier life that has landed since.
        """
        acknowledged = yield Write(self._slots(mark, regions))
        if not isinstance(acknowledged, frozenset):
            raise TypeError("a write is answered by the regions that have it")
        for uuid in regions - acknowledged:
            self._write_to(uuid, False)
        return acknowledged

    def _write_to(self, uuid: str, allowed: bool) -> None:
        self.writable = self.writable | {uuid} if allowed else self.writable - {uuid}

    def _verified(self, reading: Reading, among: frozenset[str], mark: int) -> list[str]:
        """The regions that answer and have it."""
        return [
            uuid for uuid, view in self._answering(reading).items() if uuid in among and view.mark(self.node) >= mark
        ]

    def _uncommitted(self, mark: int, count: int) -> RefusedError:
        return RefusedError(
            f"this node's mark {mark} is on {count} of {len(self.regions)} heartbeat regions, "
            f"{self.needed()} are needed: mend the storage, or see `o2ctl keep status`"
        )

    def _slots(self, mark: int, regions: frozenset[str]) -> dict[str, Slot]:
        self.sequence += 1
        generation, digest = self.definitions[:2]
        return {
            uuid: Slot(uuid, self.node, self.boot, self.sequence, mark, generation, digest)
            for uuid in self.regions
            if uuid in regions
        }

    # The pause check

    def _answer(self, ask: Asked, token: int, last: Reading) -> int | RefusedError:
        why = self._paused(ask.since, last)
        return RetakeError(why) if why else token

    def _paused(self, since: int, last: Reading) -> str:
        """R5: why the grant may be over by now; empty when it is not."""
        before = next((entry for entry in reversed(self._history) if entry.first <= since), None)
        if before is None:
            return "the heartbeats before the lock was acquired are not known any more"
        why = pause(before.beats, self._beats(last), self.half_dead)
        if not why and last.seconds - before.seconds >= self.half_dead:
            why = f"this node took {last.seconds - before.seconds:.0f} s for it"
        return why

    def _beats(self, reading: Reading) -> dict[int, int]:
        """The newest beat of every other node, in seconds of that node's clock, also of one that has left."""
        newest_beat: dict[int, int] = {}
        for beats in reading.beats.values():
            for node, beat in beats.items():
                if node != self.node and beat.valid:
                    newest_beat[node] = max(newest_beat.get(node, 0), beat.sequence)
        return newest_beat

    def _remember(self, reading: Reading) -> None:
        beats = self._beats(reading)
        newest_entry = self._history[-1] if self._history else None
        if (
            newest_entry is None
            or newest_entry.beats != beats
            or reading.seconds - newest_entry.seconds > HISTORY_SECONDS
        ):
            self._history.append(Entry(reading.number, reading.seconds, beats))
        while len(self._history) > 1 and reading.seconds - self._history[1].seconds > self.half_dead:
            self._history.popleft()


def pause(before: Mapping[int, int], after: Mapping[int, int], half_dead: float) -> str:
    """Whether this node may have stood still for long between two readings of the others' beats; why, in words."""
    for node in sorted(before.keys() | after.keys()):
        if node not in before:
            return f"node {node} has begun to beat meanwhile"
        if node not in after:
            return f"the beat of node {node} cannot be read any more"
        seconds = after[node] - before[node]
        if seconds < -BEATS_APART or seconds >= half_dead:
            return f"node {node} is {seconds} s further by its beats"
    return ""


def newest(views: Mapping[str, View]) -> Definitions:
    """R9: the definitions of the largest generation, and whether nodes differ about it."""
    slots = [slot for view in views.values() for slot in view.slots.values() if slot.generation]
    top = max((slot.generation for slot in slots), default=0)
    digests = sorted({(slot.digest, slot.node) for slot in slots if slot.generation == top})
    if not digests:
        return Definitions(0, "", ())
    split = [node for digest, node in digests] if len({digest for digest, _node in digests}) > 1 else []
    return Definitions(top, digests[0][0], tuple(split))


def admission(uuid: str, cluster: str, floor: int, headers: Sequence[Header]) -> Header:
    """R11: the header of a region that joins the set, with M as read after every node has it in cluster.conf."""
    generation = max((header.generation for header in headers), default=0) + 1
    return Header(uuid, cluster, generation, max([floor, *(header.floor for header in headers)]))
