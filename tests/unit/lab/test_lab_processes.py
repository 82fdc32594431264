# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's processes are found by where they run and what they are, never by number."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import processes


def test_stat_is_read_behind_the_last_parenthesis_of_the_name():
    text = "4711 (a) S (b c) S 1 4700 4699 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2"
    assert processes.parse_stat(text, 100) == ("S", 4699, 123.45)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "import time; time.sleep(60)", processes.SUPERVISOR]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        yield process
        process.kill()


def test_a_supervisor_belongs_to_the_node_in_whose_directory_it_runs(
    tmp_path: Path, supervisor: subprocess.Popen[bytes]
):
    found = processes.of_node(tmp_path)
    assert [process.pid for process in found] == [supervisor.pid]
    assert found[0].is_supervisor
    assert processes.main_of(found) is None
    assert processes.of_node(tmp_path / "other") == []


def test_other_programs_in_the_nodes_directory_are_left_alone(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as stranger:
        assert processes.end(tmp_path) is False
        assert stranger.poll() is None
        stranger.kill()


def test_everything_of_a_node_is_ended(tmp_path: Path, supervisor: subprocess.Popen[bytes]):
    assert processes.end(tmp_path) is True
    assert supervisor.wait(5) == -signal.SIGKILL
    assert processes.of_node(tmp_path) == []


def test_a_process_that_only_has_the_number_of_ours_is_not_signalled(
    tmp_path: Path, supervisor: subprocess.Popen[bytes]
):
    (process,) = processes.of_node(tmp_path)
    predecessor = processes.Process(process.pid, process.session, "S", process.started - 1, (), False, True)
    assert processes.send(predecessor, tmp_path, signal.SIGKILL) is False
    assert supervisor.poll() is None


def test_the_age_of_a_process_is_in_seconds(tmp_path: Path, supervisor: subprocess.Popen[bytes]):
    (process,) = processes.of_node(tmp_path)
    assert 0 <= processes.age(process) < 30
