# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the record's world: takes and faults by one seed, until all is mended and every node has had a lock."""

from __future__ import annotations

from typing import NamedTuple

from simulator.marks.world import Violation, World

STEPS = 400
SETTLED = 3
"""One in so many runs goes on until all is mended."""

PATIENCE = 6000
"""Steps within which every node has to get a token when all is mended."""


class Result(NamedTuple):
    seed: int
    violation: Violation | None
    answered: int
    retaken: int
    trace: list[str]


def run(seed: int, world: type[World] = World, trace: bool = False) -> Result:
    regions = (3, 1, 3, 2, 5, 3, 4)[seed % 7]
    here = world(seed, (3, 3, 2)[seed % 3], regions, trace=trace)
    violation = None
    try:
        _play(here, seed)
    except Violation as found:
        violation = found
    except Exception as error:  # noqa: BLE001 - whatever a node dies of is a finding
        violation = Violation("no error", f"{type(error).__name__}: {error}")
    return Result(seed, violation, here.answered, here.retaken, here.trace or [])


def _play(world: World, seed: int) -> None:
    for _step in range(STEPS):
        world.step()
        if world.exchange is not None:
            next(world.exchange, None)
        if world.dice.random() < 0.03:
            world.fault()
        if world.dice.random() < 0.015:
            world.mend()
    if seed % SETTLED == 0:
        _settle(world)


def _settle(world: World) -> None:
    """End all faults. Every node must get a token then."""
    world.note("no more faults")
    pace = world.pace
    world.late = 0.0
    world.pace = 1.0
    before: dict[int, int] | None = None
    for _step in range(PATIENCE):
        world.step()
        for region in world.regions:
            region.gone.clear()
        if world.exchange is not None:
            next(world.exchange, None)
        world.mend()
        if before is None:
            if world.exchange is None and all(node.runs() and not node.evicted for node in world.nodes):
                before = {node.number: node.answers for node in world.nodes}
                world.pace = pace
        elif all(node.answers > before[node.number] for node in world.nodes) and world.whole():
            return
    raise Violation("progress", f"{[node.answers for node in world.nodes]} after {before}, whole: {world.whole()}")
