# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold in every run, whatever happens. The checks see what members deliver and send, and what is true of
locks and processes; of the inside of a member only which entries it has stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.effects import (
    ASKED,
    DECLARED_DOWN,
    FOREIGN,
    LOST_ALIVE,
    NO_ALIVE,
    NewView,
    Sent,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.view import (
    AGENT_DOWN,
    JOIN,
    MESSAGE,
    Entry,
    Ident,
    View,
    quorate,
)

if TYPE_CHECKING:
    from simulator.world import Process, World


class Violation(Exception):
    """An invariant does not hold. `name` is that of the invariant."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class History:
    """One bus from its founding: the order as its first deliverers have it.

    It can branch at a node that was frozen, declared down, and thaws when all who declared it are gone: for a moment it
    goes on alone, or with one that joins. That is another bus, for no member of the one takes part in the other.
    """

    def __init__(self) -> None:
        self.order: list[Entry] = []
        self.view = View()
        self.downs: dict[Ident, int] = {}
        self.joins: dict[Ident, int] = {}
        self.places: dict[Ident, dict[int, int]] = {}
        """Position of each message, by counter, by sender."""
        self.branches: list[History] = []

    def has(self, ident: Ident, position: int) -> bool:
        """Whether that one is a member at a position."""
        return 0 < self.joins.get(ident, 0) <= position < self.downs.get(ident, position + 1)

    def branch(self, position: int) -> History:
        """Another order from this position on."""
        other = History()
        for place, entry in enumerate(self.order[: position - 1], 1):
            other.add(place, entry)
        self.branches.append(other)
        return other

    def add(self, position: int, entry: Entry) -> None:
        kind, ident = entry.kind, entry[1:3]
        if kind == MESSAGE:
            self.places.setdefault(ident, {})[entry.counter] = position
        elif kind == JOIN:
            self.joins[ident] = position
        elif kind == AGENT_DOWN:
            self.downs[ident] = position
        self.order.append(entry)
        self.view.apply(entry)


class Checks:
    """Looks at each delivery when it happens, and at the whole when the run is over."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.histories: dict[Ident, History] = {}
        self.delivered = 0

    def of(self, process: Process) -> History | None:
        return process.branch or self.histories.get(process.core.history)

    def _history(self, process: Process, position: int, entry: Entry) -> History:
        """The order that a process has part in."""
        name = process.core.history
        history = self.of(process)
        if history is None:
            history = self.histories[name] = History()
        there = history.order[position - 1 : position]
        if there == [entry] or (process.position and not there):
            return history
        for branch in history.branches:
            if branch.order[position - 1 : position] == [entry] or (there and len(branch.order) == position - 1):
                process.branch = branch  # A new member, where nothing is there yet, was welcomed on that one.
                return branch
        if there:
            if process.zombie and not history.has((process.node, process.incarnation), position):
                process.branch = history.branch(position)
                return process.branch
            raise Violation(
                "same order",
                f"{process} delivers {show(entry)} at {position}, others {show(there[0])}",
            )
        return history

    def deliver(self, process: Process, position: int, entry: Entry) -> None:
        self.delivered += 1
        history = self._history(process, position, entry)
        self._contiguous(process, position, entry)
        self._epoch(process, position)
        last = len(history.order)
        if position <= last:
            return
        if position > last + 1:
            raise Violation("no gap", f"{process} delivers {position} while the last anywhere is {last}")
        self._stored(process, position, entry, history)
        self._first(position, entry, history)
        history.add(position, entry)

    def _contiguous(self, process: Process, position: int, entry: Entry) -> None:
        if process.position == 0:
            if entry[:3] != (JOIN, process.node, process.incarnation):
                raise Violation("nothing before the join", f"{process} first delivers {show(entry)} at {position}")
        elif position <= process.position:
            raise Violation("no duplicate", f"{process} delivers {position} again after {process.position}")
        elif position != process.position + 1:
            raise Violation("no gap", f"{process} delivers {position} after {process.position}")
        process.position = position

    def _epoch(self, process: Process, position: int) -> None:
        """Who is told what is stable is told in the epoch it has promised last. A sequencer finds out by itself."""
        cause = process.cause
        if (
            process.core.role is None
            and cause is not None
            and process.core.history == process.bus
            and cause < process.promised
        ):
            raise Violation(
                "no delivery from an old epoch",
                f"{process} delivers {position} by a frame of {cause} after its promise to {process.promised}",
            )

    def _stored(self, process: Process, position: int, entry: Entry, history: History) -> None:
        """Delivered means stored by every member that lives, and by the one who joins with this entry.

        Who was not told that its join is stable can have turned away, but only from one that is declared down.
        """
        needed = dict(history.view.members)
        if entry.kind == JOIN and not process.zombie:
            needed[entry.node] = entry.incarnation
        for node, incarnation in needed.items():
            other = self.world.running(node, incarnation)
            if other is not None and other.has_alive and other.core.log.top < position:
                raise Violation(
                    "stable before delivered", f"{process} delivers {position}, which {other} has not stored"
                )

    def _first(self, position: int, entry: Entry, history: History) -> None:
        kind, node, incarnation = entry[:3]
        ident = node, incarnation
        if kind == MESSAGE:
            if history.view.members.get(node) != incarnation:
                raise Violation("no old incarnation", f"{show(entry)} at {position}, where that is no member")
            places = history.places.get(ident, {})
            if entry.counter in places:
                raise Violation("no duplicate", f"{show(entry)} at {position} and at {places[entry.counter]}")
            roots = self.histories.values()
            if history in roots and any(entry.counter in other.places.get(ident, ()) for other in roots):
                raise Violation("no duplicate", f"{show(entry)} at {position}, and before on another bus")
            if entry.counter != len(places) + 1:
                raise Violation("per-sender order", f"{show(entry)} at {position} after {len(places)} of that sender")
        elif kind == JOIN:
            if node in history.view.members:
                raise Violation("down before join", f"{show(entry)} at {position}, and its node is still a member")
            if ident in history.joins:
                raise Violation("no old incarnation", f"{show(entry)} at {position}, which has joined before")
        elif kind == AGENT_DOWN:
            if history.view.members.get(node) != incarnation:
                raise Violation("down once", f"{show(entry)} at {position}, which is no member")
            if self.world.holds_alive(node, incarnation):
                raise Violation("down is true", f"{show(entry)} at {position}, and it holds alive-{node}")
        elif not self.world.node_was_down(node, incarnation):
            raise Violation("down is true", f"{show(entry)} at {position}, and its node did not go down")

    def sent(self, process: Process, effect: Sent) -> None:
        """The call of `send` returns: the message is delivered here, and at that position."""
        history = self.of(process)
        places = history.places.get((process.node, process.incarnation), {}) if history else {}
        place = places.get(effect.counter)
        if place != effect.position or effect.position > process.position:
            raise Violation("sent means delivered", f"{process} is told {effect}, which is at {place}")

    def new_view(self, process: Process, effect: NewView) -> None:
        history = self.of(process)
        if history and effect.position == len(history.order) and dict(effect.members) != history.view.members:
            raise Violation("same view", f"{process} has {effect}, others {history.view.members}")

    def bounds(self, process: Process) -> None:
        """What a member keeps is limited: the window, and some view changes."""
        core = process.core
        limit = core.settings.window + 4 * len(core.nodes) + 8
        if len(core.log.entries) > limit or len(core.outbox.messages) > core.settings.queue:
            raise Violation("bounded", f"{process} keeps {len(core.log.entries)} entries")

    def gives_up(self, process: Process, reason: str) -> None:
        """Nobody gives up who has most of the view, unless the sequencer asked it to."""
        core = process.core
        members = core.view.members
        alive = {node for node, born in members.items() if self.world.holds_alive(node, born)}
        linked = {node for node in alive if core.reaches(node, members[node])} | {process.node}
        if (
            reason not in (DECLARED_DOWN, FOREIGN, ASKED, NO_ALIVE, LOST_ALIVE)
            and len(linked) > 1
            and quorate(linked, alive)
        ):
            raise Violation("gives up for cause", f"{process}: {reason}; it reaches {linked} of {alive}")
        if reason == NO_ALIVE and self.world.holders.get(process.node) is None:
            raise Violation("gives up for cause", f"{process}: {reason}; only a probe had it")

    def numbers(self, process: Process, entry: Entry) -> None:
        """A down is numbered when it is true, a join when the new one has the state: both directions work."""
        if entry.kind == AGENT_DOWN and self.world.holds_alive(entry.node, entry.incarnation):
            raise Violation("down is true", f"{process} numbers {show(entry)}, which holds alive-{entry.node}")
        if entry.kind != JOIN:
            return
        joining = self.world.running(entry.node, entry.incarnation)
        if joining and not process.zombie and joining.core.history != process.core.history:
            raise Violation("join after proof", f"{process} numbers {show(entry)}, which has no state yet")

    def unfinished(self) -> Violation | None:
        """What is still to come after the faults have stopped; None when all is done."""
        world = self.world
        processes = world.processes()
        if len(processes) < len(world.nodes):
            return Violation("progress", "not every node has an agent")
        histories = {id(self.of(process)) for process in processes}
        history = self.of(processes[0])
        if len(histories) > 1 or history is None:
            return Violation("progress", f"{len(histories)} histories")
        for ident in history.view.members.items():
            if world.running(*ident) is None:
                return Violation("every end is told", f"{ident} is gone and no down of it was delivered")
        for process in processes:
            if process.incarnation != history.view.members.get(process.node):
                return Violation("progress", f"{process} is no member")
            if process.position != len(history.order):
                return Violation("delivered everywhere", f"{process} is at {process.position} of {len(history.order)}")
            if process.core.outbox.messages:
                return Violation("progress", f"{process} has messages that are not through")
        return None

    def end(self) -> None:
        """Who lives has missed nothing of a bus that is gone, in which others knew it as a member."""
        for process in self.world.processes():
            for name, history in self.histories.items():
                joined = history.joins.get((process.node, process.incarnation), 0)
                if history is not self.of(process) and 0 < joined < len(history.order):
                    raise Violation(
                        "delivered everywhere", f"{process} left {name}, which went on to {len(history.order)} with it"
                    )


def show(entry: Entry) -> str:
    who = f"{entry.node}.{entry.incarnation}"
    if entry.kind == MESSAGE:
        return f"message {entry.counter} of {who}"
    return f"{'join' if entry.kind == JOIN else 'agent down' if entry.kind == AGENT_DOWN else 'node down'} of {who}"
