# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What consumers are told of those who come and go."""

from __future__ import annotations

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import effects
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.membership import (
    ABSENT,
    DOWN,
    GONE,
    SUSPECT,
    UP,
    Membership,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.view import AGENT_DOWN, JOIN, NODE_DOWN, Entry


def begun() -> Membership:
    found = Membership()
    found.begin(5, {1: 10, 2: 20}, {4: 40}, 100.0)
    return found


def test_an_agent_that_goes_leaves_its_node_until_that_is_proven_down_too():
    members = begun()
    assert members.delivered(6, Entry(AGENT_DOWN, 2, 20), 101.0) == {
        "event": "agent_down",
        "node": 2,
        "incarnation": 20,
        "position": 6,
    }
    assert (members.members[2].state, members.members[4].state, members.up()) == (DOWN, DOWN, {1: 10})
    assert members.delivered(7, Entry(NODE_DOWN, 2, 20), 102.0)["event"] == "node_down"
    assert (members.members[2].state, members.members[2].since) == (GONE, 102.0)
    assert members.delivered(8, Entry(JOIN, 2, 21), 103.0)["event"] == "agent_up"
    assert members.up() == {1: 10, 2: 21}


def test_a_suspicion_is_told_once_and_so_is_its_end():
    members = begun()
    assert members.reported(effects.SUSPECT, 2, 20, 101.0) == {"event": "suspect", "node": 2, "incarnation": 20}
    assert members.reported(effects.SUSPECT, 2, 20, 102.0) is None
    assert (members.members[2].state, members.up()) == (SUSPECT, {1: 10, 2: 20})
    assert members.reported(effects.UP, 2, 20, 103.0) == {"event": "back", "node": 2, "incarnation": 20}
    assert members.reported(effects.UP, 2, 20, 104.0) is None
    assert members.members[2].state == UP


def test_a_suspicion_of_another_incarnation_or_of_nobody_says_nothing():
    members = begun()
    assert members.reported(effects.SUSPECT, 2, 19, 101.0) is None
    assert members.reported(effects.SUSPECT, 3, 1, 101.0) is None
    assert 3 not in members.members
    assert Membership().members.get(3, type(members.members[1])()).state == ABSENT


def test_the_side_that_decides_is_told_when_it_changes():
    members = begun()
    assert [members.decides(side) for side in (False, True, True, False)] == [
        None,
        {"event": "quorum", "quorate": True},
        None,
        {"event": "quorum", "quorate": False},
    ]
