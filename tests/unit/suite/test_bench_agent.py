# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether tests/bench/agent sees on the shared disk that two nodes are the service at once."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faults.referee import witness

SYSTEM = "etcd"


@pytest.fixture(scope="module")
def bench() -> Any:
    path = Path(__file__).parents[2] / "bench/agent.py"
    spec = importlib.util.spec_from_file_location("bench_agent", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(importlib.import_module("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


class Disk:
    """The shared disk, and what the service of each node writes to it."""

    def __init__(self, bench: Any, directory: Path) -> None:
        self._bench, self._path, self._beats = bench, directory / "data", 0
        self._path.write_bytes(bytes(witness.FIRST * 2))
        self.lab = SimpleNamespace(
            paths=SimpleNamespace(disks=directory),
            nodes=lambda: [SimpleNamespace(number=number) for number in (1, 2, 3)],
        )

    def beat(self, node: int, run: int = 0) -> None:
        self._beats += 1
        data = witness.RECORD.pack(witness.MAGIC, run, 1, self._beats, 0)
        place = self._bench.first(SYSTEM) + witness.offset(node, run) - witness.FIRST
        with self._path.open("r+b") as file:
            file.seek(place)
            file.write(data)


@pytest.fixture
def disk(bench: Any, tmp_path: Path) -> Disk:
    return Disk(bench, tmp_path)


def looked(watch: Any) -> None:
    time.sleep(0.002)
    watch._look()


def seen(bench: Any, watch: Any, since: float = 0.0) -> tuple[list[int], bool]:
    found = watch.runs[SYSTEM]
    return [run.node for run in found], bool(bench.twice(found, since))


def test_one_after_the_other_is_not_two_at_once(bench: Any, disk: Disk) -> None:
    watch = bench.Watch(disk.lab, [SYSTEM])
    for node in (1, 1, 2, 2):
        disk.beat(node)
        looked(watch)
    assert seen(bench, watch) == ([1, 2], False)
    assert watch.holders(SYSTEM) == {1, 2}, "both have written within the last second"


def test_a_holder_that_writes_after_another_has_begun_is_seen(bench: Any, disk: Disk) -> None:
    watch = bench.Watch(disk.lab, [SYSTEM])
    for node in (1, 2, 1):
        disk.beat(node)
        looked(watch)
    assert seen(bench, watch) == ([1, 2], True)
    assert seen(bench, watch, since=time.time()) == ([1, 2], False)


def test_a_node_that_comes_back_is_a_run_of_its_own(bench: Any, disk: Disk) -> None:
    watch = bench.Watch(disk.lab, [SYSTEM])
    for node, run in ((1, 0), (2, 0), (1, 1), (1, 1)):
        disk.beat(node, run)
        looked(watch)
    assert seen(bench, watch) == ([1, 2, 1], False)


def test_traces_of_long_ago_are_no_holders(bench: Any, disk: Disk) -> None:
    disk.beat(1)
    disk.beat(2)
    watch = bench.Watch(disk.lab, [SYSTEM])
    looked(watch)
    assert (watch.runs[SYSTEM], watch.holders(SYSTEM)) == ([], set())
    disk.beat(2)
    looked(watch)
    assert seen(bench, watch) == ([2], False)
