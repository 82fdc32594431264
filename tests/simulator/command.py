# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/simulator/run: many seeds, or one with its history."""

from __future__ import annotations

import argparse
import gc
import sys
import time

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.core import Core
from simulator import mutants
from simulator.runs import Result, run

DESCRIPTION = """Run the bus through simulated clusters: N seeds from S on, with messages and faults, each checked.
On a violation it prints the seed and the history of that run, and ends with 1. With --mutant a rule is missing."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/simulator/run", description=DESCRIPTION)
    parser.add_argument("--seeds", type=int, default=1000, metavar="N")
    parser.add_argument("--from", type=int, default=0, metavar="S", dest="first", help="the first seed")
    parser.add_argument("--mutant", choices=sorted(mutants.MUTANTS), metavar="NAME", help=", ".join(mutants.MUTANTS))
    parser.add_argument("--history", action="store_true", help="print the history of the first seed in any case")
    parser.add_argument("--keep-going", action="store_true", help="count violations instead of ending at the first")
    return parser.parse_args()


def main() -> int:
    options = parse()
    core: type[Core] = mutants.MUTANTS[options.mutant].core if options.mutant else Core
    if options.history:
        show(run(options.first, core, trace=True), core)
        return 0
    gc.set_threshold(50_000)  # A run is many small things that live as long as it does.
    found: list[Result] = []
    started = said = time.monotonic()
    delivered = done = 0
    for seed in range(options.first, options.first + options.seeds):
        result = run(seed, core)
        done += 1
        delivered += result.delivered
        if result.violation:
            found.append(result)
            if not options.keep_going:
                break
            print(f"seed {seed}: {result.violation}", flush=True)
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"{done} runs, {done / (said - started):.0f}/s, {len(found)} violations", flush=True)
    seconds = time.monotonic() - started
    if found and not options.keep_going:
        show(run(found[0].seed, core, trace=True), core)
    print(
        f"{done} runs from seed {options.first} in {seconds:.1f} s, {done / seconds:.0f} runs/s, "
        f"{delivered / done:.0f} deliveries a run, {len(found)} violations"
    )
    return 1 if found else 0


def show(result: Result, core: type[Core]) -> None:
    print("\n".join(result.trace))
    print(f"seed {result.seed} of {core.__name__}: {result.violation or 'no violation'}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
