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
SILENCE = 14.0

clocks = st.builds(
    Clocks,
    own=st.floats(NOW - 5, NOW + 7200),
    newest_live=st.just(NOW),
    newest=st.floats(NOW, NOW + 7200),
    seen=st.integers(0, int((NOW + 7200) * token.SECOND)),
    silence=st.floats(14, 62),
)


@given(st.integers(0, 2**62), clocks)
def test_a_token_is_larger_than_the_one_before(previous, now):
    assert token.next_token(previous, now) > previous


@given(clocks)
def test_without_the_one_before_a_token_is_at_least_every_clock_and_larger_than_every_token_seen(now):
    number = token.next_token(None, now)
    assert number >= int((now.own + now.silence) * token.SECOND)
    assert number >= int((now.newest + now.silence) * token.SECOND)
    assert number > now.seen


def test_a_node_whose_clock_is_behind_is_refused_when_the_token_before_is_unknown():
    behind = Clocks(own=NOW - 3600, newest_live=NOW, newest=NOW, seen=0, silence=SILENCE)
    with pytest.raises(O2cbError, match="3600 s behind"):
        token.next_token(None, behind)
    assert token.next_token(7, behind) > 7


def test_the_clock_of_a_dead_holder_that_was_ahead_counts():
    ahead = NOW + 3600
    now = Clocks(own=NOW, newest_live=NOW, newest=ahead, seen=0, silence=SILENCE)
    assert token.next_token(None, now) >= int(ahead * token.SECOND)


@given(st.floats(0, SILENCE), st.integers(0, 2**40))
def test_a_holder_that_granted_long_after_its_last_time_stamp_is_outdone(late, previous):
    """Its stamp counts whole seconds, and it may have lived for a while without one: seen on real nodes."""
    holder = Clocks(own=NOW + 0.9 + late, newest_live=NOW, newest=NOW, seen=0, silence=SILENCE)
    last = token.next_token(previous, holder)
    heir = Clocks(own=NOW - 5, newest_live=NOW, newest=float(int(NOW)), seen=0, silence=SILENCE + 1)
    assert token.next_token(None, heir) >= last
