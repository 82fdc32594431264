# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the locks' world by one seed: wishes and faults, until all is settled and everything can be had again."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import names
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.core import Core
from simulator.locks.checks import Violation
from simulator.locks.clients import NAMES, NODE, PROCESS, STRENGTH, Client, Foreign, mode_below
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
    for machine in world.machines.values():
        world.after(0.3 * dice.random(), machine.start)
    for _number in range(15 + int(dice.random() * 25)):
        world.after(QUIET * dice.random(), wish, world)
    for _number in range(int(dice.random() * 8)):
        world.after(QUIET * dice.random(), fault, world)
    world.run(QUIET)
    world.crashes = world.sleeps = world.slow_disk = 0.0
    settle(world)
    take_all(world)


def wish(world: World) -> None:
    """Somebody wants something."""
    dice = world.dice
    machine = dice.choice(list(world.machines.values()))
    if machine.down:
        return
    node = machine.node
    held = [belief for belief in world.checks.beliefs if belief.node == node and belief.kind == NODE]
    kind = dice.random()
    if held and kind < 0.35:
        belief = dice.choice(held)
        names_there = [name for name in NAMES if (DOMAIN, names.stored(name)) == belief.key]
        if not _busy(world, machine, names_there):
            world.checks.lets_go(node, belief.key)
            Client(world, machine, "release", {"name": names_there[0], "domain": DOMAIN})
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
        client = Client(
            world, machine, "take", {"name": name, "domain": DOMAIN, "wait": wait, "mode": mode, "kind": PROCESS}
        )
        world.after(wait + 4 * dice.random(), client.die)
        return
    if world.checks.holds(node, (DOMAIN, names.stored(name))) is None and not _busy(world, machine, [name]):
        more: dict[str, Any] = {"eager": dice.random() < 0.2, "recall": dice.random() < 0.2}
        mode = dice.choice(("EX", "EX", "EX", "PW", "PR", "CR"))
        client = Client(world, machine, "take", {"name": name, "domain": DOMAIN, "wait": wait, "mode": mode, **more})
        _maybe_dies(world, client)


def _maybe_dies(world: World, client: Client) -> None:
    if world.dice.random() < 0.1:
        world.after(2 * world.dice.random(), lambda: None if client.done else client.die())


def _busy(world: World, machine: Machine, wanted: list[str]) -> bool:
    """Whether another client of this node is about one of these: who does so has to take care himself."""
    return any(
        client.machine is machine
        and client.verb != "who"
        and set(client.message.get("names") or [client.message["name"]]) & set(wanted)
        for client in world.clients
    ) or any(keeper_busy for keeper_busy in [_names_under_way(machine) & {names.stored(name) for name in wanted}])


def _names_under_way(machine: Machine) -> set[str]:
    """What dead clients have left under way."""
    keeper = machine.keeper
    if keeper is None:
        return set(map(names.stored, NAMES))
    found = set()
    for worker in keeper.workers.values():
        for _slot, what in getattr(worker.job, "locks", ()):
            found.add(names.stored(what["name"]))
        what = getattr(worker.job, "what", None)
        if what is not None:
            found.add(names.stored(what["name"]))
    return found


def _convert(world: World, machine: Machine, belief: Any) -> None:
    name = next(name for name in NAMES if (DOMAIN, names.stored(name)) == belief.key)
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
    elif kind < 0.6:
        world.kill_keeper(node)
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
        if problem is None and not world.clients:
            return
        if world.now > end:
            raise problem or Violation("once", f"{len(world.clients)} clients are not answered")


def take_all(world: World) -> None:
    """Everything is released, and then each node can have each lock in its turn."""
    for belief in list(world.checks.beliefs):
        if belief.kind == NODE:
            machine = world.machines[belief.node]
            name = next(name for name in NAMES if (DOMAIN, names.stored(name)) == belief.key)
            world.checks.lets_go(belief.node, belief.key)
            Client(world, machine, "release", {"name": name, "domain": DOMAIN})
        elif belief.client is not None:
            belief.client.die()
    for machine in world.machines.values():
        keeper = machine.keeper
        for held in keeper.core.holdings if keeper else []:
            if held.what.kind == NODE:
                Client(world, machine, "release", {"name": held.what.name, "domain": DOMAIN})
    settle(world)
    for machine in world.machines.values():
        clients = [
            Client(world, machine, "take", {"name": name, "domain": DOMAIN, "wait": 5, "mode": "EX"}) for name in NAMES
        ]
        world.run(world.now + 6.0)
        for client in clients:
            if client.answer is None or not client.answer.get("held"):
                raise Violation(
                    "nothing lost", f"node {machine.node} cannot have {client.message['name']}: {client.answer}"
                )
        for name in NAMES:
            world.checks.lets_go(machine.node, (DOMAIN, names.stored(name)))
            Client(world, machine, "release", {"name": name, "domain": DOMAIN})
        settle(world)
