# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No domain is joined by a node that does not know all who live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import isolation
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live

NODES = tuple(Node(name=f"node{number}", number=number, address=f"192.0.2.{number}") for number in (1, 2, 3))
LIVE = Live(cluster=Cluster(name="lab", nodes=NODES), local="node1")


class Machine:
    """node1, which sees others beat and connects to them in its time."""

    def __init__(self, beating: set[int], connects: dict[int, int]) -> None:
        self.beating, self.connects = beating, connects
        self.looks = 0

    def look(self) -> Live:
        self.looks += 1
        return replace(LIVE, connected=frozenset(n for n, look in self.connects.items() if self.looks >= look))

    def beats(self, _live: Live) -> dict[str, dict[int, Beat]]:
        return {
            "region": {
                number: Beat(number, self.looks if number in self.beating else 7, 1, 1, valid=True)
                for number in (1, 2, 3)
            }
        }


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation.time, "sleep", lambda _seconds: None)


@pytest.mark.parametrize(
    ("beating", "connects", "looks"),
    [
        (set(), {}, 2),
        ({1}, {}, 2),
        ({1, 2, 3}, {2: 1, 3: 1}, 2),
        ({1, 2, 3}, {2: 1, 3: 5}, 6),
        ({1, 2}, {2: 1}, 2),
    ],
)
def test_it_waits_until_all_who_beat_are_connected_in_two_looks(beating, connects, looks):
    machine = Machine(beating, connects)
    isolation.wait(machine.look, machine.beats)
    assert machine.looks == looks


def test_a_region_that_only_the_second_look_saw_proves_nothing():
    """As on a node that is still brought online: the heartbeat counts as local, and then the first region starts."""
    machine = Machine({1, 2, 3}, {2: 4, 3: 4})
    isolation.wait(machine.look, lambda live: {} if machine.looks < 3 else machine.beats(live))
    assert machine.looks == 5


def test_nobody_joins_who_can_read_no_region():
    machine = Machine({1, 2, 3}, {2: 1, 3: 1})
    with pytest.raises(O2cbError, match="node1 cannot read any heartbeat region"):
        isolation.wait(machine.look, lambda _live: {}, seconds=0.01)


def test_who_is_not_connected_in_the_end_is_named():
    machine = Machine({1, 2, 3}, {2: 1})
    with pytest.raises(O2cbError, match="node1 has no connection to node3, which heartbeats"):
        isolation.wait(machine.look, machine.beats, seconds=0.01)
