# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.dlm import token
from ansible_collections.ocfs2.o2cb.plugins.module_utils.dlm.token import Clocks
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.errors import O2cbError

NOW = 1_800_000_000.0

clocks = st.builds(
    Clocks,
    own=st.floats(NOW - 5, NOW + 7200),
    newest_live=st.just(NOW),
    newest=st.floats(NOW, NOW + 7200),
    seen=st.integers(0, int((NOW + 7200) * token.SECOND)),
)


@given(st.integers(0, 2**62), clocks)
def test_a_token_is_larger_than_the_one_before(previous, now):
    assert token.next_token(previous, now) > previous


@given(clocks)
def test_without_the_one_before_a_token_is_at_least_every_clock_and_larger_than_every_token_seen(now):
    number = token.next_token(None, now)
    assert number >= int(now.own * token.SECOND)
    assert number >= int(now.newest * token.SECOND)
    assert number > now.seen


def test_a_node_whose_clock_is_behind_is_refused_when_the_token_before_is_unknown():
    behind = Clocks(own=NOW - 3600, newest_live=NOW, newest=NOW, seen=0)
    with pytest.raises(O2cbError, match="3600 s behind"):
        token.next_token(None, behind)
    assert token.next_token(7, behind) > 7


def test_the_clock_of_a_dead_holder_that_was_ahead_counts():
    ahead = NOW + 3600
    assert token.next_token(None, Clocks(own=NOW, newest_live=NOW, newest=ahead, seen=0)) >= int(ahead * token.SECOND)
