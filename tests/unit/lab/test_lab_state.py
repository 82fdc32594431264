# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, files and space of a lab."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lab import LabError, state
from lab.state import Paths, Wanted


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(state, "STATE", tmp_path)


def test_what_was_asked_for_is_remembered():
    wanted = Wanted(3, "bookworm", "bookworm-0123456789ab", 512)
    Paths("demo").root.mkdir()
    state.store(Paths("demo"), wanted)
    assert state.load(Paths("demo")) == wanted
    assert state.names() == ["demo"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"nodes": 3}', '{"surprise": 1}'])
def test_a_damaged_file_counts_as_no_lab(text: str):
    Paths("demo").root.mkdir()
    Paths("demo").wanted.write_text(text)
    assert state.load(Paths("demo")) is None


@pytest.mark.parametrize("name", ["", "A", "1lab", "a b", "../x", "a" * 21, "lab_1"])
def test_a_name_that_cannot_be_a_namespace_is_refused(name: str):
    with pytest.raises(LabError, match="lower-case"):
        state.check_name(name)


def test_too_little_space_is_refused_with_path_and_remedy(tmp_path: Path):
    with pytest.raises(LabError, match=rf"{tmp_path}.*MiB free.*O2CB_LAB_STATE"):
        state.require_space(tmp_path, 1 << 60)


def test_a_full_disk_is_named_with_its_path_and_other_errors_are_not():
    assert "/x/root.cow: no space left" in str(state.explain(OSError(errno.ENOSPC, "No space", "/x/root.cow")))
    assert state.explain(OSError(errno.EACCES, "Permission denied")) is None


def test_a_lock_keeps_a_second_run_out_until_it_is_given_back(tmp_path: Path):
    with (
        state.locked(tmp_path / "lock", "first"),
        pytest.raises(LabError, match="second"),
        state.locked(tmp_path / "lock", "second", patience=0.2),
    ):
        pass
    with state.locked(tmp_path / "lock", "third", patience=0.2):
        pass
