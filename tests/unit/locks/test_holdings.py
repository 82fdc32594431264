# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The locks of a node: found by their names, listed in pages, with a word to those who wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.holding import NODE, PROCESS, Holding, Holdings, Identity


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
