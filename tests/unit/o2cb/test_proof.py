# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The note that a cluster was proved is worth something for that cluster only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import proof
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live

NODES = (Node("node1", 1, "10.0.0.1"), Node("node2", 2, "10.0.0.2"))
LIVE = Live(Cluster("lab", nodes=NODES, regions=("A" * 32,)), local="node1", connected=frozenset({2}))


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(proof, "PATH", str(tmp_path / "run" / "proved"))


def test_what_was_proved_is_known_until_it_is_forgotten():
    assert not proof.noted(LIVE)
    proof.note(LIVE)
    assert proof.noted(LIVE)
    assert proof.noted(replace(LIVE, connected=frozenset(), domains=("x",))), "what comes and goes is looked at anyway"
    proof.forget()
    assert not proof.noted(LIVE)
    proof.forget()


@pytest.mark.parametrize(
    "now",
    [
        None,
        replace(LIVE, local="node2"),
        replace(LIVE, local=None),
        replace(LIVE, cluster=replace(LIVE.cluster, regions=())),
        replace(LIVE, cluster=replace(LIVE.cluster, regions=("B" * 32,))),
        replace(LIVE, cluster=replace(LIVE.cluster, nodes=NODES[:1])),
        replace(LIVE, cluster=replace(LIVE.cluster, name="other")),
    ],
)
def test_another_cluster_is_not_proved_by_it(now):
    proof.note(LIVE)
    assert not proof.noted(now)
