# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted bugs: each takes one rule of the record away, and says which invariant is violated without it.

They are made of subclasses, so that nothing of them is in what runs on nodes. Those that no short row of seeds finds
are not in the table: tests/unit/o2cb/marks/test_marks_rules.py has a schedule for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import rules
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.format import BLANK, FOREIGN, VALID, Slot, View
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.rules import (
    Asked,
    Lane,
    Ledger,
    Read,
    Reading,
    RefusedError,
)
from simulator.marks.world import Node, Region, World


class Mutant(NamedTuple):
    world: type[World]
    about: str
    seed: int
    """The first seed that finds it."""
    violates: str


def planted(ledger: type[Ledger] = Ledger, lane: type[Lane] = Lane, world: type[World] = World) -> type[World]:
    """A world with other rules."""
    return type(world.__name__, (world,), {"ledger": ledger, "lane": lane})


class AnyRegion(Ledger):
    """R2: one region that answers is enough."""

    def needed(self) -> int:
        return 1


class NeverPauses(Ledger):
    """R5: no pause check."""

    def _paused(self, since: int, last: Reading) -> str:
        return ""


class ChecksFromReading(Ledger):
    """R5: since the first reading after the grant, not since one before it."""

    opened = 0

    def sign(self, asked: Sequence[Asked]) -> rules.Steps[list[int | RefusedError]]:
        self.opened = 0
        return (yield from super().sign(asked))

    def _accept(self, reading: Reading) -> None:
        super()._accept(reading)
        self.opened = self.opened or reading.number

    def _paused(self, since: int, last: Reading) -> str:
        return super()._paused(max(since, self.opened), last)


class ChecksOnlyWrites(Ledger):
    """R5: where nothing was written there is nothing to check."""

    wrote = False

    def sign(self, asked: Sequence[Asked]) -> rules.Steps[list[int | RefusedError]]:
        self.wrote = False
        return (yield from super().sign(asked))

    def _commit(self, mark: int) -> rules.Steps[Reading]:
        self.wrote = True
        return (yield from super()._commit(mark))

    def _paused(self, since: int, last: Reading) -> str:
        return super()._paused(since, last) if self.wrote else ""


class NeverCatchesUp(Ledger):
    """R8"""

    def catch_up(self) -> rules.Steps[None]:
        yield from self._read(Read(frozenset(self.regions), whole=True))


class SharesOneSlot(Ledger):
    """One record that every node overwrites."""

    def __init__(self, node: int, *arguments: Any, **more: Any) -> None:
        super().__init__(0, *arguments, **more)

    def _slots(self, mark: int, regions: frozenset[str]) -> dict[str, Slot]:
        return {uuid: slot._replace(node=0) for uuid, slot in super()._slots(mark, regions).items()}

    def _others(self, reading: Reading) -> int:
        return self._top(reading)


class OneRecord(World):
    shared = True


class BelievesAcknowledgements(Ledger):
    """R4: what was acknowledged is not read back."""

    def _verified(self, reading: Reading, among: frozenset[str], mark: int) -> list[str]:
        return sorted(among)


class AnswersBeforeCommit(Ledger):
    """R4: the write has been issued, and that has to do."""

    def _commit(self, mark: int) -> rules.Steps[Reading]:
        mark = self.tried = max(mark, self.tried)
        yield from self._write(mark, self.writable)
        last = yield from self._read(Read(frozenset(self.regions)))
        self.mark = max(self.mark, mark)
        return last


class TornIsBlank(Ledger):
    """R1: a slot that cannot be read is none."""

    def counts(self, view: View) -> bool:
        return view.header is not None


class BlankIsZero(Ledger):
    """R1: nothing on a region means that there is no mark."""

    def counts(self, view: View) -> bool:
        return view.answers or view.kind == BLANK


class ForeignIsZero(Ledger):
    """R1: what somebody else wrote there is none of our marks."""

    def counts(self, view: View) -> bool:
        return view.answers or view.kind == FOREIGN


class IgnoresFloors(Ledger):
    """R3: only slots count."""

    def _others(self, reading: Reading) -> int:
        views = self._answering(reading).values()
        return max((slot.mark for view in views for node, slot in view.slots.items() if node != self.node), default=0)


class IgnoresGranted(Ledger):
    """R3: the largest token that this node has given out does not count."""

    def sign(self, asked: Sequence[Asked]) -> rules.Steps[list[int | RefusedError]]:
        lower = self.lower
        result = yield from super().sign([ask._replace(granted=0) for ask in asked])
        self.lower = lower
        return result


class ForgetsItsLives(Ledger):
    """R3: after a start the own mark does not count."""

    def _accept(self, reading: Reading) -> None:
        started, lower = self.started, self.lower
        super()._accept(reading)
        if not started:
            self.lower = max(lower, self._others(reading))


class ForgetsWhatItCarries(Ledger):
    """R8: only what this very reading says of others counts, as if the own mark did not stand for what it carries."""

    kept = 0

    def sign(self, asked: Sequence[Asked]) -> rules.Steps[list[int | RefusedError]]:
        found = yield from super().sign(asked)
        self.kept = max([self.kept, *(token for token in found if isinstance(token, int))])
        return found

    def _accept(self, reading: Reading) -> None:
        started = self.started
        super()._accept(reading)
        if not started:
            self.kept = max(view.mark(self.node) for view in self._answering(reading).values())
        self.lower = max(self.kept, self._others(reading))


class WritesAtOnce(Lane):
    """R7: a write is repeated while one is under way."""

    def want(self, slot: Slot) -> Slot | None:
        self.under_way = slot
        return slot


class ForgetsTries(Ledger):
    """R7: a mark that was tried and not committed does not count."""

    def _commit(self, mark: int) -> rules.Steps[Reading]:
        self.tried = 0
        return (yield from super()._commit(mark))


class NoLock(World):
    """R7: the writes of a process before are not waited for."""

    def is_locked(self, node: Node, region: Region) -> bool:
        return False


class NoMark(World):
    """R6: one more than the value block's token, whatever the mark."""

    def without_disk(self, node: Node, previous: int | None, mark: int) -> bool:
        return previous is not None


class FloorOfNothing(World):
    """R11: a header with no floor."""

    def admitted(self, answering: list[View]) -> int:
        return 0


class ReplacesAtOnce(World):
    """R11: one region takes the place of another in one step, its floor read before."""

    def replace(self, old: Region) -> Iterator[None]:
        self.spare += 1
        new = self.region(self.spare)
        answering = [region.view() for region in self.regions if region.view().answers]
        floor = self.admitted(answering)
        new.header, new.kind = rules.admission(new.uuid, "lab", floor, []), VALID
        self.note(f"region {new.uuid[-1]} takes the place of {old.uuid[-1]}, floor {floor}")
        yield
        self.regions.append(new)
        yield from self.configure(lambda uuids: [new.uuid if uuid == old.uuid else uuid for uuid in uuids])
        self.regions.remove(old)
        self.exchange = None


MUTANTS: Mapping[str, Mutant] = {
    "any-region": Mutant(planted(AnyRegion), "one region is enough", 5, "I2 below the mark"),
    "no-pause-check": Mutant(planted(NeverPauses), "no pause check", 42, "I8 no pause"),
    "checks-from-reading": Mutant(
        planted(ChecksFromReading), "pause check since a reading after the grant", 42, "I8 no pause"
    ),
    "checks-only-writes": Mutant(planted(ChecksOnlyWrites), "no pause check without a write", 3426, "I8 no pause"),
    "one-record": Mutant(planted(SharesOneSlot, world=OneRecord), "one slot for all nodes", 1, "I4 a commit is read"),
    "no-read-back": Mutant(planted(BelievesAcknowledgements), "writes are not read back", 106, "I1 tokens rise"),
    "answers-before-commit": Mutant(
        planted(AnswersBeforeCommit), "a write that was issued counts", 2, "I2 below the mark"
    ),
    "ignores-floors": Mutant(planted(IgnoresFloors), "floors do not count", 204, "I1 tokens rise"),
    "ignores-granted": Mutant(planted(IgnoresGranted), "own tokens do not count", 0, "I1 tokens rise"),
    "forgets-its-lives": Mutant(
        planted(ForgetsItsLives), "the own mark does not count after a start", 18, "I1 tokens rise"
    ),
    "forgets-what-it-carries": Mutant(
        planted(ForgetsWhatItCarries), "the own mark does not stand for those of others", 378, "I1 tokens rise"
    ),
    "writes-at-once": Mutant(planted(lane=WritesAtOnce), "two writes under way for a region", 0, "I3 no mark falls"),
    "forgets-tries": Mutant(planted(ForgetsTries), "marks that were tried do not count", 0, "I3 no mark falls"),
    "no-lock": Mutant(planted(world=NoLock), "writes of a process before are not waited for", 32, "I3 no mark falls"),
    "no-mark": Mutant(planted(world=NoMark), "no mark for a known token", 1, "I2 below the mark"),
    "floor-of-nothing": Mutant(planted(world=FloorOfNothing), "a header without a floor", 0, "I6 no floor below M"),
    "replaces-at-once": Mutant(
        planted(world=ReplacesAtOnce), "a region replaced in one step", 2406, "I4 a commit is read"
    ),
}
