# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device-mapper tables of healthy and broken disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import LabError, disks


@pytest.mark.parametrize(
    ("mode", "table"),
    [
        ("ok", "0 524288 linear /dev/ubdb 0"),
        ("hang", "0 524288 linear /dev/ubdb 0"),
        ("slow", "0 524288 delay /dev/ubdb 0 1500"),
        ("fail", "0 524288 error"),
    ],
)
def test_each_mode_has_its_table(mode: str, table: str):
    assert disks.table("hb1", mode, 1500) == table


def test_a_hanging_disk_is_suspended_and_every_other_mode_resumes():
    assert "dmsetup resume" not in disks.script(["hb1"], "hang")
    for mode in ("ok", "slow", "fail"):
        assert disks.script(["hb1"], mode).endswith("dmsetup resume --noudevsync hb1")


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("hb1 Active 0 524288 linear 98:16 0", ("hb1", "ok")),
        ("hb1 Suspended 0 524288 linear 98:16 0", ("hb1", "hang")),
        ("data Active 0 2097152 delay 98:64 0 2000", ("data", "slow")),
        ("hb2 Active 0 524288 error", ("hb2", "fail")),
    ],
)
def test_the_mode_is_read_back_from_the_node(line: str, mode: tuple[str, str]):
    assert disks.mode_of(line) == mode


def test_files_are_made_once_mended_when_they_have_another_size_and_blanked_on_demand(tmp_path: Path):
    assert disks.create(tmp_path, fresh=False) == list(disks.SIZES)
    (tmp_path / "hb1").open("r+b").write(b"signature")
    (tmp_path / "hb2").write_bytes(b"short")
    assert disks.create(tmp_path, fresh=False) == ["hb2"]
    assert (tmp_path / "hb1").open("rb").read(9) == b"signature"
    assert disks.create(tmp_path, fresh=True) == list(disks.SIZES)
    assert (tmp_path / "hb1").open("rb").read(9) == bytes(9)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == disks.SIZES


def test_an_unknown_disk_is_refused_with_the_known_ones():
    with pytest.raises(LabError, match="hb1, hb2, hb3, data"):
        disks.check_devices(["sda"])
