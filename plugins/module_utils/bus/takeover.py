# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a member that got the lock `sequencer` opens an epoch, and how an agent founds a bus where there is none. Pure.

See core.py for the theory of operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import effects
from .frames import Collect, Go, Promise, Refused, Tail
from .sequencer import Sequencer, Standing
from .view import AGENT_DOWN, JOIN, NO_EPOCH, NOBODY, Entry, Epoch, quorate

if TYPE_CHECKING:
    from .core import Core, Link


class Reply(NamedTuple):
    """What a member has, by its promise."""

    incarnation: int
    accepted: Epoch
    top: int
    delivered: int
    tail: list[Entry]


class Takeover:
    """A candidate: collects from every member of the last view a promise and its entries, or the proof of its end."""

    sequencer = Sequencer

    def __init__(self, core: Core, number: int) -> None:
        self.core = core
        self.since = core.clock
        self.probing: set[int] = set()
        self.begin(number)

    def begin(self, number: int) -> None:
        """Promise to oneself, and ask the others."""
        core = self.core
        self.epoch = self.make_epoch(number)
        self.replies: dict[int, Reply] = {}
        self.tails: dict[int, list[Entry]] = {}
        self.asked: set[int] = set()
        if core.phase == core.MEMBER:
            core.promise(self.epoch)
        for node in self.wanted():
            self._ask(node)

    def make_epoch(self, number: int) -> Epoch:
        return number, self.core.node, self.core.incarnation

    def wanted(self) -> dict[int, int]:
        """Incarnation by node of those whose reply is needed: the members of the last view it can have been."""
        return self._others(self.core.log.after(self.core.view.position))

    def _others(self, entries: list[Entry]) -> dict[int, int]:
        core = self.core
        members = dict(core.view.members)
        for entry in entries:
            if entry.kind == JOIN:
                members[entry.node] = entry.incarnation
            elif entry.kind == AGENT_DOWN:
                members.pop(entry.node, None)
        return {
            node: incarnation
            for node, incarnation in members.items()
            if node != core.node and not core.is_dead(node, incarnation)
        }

    def _ask(self, node: int) -> None:
        core = self.core
        if core.ready(node):
            self.asked.add(node)
            self.tails[node] = []
            core.send_frame(node, Collect(core.history, self.epoch, core.accepted, core.log.top, core.view.position))

    def hello(self, link: Link, known: bool) -> None:
        if link.node not in self.replies and self.wanted().get(link.node) == link.incarnation:
            self._ask(link.node)

    def link_down(self, node: int) -> None:
        self.tails.pop(node, None)
        self.asked.discard(node)

    def tail(self, link: Link, frame: Tail) -> None:
        if frame.epoch == self.epoch and link.node in self.tails:
            self.tails[link.node].append(frame.entry)

    def promised(self, link: Link, frame: Promise) -> None:
        if frame.epoch != self.epoch or link.node not in self.tails or link.node in self.replies:
            return
        tail = self.tails.pop(link.node)
        self.replies[link.node] = Reply(link.incarnation, frame.accepted, frame.top, frame.delivered, tail)

    def refused(self, link: Link, frame: Refused) -> None:
        if frame.promised > self.epoch:
            self.begin(frame.promised[0] + 1)

    def dead(self, node: int, incarnation: int) -> None:
        """Looked up where it matters: in `_others`."""

    def proven(self, lock: str, node: int, incarnation: int) -> None:
        self.probing.discard(node)

    def held(self, lock: str, node: int) -> None:
        self.probing.discard(node)

    def complete(self, wanted: dict[int, int]) -> bool:
        return all(self._answered(node, incarnation) for node, incarnation in wanted.items())

    def _answered(self, node: int, incarnation: int) -> bool:
        reply = self.replies.get(node)
        return reply is not None and reply.incarnation == incarnation

    def flush(self) -> None:
        """Open the epoch when all have answered that must."""
        if not self.complete(self.wanted()):
            return
        accepted, entries = self._longest()
        found = self._others(entries)
        if not self.complete(found):
            for node in found.keys() - self.asked:
                self._ask(node)
            return
        self._open(accepted, entries)

    def _longest(self) -> tuple[Epoch, list[Entry]]:
        """The entries behind those delivered here, of the member that knows most of the latest epoch, and that epoch.

        In one epoch all have a beginning of the same order. A later epoch began with all that could be stable.
        """
        core = self.core
        best = max(self.replies.values(), key=lambda reply: reply[1:3], default=None)
        own = core.log.after(core.view.position)
        if best is None or (best.accepted, best.top) <= (core.accepted, core.log.top):
            return core.accepted, own
        before = best.top - len(best.tail) - core.view.position
        return best.accepted, own[:before] + best.tail

    def _open(self, accepted: Epoch, entries: list[Entry]) -> None:
        core = self.core
        core.log.replace(core.view.position, entries)
        core.accepted = self.epoch
        core.outbox.rewind()
        standings = {
            node: Standing(
                reply.incarnation, reply.top if reply.accepted == accepted else reply.delivered, reply.delivered
            )
            for node, reply in self.replies.items()
        }
        core.advance(max([core.stable, *(reply.delivered for reply in self.replies.values())]))
        core.lead(self.sequencer(core, self.epoch, standings))

    def contacts(self) -> set[int]:
        reached = {node for node in self.replies if self.core.ready(node)}
        reached.add(self.core.node)
        return reached

    def tick(self) -> None:
        core = self.core
        wanted = self.wanted()
        for node, incarnation in wanted.items():
            if not self._answered(node, incarnation) and node not in self.probing:
                self.probing.add(node)
                core.out.append(effects.Probe(effects.ALIVE, node, incarnation))
        self._wait(wanted)

    def _wait(self, wanted: dict[int, int]) -> None:
        core = self.core
        waited = core.clock - self.since
        if not quorate(self.contacts(), {core.node, *wanted}):
            if waited > core.settings.release_after:
                core.stand_back()
        elif waited > core.settings.evict_after:
            for node, incarnation in wanted.items():
                if not self._answered(node, incarnation):
                    for other in {node, *self.replies}:
                        core.send_frame(other, Go(self.epoch, node, incarnation))


class Founding(Takeover):
    """Every node of the cluster is asked: all must have no bus, or no agent, before there is a new one.

    Who says that it is a member of a bus ends it. The lock keeps others from founding, or from joining meanwhile.
    """

    def begin(self, number: int) -> None:
        self.none = {node: 0 for node in self.core.nodes if node != self.core.node}
        """Nodes that were not proven to have no agent since the lock was granted."""
        super().begin(number)

    def wanted(self) -> dict[int, int]:
        return {node: self.core.incarnation_of(node) for node in self.none}

    def _ask(self, node: int) -> None:
        core = self.core
        if core.ready(node):
            self.tails[node] = []
            core.send_frame(node, Collect(NOBODY, self.epoch, NO_EPOCH, 0, 0))

    def refused(self, link: Link, frame: Refused) -> None:
        self.core.stand_back()

    def proven(self, lock: str, node: int, incarnation: int) -> None:
        super().proven(lock, node, incarnation)
        self.none.pop(node, None)

    def flush(self) -> None:
        if self.complete(self.wanted()):
            core = self.core
            core.reset()
            core.history = core.node, core.incarnation
            core.learn(self.epoch)
            core.store(Entry(JOIN, core.node, core.incarnation))
            core.lead(self.sequencer(core, self.epoch, {}))

    def _wait(self, wanted: dict[int, int]) -> None:
        if self.core.clock - self.since > self.core.settings.release_after:
            self.core.stand_back()
