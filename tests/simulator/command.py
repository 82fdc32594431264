# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/simulator/run: many seeds of a world, or one with its history."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from simulator import mutants, runs
from simulator.locks import mutants as lock_mutants
from simulator.locks import runs as lock_runs

DESCRIPTION = """Run a world of the simulator: N seeds from S on, with wishes and faults, each checked. The bus are
agents that send messages, the locks are keepers with their workers, clients and lock manager. On a violation it prints
the seed and the history of that run, and ends with 1. With --mutant a rule is missing."""
PORTION = 50
"""Seeds that a process is given at a time."""


class Kind(NamedTuple):
    """A world: its runs, its mutants, and what is counted in a run."""

    run: Callable[..., Any]
    mutants: list[str]
    mutant: Callable[[str], Any]
    counted: str


WORLDS = {
    "bus": Kind(runs.run, sorted(mutants.MUTANTS), lambda name: mutants.MUTANTS[name].core, "delivered"),
    "locks": Kind(lock_runs.run, sorted(lock_mutants.MUTANTS), lock_mutants.planted, "grants"),
}


class Portion(NamedTuple):
    """Seeds for a process."""

    world: str
    mutant: str
    first: int
    end: int
    keep_going: bool


class Done(NamedTuple):
    """What came of a portion: runs, things counted in them, and violations by their seeds."""

    runs: int
    counted: int
    violations: list[tuple[int, str]]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/simulator/run", description=DESCRIPTION)
    parser.add_argument("world", choices=sorted(WORLDS), nargs="?", default="bus")
    parser.add_argument("--seeds", type=int, default=1000, metavar="N")
    parser.add_argument("--from", type=int, default=0, metavar="S", dest="first", help="the first seed")
    parser.add_argument("--mutant", metavar="NAME", default="", help="a name of none lists them")
    parser.add_argument("--history", action="store_true", help="print the history of the first seed in any case")
    parser.add_argument("--keep-going", action="store_true", help="count violations instead of ending at the first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    options = parser.parse_args()
    known = WORLDS[options.world].mutants
    if options.mutant and options.mutant not in known:
        parser.error(f"there is no mutant {options.mutant!r} of the {options.world}: {', '.join(known)}")
    return options


def main() -> int:
    options = parse()
    if options.history:
        show(options, options.first)
        return 0
    started = said = time.monotonic()
    done = counted = 0
    found: list[tuple[int, str]] = []
    for one in play(options):
        done, counted, found = done + one.runs, counted + one.counted, found + one.violations
        if found and not options.keep_going:
            break
        for seed, violation in one.violations:
            print(f"seed {seed}: {violation}", flush=True)
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"{done} runs, {done / (said - started):.0f}/s, {len(found)} violations", flush=True)
    seconds = time.monotonic() - started
    if found and not options.keep_going:
        show(options, min(found)[0])
    print(
        f"{done} runs of the {options.world} from seed {options.first} in {seconds:.1f} s, "
        f"{done / seconds:.0f} runs/s, {counted / done:.0f} {WORLDS[options.world].counted} a run, "
        f"{len(found)} violations"
    )
    return 1 if found else 0


def play(options: argparse.Namespace) -> Iterator[Done]:
    """All seeds, in portions, by as many processes as were asked for."""
    last = options.first + options.seeds
    portions = [
        Portion(options.world, options.mutant, first, min(first + PORTION, last), options.keep_going)
        for first in range(options.first, last, PORTION)
    ]
    with multiprocessing.Pool(options.jobs) as pool:
        yield from pool.imap(play_portion, portions)


def play_portion(portion: Portion) -> Done:
    gc.set_threshold(50_000)  # A run is many small things that live as long as it does.
    world = WORLDS[portion.world]
    more = [world.mutant(portion.mutant)] if portion.mutant else []
    violations: list[tuple[int, str]] = []
    counted = done = 0
    for seed in range(portion.first, portion.end):
        result = world.run(seed, *more)
        done += 1
        counted += getattr(result, world.counted)
        if result.violation:
            violations.append((seed, str(result.violation)))
            if not portion.keep_going:
                break
    return Done(done, counted, violations)


def show(options: argparse.Namespace, seed: int) -> None:
    world = WORLDS[options.world]
    result = world.run(seed, *([world.mutant(options.mutant)] if options.mutant else []), trace=True)
    print("\n".join(result.trace))
    print(f"seed {seed} of the {options.world}: {result.violation or 'no violation'}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
