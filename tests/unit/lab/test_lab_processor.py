# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine lacks for User-Mode kernels, on a virgin machine and on one whose processor has AMX."""

from __future__ import annotations

import ctypes
import shutil
import sys
from pathlib import Path

import pytest

from lab import processor, progress, state


def cpuinfo(*flags: str) -> str:
    return f"processor\t: 0\nflags\t\t: fpu {' '.join(flags)} avx2\nbugs\t\t: amx_tile\n\nprocessor\t: 1\n"


def test_only_a_processor_with_amx_needs_the_library() -> None:
    assert processor.needs_library(cpuinfo("amx_bf16", "amx_tile"))
    assert not processor.needs_library(cpuinfo("avx512f", "amx_tiles"))
    assert not processor.needs_library("")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with AMX that has never seen a lab."""
    (tmp_path / "cpuinfo").write_text(cpuinfo("amx_tile"))
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(state, "CACHE", tmp_path / "never/made")
    return tmp_path


def test_without_a_compiler_its_packages_are_named(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "HEADER", machine / "no-such.h")
    monkeypatch.setattr(processor.shutil, "which", lambda command: None)
    assert processor.missing() == {"gcc", "libc6-dev"}


@pytest.mark.skipif(not shutil.which("gcc") or not processor.HEADER.exists(), reason="no compiler here")
def test_the_library_is_built_once_and_stands_in_for_ptrace(machine: Path) -> None:
    processor.ensure()
    path = processor.library()
    assert path is not None
    assert processor.environment() == {"LD_PRELOAD": str(path)}
    assert ctypes.CDLL(str(path)).ptrace is not None
    built = path.stat().st_mtime_ns
    processor.ensure()
    assert path.stat().st_mtime_ns == built
    assert processor.missing() == set()


def test_the_first_log_on_a_virgin_machine_gets_its_directory(tmp_path: Path) -> None:
    log = tmp_path / "never/made/log"
    progress.run_quietly("true", [sys.executable, "-c", "print('well')"], log)
    assert log.read_text().endswith("well\n")
