# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our quorum against a plain transcription of the kernel's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import quorum


def kernel_fences(this_node: int, hb_bm: set[int], conn_bm: set[int]) -> bool:
    """o2quo_make_decision, line by line (fs/ocfs2/cluster/quorum.c of Linux 6.1)."""
    fence = 0
    qs_heartbeating, qs_connected = len(hb_bm), len(conn_bm)
    lowest_hb = min(hb_bm, default=255)
    lowest_reachable = 0
    if lowest_hb != 255:
        lowest_reachable = int(lowest_hb in conn_bm)
    if this_node not in hb_bm or qs_heartbeating == 1:
        return False
    if qs_heartbeating & 1:
        needed = (qs_heartbeating + 1) // 2
        if qs_connected < needed:
            fence = 1
    else:
        needed = qs_heartbeating // 2
        if qs_connected < needed or (qs_connected == needed and not lowest_reachable):
            fence = 1
    return bool(fence)


NODES = st.integers(0, 8)


@given(own=NODES, others=st.sets(NODES), data=st.data())
def test_a_beating_node_survives_exactly_when_the_kernel_would_not_fence_it(own, others, data):
    beating = {own} | others
    connected = data.draw(st.sets(st.sampled_from(sorted(beating))))
    survives, why = quorum.decide(own, beating, connected)
    assert survives is not kernel_fences(own, beating, connected | {own}), why


@given(own=NODES, beating=st.sets(NODES), connected=st.sets(NODES))
def test_a_connection_to_a_node_that_does_not_beat_counts_nothing(own, beating, connected):
    assert quorum.decide(own, beating, connected) == quorum.decide(own, beating, connected & beating)


def test_a_node_that_does_not_beat_is_not_quorate():
    assert quorum.decide(1, {2, 3}, {1, 2, 3}) == (False, "node 1 does not heartbeat")


@given(beating=st.sets(NODES, min_size=2), data=st.data())
def test_of_two_halves_that_cannot_see_each_other_just_one_survives_unless_there_are_more(beating, data):
    left = data.draw(st.sets(st.sampled_from(sorted(beating)), max_size=len(beating) - 1))
    parts = [part for part in (left, beating - left) if part]
    for part in parts:
        assert len({quorum.decide(own, beating, part)[0] for own in part}) == 1, "all nodes of a part agree"
    survivors = [part for part in parts if quorum.decide(min(part), beating, part)[0]]
    assert len(survivors) == 1
    assert len(survivors[0]) * 2 >= len(beating)


def test_of_two_nodes_the_higher_number_goes():
    assert quorum.decide(1, {1, 2}, {1})[0]
    survives, why = quorum.decide(2, {1, 2}, {2})
    assert not survives
    assert why == "1 of 2 heartbeating nodes are connected, half of them, and the lowest, node 1, is not among them"


@pytest.mark.parametrize(
    ("beating", "connected", "survives", "why"),
    [
        ({2}, set(), True, "node 2 is the only one that heartbeats"),
        ({2}, {1, 3}, True, "node 2 is the only one that heartbeats"),
        (
            {1, 2},
            {1},
            True,
            "2 of 2, 2 are needed, or 1 with the lowest node among them",
        ),
        (
            {2, 3},
            set(),
            True,
            "1 of 2, half of them, and the lowest, node 2, is among them",
        ),
        ({1, 2, 3}, {1}, True, "2 of 3, 2 are needed"),
        ({1, 2, 3}, set(), False, "1 of 3, 2 are needed"),
        ({1, 2, 3, 4, 5}, {1, 3}, True, "3 of 5, 3 are needed"),
        ({1, 2, 3, 4, 5}, {1}, False, "2 of 5, 3 are needed"),
        (
            {1, 2, 3, 4},
            {1},
            True,
            "2 of 4, half of them, and the lowest, node 1, is among them",
        ),
        (
            {1, 2, 3, 4},
            {3},
            False,
            "2 of 4, half of them, and the lowest, node 1, is not among them",
        ),
        (
            {1, 2, 3, 4},
            set(),
            False,
            "1 of 4, 3 are needed, or 2 with the lowest node among them",
        ),
        (
            {1, 2, 3, 4},
            {3, 4},
            True,
            "3 of 4, 3 are needed, or 2 with the lowest node among them",
        ),
    ],
)
def test_the_decision_of_node_2_in_words(beating, connected, survives, why):
    decided, said = quorum.decide(2, beating, connected)
    assert (decided, said.replace(" heartbeating nodes are connected", "")) == (survives, why)
    assert said.count(" heartbeating nodes are connected") == (len(beating) > 1)
