# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at the record on files that stand for devices, and on a volume that the real mkfs.ocfs2 makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import format, looking
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.format import Header, Slot
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.place import Place
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import devices, direct
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import LiveRegion

MKFS = shutil.which("mkfs.ocfs2", path="/usr/sbin:/sbin")
UUID, OTHER = "0A" * 16, "0B" * 16
START = 16384 + 1024
"""Not on a page, as with blocks of 1 KiB."""

HEADER = Header(UUID, "lab", 1, 5000)
SLOT = Slot(UUID, 2, "00" * 16, 7, 6000)


def volume(uuid: str, block: int = 4096) -> bytearray:
    data = bytearray(START + 512 * 4096)
    data[2 * block : 2 * block + 8] = b"OCFSV2\0\0"
    data[2 * block + 0x150 : 2 * block + 0x160] = bytes.fromhex(uuid)
    return data


def put(data: bytearray, offset: int, sector: bytes) -> None:
    data[offset : offset + len(sector)] = sector


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A region with a header, and the slot of node 2."""
    monkeypatch.setattr(devices, "preferred_path", lambda name: str(tmp_path / name))
    # Not every file system takes O_DIRECT.
    monkeypatch.setattr(direct, "_FLAGS", "skip_bytes,count_bytes")
    where, data = Place(UUID, "dm-0", START, 512), volume(UUID)
    put(data, where.record(0)[0], format.encode_header(HEADER, 512))
    put(data, where.slot(2), format.encode_slot(SLOT, 512))
    (tmp_path / "dm-0").write_bytes(bytes(data))
    return tmp_path / "dm-0"


def region(uuid: str = UUID, device: str = "dm-0", sector: int = 512) -> LiveRegion:
    return LiveRegion(uuid, device, sector, START // sector, 255)


def test_header_and_slots_are_read_past_a_page_border(disk):
    found = looking.look([region()])
    assert found.views == {UUID: format.View(format.VALID, HEADER, {2: SLOT}, {})}
    assert (found.problems, found.placeless) == ({}, frozenset())


def test_a_slot_that_is_torn_is_told_by_its_node(disk):
    data = bytearray(disk.read_bytes())
    data[Place(UUID, "", START, 512).slot(2) + 100] ^= 1
    disk.write_bytes(bytes(data))
    view = looking.look([region()]).views[UUID]
    assert (view.bad, view.answers) == ({2: format.TORN}, False)


def test_nothing_is_written(disk):
    before = disk.read_bytes()
    disk.chmod(0o400)
    looking.look([region()])
    assert disk.read_bytes() == before


def test_every_region_that_cannot_be_looked_at_says_why_and_the_others_are(disk):
    (disk.parent / "dm-1").write_bytes(bytes(volume("0C" * 16)))
    (disk.parent / "dm-2").write_bytes(bytes(volume("0D" * 16))[: START + 300 * 512])
    gone, idle, short = "0E" * 16, "0F" * 16, "0D" * 16
    found = looking.look(
        [region(), region(OTHER, "dm-1"), region(gone, "dm-9"), region(idle, ""), region(short, "dm-2")]
    )
    assert set(found.views) == {UUID}
    assert "does not carry it" in found.problems[OTHER]
    assert "No such file" in found.problems[gone]
    assert "not started" in found.problems[idle]
    assert "ends before" in found.problems[short]


def test_blocks_as_small_as_the_sectors_leave_no_room(disk):
    found = looking.look([LiveRegion(UUID, "dm-0", 4096, 5, 255)])
    assert (found.views, found.problems, found.placeless) == ({}, {}, frozenset([UUID]))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if MKFS is None:
        pytest.skip("mkfs.ocfs2 is not installed (package ocfs2-tools)")
    monkeypatch.setattr(direct, "_FLAGS", "skip_bytes,count_bytes")
    monkeypatch.setattr(devices, "kernel_name", lambda path: "dm-0")
    monkeypatch.setattr(devices, "logical_block_size", lambda name: 512)
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(96 * 1024 * 1024)
    command = [MKFS, "-F", "-b", "4K", "-C", "4K", "-N", "1", "-J", "size=4M", "-U", UUID, "-q", "--cluster-stack=o2cb"]
    command += ["--cluster-name=lab", "--global-heartbeat", str(image)]
    subprocess.run(command, input="y\n" * 9999, capture_output=True, text=True, check=True)
    return image


def test_on_a_volume_where_nobody_beats_the_inode_tells_where_the_record_is(made):
    assert looking.look_at_volumes({UUID: str(made)}).views == {UUID: format.View(format.BLANK, None, {}, {})}
    _block, start, _size = looking.heartbeat_file(str(made), UUID)
    with made.open("r+b") as file:
        file.seek(Place(UUID, "", start, 512).record(0)[0])
        file.write(format.encode_header(HEADER, 512))
    assert looking.look_at_volumes({UUID: str(made)}).views[UUID].header == HEADER


def test_another_volume_is_a_problem_of_its_region_alone(made):
    found = looking.look_at_volumes({OTHER: str(made), UUID: str(made)})
    assert set(found.views) == {UUID}
    assert "does not carry region" in found.problems[OTHER]


def test_on_a_disk_of_large_sectors_there_is_no_room(made, monkeypatch):
    monkeypatch.setattr(devices, "logical_block_size", lambda name: 4096)
    assert looking.look_at_volumes({UUID: str(made)}).placeless == {UUID}


def test_looks_at_different_regions_are_one():
    one = looking.Look({UUID: format.View(format.BLANK, None, {}, {})}, {}, frozenset())
    two = looking.Look({}, {OTHER: "Input/output error"}, frozenset(["0C" * 16]))
    assert looking.together([one, two]) == looking.Look(one.views, two.problems, two.placeless)
