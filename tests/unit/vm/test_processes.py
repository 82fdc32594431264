# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which machine a process runs, from a /proc of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import processes
from ansible_collections.ocfs2.o2cb.tests.unit.vm.world import UUID


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    add(tmp_path, 1, "systemd", "S", "/sbin/init")
    add(tmp_path, 2, "kthreadd", "S")
    (tmp_path / "meminfo").write_text("")
    return tmp_path


def add(proc: Path, pid: int, name: str, state: str, *words: str) -> None:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    (directory / "stat").write_text(f"{pid} ({name}) {state} 1 1 1 0\n")


def test_a_machine_has_the_processes_with_its_uuid(proc):
    assert processes.of(UUID, str(proc)) == []
    add(proc, 40, "qemu-system-x86", "S", "/usr/bin/qemu-system-x86_64", "-name", "guest=web", "-uuid", UUID)
    add(proc, 41, "qemu-system-x86", "S", "/usr/bin/qemu-system-x86_64", "-uuid", UUID.replace("4", "5"))
    add(proc, 42, "python3", "S", "python3", "o2cb.pyz", "vm-settle", "--", UUID, "web")
    assert processes.of(UUID, str(proc)) == [40]
    assert processes.running(str(proc))[UUID][0][1].name == "web"


@pytest.mark.parametrize(("state", "counts"), [("D", True), ("R", True), ("Z", False), ("X", False)])
def test_one_that_is_ending_may_be_any_machine_until_it_is_a_zombie(proc, state, counts):
    add(proc, 40, "qemu-system-x86", state)
    assert processes.of(UUID, str(proc)) == ([40] if counts else [])


def test_a_name_with_brackets_confuses_nobody(proc):
    add(proc, 40, "qemu-system-) Z 1 (", "D")
    assert processes.of(UUID, str(proc)) == [40]


def test_this_machine_can_be_looked_at():
    assert os.getpid() not in processes.of(UUID)
