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
MANY = tuple(f"of many {number:02}" for number in range(20))
"""Names that are taken by one request, all or none."""

MORE = tuple(f"of more {number:02}" for number in range(40))
"""The same, and more than there are slots in a rack."""

BY_STORED = {names.stored(name): name for name in (*NAMES, *MANY, *MORE)}
PAGE = 3
"""Locks in one answer to `list`."""

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
        self.first: Keeper | None = None
        self.gift: list[Any] = []
        self.answer: dict[str, Any] | None = None
        self.group = f"/{self.id}" if message.get("kind") == holding.CGROUP else ""
        if self.group:
            machine.groups.add(self.group)
        world.clients.append(self)
        machine.clients.add(self)
        world.after(self.deadline - world.now + GRACE, self.late)
        self.connect()

    def connect(self) -> None:
        keeper = self.machine.keeper
        if self.done or keeper is None or not keeper.alive or not keeper.listens or self.keeper is keeper:
            return
        self.keeper = keeper
        self.first = self.first or keeper
        keeper.clients.add(self)
        self.send(keeper)

    def send(self, keeper: Keeper) -> None:
        message = {**self.message, "wait": max(0.0, self.deadline - self.world.now)}
        if self.verb == "take":
            keeper.event("take", self, requests.take(message, self.group))
        elif self.verb == "status":
            keeper.event("status", self, {})
        elif self.verb == "label":
            keeper.event("label", self, requests.named(message), requests.owner(message))
        else:
            keeper.event(self.verb, self, requests.named(message))

    def names(self) -> list[str]:
        """The locks that it is about."""
        single = [self.message["name"]] if "name" in self.message else []
        return self.message.get("names") or single

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
            self.world.after(0.02 * self.world.dice.random(), self.hang_up, keeper)
        self.let_go()

    def hang_up(self, keeper: Keeper | None) -> None:
        """A keeper that reads nothing more does not see it."""
        if keeper is not None and keeper.alive and keeper.listens:
            keeper.clients.discard(self)
            keeper.event("gone", self)

    def let_go(self) -> None:
        gift, self.gift = self.gift, []
        if gift or self.group:
            self.world.checks.dropped(self)
        self.machine.groups.discard(self.group)
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


class Careless(Client):
    """Asks once: what is there after a restart may be somebody else's.

    Whoever has acquired the lock while this one waited for a keeper loses it: it is this one's carelessness.
    """

    def send(self, keeper: Keeper) -> None:
        for name in self.names():
            self.world.checks.lets_go(self.machine.node, (self.message["domain"], names.stored(name)))
        super().send(keeper)

    def lost(self, keeper: Keeper) -> None:
        if self.keeper is keeper and not self.done:
            self.die()


class Leaver(Client):
    """Wants the node to leave all domains, and stays for as long as nothing is to be joined again."""

    def __init__(self, world: World, machine: Machine, stays: float) -> None:
        self.stays = stays
        super().__init__(world, machine, "leave", {"wait": 60.0})

    def send(self, keeper: Keeper) -> None:
        keeper.event("leave", self)

    def answered(self, keeper: Keeper, message: dict[str, Any], gift: list[Any]) -> bool:
        self.world.after(self.stays, self.hang_up, keeper)
        return super().answered(keeper, message, gift)


class Lister(Client):
    """Reads the list of locks, page by page, from one life of a keeper."""

    def __init__(self, world: World, machine: Machine) -> None:
        self.listed: list[dict[str, Any]] = []
        self.before = [one for one in world.checks.beliefs if one.node == machine.node]
        super().__init__(world, machine, "list", {})

    def send(self, keeper: Keeper) -> None:
        self.listed = []
        self.page(keeper, 0)

    def page(self, keeper: Keeper, after: int) -> None:
        if self.keeper is keeper and keeper.alive and keeper.listens and not self.done:
            keeper.event("listing", self, after, PAGE)

    def answered(self, keeper: Keeper, message: dict[str, Any], gift: list[Any]) -> bool:
        self.listed += message["locks"]
        if message["more"]:
            self.world.after(0.05 * self.world.dice.random(), self.page, keeper, message["more"])
            return True
        return super().answered(keeper, message, gift)


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
