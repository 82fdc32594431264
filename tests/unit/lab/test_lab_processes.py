# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's processes are found by where they run and what they are, never by number."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
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


CHILDREN = 16
KERNEL = f"""
import ctypes, os, signal, time
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
TRACEME = 0
for _number in range({CHILDREN}):
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        ptrace(TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGUSR1)
        open("loose", "w").close()
        time.sleep(60)
        os._exit(0)
    os.waitpid(child, 0)
open("ready", "w").close()
while True:
    pass
"""
"""Like the User-Mode kernel: a leader of its session that computes, and holds children by ptrace(2)."""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = tmp_path / processes.KERNEL
    shutil.copy(os.path.realpath(sys.executable), program)
    with subprocess.Popen([program, "-c", KERNEL], cwd=tmp_path, start_new_session=True) as process:
        deadline = time.monotonic() + 20
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(processes.of_node(tmp_path)) == 1 + CHILDREN
        yield process
        processes.end(tmp_path)


def test_a_halted_kernel_stands_still_with_all_its_children(tmp_path: Path, kernel: subprocess.Popen[bytes]):
    assert not processes.stands(kernel.pid)
    processes.halt(tmp_path, time.monotonic() + 5)
    assert all(processes.stands(process.pid) for process in processes.of_node(tmp_path))
    before = Path(f"/proc/{kernel.pid}/stat").read_text().split()[13:15]
    time.sleep(0.1)
    assert Path(f"/proc/{kernel.pid}/stat").read_text().split()[13:15] == before


def test_a_kernel_that_does_not_stop_in_time_is_named(tmp_path: Path, kernel: subprocess.Popen[bytes]):
    with pytest.raises(TimeoutError, match=str(kernel.pid)):
        processes.halt(tmp_path, time.monotonic() - 1)


def test_no_child_of_a_kernel_is_let_loose_when_it_is_ended(tmp_path: Path, kernel: subprocess.Popen[bytes]):
    assert processes.end(tmp_path) is True
    assert kernel.wait(5) == -signal.SIGKILL
    assert not (tmp_path / "loose").exists()


def test_everything_stands_when_the_first_of_a_node_dies_and_its_main_process_dies_last(
    tmp_path: Path, kernel: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
):
    standing: list[bool] = []
    killed: list[int] = []

    def send(process: processes.Process, directory: Path, number: signal.Signals) -> bool:
        if number == signal.SIGKILL:
            if not killed:
                standing.extend(processes.stands(each.pid) for each in processes.of_node(directory))
            killed.append(process.pid)
        return really_send(process, directory, number)

    really_send = processes.send
    monkeypatch.setattr(processes, "send", send)
    assert processes.end(tmp_path) is True
    assert standing == (1 + CHILDREN) * [True]
    assert len(killed) == 1 + CHILDREN
    assert killed[-1] == kernel.pid


def test_a_frozen_kernel_is_ended_like_a_running_one(tmp_path: Path, kernel: subprocess.Popen[bytes]):
    kernel.send_signal(signal.SIGSTOP)
    assert processes.end(tmp_path) is True
    assert kernel.wait(5) == -signal.SIGKILL
    assert not (tmp_path / "loose").exists()


def test_the_processes_of_a_kernel_that_died_by_itself_are_ended(tmp_path: Path, kernel: subprocess.Popen[bytes]):
    kernel.kill()
    kernel.wait(5)
    assert processes.end(tmp_path, supervisor_too=False) is True
    assert processes.of_node(tmp_path) == []
