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

STORED = {
    "vm-101": "vm-101",
    "n" * 26: "nnnnnnnnnnnnnnnnnnnnnnnnnn",
    "ü" * 13: "üüüüüüüüüüüüü",
    UUID: "6617721d-~ioy5cdtuhjt4hjgz",
    "n" * 27: "nnnnnnnnn~jatqhxwgpotybots",
    "n" * 255: "nnnnnnnnn~ho2vlzhnh2gg4gay",
    "ü" * 14: "---------~2tzqkkoh5kiaepoa",
    "grün und gelb und noch länger": "gr-n-und-~p2dqskioewsxcrpu",
    "$x": "-x~ko23uqdensft7yvi",
    "a/b": "a-b~yfgn3qbt6zfz32ua",
    "a~b": "a-b~sqksrzphpsnb6prp",
    "a\nb": "a-b~pymponzrdmw4hmxs",
    "x.w": "x-w~l6vbhfph6i5dmhmn",
    "x.info": "x-info~mdsw4ety2azm2egj",
    ".": "-~zw2o4kxknhggvazt",
    "..": "--~l3a7pzya6n6d2czj",
}
"""Two versions that store a name differently both grant its lock. The code is sha256sum | xxd -r -p | base32."""

valid = st.text(min_size=1).filter(lambda name: not names.name_problem(name))


@pytest.mark.parametrize("name", STORED)
def test_every_version_stores_a_name_in_the_same_file(name):
    assert names.stored(name) == STORED[name]
    assert names.info(STORED[name]) == f"{STORED[name]}.info"
    assert names.writers(STORED[name]) == f"{STORED[name]}.w"


def test_every_version_has_its_locks_in_the_same_domains():
    assert names.DEFAULT_DOMAIN == "o2cb"
    assert names.AGENT_DOMAIN == "o2agent"


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


def test_a_problem_shows_the_beginning_of_a_long_name():
    assert names.name_problem("n" * 256) == f"lock name '{'n' * 40}' has 256 bytes: use 1 to 255"
    assert names.name_problem("n" * 255) == ""


@pytest.mark.parametrize(
    ("domain", "name", "only_liveness"),
    [
        ("o2agent", "alive-1", True),
        ("o2agent", "node-254", True),
        ("o2agent", "sequencer", True),
        ("o2agent", "alive-", False),
        ("o2agent", "node-1x", False),
        ("o2agent", "the sequencer", False),
        ("o2agent", "wish:web", False),
        ("o2cb", "alive-1", False),
        ("o2cb", "sequencer", False),
        ("o2cb", "vm-101", False),
    ],
)
def test_only_the_agents_own_signs_of_life_let_a_node_leave(domain, name, only_liveness):
    assert names.is_liveness(domain, name) is only_liveness


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
