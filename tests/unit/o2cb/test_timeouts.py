# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arithmetic of the timeouts, against numbers measured on real nodes and stated in the kernel's sources."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts


def test_the_defaults_are_those_of_the_kernel_and_give_its_times():
    default = Timeouts()
    assert default.problems() == []
    assert default.dead_ms == 62000
    assert default.seconds() == {
        "self_fence": 60,
        "dead": 62,
        "network_decision": 96,
        "idle": 30,
        "keepalive": 2,
        "reconnect": 2,
    }


@pytest.mark.parametrize("threshold", [7, 31, 61, 2147483])
def test_a_node_resets_itself_before_its_peers_take_it_for_dead(threshold):
    timeouts = Timeouts(threshold)
    assert timeouts.problems() == []
    assert timeouts.self_fence_seconds < timeouts.dead_seconds < timeouts.network_decision_seconds
    assert timeouts.verdict_seconds > timeouts.network_decision_seconds + timeouts.dead_seconds


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("heartbeat_dead_threshold", 7, 2147483),
        ("idle_timeout_ms", 5000, 2**32 - 2),
        ("keepalive_delay_ms", 1000, 29999),
        ("reconnect_delay_ms", 2000, 2**32 - 2),
    ],
)
def test_a_value_at_its_limits_is_sound_and_one_beyond_is_named(name, least, most):
    for value in (least, most):
        assert replace(Timeouts(), **{name: value}).problems() == []
    for value in (least - 1, most + 1, 0, -1):
        assert f"{name} is {value}" in replace(Timeouts(), **{name: value}).problems()[0]


@pytest.mark.parametrize("keepalive", [5000, 5001])
def test_the_keepalive_must_be_shorter_than_the_idle_timeout(keepalive):
    (problem,) = Timeouts(31, 5000, keepalive).problems()
    assert "must be shorter" in problem
