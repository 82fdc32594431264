# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bin/test mutants: whether a module's own tests can fail.

Each mutant of a module (suite.mutation) is put in its place in a process of its own, in which the module's own tests
run until one fails. A mutant with which all of them pass is a survivor: it has to be killed by a better test, or judged
in suite.survivors, with the reason for which no test could tell it from the module.

No file is changed, and several modules can be tried in one clone at the same time: the loader of the one module hands
out the mutant. Random tests draw the same examples each time, so that a score is the same each time.

mutmut and cosmic-ray were tried. mutmut leaves constants at a module's level alone, among which are all our limits and
forms on the wire. cosmic-ray changes the files themselves, drops no statement and starts a new Python for each mutant.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import resource
import signal
import sys
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest

from suite.mutation import Mutant, compiled, mutants
from suite.steps import ROOT
from suite.survivors import JUDGED

MODULES = (
    "names",
    "locks/record",
    "token",
    "modes",
    "isolation",
    "regions",
    "devices",
    "election",
    "pieces",
    "blocks",
    "quorum",
    "guard",
    "holding",
)
"""The modules that decide about locks, each named as on the command line."""

SCORE = 90
"""Percent of a module's mutants that its own tests kill at least."""

LIBRARY = ROOT / "plugins/module_utils"
COLLECTION = "ansible_collections.ocfs2.o2cb.plugins.module_utils"
TESTS = ROOT / "tests/unit"
PROFILE = "mutants"

PYTEST = [
    "--exitfirst",
    "--quiet",
    "--no-header",
    "--no-summary",
    f"--rootdir={ROOT}",
    f"--hypothesis-profile={PROFILE}",
    *("-o", "addopts=--import-mode=importlib"),
    *("-p", "_hypothesis_pytestplugin"),
    *("-p", "no:cacheprovider"),
    *("-p", "no:faulthandler"),
]
"""No cache and no other plugins, since hundreds of runs follow one another."""

CPU_SECONDS, CPU_FACTOR = 10, 5
"""The most that the tests of a mutant may take, at least, and of what they take without one. It is processor time, so a
busy machine kills nobody."""

WALL_SECONDS = 900
"""For tests that sleep for good."""

MEMORY_BYTES = 4 << 30
TELL_SECONDS = 60
"""Between two lines that say how far it is."""

NOT_LOADED = 97


class Problem(Exception):
    """The mutants of a module cannot be tried."""


@dataclass(frozen=True)
class Target:
    """A module and its own tests."""

    path: Path
    tests: tuple[Path, ...]

    @property
    def key(self) -> str:
        """The path below the library, without its ending."""
        return str(self.path.relative_to(LIBRARY).with_suffix(""))

    @property
    def name(self) -> str:
        return f"{COLLECTION}.{self.key.replace('/', '.')}"


@dataclass
class Result:
    """What became of a module's mutants."""

    target: Target
    mutants: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    seconds: float = 0.0
    partial: bool = False
    """Not every mutant was tried."""

    @property
    def score(self) -> float:
        return 100.0 * (self.mutants - len(self.survivors)) / self.mutants if self.mutants else 100.0

    def judged(self) -> dict[str, str]:
        names = [name for name in JUDGED if self.target in found(name)]
        return {text: reason for name in names for text, reason in JUDGED[name].items()}


def found(name: str) -> list[Target]:
    """The modules of this name, which is the end of a path: `names`, `dlm/names`."""
    words = tuple(name.removesuffix(".py").split("/"))
    paths = [path for path in sorted(LIBRARY.rglob("*.py")) if path.with_suffix("").parts[-len(words) :] == words]
    return [Target(path, own_tests(path)) for path in paths]


def only(name: str) -> Target:
    targets = found(name)
    if len(targets) != 1:
        seen = ", ".join(target.key for target in targets) or "none"
        raise Problem(f"{name!r} is the name of {len(targets)} modules ({seen}): give the end of one path")
    if not targets[0].tests:
        raise Problem(f"{targets[0].key}: no file below {TESTS.relative_to(ROOT)} imports it: write its tests first")
    return targets[0]


def own_tests(path: Path) -> tuple[Path, ...]:
    """The tests that are called after a module and import it, wherever they are; without such, all that import it."""
    module = ".".join(path.relative_to(LIBRARY).with_suffix("").parts)
    importing = [test for test in sorted(TESTS.rglob("test_*.py")) if module in imported(test)]
    named = [test for test in importing if is_named_after(test.stem, path.stem)]
    return tuple(named or importing)


def is_named_after(test: str, module: str) -> bool:
    """As test_guard, test_guard_interleaved and test_the_guard are after guard."""
    return test.startswith(f"test_{module}") or test.endswith(f"_{module}")


@functools.cache
def imported(test: Path) -> frozenset[str]:
    """The modules of the library that a test imports, such as dlm.names."""
    found = set()
    for node in ast.walk(ast.parse(test.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(COLLECTION):
            package = node.module[len(COLLECTION) + 1 :]
            found.add(package)
            found.update(f"{package}.{alias.name}".lstrip(".") for alias in node.names)
    return frozenset(found)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from a changed tree."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree
        self.used = False

    def get_code(self, fullname: str) -> types.CodeType:
        self.used = True
        return compiled(self._tree, str(self.path))


class _Finder(importlib.abc.MetaPathFinder):
    """Has one module loaded by this loader, under whatever path it is looked for."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._loader.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._loader.path, loader=self._loader)


class _Order:
    """A plugin of pytest: it notes how long each test takes, or runs them by what was noted, the quick ones first."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


class Trial:
    """The tests of a module, with one mutant or none, in a process of their own."""

    def __init__(
        self, target: Target, tree: ast.Module, mutant: Mutant | None, cpu_seconds: int, order: dict[str, float]
    ) -> None:
        self.mutant = mutant
        self._deadline = time.monotonic() + WALL_SECONDS
        sys.stdout.flush()
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                noted = _Order(dict(order))
                code = self._run(target, tree, cpu_seconds, noted)
                if mutant is None:
                    with os.fdopen(writer, "w") as pipe:
                        json.dump(noted.seconds, pipe)
            finally:
                os._exit(code)
        os.close(writer)

    def noted(self) -> dict[str, float]:
        """How long each test took, of a trial without a mutant; read to its end before it ends."""
        with os.fdopen(os.dup(self._reader)) as pipe:
            found: dict[str, float] = json.loads(pipe.read() or "{}")
        return found

    def _run(self, target: Target, tree: ast.Module, cpu_seconds: int, order: _Order) -> int:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        if self.mutant is not None:
            silence = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(silence, descriptor)
            self.mutant.plant()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        loader = _Loader(target.name, str(target.path), tree)
        sys.meta_path.insert(0, _Finder(loader))
        code = int(pytest.main([*PYTEST, *map(str, target.tests)], [order]))
        return code if loader.used or code else NOT_LOADED

    def ended(self) -> tuple[int, float] | None:
        """Its exit code, not 0 where it was killed, and the seconds of processor time it took; None while it runs."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid:
            os.close(self._reader)
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if time.monotonic() > self._deadline:
            self.kill()
            return 1, 0.0
        return None

    def kill(self) -> None:
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        os.waitpid(self.pid, 0)
        os.close(self._reader)


def without_mutant(target: Target) -> tuple[float, dict[str, float]]:
    """The processor time of the tests without a mutant, with which they must pass, and how long each takes."""
    trial = Trial(target, ast.parse(target.path.read_bytes()), None, WALL_SECONDS, {})
    order = trial.noted()
    while (ended := trial.ended()) is None:
        time.sleep(0.02)
    code, seconds = ended
    if code == NOT_LOADED:
        raise Problem(f"{target.key}: its tests pass, but never load {target.name}")
    if code:
        raise Problem(f"{target.key}: its tests fail as it is (pytest's exit code {code}): correct that first")
    return seconds, order


def tried(target: Target, jobs: int, pattern: str = "") -> Result:
    """Every mutant of a module, or those whose text has this pattern, each against its tests."""
    started = time.monotonic()
    seconds, order = without_mutant(target)
    cpu_seconds = int(max(CPU_SECONDS, CPU_FACTOR * seconds))
    tree = ast.parse(target.path.read_bytes())
    waiting = [mutant for mutant in mutants(tree) if re.search(pattern, mutant.text)][::-1]
    result = Result(target, len(waiting), partial=bool(pattern))
    running: list[Trial] = []
    told = time.monotonic()
    try:
        while waiting or running:
            if time.monotonic() > told + TELL_SECONDS:
                told = time.monotonic()
                print(f"{target.key}: {len(waiting)} of {result.mutants} mutants are left", flush=True)
            while waiting and len(running) < jobs:
                running.append(Trial(target, tree, waiting.pop(), cpu_seconds, order))
            time.sleep(0.01)
            for trial in list(running):
                ended = trial.ended()
                if ended is not None:
                    running.remove(trial)
                    if ended[0] == 0 and trial.mutant is not None:
                        result.survivors.append(trial.mutant)
    finally:
        for trial in running:
            trial.kill()
    result.survivors.sort(key=lambda mutant: mutant.line)
    result.seconds = time.monotonic() - started
    return result


def report(result: Result, with_judged: bool) -> Iterator[str]:
    """What people read, and what they have to do."""
    judged = result.judged()
    survivors = {mutant.text for mutant in result.survivors}
    path = result.target.path.relative_to(ROOT)
    yield (
        f"{result.target.key}: {result.mutants - len(result.survivors)} of {result.mutants} mutants killed, "
        f"{result.score:.0f} %; {len(survivors & judged.keys())} survivors judged, "
        f"{len(survivors - judged.keys())} not ({result.seconds:.0f} s)"
    )
    for mutant in result.survivors:
        if mutant.text not in judged:
            yield f"  {path}:{mutant.line}: survives: {mutant.text}"
        elif with_judged:
            yield f"  {path}:{mutant.line}: judged: {mutant.text}\n      {judged[mutant.text]}"
    for text in () if result.partial else sorted(judged.keys() - survivors):
        yield f"  {path}: killed or gone, take it out of the judged ones: {text}"


def is_well(result: Result) -> bool:
    survivors, judged = {mutant.text for mutant in result.survivors}, result.judged().keys()
    if result.partial:
        return survivors <= judged
    return result.score >= SCORE and survivors == judged


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="bin/test mutants",
        description="Change a module in every small way, and see whether its own tests notice. "
        f"Fails below {SCORE} %, and on a survivor that is not judged in tests/suite/survivors.py.",
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"such as dlm/names; those of {len(MODULES)} else")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="mutants tried at a time")
    parser.add_argument("--judged", action="store_true", help="show the judged survivors too, with the reason of each")
    parser.add_argument("--matching", default="", metavar="PATTERN", help="only mutants whose change has this in it")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    hypothesis.settings.register_profile(
        PROFILE,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    well = True
    for name in options.modules or MODULES:
        try:
            result = tried(only(name), options.jobs, options.matching)
        except Problem as problem:
            print(problem, file=sys.stderr)
            well = False
            continue
        well = well and is_well(result)
        print("\n".join(report(result, options.judged)), flush=True)
    return 0 if well else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
