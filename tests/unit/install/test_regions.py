# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing that holds anything is formatted."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import regions
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import devices, direct

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


def test_a_device_that_is_too_small_is_refused(disk, monkeypatch):
    monkeypatch.setattr(devices, "size_bytes", lambda name: SIZE - 512)
    with pytest.raises(O2cbError, match="64 MiB"):
        regions.examine(str(disk), "lab")


def test_a_part_of_another_device_is_refused(disk, monkeypatch):
    monkeypatch.setattr(devices, "holders", lambda name: ["dm-3"])
    with pytest.raises(O2cbError, match="part of dm-3"):
        regions.examine(str(disk), "lab")


@pytest.mark.parametrize("path", ["/dev/nvme0n1", "/dev/md0", "/dev/zd16", "/dev/dm-0", "/dev/disk/by-id/x"])
def test_a_name_that_the_tool_does_not_search_is_refused_with_the_way_out(path):
    with pytest.raises(O2cbError, match="dmsetup create hb-"):
        regions.examine(path, "lab")
