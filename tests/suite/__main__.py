# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bin/test: runs the steps, says how long each command took, and ends with a count."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from suite import stream
from suite.steps import ROOT, STEPS, Command, Step

EPILOG = "Arguments after -- go to the programs of the step: bin/test unit -- -k quorum; bin/test mutants names"


@dataclass(frozen=True)
class Outcome:
    """How one command of a step ended."""

    step: str
    command: str
    seconds: float
    code: int


def parse(arguments: list[str]) -> argparse.Namespace:
    about = "\n".join(
        f"  {step.name:<9} {step.about}{'' if step.by_default else '; only when named'}" for step in STEPS.values()
    )
    parser = argparse.ArgumentParser(
        prog="bin/test",
        usage="%(prog)s [--keep-going] [STEP ...] [-- ARGUMENT ...]",
        description=f"Prove the collection. Steps, in this order:\n{about}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keep-going", action="store_true", help="run the other steps too when one fails")
    parser.add_argument("steps", nargs="*", choices=[*STEPS, "all"], default="all", metavar="STEP")
    own, theirs = split(arguments)
    options = parser.parse_args(own)
    options.arguments = theirs
    return options


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Cut the arguments at the first --, or behind a step that takes names."""
    for place, word in enumerate(arguments):
        if word == "--":
            return arguments[:place], arguments[place + 1 :]
        if word in STEPS and STEPS[word].takes_names:
            rest = arguments[place + 1 :]
            return arguments[: place + 1], rest[1:] if rest[:1] == ["--"] else rest
    return arguments, []


def chosen(names: list[str] | str) -> list[Step]:
    """The named steps in the order in which they run; all means those that run by default."""
    return [step for step in STEPS.values() if step.name in names or ("all" in names and step.by_default)]


def environment() -> dict[str, str]:
    """What every program gets: the tools of .venv, the collection, a UTF-8 locale, output without delay."""
    ours = {
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/tree"),
        "ANSIBLE_NOCOWS": "1",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }
    colours = {"FORCE_COLOR": "1", "ANSIBLE_FORCE_COLOR": "1"} if sys.stdout.isatty() else {"NO_COLOR": "1"}
    return {**os.environ, **ours, **colours}


def run(steps: list[Step], arguments: list[str], keep_going: bool) -> Iterator[Outcome]:
    """Run the steps; after a failure only if asked to."""
    for step in steps:
        for command in step.commands(arguments):
            outcome = execute(step, command)
            yield outcome
            if outcome.code and not keep_going:
                return


def execute(step: Step, command: Command) -> Outcome:
    words = " ".join(command.words)
    print(f"\n── {step.name}: {words}", flush=True)
    started = time.monotonic()
    code = stream.run(command.words, command.directory, environment())
    return Outcome(step.name, words, time.monotonic() - started, code)


def summary(outcomes: list[Outcome]) -> str:
    lines = [
        f"{outcome.seconds:7.1f} s  {'failed' if outcome.code else 'passed'}  {outcome.step:<9} {outcome.command[:80]}"
        for outcome in outcomes
    ]
    failed = {outcome.step for outcome in outcomes if outcome.code}
    passed = {outcome.step for outcome in outcomes} - failed
    total = f"{sum(outcome.seconds for outcome in outcomes):7.1f} s"
    return "\n".join(["", *lines, total, "", f"{len(passed)} passed, {len(failed)} failed"])


def main() -> int:
    options = parse(sys.argv[1:])
    outcomes: list[Outcome] = []
    try:
        for outcome in run(chosen(options.steps), options.arguments, options.keep_going):
            outcomes.append(outcome)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    print(summary(outcomes), flush=True)
    return 1 if any(outcome.code for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
