# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A slot is written only where it still is what it was, and a write that does not return is known to everybody."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import slot_writer
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.earlier_life import Outcome
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.slot_writer import Slot

OLD, NEW = b"o" * 512, b"n" * 512


@pytest.fixture(autouse=True)
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every file system takes O_DIRECT."""
    monkeypatch.setattr(slot_writer, "_DIRECT", 0)


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def disk(tmp_path: Path, name: str, block: bytes = OLD) -> str:
    path = tmp_path / name
    path.write_bytes(b"a" * 1024 + block + b"z" * 1024)
    return str(path)


@pytest.mark.parametrize("size", [512, 4096])
def test_a_slot_that_is_what_it_was_is_written_and_nothing_beside_it(tmp_path, lock, size):
    path = disk(tmp_path, "hb1", b"o" * size)
    (written,) = slot_writer.write([Slot(path, 1024, b"o" * size, b"n" * size)], lock=lock)
    assert written.outcome is Outcome.WRITTEN
    assert Path(path).read_bytes() == b"a" * 1024 + b"n" * size + b"z" * 1024
    assert not slot_writer.pending(lock)


def test_a_slot_that_has_changed_is_left_alone(tmp_path, lock):
    paths = [disk(tmp_path, "hb1", b"x" * 512), disk(tmp_path, "hb2")]
    found = slot_writer.write([Slot(path, 1024, OLD, NEW) for path in paths], lock=lock)
    assert [written.outcome for written in found] == [Outcome.CHANGED, Outcome.WRITTEN]
    assert Path(paths[0]).read_bytes()[1024:1536] == b"x" * 512


@pytest.mark.parametrize(("offset", "why"), [(1 << 20, "Input/output error"), (1024, "No such file or directory")])
def test_a_slot_that_cannot_be_written_is_told_with_the_reason(tmp_path, lock, offset, why):
    path = disk(tmp_path, "hb1") if offset > 1024 else f"{tmp_path}/nowhere"
    (written,) = slot_writer.write([Slot(path, offset, OLD, NEW)], lock=lock)
    assert written.outcome is Outcome.FAILED
    assert written.why == why


def test_a_write_that_hangs_is_left_behind_and_known_until_it_has_ended(tmp_path, lock, monkeypatch):
    """A disk that does not answer is a process that sleeps where no signal reaches it: here, one that is not killed."""
    monkeypatch.setattr(slot_writer.os, "kill", lambda pid, number: None)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def sleep_in_open(path: str, flags: int, mode: int = 0o777) -> int:
        return real(path, os.O_WRONLY if path == str(fifo) else flags, mode)

    real = os.open
    monkeypatch.setattr(slot_writer.os, "open", sleep_in_open)
    started = time.monotonic()
    healthy = disk(tmp_path, "hb2")
    slots = [Slot(str(fifo), 0, OLD, NEW), Slot(healthy, 1024, OLD, NEW)]
    hung, written = slot_writer.write(slots, seconds=1.0, lock=lock)
    assert 1.0 <= time.monotonic() - started < 5.0
    assert (hung.outcome, written.outcome) == (Outcome.HUNG, Outcome.WRITTEN)
    assert hung.why == f"{fifo} did not come back within 1 s"
    assert slot_writer.pending(lock)
    reader = real(str(fifo), os.O_RDONLY | os.O_NONBLOCK)  # now its open returns, and it fails
    for _attempt in range(200):
        if not slot_writer.pending(lock):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the write is still held for pending")
    os.close(reader)


def test_the_writer_of_a_hanging_disk_is_killed(tmp_path, lock):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    keep = os.open(fifo, os.O_RDWR)
    (hung,) = slot_writer.write([Slot(str(fifo), 0, OLD, NEW)], seconds=0.5, lock=lock)
    os.close(keep)
    assert hung.outcome in (Outcome.HUNG, Outcome.FAILED)
