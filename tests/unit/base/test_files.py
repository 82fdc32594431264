# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files are replaced whole, and keep their mode."""

from __future__ import annotations

import os
import stat

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import files


def mode(path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_new_file_is_readable_for_all_and_an_old_one_keeps_its_mode(tmp_path):
    path = tmp_path / "new" / "cluster.conf"
    files.write(str(path), "one\n")
    assert (path.read_text(), mode(path)) == ("one\n", 0o644)
    path.chmod(0o600)
    files.write(str(path), "two\n")
    assert (path.read_text(), mode(path)) == ("two\n", 0o600)
    assert os.listdir(path.parent) == ["cluster.conf"]


def test_a_symbolic_link_is_replaced_by_a_file_that_only_root_can_write(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("theirs\n")
    link.symlink_to(target)
    files.write(str(link), "ours\n")
    assert target.read_text() == "theirs\n"
    assert not link.is_symlink()
    assert mode(link) == 0o644


def test_bytes_that_are_no_utf_8_and_carriage_returns_survive(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xff\x00\r\n\xc3\xa9")
    text = files.read(str(path))
    assert text is not None
    files.write(str(path), text)
    assert path.read_bytes() == b"\xff\x00\r\n\xc3\xa9"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write(str(path), "text")
    assert os.listdir(tmp_path) == ["file"]


def test_removing_twice_is_no_error(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    files.remove(str(path))
    files.remove(str(path))
    assert files.read(str(path)) is None
    assert files.read_line(str(path)) == ""
