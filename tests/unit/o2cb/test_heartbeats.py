# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading heartbeat regions from real files: what is found, and that one bad disk does not hide the others."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import devices, direct, heartbeats
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import LiveRegion

START, SIZE = 571, 512


def block(number: int) -> bytes:
    raw = bytearray(SIZE)
    struct.pack_into("<QB3xIQI", raw, 0, 1_700_000_000, number, 0, 7, 62000)
    struct.pack_into("<I", raw, 12, zlib.crc32(raw, 0xFFFFFFFF) ^ 0xFFFFFFFF)
    return bytes(raw)


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of images that stand for devices of these names; the region does not begin on a page."""
    monkeypatch.setattr(devices, "preferred_path", lambda name: str(tmp_path / name))
    # Not every file system takes O_DIRECT.
    monkeypatch.setattr(direct, "_FLAGS", "skip_bytes,count_bytes")
    for name in ("dm-0", "dm-1"):
        image = bytearray((START + 16) * SIZE)
        for number in (1, 3):
            image[(START + number) * SIZE : (START + number + 1) * SIZE] = block(number)
        (tmp_path / name).write_bytes(bytes(image))
    return tmp_path


def regions(*names: str) -> list[LiveRegion]:
    return [LiveRegion(f"uuid-{name}", name, SIZE, START, 255) for name in names]


def test_the_blocks_of_every_region_are_read(disks):
    found = heartbeats.read(regions("dm-0", "dm-1"), [1, 2, 3], volumes=True)
    assert not found.problems
    for uuid in ("uuid-dm-0", "uuid-dm-1"):
        assert {number: beat.valid for number, beat in found.beats[uuid].items()} == {1: True, 3: True}
        assert found.volumes[uuid] == ("", "")


def test_the_superblocks_are_read_only_when_they_are_asked_for(disks):
    assert heartbeats.read(regions("dm-0"), [1]).volumes == {}


def test_a_disk_that_fails_is_named_and_the_others_are_read(disks):
    found = heartbeats.read(regions("dm-9", "dm-1"), [1])
    assert found.problems == {"uuid-dm-9": f"{disks}/dm-9: No such file or directory"}
    assert list(found.beats) == ["uuid-dm-1"]


def test_a_disk_that_hangs_is_named_and_the_others_are_read(disks):
    (disks / "dm-0").unlink()
    os.mkfifo(disks / "dm-0")  # dd sleeps in its open until somebody writes
    found = heartbeats.read(regions("dm-0", "dm-1"), [1], seconds=0.5)
    assert found.problems == {"uuid-dm-0": f"{disks}/dm-0 did not answer within 0.5 s"}
    assert found.beats["uuid-dm-1"][1].sequence == 1_700_000_000


def test_a_region_that_was_not_started_is_left_out():
    assert heartbeats.read([LiveRegion("uuid")], [1]).beats == {}
