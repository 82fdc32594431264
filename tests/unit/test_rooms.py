# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The library is a house: each package of module_utils is a room, which stands on a floor and uses only rooms below it.

The two files beside the rooms are its doors: `program` starts any of them on a node, and `api` is what others import.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "plugins/module_utils"
PLUGINS = "ansible_collections.ocfs2.o2cb.plugins"
ROOT = f"{PLUGINS}.module_utils"

FLOORS = {
    "base": 1,
    "bus": 2,
    "o2cb": 2,
    "marks": 3,
    "transport": 3,
    "locks": 4,
    "client": 5,
    "resources": 6,
    "vm": 6,
    "agent": 7,
    "ctl": 7,
    "install": 8,
}
DOORS = {"api", "program"}

KEEPER = """
    base.errors base.files base.loop base.notify base.processes base.programs base.wire
    locks.cgroups locks.core locks.effects locks.holding locks.keeper locks.lanes locks.modes locks.names locks.pool
    locks.recording locks.requests locks.rules locks.server locks.slots locks.starter
    locks.store
    marks.local
    o2cb.domains o2cb.keeping
"""
"""All that o2keep may load: who wants to know whether a lock is safe with it reads these files."""

WORKER = """
    base.deadline base.errors base.files base.programs base.wire
    locks.clock locks.effects locks.holding locks.modes locks.mount locks.names locks.record locks.rules locks.token
    locks.worker
    marks.asking marks.page marks.refusals
    o2cb.blocks o2cb.configfs o2cb.devices o2cb.direct o2cb.domains o2cb.heartbeats o2cb.isolation o2cb.keeping
    o2cb.model o2cb.network o2cb.observe o2cb.state o2cb.superblock o2cb.timeouts
"""

NURSERY = "base.errors base.processes base.wire locks.nursery"
"""What it loads besides a worker's files, for which `program` cares."""

LOOK = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
importlib.import_module(sys.argv[2])
print(json.dumps({name: module.__file__ for name, module in sys.modules.items() if name.startswith("ansible_coll")}))
"""


def imported(path: Path) -> Iterator[str]:
    """What a file of the library imports of it, dotted, below module_utils; also inside functions and for types only.

    What begins with `/` is outside of the library.
    """
    package = [*ROOT.split("."), *path.relative_to(LIBRARY).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in found:
            if name.startswith(f"{ROOT}."):
                yield name[len(ROOT) + 1 :]
            elif name.startswith("ansible"):
                yield f"/{name}"


def rooms() -> list[str]:
    return sorted(path.name for path in LIBRARY.iterdir() if path.is_dir() and path.name != "__pycache__")


def test_each_room_stands_on_a_floor_and_nothing_lies_beside_the_doors() -> None:
    assert rooms() == sorted(FLOORS)
    assert {path.stem for path in LIBRARY.glob("*.py")} - {"__init__"} == DOORS


def test_no_room_has_a_room_in_it() -> None:
    inside = [path for room in rooms() for path in (LIBRARY / room).iterdir() if path.is_dir()]
    assert [path for path in inside if path.name != "__pycache__"] == []


@pytest.mark.parametrize("room", sorted(FLOORS))
def test_a_room_uses_only_rooms_below_it(room: str) -> None:
    below = {other for other, floor in FLOORS.items() if floor < FLOORS[room]} | {room}
    upward = [
        f"{path.relative_to(LIBRARY)}: {name}"
        for path in sorted((LIBRARY / room).glob("*.py"))
        for name in imported(path)
        if name.split(".")[0] not in below
    ]
    assert upward == []


def test_the_doors_lead_into_rooms_only_and_never_to_what_modules_plan() -> None:
    used = {name.split(".")[0] for door in DOORS for name in imported(LIBRARY / f"{door}.py")}
    assert used <= set(FLOORS) - {"install"}


def loaded(module: str) -> set[str]:
    """The files of the collection that a fresh Python has loaded after this import, dotted; empty ones do not count."""
    tree = Path(__file__).parents[2] / ".ansible/tree"
    command = [sys.executable, "-c", LOOK, str(tree), f"{ROOT}.{module}"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    files = {name: file for name, file in json.loads(answer).items() if file and Path(file).stat().st_size}
    return {name[len(ROOT) + 1 :] if name.startswith(f"{ROOT}.") else name for name in files}


@pytest.mark.parametrize(
    ("module", "allowed"), [("locks.keeper", KEEPER), ("locks.worker", WORKER), ("locks.nursery", NURSERY)]
)
def test_these_files_are_loaded_and_no_others(module: str, allowed: str) -> None:
    assert loaded(module) == set(allowed.split())
    lazy = {name for file in allowed.split() for name in functions_import(LIBRARY / f"{file.replace('.', '/')}.py")}
    assert lazy <= set(allowed.split())


def functions_import(path: Path) -> Iterator[str]:
    """The files that this one imports anywhere, when a function runs too."""
    for name in imported(path):
        dotted = LIBRARY / f"{name.replace('.', '/')}.py"
        yield name if dotted.is_file() else name.rpartition(".")[0]
