# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sequencer: numbers messages and view changes, sends them to all, and finds out what is stable. Pure.

See core.py for the theory of operation. There is one of these while its member holds the lock `sequencer` and its epoch
is open.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from . import effects
from .frames import Ack, Dead, Go, Ordered, Start, Submit, Sync, Welcome
from .log import Message
from .view import AGENT_DOWN, JOIN, MESSAGE, NOBODY, NODE_DOWN, Entry, Epoch, quorate

if TYPE_CHECKING:
    from .core import Core, Link


class Standing(NamedTuple):
    """What a member had when it made its promise: the entries up to `keep` are those of the new epoch."""

    incarnation: int
    keep: int
    delivered: int


class Follower:
    """Another member, or one that joins, as the sequencer knows it."""

    __slots__ = (
        "acked",
        "delivered",
        "down",
        "goal",
        "have",
        "heard",
        "incarnation",
        "joined",
        "keep",
        "node",
        "number",
        "sent",
        "started",
        "told",
    )

    def __init__(self, node: int, incarnation: int, heard: float) -> None:
        self.node = node
        self.incarnation = incarnation
        self.heard = heard
        """When its last acknowledgement came."""
        self.have = 0
        """What it acknowledged in this epoch, cumulative."""
        self.delivered = 0
        self.sent = 0
        self.told = 0
        """The stable position it was told."""
        self.joined = 0
        """The position of its join while that was not yet stable at the start of this epoch."""
        self.down = 0
        """The position of its down, if it has one."""
        self.goal = 0
        """What a learner must have before its join is numbered."""
        self.number = 0
        """That of the state a learner was sent and has not confirmed."""
        self.keep = 0
        self.started = True
        """Whether it was sent what opens the epoch, on this link."""
        self.acked = False
        """Whether it has entered the epoch."""


class Sequencer:
    """The role of the member that holds the lock, in one epoch."""

    def __init__(self, core: Core, epoch: Epoch, standings: dict[int, Standing]) -> None:
        self.core = core
        self.epoch = epoch
        self.opened = core.log.top
        self.followers: dict[int, Follower] = {}
        """Members other than this one, by node, joins that are not yet stable included."""
        self.leaving: list[Follower] = []
        """Those whose down is numbered and not yet stable."""
        self.learners: dict[int, Follower] = {}
        """Those that get all entries, but whose join is not numbered yet."""
        self.welcomes = 0
        self.waiting: dict[int, deque[Message]] = {}
        self.probing: set[tuple[str, int]] = set()
        self.backoff: dict[int, tuple[float, float]] = {}
        """By node: when it may join again, and after what delay."""
        self.joined_at: dict[int, float] = {}
        self.short_since: float | None = None
        self.forgotten = core.log.base
        self.ahead = core.view.copy()
        """The view with everything applied that is numbered."""
        self._take_over_log(standings)

    def _take_over_log(self, standings: dict[int, Standing]) -> None:
        """Followers are the members there are after the last entry; what is down in between is leaving."""
        core = self.core
        for node, incarnation in self.ahead.members.items():
            self._follow(node, incarnation, 0, standings)
        for position, entry in core.log.behind(core.view.position):
            self.ahead.apply(entry)
            if entry.kind == JOIN:
                self._follow(entry.node, entry.incarnation, position, standings)
            elif entry.kind == AGENT_DOWN and entry.node in self.followers:
                follower = self.followers.pop(entry.node)
                follower.down = position
                self.leaving.append(follower)
        for node, incarnation in list(self.ahead.members.items()):
            if core.is_dead(node, incarnation):
                self.down(node)

    def _follow(self, node: int, incarnation: int, joined: int, standings: dict[int, Standing]) -> None:
        if node == self.core.node:
            return
        follower = self.followers[node] = Follower(node, incarnation, self.core.clock)
        follower.joined = joined
        follower.started = False
        standing = standings.get(node)
        if standing and standing.incarnation == incarnation:
            follower.keep, follower.delivered = standing.keep, standing.delivered

    def number(self, entry: Entry) -> int:
        """Give the next position to an entry."""
        self.core.log.entries.append(entry)
        self.ahead.apply(entry)
        return self.ahead.position

    # Members come and go

    def down(self, node: int) -> None:
        """A member is proven down. From here on it need not acknowledge: its down takes effect with what is before."""
        follower = self.followers.pop(node)
        follower.down = self.number(Entry(AGENT_DOWN, node, follower.incarnation))
        self.leaving.append(follower)
        self.waiting.pop(node, None)
        self._put_off(node)

    def _put_off(self, node: int) -> None:
        """Who goes down soon after its join would stall everybody again and again."""
        core = self.core
        lived = core.clock - self.joined_at.get(node, -core.settings.settle)
        if lived < core.settings.settle:
            delay = min(2 * self.backoff.get(node, (0.0, core.settings.backoff / 2))[1], core.settings.most_backoff)
            self.backoff[node] = (core.clock + delay, delay)
        else:
            self.backoff.pop(node, None)

    def dead(self, node: int, incarnation: int) -> None:
        """This incarnation and earlier ones are proven down."""
        follower = self.followers.get(node)
        if follower and follower.incarnation <= incarnation:
            self.down(node)
        learner = self.learners.get(node)
        if learner and learner.incarnation <= incarnation:
            del self.learners[node]

    def proven(self, lock: str, node: int, incarnation: int) -> None:
        """A probe was granted; what follows for the agent is done already."""
        self.probing.discard((lock, node))
        if lock == effects.NODE and 0 < self.ahead.absent.get(node, 0) <= incarnation:
            self.number(Entry(NODE_DOWN, node, self.ahead.absent[node]))

    def held(self, lock: str, node: int) -> None:
        self.probing.discard((lock, node))

    def hello(self, link: Link, known: bool) -> None:
        """A new link, unless the peer is known on it already: what was under way on the old one is lost."""
        node = link.node
        if known:
            return
        self.learners.pop(node, None)
        follower = self.followers.get(node)
        if follower and follower.incarnation == link.incarnation:
            follower.sent = follower.have
            follower.told = 0
            follower.started = follower.acked
        self.core.send_frame(node, self._sync(True))

    def link_down(self, node: int) -> None:
        self.learners.pop(node, None)
        if node in self.followers:
            self._probe(effects.ALIVE, node, self.followers[node].incarnation)

    def join(self, link: Link, epoch: Epoch) -> None:
        """Show a joining member the state, and send it all that follows: its join is numbered when it has caught up."""
        node, incarnation = link.node, link.incarnation
        if node in self.followers or self.backoff.get(node, (0.0, 0.0))[0] > self.core.clock:
            return
        learner = self.learners.get(node)
        if learner and learner.incarnation == incarnation and epoch == self.epoch:
            return
        self._welcome(node, incarnation)

    def _welcome(self, node: int, incarnation: int) -> Follower:
        core, view = self.core, self.core.view
        learner = self.learners[node] = Follower(node, incarnation, core.clock)
        learner.have = learner.sent = learner.told = learner.delivered = view.position
        learner.goal = core.log.top
        self.welcomes += 1
        learner.number = self.welcomes
        members = tuple((number, born, view.counters.get(number, 0)) for number, born in view.members.items())
        absent = tuple(view.absent.items())
        core.send_frame(node, Welcome(learner.number, core.history, self.epoch, view.position, members, absent))
        return learner

    def welcomed(self, link: Link, number: int) -> None:
        """What it acknowledges from here on is of the state it was sent last."""
        learner = self.learners.get(link.node)
        if learner and learner.incarnation == link.incarnation and learner.number == number:
            learner.number = 0

    def admit(self, learner: Follower) -> None:
        """It answers and has caught up: number its join."""
        node = learner.node
        del self.learners[node]
        learner.joined = self.number(Entry(JOIN, node, learner.incarnation))
        learner.acked = True
        learner.heard = self.joined_at[node] = self.core.clock
        self.followers[node] = learner

    # Messages

    def submit(self, link: Link, frame: Submit) -> None:
        """Queue a member's message. One that is known already, or comes before its predecessor, is dropped."""
        node = link.node
        if self.ahead.members.get(node) != link.incarnation:
            return
        queue = self.waiting.get(node)
        if queue is None:
            queue = self.waiting[node] = deque()
        last = queue[-1].counter if queue else self.counted(node)
        if frame.counter == last + 1 and len(queue) < self.core.settings.in_flight:
            queue.append(Message(*frame))

    def counted(self, node: int) -> int:
        """The counter of a member's last message that is numbered."""
        return self.ahead.counters.get(node, 0)

    def _pump(self) -> None:
        """Number what waits, in turns, as far as the window allows."""
        core = self.core
        room = core.settings.window - (core.log.top - self.forgotten)
        own = core.outbox.following(self.counted(core.node), core.settings.in_flight)
        if not own and not self.waiting:
            return
        queues = [(node, self.followers[node].incarnation, queue) for node, queue in self.waiting.items() if queue]
        if own and self.ahead.members.get(core.node) == core.incarnation:
            queues.append((core.node, core.incarnation, deque(own)))
        while queues and room > 0:
            for node, incarnation, queue in queues[:room]:
                self.number(Entry(MESSAGE, node, incarnation, *queue.popleft()))
                room -= 1
            queues = [queue for queue in queues if queue[2]]

    # Stability

    def ack(self, link: Link, frame: Ack) -> None:
        node = link.node
        follower = self.followers.get(node) or self.learners.get(node)
        if not follower or follower.incarnation != link.incarnation or not self.counts(frame):
            return
        if follower.number:
            return
        if node in self.learners and frame.delivered < self.forgotten:
            del self.learners[node]  # It needs what is forgotten, and will ask again.
            return
        follower.heard = self.core.clock
        follower.acked = follower.started = True
        self.core.unsuspect(node)
        if frame.have > follower.have:
            follower.have = frame.have
            follower.sent = max(follower.sent, frame.have)
        if frame.delivered > follower.delivered:
            follower.delivered = frame.delivered
        if node in self.learners and follower.have >= follower.goal:
            self.admit(follower)

    def counts(self, frame: Ack) -> bool:
        return frame.epoch == self.epoch

    def stable(self) -> int:
        """The last position that every member has which must have it.

        A join needs the old view and the new one. A down is stable, together with all that waited for the one who is
        down, when all others have it: so nothing is delivered without him before it is sure that his down will be. The
        others are those whose own join is stable; one whose is not acknowledges nothing behind it.
        """
        stable = everyone = self.core.log.top
        for follower in self.followers.values():
            have = follower.have
            if have < stable:
                stable = max(have, min(follower.joined - 1, stable)) if follower.joined else have
            if have < everyone and follower.joined <= self.core.stable:
                everyone = have
        for follower in self.leaving:
            if follower.down > everyone:
                stable = min(stable, max(follower.have, follower.joined - 1))
        return stable

    def _settle(self) -> bool:
        """Deliver what has become stable, forget what everybody delivered. Whether that made room."""
        core = self.core
        stable = self.stable()
        if stable > core.stable:
            core.advance(stable)
        if self.leaving:
            self.leaving = [follower for follower in self.leaving if follower.down > core.stable]
        forgotten = core.view.position
        for follower in self.followers.values():
            if follower.delivered < forgotten:
                forgotten = follower.delivered
        for learner in self.learners.values():
            if learner.acked and learner.delivered < forgotten:
                forgotten = learner.delivered
        if forgotten <= self.forgotten:
            return False
        self.forgotten = forgotten
        core.log.forget(forgotten)
        return True

    def flush(self) -> None:
        """Number, deliver, and send each member what it has not been sent."""
        self._pump()
        while self._settle():
            self._pump()
        core = self.core
        for follower in self.followers.values():
            if core.reaches(follower.node, follower.incarnation):
                self._stream(follower)
        for learner in self.learners.values():
            self._stream(learner)

    def _stream(self, follower: Follower) -> None:
        core, node = self.core, follower.node
        if not follower.started:
            core.send_frame(node, Start(self.epoch, follower.keep, self.opened))
            follower.started, follower.sent = True, follower.keep
        top, stable = core.log.top, core.stable
        if follower.sent < top:
            for position, entry in core.log.behind(follower.sent):
                core.send_frame(node, Ordered(self.epoch, position, stable, self.forgotten, entry))
            follower.sent, follower.told = top, stable
        elif follower.told < stable:
            core.send_frame(node, self._sync(False))
            follower.told = stable

    def _sync(self, ask: bool) -> Sync:
        return Sync(self.epoch, self.core.stable, self.forgotten, ask)

    # Time

    def in_contact(self, follower: Follower) -> bool:
        core = self.core
        fresh = core.clock - follower.heard <= core.settings.suspect_after
        return fresh and core.reaches(follower.node, follower.incarnation)

    def contacts(self) -> set[int]:
        """The nodes whose members have answered lately, this one included."""
        found = {follower.node for follower in self.followers.values() if self.in_contact(follower)}
        found.add(self.core.node)
        return found

    def tick(self) -> None:
        core = self.core
        for link in core.links.values():
            if link.incarnation and link.history in (NOBODY, core.history):
                core.send_frame(link.node, self._sync(True))
            elif link.incarnation:
                core.send_frame(link.node, Dead(link.incarnation, link.incarnation, True))
        for learner in list(self.learners.values()):
            if learner.acked and not self.in_contact(learner):
                del self.learners[learner.node]
        reached = self.contacts()
        for follower in self.followers.values():
            if follower.node not in reached:
                core.suspect(follower.node, follower.incarnation)
                self._probe(effects.ALIVE, follower.node, follower.incarnation)
        for node, incarnation in self.ahead.absent.items():
            self._probe(effects.NODE, node, incarnation)
        if quorate(reached, {core.node, *self.followers}):
            self.short_since = None
            self._ask_to_go(reached)
        elif self.short_since is None:
            self.short_since = core.clock
        elif core.clock - self.short_since > core.settings.release_after:
            core.stand_back()

    def _ask_to_go(self, reached: set[int]) -> None:
        core = self.core
        for follower in self.followers.values():
            if core.clock - follower.heard > core.settings.evict_after:
                for node in reached | {follower.node}:
                    core.send_frame(node, Go(self.epoch, follower.node, follower.incarnation))

    def _probe(self, lock: str, node: int, incarnation: int) -> None:
        if (lock, node) not in self.probing:
            self.probing.add((lock, node))
            self.core.out.append(effects.Probe(lock, node, incarnation))
