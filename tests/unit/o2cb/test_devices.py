# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sysfs and udev say of a device."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import devices

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
        (f"S:mapper/hb1\nI:8473147\nE:DM_UUID=\n{REGION}G:systemd\n", ("2A7D4DC5CA8C46E9A695B8BC189DCA19", "hb1")),
        ("E:ID_FS_TYPE=ext4\nE:ID_FS_UUID=6617721d-5536-4ff1-b01f-b7259c85410e\n", ("", "")),
        ("E:ID_FS_TYPE=ocfs2\n", ("", "")),
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
