# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each step of bin/test runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from suite import sanity

ROOT = Path(__file__).parents[2]
FOR_NODES = ["plugins/modules", "plugins/module_utils"]
LAB = os.environ.get("O2CB_LAB", "test")
"""A lab of its own, so that the one of bin/demo is left alone; two runs at the same time need a name each. After a
failure it stays, unless --keep-going."""

EXPERIMENTAL = ("libvirt", "locks", "messages", "resources")
"""Scenarios of what is off by default."""


@dataclass(frozen=True)
class Command:
    """One program of a step, run in a directory."""

    words: list[str]
    directory: Path = field(default=ROOT)


def lint(paths: list[str]) -> Iterator[Command]:
    yield Command(["ruff", "check", *paths])
    yield Command(["ruff", "format", "--check", *paths])
    yield Command(["vermin", "--quiet", "--no-tips", "--violations", "--target=3.8-", *FOR_NODES])
    yield Command(["yamllint", "--strict", *(paths or ["."])])
    yield Command(["ansible-lint", *paths])
    yield Command(["antsibull-changelog", "lint"])


def types(arguments: list[str]) -> Iterator[Command]:
    yield Command(["mypy", *arguments])


def unit(arguments: list[str]) -> Iterator[Command]:
    yield Command(["pytest", "--quiet", *arguments])


def simulator(arguments: list[str]) -> Iterator[Command]:
    """A million in a row is for whoever changes the bus or the locks: bin/test simulator -- locks --seeds 1000000."""
    if arguments:
        yield Command(["tests/simulator/run", *arguments])
        return
    for world in ("bus", "locks"):
        yield Command(["tests/simulator/run", world, "--seeds", "20000"])
    yield Command(["tests/simulator/run-marks", "--seeds", "5000"])


def mutants(arguments: list[str]) -> Iterator[Command]:
    yield Command(["python", "-m", "suite.mutants", *arguments])


def check_sanity(arguments: list[str]) -> Iterator[Command]:
    sanity.provide_pip(Path.home())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    yield Command(["ansible-test", "sanity", "--local", "--python", python, *arguments], sanity.copy_collection(ROOT))


def on_lab(words: list[str]) -> Iterator[Command]:
    yield Command(["bin/lab", "up", "--name", LAB])
    yield Command(["bin/lab", "exec", "--name", LAB, "--", *words])
    yield Command(["bin/lab", "down", "--name", LAB])


def molecule(arguments: list[str]) -> Iterator[Command]:
    """All scenarios; those of the locks, which are experimental, when O2CB_LOCKS is set, as with the faults."""
    left_out = [] if "O2CB_LOCKS" in os.environ else [word for name in EXPERIMENTAL for word in ("--exclude", name)]
    return on_lab(["molecule", "test", *(arguments or ["--all", *left_out])])


def faults(arguments: list[str]) -> Iterator[Command]:
    return on_lab(["pytest", "--verbose", "--capture=no", *(arguments or ["tests/faults"])])


def bench(arguments: list[str]) -> Iterator[Command]:
    for program in sorted((ROOT / "tests/bench").glob("*")):
        if program.is_file() and os.access(program, os.X_OK):
            yield Command([str(program.relative_to(ROOT)), *arguments])


@dataclass(frozen=True)
class Step:
    """A part of the proof that can be asked for by name."""

    name: str
    about: str
    commands: Callable[[list[str]], Iterator[Command]]
    by_default: bool = True
    takes_names: bool = False
    """Whether what follows its name is for its programs, without a -- between."""


STEPS = {
    step.name: step
    for step in (
        Step("lint", "ruff, vermin, yamllint, ansible-lint, changelog fragments", lint),
        Step("types", "mypy, strict", types),
        Step("unit", "unit tests, in seconds", unit),
        Step("simulator", "bus and locks in 20,000 simulated clusters each, the record of tokens in 5,000", simulator),
        Step("sanity", "ansible-test sanity on a copy of the clone", check_sanity),
        Step("molecule", "all molecule scenarios on a lab of real kernels", molecule),
        Step("mutants", "whether the tests of modules can fail; of one: MODULE", mutants, False, takes_names=True),
        Step("faults", "the traps of kernel and distributions, on a lab", faults, by_default=False),
        Step("bench", "the figures of tests/bench, on labs", bench, by_default=False),
    )
}
