# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages in slots outlive the version that has written them: these bytes are what two versions share.

A change of any of them needs another VERSION, and a way in which the next keeper reads the old one.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import wire
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import holding
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.holding import Identity, KeptInfo, KeptLane

LOCK = Identity(
    id="0123456789abcdef",
    domain="o2cb",
    name="a/name",
    mode="PW",
    kind="cgroup",
    owner="who, \u00e4",
    token=4294967297,
    since=1764343200000000,
    cgroup="/a.slice/b.service",
    lane=7,
    request="fedcba9876543210",
    serial=2,
)
GOLDEN = [
    (
        holding.lock_message(vars(LOCK)),
        (
            b'{"v":1,"lock":{"id":"0123456789abcdef","domain":"o2cb","name":"a/name","mode":"PW","kind":"cgroup",'
            b'"owner":"who, \\u00e4","token":4294967297,"since":1764343200000000,"cgroup":"/a.slice/b.service",'
            b'"lane":7,"request":"fedcba9876543210","serial":2}}'
        ),
        LOCK,
    ),
    (
        holding.lane_message("o2agent", 12, 3),
        b'{"v":1,"lane":{"domain":"o2agent","lane":12,"node":3}}',
        KeptLane("o2agent", 12, 3),
    ),
    (holding.info_message("0123456789abcdef"), b'{"v":1,"info":"0123456789abcdef"}', KeptInfo("0123456789abcdef")),
]


@pytest.mark.parametrize(("message", "golden", "_what"), GOLDEN)
def test_what_is_written_is_what_other_versions_read(message, golden, _what):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        wire.send(ours, message)
        assert theirs.recv(1000) == golden


@pytest.mark.parametrize(("_message", "golden", "what"), GOLDEN)
def test_what_other_versions_have_written_is_read(_message, golden, what):
    assert holding.kept(json.loads(golden)) == what


def test_fields_that_came_later_have_values_where_they_are_missing_and_unknown_ones_are_ignored():
    first = {"id": "1", "domain": "d", "name": "n", "mode": "EX", "kind": "node", "owner": "", "token": 1, "since": 2}
    what = holding.kept({"v": 1, "lock": {**first, "colour": "red"}, "more": 7})
    assert what == Identity("1", "d", "n", "EX", "node", "", 1, 2, cgroup="", lane=0, request="", serial=0)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in vars(LOCK).items() if name != key}


@pytest.mark.parametrize(
    "message",
    [
        None,
        {},
        {"lock": vars(LOCK)},
        {"v": 99, "lock": vars(LOCK)},
        {"v": "1", "info": "1"},
        {"v": 1},
        {"v": 1, "lock": 7},
        {"v": 1, "lock": []},
        {"v": 1, "lock": without("token")},
        {"v": 1, "lock": {**vars(LOCK), "token": "7"}},
        {"v": 1, "lock": {**vars(LOCK), "token": True}},
        {"v": 1, "lock": {**vars(LOCK), "mode": "CW"}},
        {"v": 1, "lock": {**vars(LOCK), "kind": "thread"}},
        {"v": 1, "lock": {**vars(LOCK), "name": ""}},
        {"v": 1, "lane": {"domain": "d", "lane": "x", "node": 1}},
        {"v": 1, "lane": {"domain": "d", "lane": 1}},
        {"v": 1, "lane": None},
    ],
)
def test_what_cannot_be_read_is_known_as_such(message):
    assert holding.kept(message) is None


@given(
    st.dictionaries(
        st.sampled_from(["v", "lock", "lane", "info"]), st.none() | st.integers() | st.text() | st.just(vars(LOCK))
    )
)
def test_whatever_stands_in_a_slot_raises_nothing(message):
    holding.kept(message)
