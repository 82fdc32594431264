# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import names

UUID = "6617721d-5536-4ff1-b01f-b7259c85410e"

valid = st.text(min_size=1).filter(lambda name: not names.name_problem(name))


@pytest.mark.parametrize("name", ["x", "maintenance", "a b", "vm-101", "n" * 26, "ü" * 13, "x.in"])
def test_a_plain_name_is_stored_as_it_is(name):
    assert names.stored(name) == name


@pytest.mark.parametrize(
    "name", ["n" * 27, "n" * 31, UUID, "n" * 255, "$x", "a/b", "..", ".", "a\nb", "x.info", "x.w", "a~b"]
)
def test_every_other_name_is_stored_as_a_readable_beginning_and_a_hash(name):
    stored = names.stored(name)
    assert stored != name
    assert "~" in stored
    assert len(stored.encode()) <= names.MAX_PLAIN_BYTES


@pytest.mark.parametrize(
    ("name", "word"), [("", "0 bytes"), ("n" * 256, "256 bytes"), ("a\0b", "NUL"), ("\udcff", "UTF-8")]
)
def test_what_is_no_name_is_refused_in_words(name, word):
    with pytest.raises(O2cbError, match=word):
        names.stored(name)


@given(valid)
def test_dlmfs_takes_every_stored_name_and_its_companions(name):
    stored = names.stored(name)
    for file_name in (stored, names.info(stored), names.writers(stored)):
        assert 1 <= len(file_name.encode()) <= 31
        assert "/" not in file_name
        assert "\0" not in file_name
        assert not file_name.startswith("$")
        assert file_name not in (".", "..")


@given(st.lists(valid, unique=True, max_size=20))
def test_different_names_never_share_a_file(many):
    files = [
        file_name
        for stored in map(names.stored, many)
        for file_name in (stored, names.info(stored), names.writers(stored))
    ]
    assert len(set(files)) == len(files)
