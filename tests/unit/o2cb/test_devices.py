# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sysfs and udev say of a device, and on which devices regions are found."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import devices, direct
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.direct import Answer, Extent

VOLUME = "2A7D4DC5CA8C46E9A695B8BC189DCA19"
REGION = "E:ID_FS_TYPE=ocfs2\nE:ID_FS_UUID=2a7d4dc5-ca8c-46e9-a695-b8bc189dca19\nE:ID_FS_LABEL=hb1\n"


@pytest.fixture
def udev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database's entry of the device dm-0."""
    monkeypatch.setattr(devices, "_SYSFS", str(tmp_path))
    monkeypatch.setattr(devices, "_UDEV", str(tmp_path))
    (tmp_path / "dm-0").mkdir()
    (tmp_path / "dm-0" / "dev").write_text("253:0\n")
    return tmp_path / "b253:0"


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        (f"S:mapper/hb1\nI:8473147\nE:DM_UUID=\n{REGION}G:systemd\n", (VOLUME, "hb1")),
        ("E:ID_FS_TYPE=ext4\nE:ID_FS_UUID=6617721d-5536-4ff1-b01f-b7259c85410e\n", ("", "")),
        ("E:ID_FS_TYPE=ocfs2\n", ("", "")),
        ("E:ID_FS_TYPE=ocfs2\nE:ID_FS_LABEL=a=b=c\n", ("", "a=b=c")),
        ("E:ID_FS_TYPE=ocfs2\nE:ID_FS_LABEL\nE:ID_FS\n", ("", "")),
        (f"{REGION}E:UDISKS_NAME=x\nS:ID_FS_LABEL=link\nA:ID_FS_LABEL=other\n", (VOLUME, "hb1")),
        ("E:ID_PATH=platform\n", None),
        ("", None),
    ],
)
def test_udev_tells_which_volume_a_device_carries(udev, text, volume):
    udev.write_text(text)
    assert devices.volume_by_udev("dm-0") == volume


def test_a_device_that_udev_does_not_know_has_no_volume(udev):
    assert devices.volume_by_udev("dm-0") is None
    assert devices.volume_by_udev("dm-9") is None


def test_the_kernel_and_udev_are_asked_where_they_keep_it():
    assert (devices._SYSFS, devices._UDEV) == ("/sys/class/block", "/run/udev/data")


UUID, OTHER = "6617721D55364FF1B01FB7259C85410E", "0" * 32


def head(uuid: str = UUID, label: str = "hb1") -> bytes:
    """The first bytes of a volume with blocks of 4 KiB; struct ocfs2_super_block in fs/ocfs2/ocfs2_fs.h."""
    block = bytearray(4096)
    block[0:8] = b"OCFSV2\0\0"
    struct.pack_into("<I", block, 0xE0, 0x4000)
    block[0x110 : 0x110 + len(label)] = label.encode()
    block[0x150:0x160] = bytes.fromhex(uuid)
    block[0x160:0x16C] = b"o2cb\1\0\0\0lab\0"
    return bytes(8192) + bytes(block) + bytes(4096)


class Disks:
    """The block devices of a host: in a sysfs of its own, with what is at their beginnings."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs
        self._answers: dict[str, Answer] = {}
        self.asked: list[tuple[list[Extent], float]] = []

    def add(self, name: str, data: bytes | Answer = b"", sectors: int = 131072, mapper: str = "") -> None:
        """A disk, or a linear mapping of this name."""
        directory = self._sysfs / name
        (directory / "holders").mkdir(parents=True)
        self.write(f"{name}/size", sectors)
        if mapper:
            self.write(f"{name}/dm/name", mapper)
        path = f"/dev/mapper/{mapper}" if mapper else f"/dev/{name}"
        self._answers[path] = data if isinstance(data, Answer) else Answer(data)

    def write(self, path: str, value: object) -> None:
        file = self._sysfs / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")

    def hold(self, name: str, *holders: str) -> None:
        for holder in holders:
            (self._sysfs / name / "holders" / holder).mkdir()

    def read(self, extents: list[Extent], seconds: float) -> list[Answer]:
        self.asked.append((extents, seconds))
        return [self._answers[extent.path] for extent in extents]


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disks:
    monkeypatch.setattr(devices, "_SYSFS", str(tmp_path))
    found = Disks(tmp_path)
    monkeypatch.setattr(direct, "read", found.read)
    return found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/dev/mapper/hb1", True),
        ("/dev/emcpowera", True),
        ("/dev/sda", True),
        ("/dev/loop0", True),
        ("/dev/xvda", True),
        ("/dev/vda", True),
        ("/dev/rbd0", True),
        ("/dev/drbd0", True),
        ("/dev/nbd0", False),
        ("/dev/nvme0n1", False),
        ("/dev/md0", False),
        ("/dev/dm-0", False),
        ("/dev/disk/by-id/x", False),
        ("sda", False),
    ],
)
def test_the_tool_searches_devices_of_these_names(path, found):
    assert devices.is_found_by_tool(path) is found


def test_a_name_that_the_tool_does_not_search_is_explained_with_the_way_out():
    text = devices.unsupported_name_problem("/dev/nvme0n1")
    assert "(/dev/mapper/*, /dev/emcpower*, /dev/sd*, /dev/loop*, /dev/xvd*, /dev/vd*, /dev/rbd*, /dev/drbd*)" in text
    assert '`dmsetup create hb-nvme0n1 --table "0 $(blockdev --getsz /dev/nvme0n1) linear /dev/nvme0n1 0"`' in text


def test_a_device_is_called_by_the_name_under_which_the_tool_knows_it(disks):
    disks.add("dm-3", mapper="hb1")
    disks.add("cciss!c0d0")
    disks.add("sda")
    assert devices.preferred_path("dm-3") == "/dev/mapper/hb1"
    assert devices.preferred_path("cciss!c0d0") == "/dev/cciss/c0d0"
    assert devices.preferred_path("sda") == "/dev/sda"


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which /dev/disk/by-id/x is 8:16, which is sdb; /dev/null is no block device."""
    numbers = {"/dev/disk/by-id/x": os.makedev(8, 16), "/dev/null": os.makedev(1, 3)}
    links = {"/sys/dev/block/8:16": "/sys/devices/pci0000:00/host1/block/sdb"}

    def stat(path: str) -> SimpleNamespace:
        if path not in numbers:
            raise FileNotFoundError(2, "No such file or directory")
        return SimpleNamespace(st_rdev=numbers[path])

    path = SimpleNamespace(exists=links.__contains__, realpath=links.__getitem__, basename=os.path.basename)
    monkeypatch.setattr(devices, "os", SimpleNamespace(stat=stat, major=os.major, minor=os.minor, path=path))


@pytest.mark.usefixtures("tree")
def test_the_kernel_s_name_of_a_device_is_that_of_its_number():
    assert devices.kernel_name("/dev/disk/by-id/x") == "sdb"
    with pytest.raises(O2cbError, match="device /dev/sdx: No such file or directory: check the path"):
        devices.kernel_name("/dev/sdx")
    with pytest.raises(O2cbError, match="/dev/null is not a block device: give the path"):
        devices.kernel_name("/dev/null")


def test_a_partition_has_the_blocks_of_its_disk(tmp_path, monkeypatch):
    disk, by_class = tmp_path / "devices" / "sda", tmp_path / "class"
    for directory in (disk / "queue", disk / "sda1", tmp_path / "devices" / "sdb", by_class):
        directory.mkdir(parents=True)
    (disk / "queue" / "logical_block_size").write_text("4096\n")
    for name, target in (("sda", disk), ("sda1", disk / "sda1"), ("sdb", tmp_path / "devices" / "sdb")):
        (by_class / name).symlink_to(target)
    monkeypatch.setattr(devices, "_SYSFS", str(by_class))
    assert devices.logical_block_size("sda") == 4096
    assert devices.logical_block_size("sda1") == 4096
    assert devices.logical_block_size("sdb") == 512, "where the kernel does not say"


def test_a_size_is_told_in_sectors_of_512_bytes(disks):
    disks.add("sda", sectors=131072)
    assert devices.size_bytes("sda") == 67108864
    assert devices.size_bytes("sdz") == 0


def test_holders_are_listed_in_order(disks):
    disks.add("sda")
    assert devices.holders("sda") == []
    assert devices.holders("sdz") == []
    names = [f"dm-{number}" for number in (7, 3, 9, 1, 8, 2, 6, 4)]
    disks.hold("sda", *names)
    assert devices.holders("sda") == sorted(names)


def test_a_superblock_is_read_at_the_beginning_of_a_device_within_20_s(disks):
    disks.add("sda", head())
    disks.add("sdb", bytes(16384))
    disks.add("sdc", Answer(problem="/dev/sdc: Input/output error"))
    found = devices.read_superblock("/dev/sda")
    assert found is not None
    assert (found.uuid, found.label, found.cluster) == (UUID, "hb1", "lab")
    assert disks.asked == [([Extent("/dev/sda", 0, 16384)], 20.0)]
    assert devices.read_superblock("/dev/sdb") is None
    with pytest.raises(O2cbError, match="Input/output error"):
        devices.read_superblock("/dev/sdc")


def test_a_scan_finds_the_volumes_of_all_devices_that_are_whole(disks):
    disks.add("sdb", head(OTHER, "hb2"))
    disks.add("sda", head())
    disks.add("sdc", bytes(16384))
    disks.add("sdd", Answer(head()[:8192], problem="/dev/sdd: Input/output error"))
    disks.add("sde", head(), sectors=0)
    disks.add("sdf", head())
    disks.hold("sdf", "dm-1")
    disks.add("dm-1", head(), mapper="hb1")
    for name in ("ram0", "zram1", "sr0", "fd0"):
        disks.add(name, head())
    disks.add("sram0", head())
    assert [(found.path, found.kernel_name, found.superblock.uuid) for found in devices.scan()] == [
        ("/dev/mapper/hb1", "dm-1", UUID),
        ("/dev/sda", "sda", UUID),
        ("/dev/sdb", "sdb", OTHER),
        ("/dev/sram0", "sram0", UUID),
    ]
    ((extents, seconds),) = disks.asked
    assert {(extent.offset, extent.size) for extent in extents} == {(0, 16384)}
    assert seconds == 20.0


def test_a_device_that_does_not_answer_is_named_since_nobody_knows_what_it_carries(disks):
    disks.add("sda", head())
    disks.add("sdb", Answer(problem="/dev/sdb did not answer within 3 s", hung=True))
    with pytest.raises(O2cbError, match="looking at the block devices: /dev/sdb did not answer within 3 s: mend"):
        devices.scan(3.0)
    assert disks.asked[0][1] == 3.0


def test_each_region_is_found_on_its_device(disks):
    disks.add("sda", head())
    disks.add("dm-0", head(OTHER), mapper="hb2")
    found = devices.find_regions(uuid for uuid in (OTHER, UUID))
    assert {uuid: device.path for uuid, device in found.items()} == {UUID: "/dev/sda", OTHER: "/dev/mapper/hb2"}
    assert disks.asked[0][1] == 20.0
    devices.find_regions([UUID], 3.0)
    assert disks.asked[1][1] == 3.0


def test_no_disk_is_read_for_no_region(disks):
    disks.add("sda", Answer(problem="/dev/sda did not answer", hung=True))
    assert devices.find_regions([]) == {}
    assert disks.asked == []


def missing_of(call: Callable[[], object], match: str) -> object:
    with pytest.raises(O2cbError, match=match) as raised:
        call()
    return raised.value.facts["regions_missing"]


def test_a_region_on_two_devices_is_not_chosen_between(disks):
    disks.add("sda", head())
    disks.add("sdb", head())
    text = f"^region {UUID} is on several devices, /dev/sda, /dev/sdb: a copy"
    assert missing_of(lambda: devices.find_regions([UUID]), text) == [UUID]


def test_a_region_is_taken_from_the_one_device_that_the_tool_finds_too(disks):
    disks.add("nvme0n1", head())
    disks.add("sda", head())
    assert devices.find_regions([UUID])[UUID].path == "/dev/sda"


def test_a_region_on_a_device_that_the_tool_does_not_find_is_explained(disks):
    disks.add("nvme0n1", head())
    disks.add("nvme1n1", head())
    text = f"^region {UUID}: device /dev/nvme0n1 has a name"
    assert missing_of(lambda: devices.find_regions([UUID]), text) == [UUID]


def test_all_regions_that_are_missing_are_told_at_once_with_what_is_there(disks):
    text = rf"^region {UUID} is on no block device here: attach the disk, or correct the UUID \(seen: none\)$"
    assert missing_of(lambda: devices.find_regions([UUID]), text) == [UUID]
    disks.add("sda", head(OTHER))
    disks.add("sdb", head("A" * 32))
    text = rf"^region {UUID} is on .*\(seen: {OTHER} on /dev/sda, {'A' * 32} on /dev/sdb\); region {'B' * 32} is on no"
    assert missing_of(lambda: devices.find_regions([UUID, OTHER, "B" * 32]), text) == [UUID, "B" * 32]
