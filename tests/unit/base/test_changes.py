# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of a node: what differs is written, and a second run finds nothing to do."""

from __future__ import annotations

import os

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.changes import Changes, present
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.systemd import Systemd


def systemd_with(answers, told):
    """`answers` are exit codes and outputs by the words after systemctl; what is told is noted."""

    def run(command):
        words = " ".join(command[1:])
        told.append(words)
        return answers.get(words, (0, "enabled", ""))

    return Systemd(run)


def test_a_file_that_differs_is_written_when_it_is_applied_and_not_before(tmp_path):
    path = tmp_path / "deep/file"
    changes = Changes()
    assert changes.write(str(path), "new\n")
    assert (changes.actions, changes.diff[0]["before"], changes.diff[0]["after"]) == ([f"write {path}"], "", "new\n")
    assert not path.exists()
    changes.apply()
    assert path.read_text() == "new\n"
    again = Changes()
    assert not again.write(str(path), "new\n")
    assert (again.actions, again.diff) == ([], [])


@pytest.mark.parametrize("before", ["same", "other"])
def test_a_program_that_cannot_be_run_is_made_executable(tmp_path, before):
    path = tmp_path / "hook"
    path.write_text(before)
    path.chmod(0o644)
    changes = Changes()
    changes.write(str(path), "same", 0o755)
    changes.apply()
    assert changes.actions[-1] == f"make {path} executable"
    assert os.access(path, os.X_OK)
    again = Changes()
    assert not again.write(str(path), "same", 0o755)
    assert again.actions == []


def test_what_is_removed_takes_its_directory_along_only_where_that_is_asked_for_and_it_is_empty(tmp_path):
    for place in ("kept/file", "gone/file", "shared/file", "shared/other"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    changes = Changes()
    changes.remove(str(tmp_path / "kept/file"))
    changes.remove(str(tmp_path / "gone/file"), with_directory=True)
    changes.remove(str(tmp_path / "shared/file"), with_directory=True)
    changes.apply()
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["kept", "shared", "shared/other"]


def test_a_broken_link_is_present(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "none")
    assert present([str(link), str(tmp_path / "none")]) == [str(link)]


def test_only_units_that_are_not_enabled_are_enabled():
    told: list[str] = []
    answers = {"is-enabled one two": (1, "enabled\ndisabled", ""), "is-enabled --quiet two": (1, "", "")}
    changes = Changes()
    changes.enable(systemd_with(answers, told), ["one", "two"])
    assert changes.actions == ["enable two"]
    changes.apply()
    assert told[-1] == "enable two"


def test_a_unit_that_runs_is_not_started():
    assert Changes().enable_and_start(systemd_with({}, []), "one")
    changes = Changes()
    assert not changes.enable_and_start(systemd_with({"is-active --quiet one": (3, "", "")}, []), "one")
    assert changes.actions == ["start one"]
