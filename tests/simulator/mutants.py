# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted bugs: each takes one rule away, and says which invariant is violated without it.

They are made of subclasses, so that nothing of them is in what runs on nodes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import effects
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.core import Core, Link, Staging
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.frames import (
    Ack,
    Collect,
    Go,
    Ordered,
    Promise,
    Start,
    Sync,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.sequencer import Follower, Sequencer
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.takeover import Founding, Takeover
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.view import AGENT_DOWN, MESSAGE, NO_EPOCH, Entry, Epoch


class Mutant(NamedTuple):
    core: type[Core]
    about: str
    seed: int
    """The first seed that finds it; -1 when only its schedule does."""
    violates: str


def planted(
    core: type[Core] = Core, sequencer: type[Sequencer] = Sequencer, takeover: type[Takeover] = Takeover
) -> type[Core]:
    """A core with other roles."""
    roles: dict[str, Any] = {
        "takeover": type(takeover.__name__, (takeover,), {"sequencer": sequencer}),
        "founding": type("Founding", (Founding,), {"sequencer": sequencer}),
    }
    name = next((part.__name__ for part in (core, sequencer, takeover) if "mutants" in part.__module__), "Core")
    return type(name, (core,), roles)


# The three of the first list


class AcksBeforeStoring(Core):
    """What came is acknowledged at once and stored at the next tick."""

    def reset(self) -> None:
        super().reset()
        self.unstored: list[Entry] = []

    def _ordered(self, link: Link, frame: Ordered) -> None:
        if self.current(link, frame.epoch) and self.accepted == frame.epoch and self.phase == self.MEMBER:
            self.heard = self.clock
            if frame.position == self.log.top + len(self.unstored) + 1:
                self.unstored.append(frame.entry)
            self.ack_due = True
            self.advance(frame.stable, frame.forgotten)
        else:
            super()._ordered(link, frame)

    def have(self) -> int:
        return super().have() + len(self.unstored)

    def _install(self, staging: Staging) -> None:
        self.unstored = []
        super()._install(staging)

    def tick(self, now: float) -> None:
        for entry in self.unstored:
            self.store(entry)
        self.unstored = []
        super().tick(now)


class DeliversUnstable(Core):
    def _ordered(self, link: Link, frame: Ordered) -> None:
        super()._ordered(link, frame)
        if self.phase == self.MEMBER:
            self.advance(self.log.top)


class AcceptsOldEpochs(Core):
    """Frames of an epoch before count, as if they were of the last."""

    def current(self, link: Link, epoch: Epoch) -> bool:
        return super().current(link, epoch) or (self.phase == self.MEMBER and epoch < self.promised)

    def _ordered(self, link: Link, frame: Ordered) -> None:
        super()._ordered(link, frame._replace(epoch=self.promised) if frame.epoch < self.promised else frame)


# The rules of the ten schedules


class ForgetsIds(Sequencer):
    """B1: after a takeover only messages that were delivered are known."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ahead.counters.update(
            {node: count for node, count in self.core.view.counters.items() if node in self.ahead.members}
        )


class BlamesItself(Core):
    """B2: who cannot reach the sequencer gives up, be it alone in that or not; the sequencer never does."""

    def _count_voters(self) -> None:
        if not self.role and self.clock - self.heard > 2 * self.settings.suspect_after:
            self.evict(effects.MINORITY)


class JoinsUnproved(Sequencer):
    """B3: a join is numbered when it is asked for."""

    def _welcome(self, node: int, incarnation: int) -> Follower:
        learner = super()._welcome(node, incarnation)
        learner.number = 0
        self.admit(learner)
        return learner


class ProbesAnyone(Core):
    """B4: the grant of `alive-n` is taken for the end of whoever is there when the answer comes."""

    def proven(self, lock: str, node: int, incarnation: int) -> None:
        super().proven(lock, node, max(incarnation, self.incarnation_of(node)))


class DeafToHello(Core):
    """B4: only probes prove an end, and they say that node n is alive, for it is back."""

    def came(self, node: int, incarnation: int) -> None:
        pass


class JoinsBeforeDown(Sequencer):
    """B4: a later incarnation takes the place of the one before."""

    def dead(self, node: int, incarnation: int) -> None:
        if self.core.incarnation_of(node) > incarnation:
            self.followers.pop(node, None)
        else:
            super().dead(node, incarnation)


class OneEpoch(Core):
    """B5: an epoch is a number, one more than one's own, whoever opened it."""

    def granted(self, lock: str) -> None:
        promised = self.promised
        if lock == effects.SEQUENCER and self.phase == self.MEMBER:
            self.promised = self.accepted
        super().granted(lock)
        if not self.role:
            self.promised = promised

    def current(self, link: Link, epoch: Epoch) -> bool:
        return epoch[0] == self.promised[0]

    def _ordered(self, link: Link, frame: Ordered) -> None:
        super()._ordered(link, frame._replace(epoch=self.promised) if self.current(link, frame.epoch) else frame)


class LeavesOutSuspects(Takeover):
    """B5: who cannot be asked is not waited for."""

    def complete(self, wanted: dict[int, int]) -> bool:
        return super().complete({node: born for node, born in wanted.items() if self.core.reaches(node, born)})


class JoinsWithoutTheNew(Sequencer):
    """B6: a join is stable when the old view has it."""

    def stable(self) -> int:
        followers = self.followers
        self.followers = {node: follower for node, follower in followers.items() if follower.joined <= self.core.stable}
        stable = super().stable()
        self.followers = followers
        return stable


class AheadOfItsJoin(Core):
    """B6: the new one acknowledges what is behind its join before it knows whether it is a member."""

    def have(self) -> int:
        return self.log.top


class HearsTheDead(Sequencer):
    """B7: what waits of a member is numbered after its down."""

    def down(self, node: int) -> None:
        waiting = self.waiting.get(node, ())
        born = self.followers[node].incarnation
        super().down(node)
        for message in waiting:
            self.number(Entry(MESSAGE, node, born, *message))


class FeedsAnyway(Core):
    """B8: the watchdog is fed while ticks come."""

    def tick(self, now: float) -> None:
        super().tick(now)
        self.out.append(effects.Feed())


class AcksAfterPromise(Core):
    """B9: the epoch before is served until the new one opens."""

    def current(self, link: Link, epoch: Epoch) -> bool:
        return epoch in (self.promised, self.accepted) and epoch[1:] == (link.node, link.incarnation)

    def _answer(self) -> None:
        promised, self.promised = self.promised, self.accepted
        super()._answer()
        self.promised = promised

    def drain(self) -> list[effects.Effect]:
        if isinstance(self.role, Takeover) and self.ack_due:
            self._answer()
        return super().drain()


class GivesUpAtOnce(Core):
    """B10: one refusal of `alive` is enough."""

    def refused(self, lock: str) -> None:
        super().refused(lock)
        if lock == effects.ALIVE:
            self.evict(effects.NO_ALIVE)


# What else is a rule


class StartsInPieces(Core):
    """A member is in the new epoch before it has all of its beginning."""

    def _start(self, link: Link, frame: Start) -> None:
        super()._start(link, frame)
        if self.staging:
            self.log.replace(self.staging.keep, [])
            self.accepted, self.staging = self.promised, None


class IgnoresWelcomed(Sequencer):
    """Acknowledgements of the state that a joining member had before count for the one it was sent."""

    def _welcome(self, node: int, incarnation: int) -> Follower:
        learner = super()._welcome(node, incarnation)
        learner.number = 0
        return learner


class Reverses(Sequencer):
    """Of a member's messages that wait the last is numbered first."""

    def _pump(self) -> None:
        for queue in self.waiting.values():
            queue.reverse()
        super()._pump()


class SkipsDowns(Core):
    """Downs are not delivered, except by the sequencer."""

    def _deliver(self, entry: Entry) -> None:
        before = len(self.out)
        super()._deliver(entry)
        if entry.kind == AGENT_DOWN and not self.role:
            self.out[before:] = [effect for effect in self.out[before:] if not isinstance(effect, effects.Deliver)]


class DeliversAgain(Core):
    """With a new epoch the last one delivered is delivered again."""

    def _install(self, staging: Staging) -> None:
        epoch = self.accepted
        super()._install(staging)
        if self.accepted != epoch and self.phase == self.MEMBER and self.view.position > self.log.base:
            self.out.append(effects.Deliver(self.view.position, self.log.at(self.view.position)))


class DeliversThePast(Core):
    """A joining member delivers what it learns."""

    def store(self, entry: Entry) -> None:
        super().store(entry)
        if self.phase == self.LEARNING and not self.role and not self.joined:
            self.out.append(effects.Deliver(self.log.top, entry))


class ReturnsEarly(Core):
    """The call of `send` returns when the message is stored here."""

    def store(self, entry: Entry) -> None:
        super().store(entry)
        if entry[:3] == (MESSAGE, self.node, self.incarnation):
            self.out.append(effects.Sent(entry.counter, self.log.top))


class SuspectsAreDead(Sequencer):
    """Who does not answer is declared down."""

    def link_down(self, node: int) -> None:
        if node in self.followers:
            self.down(node)


class DownTwice(Sequencer):
    def proven(self, lock: str, node: int, incarnation: int) -> None:
        super().proven(lock, node, incarnation)
        if lock == effects.ALIVE:
            self.number(Entry(AGENT_DOWN, node, incarnation))


class DoubtsProofs(Sequencer):
    """Nobody's end is told."""

    def dead(self, node: int, incarnation: int) -> None:
        pass


class KeepsOldView(Core):
    """The consumers are not told of what the last entry changed."""

    def _deliver(self, entry: Entry) -> None:
        before = tuple(sorted(self.view.members.items()))
        super()._deliver(entry)
        self.out[:] = [
            effect._replace(members=before) if isinstance(effect, effects.NewView) else effect for effect in self.out
        ]


class KeepsEverything(Core):
    """Nothing is forgotten, except by the sequencer."""

    def advance(self, stable: int, forgotten: int = 0) -> None:
        super().advance(stable)


class TellsNobody(Sequencer):
    """What is stable is told with the next entry only."""

    def _sync(self, ask: bool) -> Sync:
        return super()._sync(ask)._replace(stable=0)


class BeginsAgain(Sequencer):
    """Who is back, and has said what it has, is sent the beginning of the epoch once more, counted from its first entry
    though that is forgotten."""

    def ack(self, link: Link, frame: Ack) -> None:
        follower = self.followers.get(link.node)
        started = follower is None or follower.started
        super().ack(link, frame)
        if follower:
            follower.started = started

    def _stream(self, follower: Follower) -> None:
        core, first = self.core, len(self.core.out)
        base = core.log.base
        begins = not follower.started
        super()._stream(follower)
        if begins and follower.keep < base:
            core.out[first:] = [
                effect._replace(frame=effect.frame._replace(position=effect.frame.position - base + follower.keep))
                if isinstance(effect, effects.Send) and isinstance(effect.frame, Ordered)
                else effect
                for effect in core.out[first:]
            ]


class FollowsAnother(Core):
    """Who learns the state of one bus takes that of another one."""

    def taught(self) -> bool:
        return False


class AddsUpCuts(Core):
    """Being cut off counts on when the cut is healed and others are silent, who may be dead."""

    def _count_voters(self) -> None:
        self.cut_reached = set(self.nodes)
        super()._count_voters()


class LearnsInSilence(Core):
    """Who learns, and has promised a later epoch, does not say so, not even when it is asked to go."""

    def knows_better(self) -> bool:
        return self.phase == self.MEMBER

    def _go(self, link: Link, frame: Go) -> None:
        if frame.node != self.node or frame.epoch >= self.promised or self.phase == self.MEMBER:
            super()._go(link, frame)


class ServesTwo(Core):
    """A learner lets another found a bus while it has a link to its own sequencer, whose member it becomes; and an
    agent that a candidate of another bus waits for says nothing. Each of the two rules alone ends that."""

    def _allow_founding(self, link: Link, frame: Collect) -> None:
        if self.phase == self.LEARNING and not self.role:
            self.send_frame(link.node, Promise(frame.epoch, NO_EPOCH, 0, 0))
        else:
            super()._allow_founding(link, frame)

    def _part(self, link: Link) -> None:
        pass


MUTANTS = {
    "acks-before-storing": Mutant(planted(AcksBeforeStoring), "ack before store", 0, "stable before delivered"),
    "delivers-unstable": Mutant(planted(DeliversUnstable), "deliver before stable", 0, "stable before delivered"),
    "accepts-old-epochs": Mutant(planted(AcceptsOldEpochs), "old epoch accepted", 194, "no delivery from an old epoch"),
    "b1-forgets-ids": Mutant(planted(sequencer=ForgetsIds), "a known message is numbered again", 7, "no duplicate"),
    "b2-blames-itself": Mutant(
        planted(BlamesItself), "who cannot reach the sequencer gives up", 1, "gives up for cause"
    ),
    "b3-joins-unproved": Mutant(planted(sequencer=JoinsUnproved), "a join is numbered at once", 0, "join after proof"),
    "b4-probes-anyone": Mutant(
        planted(ProbesAnyone), "a probe's answer is for the latest incarnation", 31, "down is true"
    ),
    "b4-deaf-to-hello": Mutant(planted(DeafToHello), "a later incarnation proves nothing", 9, "progress"),
    "b4-joins-before-down": Mutant(
        planted(sequencer=JoinsBeforeDown), "a join before the down", 130, "down before join"
    ),
    "b5-one-epoch": Mutant(planted(OneEpoch), "an epoch is a number", 24783, "same order"),
    "b5-leaves-out-suspects": Mutant(
        planted(takeover=LeavesOutSuspects), "a takeover without suspects", 22812, "same order"
    ),
    "b6-without-the-new": Mutant(
        planted(sequencer=JoinsWithoutTheNew), "a join needs the old view only", 0, "stable before delivered"
    ),
    "b6-ahead-of-its-join": Mutant(
        planted(AheadOfItsJoin), "acknowledging behind the own join", 6266, "delivered everywhere"
    ),
    "b7-hears-the-dead": Mutant(
        planted(sequencer=HearsTheDead), "a message after its sender's down", 100, "no old incarnation"
    ),
    "b8-feeds-anyway": Mutant(planted(FeedsAnyway), "the watchdog is fed by ticks", 3, "progress"),
    "b9-acks-after-promise": Mutant(
        planted(AcksAfterPromise),
        "the old epoch is acknowledged after the promise",
        556,
        "no delivery from an old epoch",
    ),
    "b10-gives-up-at-once": Mutant(planted(GivesUpAtOnce), "one refusal of alive is enough", 1, "gives up for cause"),
    "starts-in-pieces": Mutant(planted(StartsInPieces), "a new epoch is not entered in one step", 2, "progress"),
    "ignores-welcomed": Mutant(
        planted(sequencer=IgnoresWelcomed), "acknowledgements of an earlier state", 836, "every end is told"
    ),
    "reverses": Mutant(planted(sequencer=Reverses), "a sender's messages in reverse", 0, "per-sender order"),
    "skips-downs": Mutant(planted(SkipsDowns), "downs are not delivered", 0, "no gap"),
    "delivers-again": Mutant(planted(DeliversAgain), "a second delivery after a takeover", 2, "no duplicate"),
    "delivers-the-past": Mutant(
        planted(DeliversThePast), "deliveries from before the join", 0, "nothing before the join"
    ),
    "returns-early": Mutant(planted(ReturnsEarly), "the call returns before delivery", 0, "sent means delivered"),
    "suspects-are-dead": Mutant(planted(sequencer=SuspectsAreDead), "a suspect is declared down", 0, "down is true"),
    "down-twice": Mutant(planted(sequencer=DownTwice), "a down for each proof", 0, "down once"),
    "doubts-proofs": Mutant(planted(sequencer=DoubtsProofs), "no down in spite of the proof", 0, "progress"),
    "keeps-old-view": Mutant(planted(KeepsOldView), "the view before", 0, "same view"),
    "keeps-everything": Mutant(planted(KeepsEverything), "nothing is forgotten", 2, "bounded"),
    "begins-again": Mutant(
        planted(sequencer=BeginsAgain), "entries counted from one that is forgotten", 1063291, "same order"
    ),
    "follows-another": Mutant(
        planted(FollowsAnother), "a learner leaves its sequencer for another bus", 1573620, "join after proof"
    ),
    "adds-up-cuts": Mutant(
        planted(AddsUpCuts), "a second silence is part of the first cut", 3082450, "gives up for cause"
    ),
    "learns-in-silence": Mutant(
        planted(LearnsInSilence), "a learner's later promise is not told", 1090401, "every end is told"
    ),
    "serves-two": Mutant(planted(ServesTwo), "a founder's and a sequencer's at once", 4804252, "progress"),
    "tells-nobody": Mutant(planted(sequencer=TellsNobody), "what is stable is not told", 0, "delivered everywhere"),
}
