# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which plans may be carried out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import policy
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, plan, sysconfig
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have, Live, LiveRegion
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.fake_system import Clock, FakeSystem, beat

UUID = "A" * 32
LAB = Cluster("lab", (Node("n1", 1, "10.0.0.1"), Node("n2", 2, "10.0.0.2")), (UUID,))
SLOWER = replace(LAB, timeouts=Timeouts(61))
MOVED = replace(LAB, nodes=(Node("n1", 1, "10.0.0.9"), LAB.nodes[1]))
GROWN = replace(LAB, nodes=(*LAB.nodes, Node("n3", 3, "10.0.0.3")))


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(policy, "time", clock)
    return clock


def node(*readings: int, connected: tuple[int, ...] = ()) -> FakeSystem:
    """A node that is online; node 2 has these sequence numbers on disk at each look."""
    have = Have(
        "n1",
        conf=conf.Document().with_cluster(LAB).render(),
        sysconfig=sysconfig.merged("", sysconfig.wanted(LAB)),
        live=Live(LAB, (LiveRegion(UUID, "dm-0"),), "n1", frozenset(connected)),
        stack="o2cb",
    )
    return FakeSystem(have, [{UUID: {2: beat(2, sequence)}} for sequence in readings] or [{}])


def refuse(system: FakeSystem, want: Cluster, change_policy: str) -> None:
    policy.refuse(plan.plan(system.read(), want), change_policy, system)


@pytest.mark.parametrize("change_policy", ["apply", "online_only", "plan"])
def test_an_online_change_is_allowed_by_every_policy(change_policy):
    refuse(node(connected=(2,)), GROWN, change_policy)


@pytest.mark.parametrize("want", [SLOWER, MOVED])
def test_online_only_refuses_every_other_change_and_shows_the_plan(want):
    with pytest.raises(O2cbError, match="cannot be done online, the first is 'stop region A") as caught:
        refuse(node(), want, "online_only")
    assert f"start region {UUID} [" in str(caught.value.facts["actions"])


def test_apply_takes_this_node_offline_while_others_live():
    refuse(node(1000, 1004, connected=(2,)), MOVED, "apply")


@pytest.mark.parametrize(
    "system", [node(connected=(2,)), node(1000, 1004)], ids=["it is connected", "it beats and is not connected"]
)
def test_apply_refuses_a_change_of_the_whole_cluster_while_another_node_lives(system):
    with pytest.raises(O2cbError, match="needs the whole cluster offline, and n2 is live") as caught:
        refuse(system, SLOWER, "apply")
    assert caught.value.facts == {"live": ["n2"]}


def test_apply_changes_the_whole_cluster_when_this_is_the_last_node(clock):
    refuse(node(1000, 1000), SLOWER, "apply")
    assert clock.now - 1000 > 4, "two readings that are far enough apart"


def test_a_plan_that_is_only_shown_is_never_refused():
    refuse(node(connected=(2,)), SLOWER, "plan")
