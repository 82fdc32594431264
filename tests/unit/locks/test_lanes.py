# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which lane a lock gets: one name never stands twice in one, and nobody waits behind a call that sleeps."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.lanes import Domain, Lane

INFINITE = float("inf")


def domain(*lanes: Lane) -> Domain:
    return Domain("o2cb", lanes={lane.number: lane for lane in lanes})


@pytest.mark.parametrize(
    "refused",
    [
        Lane(1, 11, names={"a"}),
        Lane(1, 11, names={"a", "b"}),
        Lane(1, 11, stale={"a"}),
        Lane(1, 11, sweeping=True),
        Lane(1, 11, shut=True),
        Lane(1, 11, calls={7: 4.9}),
        Lane(1, 11, calls={7: INFINITE, 8: 4.9}),
    ],
)
def test_a_lane_is_refused_where_the_name_stands_somebody_sleeps_or_it_is_not_known_what_is_in_it(refused):
    assert domain(refused).lane_for({"a", "c"}, 5.0) is None
    other = Lane(2, 12)
    assert domain(refused, other).lane_for({"a", "c"}, 5.0) is other


@pytest.mark.parametrize(
    "lane", [Lane(1, 11, names={"b"}), Lane(1, 11, stale={"b"}), Lane(1, 11, dirty=True), Lane(1, 11, calls={7: 5.1})]
)
def test_other_names_and_calls_that_are_under_way_are_no_hindrance(lane):
    assert domain(lane).lane_for({"a"}, 5.0) is lane


def test_the_lane_that_has_least_to_do_is_taken():
    busy, less = Lane(1, 11, calls={7: INFINITE, 8: INFINITE}), Lane(2, 12, calls={9: INFINITE})
    assert domain(busy, less).lane_for({"a"}, 5.0) is less
    idle = Lane(3, 13)
    assert domain(busy, less, idle).lane_for({"a"}, 5.0) is idle


def test_a_call_counts_as_asleep_only_after_its_time():
    lane = Lane(1, 11, calls={7: 5.0})
    assert not lane.sleeps(5.0)
    assert lane.sleeps(5.01)
