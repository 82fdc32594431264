# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node's own mark: in a file that is written in place."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import local
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.local import File

UUIDS = ["3A61A891ED694C01915D51FCDBB27383", "6D16EE2CFD4747E986BDF67AA8249FAE"]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "o2keep" / "token")


def test_what_is_written_is_there_in_the_next_life(path):
    file = File(path)
    file.write(file.local.and_regions(UUIDS)._replace(mark=12345))
    assert File(path).local.mark == 12345
    assert File(path).local.knows(UUIDS[1:])
    assert not File(path).local.knows(["00" * 16])


def test_a_file_of_the_older_format_is_taken_over(path, tmp_path):
    File(path).close()
    (tmp_path / "o2keep" / "token").write_text("1795879532000000\n")
    assert File(path).local == local.Local(1795879532000000, writes=2)
    assert File(path).local.mark == 1795879532000000


def test_the_mark_never_falls(path):
    file = File(path)
    file.write(local.Local(7))
    file.write(local.Local(5))
    assert File(path).local.mark == 7


def test_its_size_never_changes_so_a_full_disk_stops_nothing(path, tmp_path):
    file = File(path)
    sizes = {(tmp_path / "o2keep" / "token").stat().st_size}
    blocks = {(tmp_path / "o2keep" / "token").stat().st_blocks}
    for mark in (1, 10**18, 3):
        file.write(local.Local(mark, frozenset(f"{number:08X}" for number in range(32))))
        sizes.add((tmp_path / "o2keep" / "token").stat().st_size)
        blocks.add((tmp_path / "o2keep" / "token").stat().st_blocks)
    assert (len(sizes), len(blocks)) == (1, 1)


@pytest.mark.parametrize("cut", [0, 4096])
def test_a_power_cut_in_the_middle_of_a_write_leaves_the_one_before(path, tmp_path, cut):
    file = File(path)
    for mark in (100, 200):
        file.write(local.Local(mark))
    with (tmp_path / "o2keep" / "token").open("r+b") as raw:
        raw.seek(cut)
        raw.write(b"9" * 300)
    assert File(path).local.mark in (100, 200)


def test_one_that_cannot_be_understood_is_named(path, tmp_path):
    File(path).close()
    (tmp_path / "o2keep" / "token").write_text("soon\n")
    with pytest.raises(O2cbError, match="is damaged"):
        File(path)
    with pytest.raises(O2cbError, match="is damaged"):
        local.read(path)


def test_it_is_read_without_a_write_and_without_being_made(path, tmp_path):
    assert local.read(path) == local.Local()
    assert not (tmp_path / "o2keep").exists()
    File(path).close()
    file = tmp_path / "o2keep" / "token"
    file.write_text("1795879532000000\n")
    assert local.read(path).mark == 1795879532000000
    assert file.read_text() == "1795879532000000\n"
    made = File(path)
    made.write(local.Local(1795879532000777))
    assert local.read(path) == made.local
