# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the locks' world by one seed: wishes and faults, until all is settled and everything can be had again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import names
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.core import Core
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.holding import CGROUP
from simulator.locks.checks import Violation
from simulator.locks.clients import (
    BY_STORED,
    MANY,
    MORE,
    NAMES,
    NODE,
    PROCESS,
    STRENGTH,
    Careless,
    Client,
    Foreign,
    Leaver,
    Lister,
    mode_below,
)
from simulator.locks.world import Machine, World

QUIET = 8.0
"""Seconds after which nothing goes wrong any more."""

PATIENCE = 90.0
DOMAIN = "o2cb"


class Result(NamedTuple):
    seed: int
    violation: Violation | None
    grants: int
    seconds: float
    trace: list[str]


def run(seed: int, core: type[Core] = Core, trace: bool = False) -> Result:
    world = World(seed, (2, 3, 2, 1)[seed % 4], core, trace=trace)
    violation = None
    try:
        _play(world)
    except Violation as found:
        violation = found
    except Exception as error:  # noqa: BLE001 - whatever a keeper dies of is a finding
        if trace:
            import traceback

            world.note("%s", traceback.format_exc())
        violation = Violation("no error", f"{type(error).__name__}: {error}")
    return Result(seed, violation, world.checks.grants, world.now, world.trace or [])


def _play(world: World) -> None:
    dice = world.dice
    world.crashes = (0.0, 0.002, 0.01, 0.03)[int(dice.random() * 4)]
    world.sleeps = (0.0, 0.0, 0.01, 0.05)[int(dice.random() * 4)]
    world.slow_disk = (0.0, 0.0, 0.3)[int(dice.random() * 3)]
    world.slow_join = (0.0, 0.0, 0.0, 0.5)[int(dice.random() * 4)]
    world.damage = (0.0, 0.0, 0.3)[int(dice.random() * 3)]
    for machine in world.machines.values():
        world.after(0.3 * dice.random(), machine.start)
    for _number in range(15 + int(dice.random() * 25)):
        world.after(QUIET * dice.random(), wish, world)
    for _number in range(int(dice.random() * 8)):
        world.after(QUIET * dice.random(), fault, world)
    world.run(QUIET)
    world.crashes = world.sleeps = world.slow_disk = world.slow_join = world.damage = 0.0
    settle(world)
    take_all(world)


def wish(world: World) -> None:
    """Somebody wants something."""
    dice = world.dice
    machine = dice.choice(list(world.machines.values()))
    if machine.down:
        return
    node = machine.node
    if dice.random() < 0.12:
        _unusual(world, machine)
        return
    held = [belief for belief in world.checks.beliefs if belief.node == node and belief.kind == NODE]
    kind = dice.random()
    if held and kind < 0.35:
        belief = dice.choice(held)
        name = BY_STORED[belief.key[1]]
        if name in MANY:
            _release_many(world, machine)
        elif not _busy(world, machine, [name]):
            world.checks.lets_go(node, belief.key)
            Client(world, machine, "release", {"name": name, "domain": DOMAIN})
        return
    if held and kind < 0.5:
        _convert(world, machine, dice.choice(held))
        return
    if kind < 0.58:
        Client(world, machine, "who", {"name": dice.choice(NAMES), "domain": DOMAIN})
        return
    if kind < 0.63 and world.clients:
        dice.choice(world.clients).die()
        return
    wait = dice.choice((0.0, 0.0, 0.5, 3.0, 8.0))
    if kind < 0.72:
        some = dice.sample(NAMES, 1 + int(dice.random() * 3))
        free = [name for name in some if world.checks.holds(node, (DOMAIN, names.stored(name))) is None]
        if free and not _busy(world, machine, free):
            client = Client(world, machine, "take", {"names": free, "domain": DOMAIN, "wait": wait, "mode": "EX"})
            _maybe_dies(world, client)
        return
    name = dice.choice(NAMES)
    if kind < 0.85:
        mode = dice.choice(("EX", "EX", "PR", "CR"))
        life = PROCESS if dice.random() < 0.8 else CGROUP
        client = Client(
            world, machine, "take", {"name": name, "domain": DOMAIN, "wait": wait, "mode": mode, "kind": life}
        )
        world.after(wait + 4 * dice.random(), client.die)
        return
    if world.checks.holds(node, (DOMAIN, names.stored(name))) is None and not _busy(world, machine, [name]):
        more: dict[str, Any] = {"eager": dice.random() < 0.2, "recall": dice.random() < 0.2}
        mode = dice.choice(("EX", "EX", "EX", "PW", "PR", "CR"))
        client = Client(world, machine, "take", {"name": name, "domain": DOMAIN, "wait": wait, "mode": mode, **more})
        _maybe_dies(world, client)


def _unusual(world: World, machine: Machine) -> None:
    """What is wanted more rarely."""
    dice, kind = world.dice, int(world.dice.random() * 9)
    if kind < 2:
        Lister(world, machine)
    elif kind == 2:
        Client(world, machine, "status", {})
    elif kind == 3:
        Client(
            world, machine, "label", {"name": dice.choice(NAMES), "domain": DOMAIN, "owner": f"label {dice.random()}"}
        )
    elif kind == 4:
        # More shared locks of one name than there are lanes at first.
        name = dice.choice(NAMES)
        for _number in range(6):
            message: dict[str, Any] = {"name": name, "domain": DOMAIN, "wait": 3.0, "mode": "CR", "kind": PROCESS}
            world.after(3 + 4 * dice.random(), Client(world, machine, "take", message).die)
    elif kind == 8:
        # Whoever takes it meanwhile is told, or has it.
        under_way = [name for client in world.clients if client.machine is machine for name in client.names()]
        if under_way:
            name = dice.choice(under_way)
            world.checks.lets_go(machine.node, (DOMAIN, names.stored(name)))
            Careless(world, machine, "release", {"name": name, "domain": DOMAIN})
    elif kind == 5:
        if not _busy(world, machine, list(MANY)) and not _has_some(world, machine, MANY):
            world.many = True
            message = {"names": list(MANY), "domain": DOMAIN, "wait": 3.0, "mode": dice.choice(("EX", "PR"))}
            _maybe_dies(world, Client(world, machine, "take", message))
    else:
        if dice.random() < 0.7 and not _busy(world, machine, list(BY_STORED.values())):
            release_all(world, machine)
        world.after(0.5 * dice.random(), _leave, world, machine, 2 * dice.random())


def _leave(world: World, machine: Machine, stays: float) -> None:
    Leaver(world, machine, stays)


def _has_some(world: World, machine: Machine, wanted: Sequence[str]) -> bool:
    return any(world.checks.holds(machine.node, (DOMAIN, names.stored(name))) for name in wanted)


def _release_many(world: World, machine: Machine) -> None:
    if not _busy(world, machine, list(MANY)):
        for name in MANY:
            world.checks.lets_go(machine.node, (DOMAIN, names.stored(name)))
        Client(world, machine, "release", {"names": list(MANY), "domain": DOMAIN})


def _maybe_dies(world: World, client: Client) -> None:
    if world.dice.random() < 0.1:
        seconds = world.dice.choice((2.0, 0.02)) * world.dice.random()
        world.after(seconds, lambda: None if client.done else client.die())


def _busy(world: World, machine: Machine, wanted: list[str]) -> bool:
    """Whether another client of this node is about one of these: who does so has to take care himself."""
    return any(
        client.machine is machine and client.verb != "who" and set(client.names()) & set(wanted)
        for client in world.clients
    ) or any(keeper_busy for keeper_busy in [_names_under_way(machine) & {names.stored(name) for name in wanted}])


def _names_under_way(machine: Machine) -> set[str]:
    """What dead clients have left under way."""
    keeper = machine.keeper
    if keeper is None:
        return set(BY_STORED)
    found = set()
    for worker in keeper.workers.values():
        for _slot, what in getattr(worker.job, "locks", ()):
            found.add(names.stored(what["name"]))
        what = getattr(worker.job, "what", None)
        if what is not None:
            found.add(names.stored(what["name"]))
    return found


def _convert(world: World, machine: Machine, belief: Any) -> None:
    name = BY_STORED[belief.key[1]]
    mode = world.dice.choice([mode for mode in STRENGTH if mode != belief.mode])
    if _busy(world, machine, [name]):
        return
    if mode_below(mode, belief.mode):
        world.checks.falls(machine.node, belief.key, mode)
    Client(world, machine, "take", {"name": name, "domain": DOMAIN, "wait": 2 * world.dice.random(), "mode": mode})


def fault(world: World) -> None:
    """Something goes wrong."""
    dice = world.dice
    node = dice.choice(list(world.machines))
    kind = dice.random()
    if kind < 0.35:
        world.kill_worker(node)
    elif kind < 0.53:
        world.kill_keeper(node)
    elif kind < 0.6:
        keeper = world.machines[node].keeper
        if keeper is not None:
            keeper.terminate()
    elif kind < 0.7:
        world.kill_node(node)
    elif kind < 0.85:
        foreign = Foreign(world, DOMAIN, dice.choice(NAMES))
        world.after(6.0, foreign.look)
    else:
        for number in range(3):
            world.after(0.01 * number * dice.random(), world.kill_worker, node)


def settle(world: World) -> None:
    """Wait until all is done that can be."""
    end = world.now + PATIENCE
    while True:
        world.run(world.now + 1.0)
        problem = world.checks.settled()
        leaves = any(machine.keeper and machine.keeper.core.leaver for machine in world.machines.values())
        if problem is None and not world.clients and not leaves:
            return
        if world.now > end:
            raise problem or Violation("once", f"{len(world.clients)} clients are not answered")


def release_all(world: World, machine: Machine) -> None:
    """Nobody of this node relies on anything any more."""
    for belief in list(world.checks.beliefs):
        if belief.node != machine.node:
            continue
        if belief.kind == NODE:
            world.checks.lets_go(belief.node, belief.key)
            Client(world, machine, "release", {"name": BY_STORED[belief.key[1]], "domain": DOMAIN})
        elif belief.client is not None:
            belief.client.die()


def take_all(world: World) -> None:
    """Everything is released, and then each node can have each lock in its turn."""
    for machine in world.machines.values():
        release_all(world, machine)
        keeper = machine.keeper
        assert keeper is not None
        for held in keeper.core.holdings:
            if held.what.kind == NODE:
                Client(world, machine, "release", {"name": held.what.name, "domain": DOMAIN})
        for slot in list(keeper.core.quarantine):
            Client(world, machine, "release", {"name": f"slot:{slot}", "domain": DOMAIN})
    settle(world)
    for machine in world.machines.values():
        wanted: list[dict[str, Any]] = [{"name": name} for name in NAMES]
        if world.many:
            wanted.append({"names": list(MORE)})
        clients = [Client(world, machine, "take", {"domain": DOMAIN, "wait": 5, "mode": "EX", **one}) for one in wanted]
        world.run(world.now + 6.0)
        for client in clients:
            if client.answer is None or not client.answer.get("held"):
                text = f"node {machine.node} cannot have {client.names()}: {client.answer}"
                raise Violation("nothing lost", text)
        for name in BY_STORED.values():
            world.checks.lets_go(machine.node, (DOMAIN, names.stored(name)))
        for one in wanted:
            Client(world, machine, "release", {"domain": DOMAIN, **one})
        settle(world)
