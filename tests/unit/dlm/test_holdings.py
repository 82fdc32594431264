# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The locks of a node: found by their names, listed in pages, with a word to those who wait."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.dlm import holding
from ansible_collections.ocfs2.o2cb.plugins.module_utils.dlm.holding import (
    CGROUP,
    NODE,
    PROCESS,
    Holding,
    Holdings,
    Identity,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.dlm.modes import Mode


def lock(number: int, name: str = "", kind: str = NODE) -> Holding:
    return Holding(Identity(f"id{number}", "o2cb", name or f"lock{number}", "EX", kind, "", 1, 1), -1)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 7))
def test_pages_miss_none_that_is_there_all_the_time(removed: list[bool], count: int) -> None:
    holdings = Holdings(lambda _key: None)
    held = [lock(number) for number in range(len(removed))]
    for one in held:
        holdings.add(one)
    listed: list[str] = []
    after, going = 0, list(zip(held, removed, strict=True))
    while page := holdings.following(after, count):
        listed += [one.what.name for one in page]
        after = page[-1].number
        if going and going[0][1]:
            holdings.remove(going[0][0])
        going = going[1:]
        holdings.add(lock(1000 + len(going), "late"))
        if len(listed) > 500:
            break
    assert {one.what.name for one, gone in zip(held, removed, strict=True) if not gone} <= set(listed)
    mine = [name for name in listed if name != "late"]
    assert len(mine) == len(set(mine)), "and lists none twice"


def test_who_waits_is_told_of_what_comes_and_goes_and_finds_it_by_its_name():
    told: list[tuple[str, str]] = []
    holdings = Holdings(told.append)
    first, second = lock(1, "same", PROCESS), lock(2, "same")
    holdings.add(first)
    holdings.add(second)
    key = ("o2cb", "same")
    assert holdings.of(key) == [first, second]
    assert holdings.node_lock(key) is second
    second.releasing = True
    assert holdings.node_lock(key) is None
    assert holdings.following(0, 9) == [first]
    holdings.remove(first)
    holdings.discard(second)
    holdings.discard(second)
    assert (len(holdings), holdings.of(key)) == (0, [])
    assert told == [key] * 4


def test_what_waits_for_the_end_of_jobs_is_called_once_at_their_end():
    held, called = lock(1), []
    held.when_idle(lambda: called.append("at once"))
    held.begin()
    held.begin()
    held.when_idle(lambda: called.append("later"))
    held.end()
    assert called == ["at once"]
    held.end()
    assert called == ["at once", "later"]


KEPT = {
    NODE: (
        '{"lock": {"id": "7-1", "domain": "o2cb", "name": "web/1", "mode": "PW", "kind": "node", "owner": "me", '
        '"token": 42, "since": 1800000000000000, "cgroup": ""}, "released": false}'
    ),
    PROCESS: (
        '{"lock": {"id": "7-2", "domain": "o2cb", "name": "web", "mode": "EX", "kind": "process", "owner": "", '
        '"token": 43, "since": 1800000000000001, "cgroup": ""}, "released": false}'
    ),
    CGROUP: (
        '{"lock": {"id": "7-3", "domain": "clvmd", "name": "vm", "mode": "PR", "kind": "cgroup", "owner": "", '
        '"token": 0, "since": 1800000000000002, "cgroup": "/system.slice/x.service"}, "released": false}'
    ),
}
"""What keepers of versions in use have put aside."""


@pytest.mark.parametrize("kind", KEPT)
def test_every_version_reads_what_another_one_has_put_aside_and_writes_it_alike(kind: str) -> None:
    held = holding.adopt(json.loads(KEPT[kind]), [10, 11, 12])
    assert (held.what.kind, held.releasing, held.number, held.info) == (kind, False, 0, -1)
    assert json.dumps(held.record()) == KEPT[kind]
    pipe = {NODE: -1, PROCESS: 12, CGROUP: -1}[kind]
    assert (held.mount, held.locks, held.pipe) == (10, [11] if kind == PROCESS else [11, 12], pipe)
    assert held.descriptors() == [10, 11, 12]


@pytest.mark.parametrize("kind", KEPT)
def test_what_was_being_released_has_no_pipe_any_more_and_is_released_by_the_next_keeper(kind: str) -> None:
    record = {**json.loads(KEPT[kind]), "released": True}
    held = holding.adopt(record, [10, 11, 12])
    assert (held.releasing, held.pipe, held.locks) == (True, -1, [11, 12])
    assert held.record() == record


def test_a_pipe_may_have_the_number_0():
    assert Holding(lock(1).what, 10, [], pipe=0).descriptors() == [10, 0]
    held = Holding(lock(1).what, 10, [11])
    assert held.descriptors() == [10, 11]
    assert (held.pipe, held.info, held.what.cgroup) == (-1, -1, "")


@pytest.mark.parametrize(
    ("mode", "files"),
    [
        (Mode.NL, []),
        (Mode.CR, [("web", False)]),
        (Mode.PR, [("web", False), ("web.w", False)]),
        (Mode.PW, [("web", False), ("web.w", True)]),
        (Mode.EX, [("web", True)]),
    ],
)
def test_a_mode_is_these_files_in_the_order_in_which_everybody_takes_them(mode, files):
    assert holding.resources("web", mode) == files
    held = Holding(Identity("1", "o2cb", "web", mode.value, NODE, "", 1, 1), -1)
    assert held.resources() == [name for name, _exclusive in files]
    assert held.files() == [*held.resources(), "web.info"]


def test_a_lock_is_known_by_its_domain_and_the_name_of_its_file():
    what = lock(1, "web/1").what
    assert what.stored == "web-1~d4a5un463lf2hucb"
    assert what.key == ("o2cb", what.stored)


def test_people_are_told_what_a_lock_is_and_not_how_it_is_kept():
    assert holding.facts(holding.adopt(json.loads(KEPT[NODE]), [10])) == {
        "name": "web/1",
        "domain": "o2cb",
        "mode": "PW",
        "kind": "node",
        "owner": "me",
        "token": 42,
        "since": 1_800_000_000_000_000,
    }


def test_a_job_that_begins_in_a_call_at_the_end_of_another_keeps_later_calls_waiting():
    held, called = lock(1), []

    def begin_again() -> None:
        called.append("first")
        held.begin()

    held.begin()
    held.when_idle(begin_again)
    held.when_idle(lambda: called.append("second"))
    held.end()
    assert called == ["first"]
    held.end()
    assert called == ["first", "second"]
    held.begin()
    held.end()
    assert called == ["first", "second"], "once each"


def test_locks_are_listed_in_the_order_in_which_they_came_and_those_that_are_released_are_not():
    holdings = Holdings(lambda _key: None)
    held = [lock(number) for number in range(5)]
    for one in held:
        holdings.add(one)
    assert [one.number for one in holdings] == [1, 2, 3, 4, 5]
    assert len(holdings) == 5
    held[2].releasing = True
    assert holdings.following(0, 2) == held[:2]
    assert holdings.following(2, 9) == held[3:]
    assert holdings.following(5, 9) == []
    for one in holdings:
        holdings.remove(one)
    assert list(holdings) == []
    assert holdings._by_key == {}, "nothing is kept of names that are not locked any more"
    holdings.add(lock(9))
    assert [one.number for one in holdings] == [6], "a number is never given twice"


def test_only_a_node_lock_is_the_node_s():
    holdings = Holdings(lambda _key: None)
    for kind in (PROCESS, CGROUP):
        holdings.add(lock(len(holdings), "web", kind))
    assert holdings.node_lock(("o2cb", "web")) is None
    assert holdings.of(("clvmd", "web")) == []
    mine = lock(7, "web")
    holdings.add(mine)
    assert holdings.node_lock(("o2cb", "web")) is mine
    holdings.remove(mine)
    assert [one.what.kind for one in holdings.of(("o2cb", "web"))] == [PROCESS, CGROUP]
