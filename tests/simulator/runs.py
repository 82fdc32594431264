# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the simulator: a world with messages and faults by one seed, until all is settled again."""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import effects
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.core import Core
from simulator.checks import Violation
from simulator.world import DEAD_TIME, World

QUIET = 11.0
"""Seconds after which faults stop and everything is mended."""

PATIENCE = 60.0
"""Seconds that all may take to be settled then."""


class Result(NamedTuple):
    seed: int
    violation: Violation | None
    delivered: int
    seconds: float
    trace: list[str]


def run(seed: int, core: type[Core] = Core, trace: bool = False) -> Result:
    world = World(seed, (3, 3, 4, 4, 5, 2)[seed % 6], core, trace=trace)
    violation = None
    try:
        _play(world)
    except Violation as found:
        violation = found
    except Exception as error:  # noqa: BLE001 - whatever a member dies of is a finding
        violation = Violation("no error", f"{type(error).__name__}: {error}")
    return Result(seed, violation, world.checks.delivered, world.now, world.trace or [])


def _play(world: World) -> None:
    dice = world.dice
    world.stalls = 0.99
    for node in world.nodes:
        world.after(dice.random(), world.start, node)
    for _number in range(18 + int(dice.random() * 14)):
        world.after(1 + dice.random() * (QUIET - 1), world.send, dice.choice(world.nodes), 1 + int(dice.random() * 3))
    for _number in range(3 + int(dice.random() * 5)):
        world.after(2.5 + dice.random() * (QUIET - 3), fault, world)
    world.run(QUIET)
    settle(world)


def settle(world: World) -> None:
    """Mend everything, and wait until all is done that can be."""
    mend(world)
    end = world.now + PATIENCE
    while True:
        world.run(world.now + 0.5)
        unfinished = world.checks.unfinished()
        if unfinished is None:
            break
        if world.now > end:
            raise unfinished
    world.checks.end()


def mend(world: World) -> None:
    """End all faults. What is dead comes back."""
    world.note("no more faults")
    world.healed = True
    for pair in list(world.cuts):
        while world.cuts[pair]:
            world.heal(*pair)
    for (sender, receiver), channel in world.channels.items():
        if channel.muted:
            world.unmute(sender, receiver)
    for node in world.nodes:
        world.slow[node] = 1.0
        world.stalls = 1.0
        process = world.current[node]
        if process and process.runs and process.frozen:
            world.after(0.1, world.unfreeze, process)


def fault(world: World) -> None:
    """Something goes wrong; the sequencer is hit more often than chance would have it."""
    if world.healed:
        return
    dice = world.dice
    kind = int(dice.random() * 13)
    holder = world.holders.get(effects.SEQUENCER)
    node = holder.node if holder and dice.random() < 0.5 else dice.choice(world.nodes)
    other = dice.choice([number for number in world.nodes if number != node])
    seconds = 0.3 + dice.random() * 6
    if kind <= 2:
        world.crash(node)
    elif kind == 3:
        world.crash_node(node, DEAD_TIME + seconds)
    elif kind == 4:
        world.freeze(node, seconds * 0.6)
    elif kind == 5:
        world.freeze_node(node, seconds * 1.2)
    elif kind == 6:
        world.jam(node)
    elif kind == 7:
        world.cut(node, other, seconds * 1.5)
    elif kind == 8:
        for number in world.nodes:
            if number != node:
                world.cut(node, number, seconds)
    elif kind == 9:
        world.mute(node, other, seconds, dice.random() < 0.5)
    elif kind == 10:
        world.note(f"slow {node}")
        world.slow[node] = 10.0
        world.after(seconds, world.slow.__setitem__, node, 1.0)
    elif kind == 11:
        world.lose_sequencer()
        if dice.random() < 0.5:
            world.cut(node, other, 0.4)
    else:
        for _number in range(2):
            world.after(seconds / 2 * dice.random(), kill_sequencer, world)


def kill_sequencer(world: World) -> None:
    """Also one that has only just begun."""
    holder = world.holders.get(effects.SEQUENCER)
    if holder and not world.healed:
        world.crash(holder.node)
        world.after(0.2 + 0.3 * world.dice.random(), kill_successor, world)


def kill_successor(world: World) -> None:
    holder = world.holders.get(effects.SEQUENCER)
    if holder and not world.healed:
        world.crash(holder.node)
