# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Those who ask: clients with random wishes, who ask again with the same id when the keeper has died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import holding, names, requests
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode
from simulator.locks.kernel import EX

if TYPE_CHECKING:
    from simulator.locks.world import Keeper, Machine, World

NAMES = ("alpha", "beta", "gamma", "a/name that has to be hashed", "delta")
STRENGTH = ("CR", "PR", "PW", "EX")
GRACE = 15.0
"""Seconds beyond its wait by which a request must have been answered, as a real client waits."""


class Client:
    """One connection with one request at a time. It lives for one wish."""

    def __init__(self, world: World, machine: Machine, verb: str, message: dict[str, Any]) -> None:
        self.world, self.machine, self.verb = world, machine, verb
        self.id = f"r{next(world.numbers)}"
        self.message = {**message, "id": self.id}
        self.asked = world.now
        self.deadline = world.now + float(message.get("wait", 0))
        self.done = False
        self.keeper: Keeper | None = None
        self.gift: list[Any] = []
        self.answer: dict[str, Any] | None = None
        world.clients.append(self)
        machine.clients.add(self)
        world.after(self.deadline - world.now + GRACE, self.late)
        self.connect()

    def connect(self) -> None:
        keeper = self.machine.keeper
        if self.done or keeper is None or not keeper.alive or self.keeper is keeper:
            return
        self.keeper = keeper
        keeper.clients.add(self)
        message = {**self.message, "wait": max(0.0, self.deadline - self.world.now)}
        if self.verb == "take":
            keeper.event("take", self, requests.take(message))
        else:
            keeper.event(self.verb, self, requests.named(message))

    def lost(self, keeper: Keeper) -> None:
        """The connection has ended: it asks again."""
        if self.keeper is keeper:
            self.keeper = None
            self.connect()

    def answered(self, keeper: Keeper, message: dict[str, Any], gift: list[Any]) -> bool:
        if self.done or self.keeper is not keeper:
            return False
        self.world.note("%s answers %s %s: %s", self.machine.node, self.verb, self.message, message)
        self.world.checks.answered(self, message)
        self.end(keeper)
        self.answer = message
        self.gift = gift
        self.world.checks.told(self, message)
        return True

    def late(self) -> None:
        if not self.done:
            self.world.checks.unanswered(self)

    def die(self) -> None:
        """The process is killed. What it holds by descriptors goes with it."""
        keeper = self.keeper
        if not self.done:
            self.world.checks.abandoned(self)
            self.done = True
            self.world.clients.remove(self)
            if keeper is not None and keeper.alive:
                keeper.clients.discard(self)
                keeper.event("gone", self)
        self.let_go()

    def let_go(self) -> None:
        gift, self.gift = self.gift, []
        if gift:
            self.world.checks.dropped(self)
        for one in gift:
            one.close()

    def end(self, keeper: Keeper) -> None:
        self.done = True
        keeper.clients.discard(self)
        if self in self.world.clients:
            self.world.clients.remove(self)

    def power_cut(self) -> None:
        self.done = True
        self.gift = []
        if self in self.world.clients:
            self.world.clients.remove(self)


class Foreign:
    """Another program, on a node of its own, that waits for EX by a blocking open, and gives it back soon."""

    def __init__(self, world: World, domain: str, name: str) -> None:
        self.world, self.key = world, (domain, names.stored(name))
        self.holds = False
        world.manager.waiters.setdefault(self.key, []).append(self.look)
        self.look()

    def look(self) -> None:
        if not self.holds and self.world.manager.recall(self.key, EX):
            self.holds = True
            self.world.manager.waiters[self.key].remove(self.look)


def mode_below(one: str, other: str) -> bool:
    return STRENGTH.index(one) < STRENGTH.index(other)


def excludes(one: str, other: str) -> bool:
    from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import modes

    return not modes.compatible(Mode(one), Mode(other))


NODE, PROCESS = holding.NODE, holding.PROCESS
