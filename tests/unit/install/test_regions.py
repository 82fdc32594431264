# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing that holds anything is formatted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import programs
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import regions
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install.regions import Region
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import devices, direct
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.devices import Device
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.superblock import Superblock

SIZE = 64 * 1024 * 1024


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Path:
    """A blank file in the place of a disk."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    monkeypatch.setattr(devices, "is_found_by_tool", lambda path: True)
    monkeypatch.setattr(devices, "kernel_name", lambda path: "sdz")
    monkeypatch.setattr(devices, "holders", lambda name: [])
    monkeypatch.setattr(devices, "size_bytes", lambda name: SIZE)
    # Not every file system takes O_DIRECT.
    monkeypatch.setattr(direct, "_FLAGS", "skip_bytes,count_bytes")
    return path


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_device_of_zeros_may_be_formatted(disk):
    assert regions.examine(str(disk), "lab") is None


def test_what_lies_between_the_first_and_the_last_mib_is_left_to_blkid(disk):
    put(disk, 1024 * 1024, b"x")
    put(disk, SIZE - 1024 * 1024 - 1, b"x")
    assert regions.examine(str(disk), "lab") is None


@pytest.mark.parametrize("more", [512, 3584])
def test_the_last_byte_counts_also_on_a_device_of_an_odd_size(disk, monkeypatch, more):
    monkeypatch.setattr(devices, "size_bytes", lambda name: SIZE + more)
    with disk.open("r+b") as file:
        file.truncate(SIZE + more)
    assert regions.examine(str(disk), "lab") is None
    put(disk, SIZE + more - 1, b"x")
    with pytest.raises(O2cbError, match=r"is not blank \(data of unknown kind\)"):
        regions.examine(str(disk), "lab")


@pytest.mark.parametrize("offset", [0, 512, 1024 * 1024 - 1, SIZE - 1024 * 1024, SIZE - 1])
def test_one_byte_in_the_first_or_last_mib_is_enough_to_refuse(disk, offset):
    put(disk, offset, b"x")
    with pytest.raises(O2cbError, match="is not blank"):
        regions.examine(str(disk), "lab")


@pytest.mark.parametrize(
    ("offset", "magic", "kind"),
    [
        (1024 * 1024, b"\x0d\xd0\x01\xc0", "VMFS_volume_member"),
        (2 * 1024 * 1024, b"\x5e\xf1\xab\x2f", "VMFS"),
    ],
)
def test_a_signature_behind_the_first_mib_is_enough_to_refuse(disk, offset, magic, kind):
    put(disk, offset, magic)
    with pytest.raises(O2cbError, match=rf"is not blank \({kind}"):
        regions.examine(str(disk), "lab")


def test_a_device_that_cannot_be_read_whole_is_not_blank(disk, monkeypatch):
    whole = direct.read
    monkeypatch.setattr(
        direct, "read", lambda *what: [direct.Answer(answer.data[: len(answer.data) // 2]) for answer in whole(*what)]
    )
    with pytest.raises(O2cbError, match="is not blank"):
        regions.examine(str(disk), "lab")


def test_a_device_that_cannot_be_read_is_told_with_each_reason(disk, monkeypatch):
    asked = []

    def read(extents: list[direct.Extent], seconds: float) -> list[direct.Answer]:
        asked.append((extents, seconds))
        return [direct.Answer(problem="sdz: Input/output error"), direct.Answer(problem="sdz did not answer")]

    monkeypatch.setattr(devices, "read_superblock", lambda path: None)
    monkeypatch.setattr(direct, "read", read)
    with pytest.raises(O2cbError, match=r"^sdz: Input/output error; sdz did not answer$"):
        regions.examine(str(disk), "lab")
    extents = [direct.Extent(str(disk), 0, 1048576), direct.Extent(str(disk), SIZE - 1048576, 1048576)]
    assert asked == [(extents, 20.0)]


@pytest.mark.parametrize(("size", "is_enough"), [(67108864, True), (67108863, False), (0, False)])
def test_a_device_that_is_too_small_is_refused(disk, monkeypatch, size, is_enough):
    monkeypatch.setattr(devices, "size_bytes", lambda name: size)
    if is_enough:
        assert regions.examine(str(disk), "lab") is None
    else:
        with pytest.raises(O2cbError, match=rf"has {size} bytes: a region needs 67108864 \(64 MiB\)"):
            regions.examine(str(disk), "lab")


def test_a_part_of_another_device_is_refused(disk, monkeypatch):
    monkeypatch.setattr(devices, "holders", lambda name: ["dm-3", "md1"])
    with pytest.raises(O2cbError, match="part of dm-3, md1: give"):
        regions.examine(str(disk), "lab")


@pytest.mark.parametrize("path", ["/dev/nvme0n1", "/dev/md0", "/dev/zd16", "/dev/dm-0", "/dev/disk/by-id/x"])
def test_a_name_that_the_tool_does_not_search_is_refused_with_the_way_out(path):
    with pytest.raises(O2cbError, match="dmsetup create hb-"):
        regions.examine(path, "lab")


UUID = "6617721D55364FF1B01FB7259C85410E"
OURS = Superblock(UUID, "hb1", "o2cb", "lab", True, 4096)


def test_a_region_of_this_cluster_is_found(disk, monkeypatch):
    monkeypatch.setattr(devices, "read_superblock", lambda path: OURS)
    assert regions.examine(str(disk), "lab") == Device(str(disk), "sdz", OURS)


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (replace(OURS, cluster="other"), r"\(hb1\) of cluster 'other' of stack 'o2cb', not a .* of cluster 'lab'"),
        (replace(OURS, stack="pcmk"), "of cluster 'lab' of stack 'pcmk'"),
        (replace(OURS, global_heartbeat=False), "not a global heartbeat region of cluster 'lab'"),
        (replace(OURS, label="", stack="", cluster=""), r"\(no label\) of no cluster, not"),
    ],
)
def test_a_volume_of_somebody_else_is_no_region(disk, monkeypatch, volume, words):
    monkeypatch.setattr(devices, "read_superblock", lambda path: volume)
    with pytest.raises(O2cbError, match=f"carries the OCFS2 volume {UUID} .*{words}"):
        regions.examine(str(disk), "lab")


@pytest.mark.parametrize(
    ("code", "output", "kind"),
    [
        (2, "", ""),
        (0, "DEVNAME=/dev/sdz\nTYPE=ext4\n", "ext4"),
        (0, "LABEL=a=b\nTYPE=ext4\nPTTYPE=dos\n", "ext4 'a=b'"),
        (0, "PTTYPE=gpt\n", "gpt"),
        (0, "a line without a sign\nTYPE=xfs\n", "xfs"),
        (0, "LABEL=alone\n", ""),
        (8, "TYPE=ext4\n", "several signatures"),
    ],
)
def test_a_signature_is_what_blkid_finds_by_its_own_look(monkeypatch, code, output, kind):
    asked = []

    def run(command: Sequence[str], seconds: float) -> tuple[int, str, str]:
        asked.append((command, seconds))
        return code, output, ""

    monkeypatch.setattr(programs, "run", run)
    assert regions.signature("/dev/sdz") == kind
    assert asked == [(["blkid", "--probe", "--output", "export", "/dev/sdz"], 30)]


class System:
    """Writes down what it is to run; `made` is what a look finds afterwards."""

    def __init__(self, code: int = 0, output: str = "", error: str = "", made: Superblock | None = OURS) -> None:
        self.answer, self.made = (code, output, error), made
        self.ran: list[list[str]] = []

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.ran.append(command)
        return self.answer


@pytest.fixture
def formatted(disk, monkeypatch) -> Callable[[System], Region]:
    def format_region(system: System) -> Region:
        monkeypatch.setattr(devices, "read_superblock", lambda path: system.made)
        return regions.format_region(system, str(disk), "lab", "hb1")  # type: ignore[arg-type]

    return format_region


def test_a_region_is_formatted_for_the_global_heartbeat_of_its_cluster(disk, formatted):
    system = System()
    assert formatted(system) == Region(UUID, str(disk), "hb1", formatted=True)
    words = "timeout 120 mkfs.ocfs2 -b 4K -C 4K -N 2 -J size=4M -L hb1 --cluster-stack=o2cb --cluster-name=lab"
    assert system.ran == [[*words.split(), "--global-heartbeat", str(disk)]]


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (System(1, "much\n", "no space\n"), r"failed \(exit code 1\): no space$"),
        (System(1, "what it said\n", ""), r"failed \(exit code 1\): what it said$"),
        (System(0, "done", "", made=None), r"failed \(exit code 0\): done$"),
        (System(124, "", "x" + "y" * 300), r"failed \(exit code 124\): y{300}$"),
    ],
)
def test_a_region_that_could_not_be_formatted_is_none(formatted, system, words):
    with pytest.raises(O2cbError, match=words):
        formatted(system)


def test_a_device_that_somebody_uses_is_not_formatted(disk, formatted, monkeypatch):
    opened = []

    def refuse(path: str, flags: int) -> int:
        opened.append((path, flags))
        raise OSError(16, "Device or resource busy")

    flags = {"O_RDWR": os.O_RDWR, "O_EXCL": os.O_EXCL, "O_CLOEXEC": os.O_CLOEXEC}
    fake = SimpleNamespace(open=refuse, close=os.close, **flags)
    monkeypatch.setattr(regions, "os", fake)
    system = System()
    with pytest.raises(O2cbError, match=r"cannot be had for formatting \(Device or resource busy\): see who uses it"):
        formatted(system)
    assert system.ran == []
    assert opened == [(str(disk), os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)]


def test_no_descriptor_is_left_open_by_the_look_at_who_uses_a_device(formatted):
    formatted(System())
    before = len(os.listdir("/proc/self/fd"))
    formatted(System())
    assert len(os.listdir("/proc/self/fd")) == before


class Host:
    """What is on the device /dev/sdz: `None` is nothing. Formatting is written down."""

    def __init__(self, volume: Superblock | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.formatted: list[tuple[str, str, str]] = []
        self._volume = volume
        monkeypatch.setattr(regions, "examine", self._examine)
        monkeypatch.setattr(regions, "format_region", self._format)
        monkeypatch.setattr(devices, "find_regions", self._find)

    def _examine(self, path: str, cluster: str) -> Device | None:
        assert cluster == "lab"
        return Device(path, "sdz", self._volume) if self._volume else None

    def _format(self, _system: object, path: str, cluster: str, label: str) -> Region:
        self.formatted.append((path, cluster, label))
        return Region(UUID, path, label, formatted=True)

    def _find(self, uuids: list[str]) -> dict[str, Device]:
        if not self._volume or uuids != [self._volume.uuid]:
            raise O2cbError(f"region {uuids[0]} is on no block device here")
        return {uuids[0]: Device("/dev/sdz", "sdz", self._volume)}

    def resolve(self, may_format: bool = True, check: bool = False, **wanted: str | None) -> Region:
        return regions.resolve(object(), wanted, "lab", may_format, check)  # type: ignore[arg-type]


DEVICE = "/dev/sdz"


@pytest.mark.parametrize(
    "wanted",
    [
        {"uuid": UUID},
        {"uuid": UUID, "device": ""},
        {"uuid": UUID, "label": "other"},
        {"device": DEVICE},
        {"device": DEVICE, "uuid": UUID},
        {"device": DEVICE, "uuid": "", "label": "other"},
    ],
)
@pytest.mark.parametrize("may_format", [True, False])
def test_a_region_that_is_there_is_found_by_its_device_or_its_uuid(monkeypatch, wanted, may_format):
    host = Host(OURS, monkeypatch)
    assert host.resolve(may_format, **wanted) == Region(UUID, DEVICE, "hb1", formatted=False)
    assert host.formatted == []


@pytest.mark.parametrize("wanted", [{}, {"uuid": None, "device": None}, {"uuid": ""}])
def test_a_region_without_device_and_uuid_is_none(monkeypatch, wanted):
    with pytest.raises(O2cbError, match=r"^region  is on no block device here"):
        Host(OURS, monkeypatch).resolve(**wanted)


@pytest.mark.parametrize(
    ("volume", "wanted", "may_format", "words"),
    [
        (OURS, {"uuid": "A" * 32}, True, f"region {'A' * 32} is on no"),
        (OURS, {"uuid": "A" * 32, "device": DEVICE}, True, f"carries region {UUID}, not {'A' * 32}: correct one"),
        (None, {"uuid": UUID, "device": DEVICE}, True, f"is blank, and region {UUID} should be on it"),
        (None, {"device": DEVICE}, False, "is blank: format it as a region with format=true, on one host only"),
    ],
)
def test_a_region_that_is_not_there_is_refused_and_nothing_is_formatted(monkeypatch, volume, wanted, may_format, words):
    host = Host(volume, monkeypatch)
    with pytest.raises(O2cbError, match=words):
        host.resolve(may_format, **wanted)
    assert host.formatted == []


@pytest.mark.parametrize(("label", "written"), [("hb1", "hb1"), ("", "sdz"), (None, "sdz")])
def test_a_blank_device_is_formatted_where_that_is_allowed_and_called_after_its_path(monkeypatch, label, written):
    host = Host(None, monkeypatch)
    assert host.resolve(device=DEVICE, label=label) == Region(UUID, DEVICE, written, formatted=True)
    assert host.formatted == [(DEVICE, "lab", written)]


@pytest.mark.parametrize(("label", "shown"), [("hb1", "hb1"), (None, "")])
def test_check_mode_formats_nothing_and_says_what_would_be(monkeypatch, label, shown):
    host = Host(None, monkeypatch)
    found = host.resolve(check=True, device=DEVICE, label=label)
    assert found == Region("pending:/dev/sdz", DEVICE, shown, formatted=True)
    assert host.formatted == []
