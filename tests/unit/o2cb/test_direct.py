# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading extents by dd(1): the right bytes, each failure by its name, and a deadline that holds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import direct
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.direct import Extent


@pytest.fixture(autouse=True)
def buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every file system takes O_DIRECT."""
    monkeypatch.setattr(direct, "_FLAGS", "skip_bytes,count_bytes")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(300 * 1024))
    return path


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 4096), (4096, 8192), (12288, 200 * 1024), (299 * 1024, 4096), (1 << 20, 4096)]
)
def test_the_bytes_of_an_extent_come_back_as_far_as_there_are_any(image, offset, size):
    assert direct.read_one(Extent(str(image), offset, size), 10) == image.read_bytes()[offset : offset + size]


def test_more_extents_than_readers_are_all_read_in_their_order(image):
    extents = [Extent(str(image), index * 4096, 4096) for index in range(2 * direct.MOST + 1)]
    data = image.read_bytes()
    found = direct.read(extents, 30)
    assert [answer.data for answer in found] == [data[extent.offset :][:4096] for extent in extents]
    assert not any(answer.problem for answer in found)


def test_what_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(O2cbError, match=f"^{tmp_path}: Is a directory$"):
        direct.read_one(Extent(str(tmp_path), 0, 4096), 10)
    with pytest.raises(O2cbError, match=r"/nowhere: No such file or directory$"):
        direct.read_one(Extent(f"{tmp_path}/nowhere", 0, 4096), 10)


def test_one_that_hangs_does_not_keep_the_others_and_is_ended(tmp_path, image, monkeypatch):
    monkeypatch.setattr(direct, "MOST", 2)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # dd sleeps in its open until somebody writes
    extents = [Extent(str(fifo), 0, 4096)] + [Extent(str(image), 0, 4096)] * 5
    started = time.monotonic()
    first, *rest = direct.read(extents, 1.0)
    assert 1.0 <= time.monotonic() - started < 3.0
    assert first.hung
    assert first.problem == f"{fifo} did not answer within 1 s"
    assert all(answer.data == image.read_bytes()[:4096] for answer in rest)
    # Nobody has the fifo open for reading any more: its reader was killed.
    for _attempt in range(100):
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the reader is still there")


def test_what_waits_behind_hanging_ones_is_told_apart(tmp_path, image, monkeypatch):
    monkeypatch.setattr(direct, "MOST", 1)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    _first, second = direct.read([Extent(str(fifo), 0, 4096), Extent(str(image), 0, 4096)], 0.3)
    assert second.hung
    assert second.problem == f"{image} was not read within 0.3 s"


def test_a_system_without_dd_is_told_what_to_install(image, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(O2cbError, match="install the package coreutils"):
        direct.read_one(Extent(str(image), 0, 4096), 10)
