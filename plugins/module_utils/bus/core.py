# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bus: messages in one order to all members, and who is a member as part of that order. Pure.

Everything that affects the bus must live in this directory: no I/O, no clock, no threads, no chance. Events go in by
the methods of Core, `drain` returns the effects (effects.py). The shell feeds all that has arrived, then drains.

Theory of operation
-------------------
*Order.* The member that holds the process lock `sequencer` numbers messages. The others send theirs to it (Submit), it
sends every entry to all (Ordered), all store it and say so (Ack). When every member has an entry it is *stable*. Only
then is it delivered, on every node at the same position, and only then is its sender told (Sent). So what was delivered
anywhere is stored everywhere, and can be delivered by every member that lives.

*View.* Joins and downs are entries of the same order. A member that does not answer is *suspect*: nothing becomes
stable until it answers again, or is proven down. A proof is the grant of its process lock `alive-n` to a probe, or the
Hello of a later incarnation, which is sent only by an agent that holds `alive-n`. Only the sequencer's probes count,
and the answer is about the incarnations that were known when the probe began. With the proof its down is numbered. What
it had not acknowledged becomes stable together with that down, so never is anything delivered without it before it is
sure that all will learn of its end. What it sent and was not numbered before is dropped, by every later sequencer.

*Epochs.* When the sequencer goes, another member gets the lock. It picks an epoch later than all it knows, promises it
to itself, and asks every member of the last view for the same promise (Collect): to accept nothing of an earlier epoch
any more. With the promise comes what the member has stored (Tail, Promise). Without the reply of every member that is
not proven down it goes no further. Everything stable is in every reply; the longest of the latest epoch holds all that
anybody has. That is sent to all who lack it (Start), taken over by each in one step, and completed. Two holders of the
lock, one of them on a node that was thought dead and thaws, do no harm: the promise divides them, not the lock.

*Ids.* A message's id is (node, incarnation, counter). A sender submits its messages again to each new sequencer, in the
order of their counters. The last counter of each sender follows from the log, so a message that is in it is known.

*Joining.* An agent that holds `alive` greets all (Hello) and asks the sequencer (Join). It is sent the state at a
stable position (Welcome) and all entries behind it, and acknowledges them like a member. Only when it has caught up,
and thereby shown that both directions work, is its join numbered. The join is stable when the old view and the new
member have it. The new one delivers from its join on, and acknowledges nothing behind it before it knows that it is
stable: so nothing waits for one that does not know whether it is a member. Who goes down soon after a join waits longer
before the next.

*Founding.* Where there is no bus, an agent that gets the lock asks every node of the cluster: each must have an agent
without a bus, or no agent at all. Then its own join is the first entry. A *history* is named by its founder; what
remains of an older one is told that it is over. Who learns the state of one and has a link to its sequencer lets nobody
found another: its join can be stable, and it does not know yet. Where two came to be all the same, by a node that was
frozen, and one waits for an agent that is with the other, one of the two agents ends.

*Who has to go.* A sequencer that lacks half of the view for a time gives the lock up and stays last in line. A member
cut off from most of the view for longer gives itself up, by the rule with which o2cb fences. A sequencer that has most
of the view asks the one it cannot hear to go, by way of the others. So a sick agent removes itself, and not the rest.
A member that is told of its own death is on a node that others hold for dead. Who is told of the death of a later
incarnation before it is a member has only counted wrongly, and begins anew beyond it.
`Feed` is for the watchdog: a frame to oneself has come through the queue of received frames.

*Bounds.* Entries are forgotten once all members have delivered them. No more than `window` are numbered beyond that,
`in_flight` wait per sender at the sequencer, and `queue` at the sender, which is refused beyond (BusFull).

The seam
--------
Links are ordered and lose only their end: the transport reports `link_up` and `link_down`, and drops what was under way
in between. It reports a link down when nothing came from the peer for its keepalive time. It may exist twice: over TCP
with frames.pack, over CPG with frames.encode. A payload has at most `payload` bytes, the layer above cuts. Time comes
with `tick`, about once a second. `incarnation` has to grow from one start of a node's agent to the next.
"""

from __future__ import annotations

from typing import Iterable

from ..base.errors import O2cbError
from . import effects
from .effects import Effect
from .frames import (
    Ack,
    Collect,
    Dead,
    Echo,
    Frame,
    Go,
    Hello,
    Join,
    Newer,
    Ordered,
    Promise,
    Refused,
    Start,
    Submit,
    Sync,
    Tail,
    Welcome,
    Welcomed,
)
from .log import Log, Outbox
from .sequencer import Sequencer
from .settings import Settings
from .takeover import Founding, Takeover
from .view import AGENT_DOWN, JOIN, MESSAGE, NO_EPOCH, NOBODY, NODE_DOWN, Entry, Epoch, Ident, View, quorate

FREE, ASKED, HELD = range(3)


class Link:
    """What is known of a peer while the transport has a link to it."""

    __slots__ = ("history", "incarnation", "leads", "node")

    def __init__(self, node: int) -> None:
        self.node = node
        self.incarnation = 0
        """By its Hello on this link; 0 before, and after it was proven dead."""
        self.history = NOBODY
        self.leads = NO_EPOCH
        """The epoch whose sequencer it is, by its last Sync."""


class Staging:
    """The beginning of a new epoch, until it is complete."""

    __slots__ = ("entries", "keep", "top")

    def __init__(self, keep: int, top: int) -> None:
        self.keep = keep
        self.top = top
        self.entries: list[Entry] = []


class Core:
    """One agent's part of the bus."""

    STARTING, FRESH, LEARNING, MEMBER, GONE = range(5)
    """Without the lock `alive`; with it, and without a bus; with the state of one; of the view; given up."""

    takeover = Takeover
    founding = Founding

    def __init__(self, node: int, incarnation: int, nodes: Iterable[int], settings: Settings | None = None) -> None:
        """`nodes` are all of the cluster, by number, as in /etc/ocfs2/cluster.conf."""
        self.node = node
        self.incarnation = incarnation
        self.nodes = tuple(nodes)
        self.settings = settings or Settings()
        self.out: list[Effect] = []
        self.phase = self.STARTING
        self.now = self.clock = self.since = 0.0
        self.echo = 0
        self.links: dict[int, Link] = {}
        self.known_dead: dict[int, int] = {}
        """The latest incarnation by node that is proven dead."""
        self.suspects: set[int] = set()
        self.later = 0
        """An incarnation of this very node that others have known, where it is later than this one."""
        self.outbox = Outbox(self.settings.queue)
        self.lock = FREE
        """What is known of the lock `sequencer`."""
        self.role: Sequencer | Takeover | None = None
        self.alive = FREE
        self.sit_until = 0.0
        self.cut_since: float | None = None
        self.cut_reached: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """Without a bus."""
        self.history: Ident = NOBODY
        self.promised = self.accepted = NO_EPOCH
        self.log = Log()
        self.view = View()
        self.stable = 0
        self.joined = 0
        """The position of the own join, once stored."""
        self.staging: Staging | None = None
        self.ack_due = False
        self.heard = self.clock
        """When the sequencer was last heard."""
        if self.phase != self.STARTING:
            self.phase = self.FRESH

    # Events

    def start(self, now: float) -> None:
        """Begin. All times are seconds of one monotonic clock."""
        self.now = now
        self._take_alive()

    def tick(self, now: float) -> None:
        """About once a second."""
        self.clock += min(now - self.now, self.settings.longest_step)
        self.now = now
        if self.phase == self.GONE:
            return
        self.echo += 1
        self.out.append(effects.Send(self.node, Echo(self.echo)))
        if self.phase == self.STARTING:
            self._take_alive()
        elif self.phase == self.MEMBER:
            self._tick_member()
        else:
            self._seek()
        if self.role:
            self.role.tick()

    def link_up(self, node: int) -> None:
        """Frames can be sent to the peer. A new link in place of an old one is a `link_down` first."""
        self.links[node] = Link(node)
        if self.phase != self.STARTING:
            self._greet(node)

    def link_down(self, node: int) -> None:
        link = self.links.pop(node, None)
        if link is None or self.phase == self.GONE:
            return
        if self.view.members.get(node) == link.incarnation:
            self.suspect(node, link.incarnation)
        if self.role:
            self.role.link_down(node)
        elif self.promised[1:] == (node, link.incarnation):
            self.try_to_lead()

    def receive(self, node: int, frame: Frame) -> None:
        """A frame came. What is not to be accepted, such as one of an earlier epoch, is dropped without a word."""
        if self.phase == self.GONE:
            return
        if node == self.node:
            if isinstance(frame, Echo) and frame.number == self.echo:
                self.out.append(effects.Feed())
            return
        link = self.links.get(node)
        if link and (link.incarnation or type(frame) in _GREETINGS):
            getattr(self, _HANDLERS[type(frame)])(link, frame)

    def granted(self, lock: str) -> None:
        if lock == effects.ALIVE:
            self.alive = HELD
            if self.phase == self.STARTING:
                self.phase = self.FRESH
                self.since = self.clock
                for node in self.links:
                    self._greet(node)
            return
        self.lock = HELD
        self.cut_since = None  # Now there is a way to prove who is dead.
        if self.phase == self.GONE or self.role:
            self._release()
        elif self.phase == self.MEMBER:
            self.role = self.takeover(self, self.promised[0] + 1)
        else:
            self.role = self.founding(self, self.promised[0] + 1)

    def refused(self, lock: str) -> None:
        """Another one holds it. For `alive` that can be a probe, which is over in a moment."""
        if lock == effects.ALIVE:
            self.alive = FREE
            if self.clock - self.since > self.settings.alive_patience:
                self.evict(effects.NO_ALIVE)
        else:
            self.lock = FREE

    def lost(self, lock: str) -> None:
        """A lock that was held is not any more."""
        if lock == effects.ALIVE:
            self.evict(effects.LOST_ALIVE)
        else:
            self.lock = FREE
            self.role = None

    def proven(self, lock: str, node: int, incarnation: int) -> None:
        """A probe was granted: what held the lock up to that incarnation is dead. A node's death is its agent's too.

        The shell may also report a node's death that it learned otherwise, as by o2dlm's eviction.
        """
        if self.phase == self.GONE:
            return
        self.declare_dead(node, incarnation)
        if self.role:
            self.role.proven(lock, node, incarnation)

    def held(self, lock: str, node: int, incarnation: int) -> None:
        """A probe was refused. By whom it does not say."""
        if self.role:
            self.role.held(lock, node)

    def send(self, channel: str, payload: bytes) -> int:
        """Send to all members, this one too. Returns the counter that will come back in Sent. Raises BusFull.

        A message whose agent ends before Sent may have been delivered to all or to none, never to some.
        """
        if self.phase == self.GONE:
            raise O2cbError("this agent has left the bus: send again after its restart")
        if len(payload) > self.settings.payload or len(channel.encode()) > 255:
            raise O2cbError(f"a message has at most {self.settings.payload} bytes, and its channel's name 255")
        return self.outbox.add(channel, payload)

    def stop(self) -> None:
        """Leave in good order: the others are told as soon as they are granted `alive`."""
        self.evict("stopped")

    def drain(self) -> list[Effect]:
        """What is to be done after the events since the last call."""
        if self.role:
            self.role.flush()
        elif (self.ack_due or self.outbox.messages) and self.phase != self.GONE:
            self._answer()
        out, self.out = self.out, []
        return out

    # What the parts have in common

    def send_frame(self, node: int, frame: Frame) -> None:
        if node in self.links:
            self.out.append(effects.Send(node, frame))

    def ready(self, node: int) -> bool:
        """Whether that peer is linked and has said who it is."""
        link = self.links.get(node)
        return link is not None and link.incarnation > 0

    def reaches(self, node: int, incarnation: int) -> bool:
        link = self.links.get(node)
        return link is not None and link.incarnation == incarnation

    def incarnation_of(self, node: int) -> int:
        link = self.links.get(node)
        return link.incarnation if link else 0

    def is_dead(self, node: int, incarnation: int) -> bool:
        return self.known_dead.get(node, 0) >= incarnation

    def declare_dead(self, node: int, incarnation: int) -> None:
        """That incarnation and all before it: nothing of them counts any more, and if one runs it is told."""
        if self.is_dead(node, incarnation):
            return
        self.known_dead[node] = incarnation
        link = self.links.get(node)
        if link and 0 < link.incarnation <= incarnation:
            self.send_frame(node, Dead(link.incarnation, incarnation, False))
            link.incarnation = 0
        if self.role:
            self.role.dead(node, incarnation)

    def suspect(self, node: int, incarnation: int) -> None:
        if node not in self.suspects:
            self.suspects.add(node)
            self.out.append(effects.Report(effects.SUSPECT, node, incarnation))

    def unsuspect(self, node: int) -> None:
        if node in self.suspects:
            self.suspects.discard(node)
            self.out.append(effects.Report(effects.UP, node, self.incarnation_of(node)))

    def promise(self, epoch: Epoch) -> None:
        """Accept nothing of an earlier epoch from now on."""
        self.promised = epoch
        self.staging = None
        self.heard = self.clock

    def learn(self, epoch: Epoch) -> None:
        """There is the state of a bus, of this epoch; the own join is still to come."""
        self.promised = self.accepted = epoch
        self.phase = self.LEARNING
        self.stable = self.view.position
        self.heard = self.clock

    def lead(self, role: Sequencer) -> None:
        self.role = role
        role.flush()
        role.tick()

    def stand_back(self) -> None:
        """Let another one try, and stay last in line."""
        self.sit_until = self.clock + self.settings.sit_out
        self._release()

    def try_to_lead(self) -> None:
        """Ask for the lock `sequencer`, unless that was done or it is another's turn."""
        if (
            self.lock == FREE
            and self.clock >= self.sit_until
            and self.phase in (self.FRESH, self.LEARNING, self.MEMBER)
        ):
            self.lock = ASKED
            self.out.append(effects.Take(effects.SEQUENCER))

    def evict(self, reason: str) -> None:
        """Give up. Nothing is done any more."""
        if self.phase != self.GONE:
            self.phase = self.GONE
            self.role = None
            self.out.append(effects.Evict(reason))

    def _release(self) -> None:
        self.role = None
        if self.lock == HELD:
            self.lock = FREE
            self.out.append(effects.Release(effects.SEQUENCER))

    def _greet(self, node: int) -> None:
        history = self.history if self.phase == self.MEMBER else NOBODY
        self.send_frame(node, Hello(self.incarnation, history))

    # Time

    def _take_alive(self) -> None:
        if self.alive == FREE:
            self.alive = ASKED
            self.out.append(effects.Take(effects.ALIVE))

    def _seek(self) -> None:
        """Ask to join where there is a sequencer; found a bus where there is none."""
        leads = max((link.leads for link in self.links.values()), default=NO_EPOCH)
        if self.taught():
            leads = self.promised
        if leads != NO_EPOCH:
            self.since = self.clock
            self.send_frame(leads[1], Join(self.accepted))
        elif self.clock - self.since > self.settings.found_after:
            self.try_to_lead()

    def taught(self) -> bool:
        """Whether a sequencer that can be reached counts on it that this one has the state of its bus, and no other."""
        link = self.links.get(self.promised[1])
        known = link is not None and link.incarnation == self.promised[2] and link.history == self.history
        return self.phase == self.LEARNING and known

    def _tick_member(self) -> None:
        if not self.role:
            if self.clock - self.heard > self.settings.suspect_after:
                self.try_to_lead()
            for node, incarnation in self.view.members.items():
                newer = self.incarnation_of(node)
                if newer > incarnation:
                    self.send_frame(self.promised[1], Newer(node, newer))
        self._count_voters()

    def _count_voters(self) -> None:
        """Give up when most of the view is out of reach, and not known to be dead, for too long."""
        members = self.view.members
        voters = {node for node, incarnation in members.items() if not self.is_dead(node, incarnation)}
        if isinstance(self.role, Sequencer):
            reached = self.role.contacts()
        else:
            reached = {node for node in voters if self.reaches(node, members[node])}
        reached.add(self.node)
        if quorate(reached, voters):
            self.cut_since = None
        elif self.cut_since is None or not reached <= self.cut_reached:
            self.cut_since = self.clock  # Who is heard again was cut off; who is silent now can be dead.
        elif self.clock - self.cut_since > self.settings.evict_after:
            self.evict(effects.MINORITY)
        self.cut_reached = reached

    # The member

    def _answer(self) -> None:
        """Acknowledge, and submit what is to be sent."""
        if self.accepted != self.promised or not self.reaches(self.promised[1], self.promised[2]):
            return
        leader = self.promised[1]
        if self.ack_due:
            self.ack_due = False
            self.out.append(effects.Send(leader, Ack(self.accepted, self.have(), self.view.position)))
        if self.phase == self.MEMBER:
            for message in self.outbox.following(self.outbox.submitted, self.settings.in_flight):
                self.out.append(effects.Send(leader, Submit(*message)))
                self.outbox.submitted = message.counter

    def have(self) -> int:
        """What may be acknowledged: nothing behind the own join before that is known to be stable."""
        return self.joined if self.phase == self.LEARNING and self.joined else self.log.top

    def store(self, entry: Entry) -> None:
        self.log.entries.append(entry)
        if entry.kind == JOIN and entry[1:3] == (self.node, self.incarnation):
            self.joined = self.log.top

    def advance(self, stable: int, forgotten: int = 0) -> None:
        """Deliver what is known to be stable, and forget what everybody delivered."""
        self.stable = max(self.stable, min(stable, self.log.top))
        while self.view.position < self.stable:
            self._deliver(self.log.at(self.view.position + 1))
        self.log.forget(min(forgotten, self.view.position))

    def _deliver(self, entry: Entry) -> None:
        view = self.view
        view.apply(entry)
        kind, node, incarnation = entry[:3]
        if self.phase == self.LEARNING:
            if view.position != self.joined:
                return
            self.phase = self.MEMBER
            self.ack_due = True
            if isinstance(self.role, Founding):
                self._release()
            for peer in self.links:
                self._greet(peer)
        self.out.append(effects.Deliver(view.position, entry))
        if kind == MESSAGE:
            if node == self.node and incarnation == self.incarnation:
                self.outbox.confirm(entry.counter)
                self.out.append(effects.Sent(entry.counter, view.position))
            return
        if kind != JOIN:
            self.suspects.discard(node)
            self.declare_dead(node, incarnation)
        if kind != NODE_DOWN:
            self.out.append(effects.NewView(view.position, tuple(sorted(view.members.items()))))
        if kind == AGENT_DOWN and node == self.node and incarnation == self.incarnation:
            self.evict(effects.DECLARED_DOWN)

    def current(self, link: Link, epoch: Epoch) -> bool:
        """Whether a frame of this epoch counts: it is the one promised last, and comes from its sequencer."""
        return epoch == self.promised and epoch[1:] == (link.node, link.incarnation)

    def _ordered(self, link: Link, frame: Ordered) -> None:
        if not self.current(link, frame.epoch):
            return
        self.heard = self.clock
        if self.accepted == frame.epoch:
            if frame.position == self.log.top + 1:
                self.store(frame.entry)
            self.ack_due = True
            self.advance(frame.stable, frame.forgotten)
        elif self.staging and frame.position == self.staging.keep + len(self.staging.entries) + 1:
            self.staging.entries.append(frame.entry)
            self._install(self.staging)

    def _start(self, link: Link, frame: Start) -> None:
        if not self.current(link, frame.epoch) or self.phase not in (self.LEARNING, self.MEMBER):
            return
        self.heard = self.clock
        if self.accepted == frame.epoch:
            self.ack_due = True
        elif self.view.position <= frame.keep <= self.log.top:
            self.staging = Staging(frame.keep, frame.top)
            self._install(self.staging)

    def _install(self, staging: Staging) -> None:
        """Enter the epoch in one step, once its beginning is complete: what may be stable must never be missing."""
        if staging.keep + len(staging.entries) < staging.top:
            return
        self.log.replace(staging.keep, [])
        self.joined = min(self.joined, staging.keep)
        for entry in staging.entries:
            self.store(entry)
        self.accepted = self.promised
        self.staging = None
        self.outbox.rewind()
        self.ack_due = True

    def _sync(self, link: Link, frame: Sync) -> None:
        if frame.epoch[1:] == (link.node, link.incarnation):
            link.leads = frame.epoch
            if self.phase == self.LEARNING and link.history == self.history and frame.epoch > self.promised:
                self.promise(frame.epoch)  # Its sequencer will welcome this one; an earlier one must not.
        if self.current(link, frame.epoch):
            self.heard = self.clock
            self.unsuspect(link.node)
            if self.accepted == frame.epoch:
                self.ack_due = self.ack_due or frame.ask
                self.advance(frame.stable, frame.forgotten)
        elif frame.epoch < self.promised and self.knows_better() and link.history == self.history:
            self.send_frame(link.node, Refused(self.promised))

    def knows_better(self) -> bool:
        """Whether its sequencer can wait for this one, which has promised a later epoch: also while it still learns."""
        return self.phase in (self.LEARNING, self.MEMBER)

    def _submit(self, link: Link, frame: Submit) -> None:
        if isinstance(self.role, Sequencer):
            self.role.submit(link, frame)

    def _ack(self, link: Link, frame: Ack) -> None:
        if isinstance(self.role, Sequencer):
            self.role.ack(link, frame)

    # Takeover, as the others see it

    def _collect(self, link: Link, frame: Collect) -> None:
        if frame.history == NOBODY:
            self._allow_founding(link, frame)
        elif frame.history == self.history and frame.epoch[1:] == (link.node, link.incarnation):
            if frame.epoch < self.promised:
                self.send_frame(link.node, Refused(self.promised))
                return
            if frame.epoch > self.promised:
                self._release()
                self.promise(frame.epoch)
            self._reply(link, frame)
        elif frame.history != self.history and not self.taught():
            self._part(link)

    def _part(self, link: Link) -> None:
        """A candidate of another bus waits for the reply of this one, which left that bus before it knew of its join.

        It will never come, and this one runs: so one of the two has to end.
        """
        if self.phase == self.MEMBER:
            self.send_frame(link.node, Dead(link.incarnation, link.incarnation, True))
        else:
            self.evict(effects.FOREIGN)

    def _reply(self, link: Link, frame: Collect) -> None:
        """All that the candidate may lack: of the same epoch its entries are ours, of another one only the stable."""
        log = self.log
        first = frame.top if frame.accepted == self.accepted else frame.delivered
        for position, entry in log.behind(first):
            self.send_frame(link.node, Tail(frame.epoch, position, entry))
        self.send_frame(link.node, Promise(frame.epoch, self.accepted, log.top, self.view.position))

    def _allow_founding(self, link: Link, frame: Collect) -> None:
        if self.phase == self.MEMBER:
            self.send_frame(link.node, Refused(NO_EPOCH))
        elif not self.role and not self.taught():
            self.send_frame(link.node, Promise(frame.epoch, NO_EPOCH, 0, 0))

    def _tail(self, link: Link, frame: Tail) -> None:
        if isinstance(self.role, Takeover):
            self.role.tail(link, frame)

    def _promise(self, link: Link, frame: Promise) -> None:
        if isinstance(self.role, Takeover):
            self.role.promised(link, frame)

    def _refused(self, link: Link, frame: Refused) -> None:
        """Others have promised a later epoch. Who holds the lock goes beyond it."""
        if isinstance(self.role, Takeover):
            self.role.refused(link, frame)
        elif self.role and frame.promised > self.promised:
            self.role = self.takeover(self, frame.promised[0] + 1)

    # Joining, as the new one sees it

    def _hello(self, link: Link, frame: Hello) -> None:
        node, incarnation = link.node, frame.incarnation
        if self.is_dead(node, incarnation):
            self.send_frame(node, Dead(incarnation, self.known_dead[node], False))
            return
        known = link.incarnation == incarnation
        link.incarnation, link.history = incarnation, frame.history
        self.came(node, incarnation)
        if self.view.members.get(node) == incarnation:
            self.unsuspect(node)
        if self.role:
            self.role.hello(link, known)
        elif not known and self.promised[1:] == (node, incarnation):
            self.outbox.rewind()
            self.ack_due = self.accepted == self.promised

    def came(self, node: int, incarnation: int) -> None:
        """It holds `alive`, so whatever held it before is dead."""
        self.declare_dead(node, incarnation - 1)

    def _join(self, link: Link, frame: Join) -> None:
        if isinstance(self.role, Sequencer):
            self.role.join(link, frame.epoch)

    def _welcome(self, link: Link, frame: Welcome) -> None:
        if self.phase not in (self.FRESH, self.LEARNING) or frame.epoch[1:] != (link.node, link.incarnation):
            return
        if self.history == frame.history and frame.epoch < self.promised:
            self.send_frame(link.node, Refused(self.promised))
            return
        if self.history != frame.history and self.taught():
            return
        self._release()
        self.reset()
        self.history = frame.history
        self.view = View(frame.position)
        for node, incarnation, counter in frame.members:
            self.view.members[node] = incarnation
            self.view.counters[node] = counter
        self.view.absent = dict(frame.absent)
        self.log = Log(frame.position)
        self.learn(frame.epoch)
        self.ack_due = True
        self.send_frame(link.node, Welcomed(frame.epoch, frame.number))

    def _welcomed(self, link: Link, frame: Welcomed) -> None:
        if isinstance(self.role, Sequencer) and frame.epoch == self.role.epoch:
            self.role.welcomed(link, frame.number)

    # Ends

    def _newer(self, link: Link, frame: Newer) -> None:
        self.came(frame.node, frame.incarnation)

    def _go(self, link: Link, frame: Go) -> None:
        if (frame.node, frame.incarnation) == (self.node, self.incarnation):
            if frame.epoch >= self.promised:
                self.evict(effects.ASKED)
            elif frame.epoch[1:] == (link.node, link.incarnation):
                self.send_frame(link.node, Refused(self.promised))
        elif frame.epoch[1:] == (link.node, link.incarnation):
            self.send_frame(frame.node, frame)

    def _dead(self, link: Link, frame: Dead) -> None:
        if frame.incarnation != self.incarnation:
            return
        if not frame.history:
            if frame.latest > self.incarnation and self.phase in (self.FRESH, self.LEARNING):
                self.later = frame.latest
                self.evict(effects.EARLIER)
            else:
                self.evict(effects.DECLARED_DOWN)
        elif self.phase == self.MEMBER and link.incarnation:
            self.evict(effects.FOREIGN)

    def _echo(self, link: Link, frame: Echo) -> None:
        """Only one's own counts."""


_GREETINGS = (Hello, Dead)
"""What may come before the peer has said who it is."""

_HANDLERS = {
    frame: f"_{frame.__name__.lower()}"
    for frame in (
        Hello,
        Join,
        Welcome,
        Welcomed,
        Submit,
        Ordered,
        Ack,
        Sync,
        Collect,
        Tail,
        Promise,
        Refused,
        Start,
        Newer,
        Go,
        Dead,
        Echo,
    )
}
