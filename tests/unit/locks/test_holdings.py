# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The locks of a node: found by their names, listed in pages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.holding import (
    NODE,
    PROCESS,
    Holding,
    Holdings,
    Identity,
    State,
)


def lock(number: int, name: str = "", kind: str = NODE) -> Holding:
    what = Identity(f"id{number}", "o2cb", name or f"lock{number}", "EX", kind, "", 1, 1)
    return Holding(what, number, State.HELD)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 7))
def test_pages_miss_none_that_is_there_all_the_time(removed: list[bool], count: int) -> None:
    holdings = Holdings()
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


def test_a_lock_is_found_by_its_name_as_long_as_its_files_are_there():
    holdings = Holdings()
    first, second = lock(1, "same", PROCESS), lock(2, "same")
    holdings.add(first)
    holdings.add(second)
    key = ("o2cb", "same")
    assert holdings.of(key) == [first, second]
    assert holdings.node_lock(key) is second
    second.state = State.RELEASING
    assert holdings.node_lock(key) is None, "it may be taken anew"
    assert holdings.of(key) == [first, second], "and stands in the way until its files are gone"
    assert holdings.following(0, 9) == [first]
    holdings.remove(first)
    holdings.remove(second)
    assert (len(holdings), holdings.of(key)) == (0, [])


def test_what_nobody_was_told_of_is_in_no_list():
    holdings, held = Holdings(), lock(1)
    held.state = State.GRANTING
    holdings.add(held)
    assert holdings.following(0, 9) == []
    assert holdings.node_lock(("o2cb", "lock1")) is held, "who asks for it has to wait for it"
    held.state = State.HELD
    assert holdings.following(0, 9) == [held]


def test_files_are_those_of_the_mode_and_what_earlier_modes_have_touched():
    held = lock(1)
    assert held.files() == ["lock1"]
    held.touched |= {"lock1.w", "lock1.info"}
    assert held.files() == ["lock1", "lock1.info", "lock1.w"]
