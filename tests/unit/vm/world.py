# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model of nodes, their locks, processes and libvirts, in which the guard's calls run step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import guard, machine
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.guard import Held, Holder, Taken, Verdict, View
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.machine import Machine

UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"


def xml(uuid: str = UUID, name: str = "web") -> str:
    return (
        f"<domain type='kvm' id='1'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n  <memory>1</memory>\n</domain>\n"
    )


@dataclass(eq=False)
class Node:
    """A node: is it alive, does o2keep answer, the machine's process if there is one, what `settle` is to do."""

    number: int
    alive: bool = True
    keeper: bool = True
    pid: int = 0
    settling: list[int] = field(default_factory=list)
    """For each unit of `settle` the token of the lock that it is to release in the end, or 0."""

    migration: Node | None = None
    """The source of the migration by which the process of this node has come, or is to come."""


class World:
    """Locks are atomic, a dead node's are free at once; everything else can come in between two requests."""

    def __init__(self, nodes: int = 3) -> None:
        self.nodes = [Node(number + 1) for number in range(nodes)]
        self.locks: dict[str, tuple[Node, int, float]] = {}
        self.token = 100
        self.now = 0.0
        self.pids = 1000

    def answer(self, node: Node, ask: guard.Ask) -> Any:
        if isinstance(ask, guard.Pause):
            return None
        if not node.keeper and not isinstance(ask, guard.Settle):
            raise O2cbError("o2keep does not answer")
        if isinstance(ask, guard.Look):
            return self.view(node, ask.machine)
        if isinstance(ask, guard.Settle):
            node.settling.append(ask.ending)
            return None
        if isinstance(ask, guard.Who):
            return self._holder(node, ask.lock)
        if isinstance(ask, guard.Release):
            if self.locks.get(ask.lock, (None, 0))[:2] == (node, ask.token):
                del self.locks[ask.lock]
            return None
        if ask.lock in self.locks:
            return Taken(False, reason="busy", holder=self._holder(node, ask.lock))
        self.token += 1
        self.locks[ask.lock] = (node, self.token, self.now)
        return Taken(True, self.token)

    def view(self, node: Node, found: Machine) -> View:
        return View(self._held(node, found.run), self._held(node, found.incoming), (node.pid,) if node.pid else ())

    def _held(self, node: Node, lock: str) -> Held | None:
        holder, token, since = self.locks.get(lock, (None, 0, 0.0))
        return Held(token, self.now - since) if holder is node else None

    def _holder(self, node: Node, lock: str) -> Holder | None:
        if lock not in self.locks:
            return None
        holder = self.locks[lock][0]
        return Holder(f"node {holder.number}", holder is node)

    def launch(self, node: Node) -> None:
        self.pids += 1
        node.pid = self.pids

    def die(self, node: Node) -> None:
        node.alive, node.pid, node.migration = False, 0, None
        node.settling.clear()
        for name in [name for name, (holder, _token, _since) in self.locks.items() if holder is node]:
            del self.locks[name]

    def holder(self, prefix: str = machine.RUN) -> int:
        """The number of the node that holds the lock, 0 for none."""
        found = self.locks.get(prefix + UUID)
        return found[0].number if found else 0

    def steps(self, node: Node, call: guard.Call[Any]) -> Iterator[Any]:
        """Run a call, one request at a time; the last thing that comes is its result."""
        try:
            ask = next(call)
            while True:
                try:
                    reply = self.answer(node, ask)
                except O2cbError as error:
                    yield None
                    ask = call.throw(error)
                else:
                    yield None
                    ask = call.send(reply)
        except StopIteration as end:
            yield ("done", end.value)
        except O2cbError as error:
            yield ("done", Verdict(False, str(error)))

    def run(self, node: Node, call: guard.Call[Any]) -> Any:
        """Run a call to its end."""
        for event in self.steps(node, call):
            if event is not None:
                return event[1]
        raise AssertionError("a call has an end")
