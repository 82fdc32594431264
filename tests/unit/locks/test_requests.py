# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients ask of o2keep: whatever is wrong with it is said before anything is done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import requests
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.requests import Names, Want

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = ["name", "names", "domain", "mode", "kind", "owner", "wait", "fresh", "eager", "recall", "id", "token"]


def test_a_request_with_nothing_but_a_name_is_for_the_nodes_own_exclusive_lock_at_once():
    assert requests.take({"name": "a"}) == Want(("a",), "o2cb", Mode.EX)


def test_all_that_can_be_asked_for_is_read():
    message = {
        "name": "a",
        "domain": "mine",
        "mode": "shared",
        "kind": "cgroup",
        "owner": "me",
        "wait": 7,
        "fresh": 1,
        "eager": True,
        "recall": True,
        "id": "x" * 100,
    }
    assert requests.take(message, "/group") == Want(
        ("a",), "mine", Mode.PR, "cgroup", "me", 7.0, True, True, True, "/group", "x" * requests.REQUEST_BYTES
    )


def test_names_are_taken_once_each_and_in_the_order_in_which_everybody_takes_them():
    assert requests.take({"names": ["b", "a", "b"]}).names == ("a", "b")
    assert requests.named({"names": ["a"]}) == Names(("a",), "o2cb", None, True)


def test_one_name_in_a_list_is_answered_as_a_list():
    assert requests.take({"names": ["a"]}).many
    assert not requests.take({"name": "a"}).many


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"name": "a", "mode": "NL"}, "mode NL cannot be taken"),
        ({"name": "a", "kind": "thread"}, "kind 'thread'"),
        ({"name": "a", "mode": "CW"}, "use PW"),
        ({"name": "a", "wait": -1}, "wait is -1"),
        ({"name": "a", "wait": float("inf")}, "wait is inf"),
        ({"name": "a", "wait": 365 * 86400 + 1}, "from 0 to"),
        ({"name": "a", "owner": "\u00e4" * 128}, "the owner text is 256 bytes"),
        ({"name": ""}, "0 bytes"),
        ({"name": "a\0"}, "NUL"),
        ({"name": "\ud800"}, "not valid UTF-8"),
        ({"name": None}, "a lock's name is a string"),
        ({"names": []}, "0 names in one request"),
        ({"names": ["a"] * 101}, "101 names in one request"),
        ({"names": ["a", 7]}, "a lock's name is a string"),
        ({"names": ["a", "b"], "kind": "process"}, "take each by a request of its own"),
        ({"name": "a", "domain": "../x"}, "domain"),
        ({"name": "a", "token": -1}, "a token is a number"),
        ({"name": "a", "token": True}, "a token is a number"),
        ({"name": "a", "token": "7"}, "a token is a number"),
        ({"names": ["a"], "token": 7}, "belongs to one name"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason(message, words):
    with pytest.raises(O2cbError, match=words):
        requests.take(message)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)))
def test_whatever_comes_is_read_or_refused_in_a_way_that_the_keeper_answers(message):
    try:
        want = requests.take(message)
    except (O2cbError, KeyError, TypeError, ValueError, OverflowError):
        return
    assert 1 <= len(want.names) <= requests.MOST_NAMES
    assert 0 <= want.wait <= requests.LONGEST_WAIT
    assert want.mode is not Mode.NL
    assert len(want.owner.encode()) <= requests.OWNER_BYTES


@given(st.text(max_size=300))
def test_an_owner_text_never_stops_a_lock_by_what_is_no_utf_8(text):
    try:
        shown = requests.owner({"owner": text})
    except O2cbError:
        assert len(text.encode("utf-8", "replace")) > requests.OWNER_BYTES
    else:
        shown.encode()


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf")])
def test_a_duration_is_a_finite_number_of_seconds(bad):
    with pytest.raises(O2cbError, match="give seconds"):
        requests.seconds({"seconds": bad}, "seconds", 1.0)
    assert requests.seconds({}, "seconds", 1.5) == 1.5
