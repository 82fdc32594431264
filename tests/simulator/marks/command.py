# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/simulator/run-marks: many seeds, or one with its history."""

from __future__ import annotations

import argparse
import sys
import time

from simulator.marks import mutants
from simulator.marks.runs import run
from simulator.marks.world import World

DESCRIPTION = """Run the record on disk through simulated clusters: N seeds from S on, with locks and faults, each
checked. On a violation it prints the history of that run, and ends with 1. With --mutant a rule is missing."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/simulator/run-marks", description=DESCRIPTION)
    parser.add_argument("--seeds", type=int, default=1000, metavar="N")
    parser.add_argument("--from", type=int, default=0, metavar="S", dest="first", help="the first seed")
    parser.add_argument("--mutant", choices=sorted(mutants.MUTANTS), metavar="NAME", help=", ".join(mutants.MUTANTS))
    parser.add_argument("--history", action="store_true", help="print the history of the first seed in any case")
    return parser.parse_args()


def main() -> int:
    options = parse()
    world = mutants.MUTANTS[options.mutant].world if options.mutant else World
    if options.history:
        return show(options.first, world)
    started = said = time.monotonic()
    answered = 0
    for done, seed in enumerate(range(options.first, options.first + options.seeds), 1):
        result = run(seed, world)
        answered += result.answered
        if result.violation:
            return show(seed, world)
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"{done} runs, {done / (said - started):.0f}/s", flush=True)
    seconds = time.monotonic() - started
    print(f"{options.seeds} runs from seed {options.first} in {seconds:.1f} s, {answered} tokens, 0 violations")
    return 0


def show(seed: int, world: type[World]) -> int:
    result = run(seed, world, trace=True)
    print("\n".join(result.trace))
    print(f"seed {seed} of {world.__name__}: {result.violation or 'no violation'}")
    return 1 if result.violation else 0


if __name__ == "__main__":
    sys.exit(main())
