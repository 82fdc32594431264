# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import token
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.token import Clocks

NOW = 1_800_000_000.0
TOKEN = int(NOW * token.SECOND)


def clocks(own: float = 0.0, others: float = 0.0, newest: float = 0.0, seen: int = 0) -> Clocks:
    """In seconds after NOW; nobody else lives where `others` is not given."""
    return Clocks(NOW + own, NOW + others if others else 0.0, NOW + newest, seen)


agreeing = st.builds(
    Clocks,
    own=st.floats(NOW - 2, NOW + 2),
    others=st.sampled_from([0.0, NOW - 4, NOW]),
    newest=st.floats(NOW - 6, NOW),
    seen=st.integers(0, TOKEN),
)


@given(st.integers(0, TOKEN), agreeing)
def test_a_token_is_larger_than_the_one_before_and_than_every_one_seen(previous, now):
    assert token.next_token(previous, now) > max(previous, now.seen)


@given(agreeing)
def test_without_the_one_before_a_token_is_at_least_every_clock_and_larger_than_every_token_seen(now):
    number = token.next_token(None, now)
    assert number >= int(now.own * token.SECOND)
    assert number >= int(now.newest * token.SECOND)
    assert number > now.seen


@given(agreeing, st.one_of(st.none(), st.integers(0, TOKEN)), st.floats(14, 1000))
def test_the_heir_of_a_dead_node_outdoes_it_without_knowing_its_token(holder, previous, later):
    """A death takes 14 s to be noticed, and the heir's clock has gone on, though the dead node's stamp has not."""
    last = token.next_token(previous, holder)
    heir = Clocks(own=NOW - 2 + later, others=0.0, newest=NOW, seen=0)
    assert token.next_token(None, heir) > last


@pytest.mark.parametrize("newest", [NOW, NOW + 3600])
def test_a_node_whose_clock_is_behind_any_node_is_refused_when_the_token_before_is_unknown(newest):
    behind = Clocks(own=newest - 3600, others=NOW - 3600, newest=newest, seen=0)
    with pytest.raises(O2cbError, match="3600 s behind"):
        token.next_token(None, behind)
    assert token.next_token(7, behind) == 8


def test_a_node_whose_clock_is_ahead_of_the_others_is_refused_when_the_token_before_is_unknown():
    ahead = Clocks(own=NOW + 3600, others=NOW, newest=NOW + 3600, seen=0)
    with pytest.raises(O2cbError, match="3600 s ahead of the newest"):
        token.next_token(None, ahead)
    assert token.next_token(7, ahead) == 8, "the clock that is wrong does not get into the token"


@given(st.integers(0, 2 * TOKEN), st.integers(0, 2 * TOKEN))
def test_no_token_is_given_out_that_an_heir_without_memory_could_fall_behind_by_much(previous, seen):
    now = Clocks(own=NOW, others=NOW, newest=NOW, seen=seen)
    most = TOKEN + int(token.MAX_AHEAD * token.SECOND)
    if max(previous, seen) < most:
        assert max(previous, seen) < token.next_token(previous, now) <= most
    else:
        with pytest.raises(O2cbError, match="s ahead of all clocks"):
            token.next_token(previous, now)


@pytest.mark.parametrize(
    ("previous", "now", "number"),
    [
        (None, clocks(), 1_800_000_000_000_000),
        (None, clocks(own=2.5), 1_800_000_002_500_000),
        (None, clocks(newest=2.5), 1_800_000_002_500_000),
        (None, clocks(seen=1_800_000_001_000_000), 1_800_000_001_000_001),
        (41, clocks(seen=7), 42),
        (7, clocks(seen=41), 42),
    ],
)
def test_every_version_counts_microseconds_of_the_newest_clock_or_one_more_than_the_largest_token(
    previous, now, number
):
    assert token.next_token(previous, now) == number


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (clocks(newest=5), ""),
        (clocks(newest=5.5), "6 s behind the newest heartbeat"),
        (clocks(newest=60), "60 s behind"),
        (clocks(others=-11, newest=-11), ""),
        (clocks(others=-11.6, newest=-11.6), "12 s ahead of the newest heartbeat"),
        (clocks(others=-12, newest=5), "12 s ahead of"),
        (clocks(newest=-100), ""),
    ],
)
def test_without_the_token_before_a_clock_may_be_5_s_behind_and_11_s_ahead_of_a_stamp_that_may_be_6_s_old(now, reason):
    if reason:
        with pytest.raises(token.ClockError, match=reason):
            token.next_token(None, now)
    else:
        assert token.next_token(None, now) > 0
    assert token.next_token(7, now) == 8


@pytest.mark.parametrize("by", ["previous", "seen"])
def test_a_token_is_at_most_8_s_ahead_of_all_clocks(by):
    def following(last: int) -> int:
        return token.next_token(last if by == "previous" else None, clocks(seen=last if by == "seen" else 0))

    assert following(TOKEN + 7_999_999) == TOKEN + 8_000_000
    with pytest.raises(token.ClockError, match="the fencing token would be 8 s ahead of all clocks"):
        following(TOKEN + 8_000_000)
