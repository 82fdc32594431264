# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sound three-node cluster as facts, for the tests of reports and advice to spoil in one point each."""

from __future__ import annotations

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, sysconfig
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat, Beats, Reading
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.report import Facts
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live, LiveRegion

NOW = 1_700_000_000.5
REGIONS = ("A" * 32, "B" * 32, "C" * 32)
NODES = tuple(Node(f"node{number}", number, f"10.0.0.{number}") for number in (1, 2, 3))
CLUSTER = Cluster("lab", NODES, REGIONS)


def beat(number: int, age: float = 0.5, generation: int = 7, dead_ms: int = 62000, valid: bool = True) -> Beat:
    return Beat(number, int(NOW - age), generation, dead_ms, valid)


def beats(*rows: Beat, regions: tuple[str, ...] = REGIONS) -> Beats:
    """The same beats on every region."""
    return {uuid: {row.node: row for row in rows} for uuid in regions}


def live(cluster: Cluster = CLUSTER, connected: tuple[int, ...] = (2, 3), local: str | None = "node1") -> Live:
    regions = tuple(LiveRegion(uuid, f"dm-{index}", 512, 568, 255) for index, uuid in enumerate(cluster.regions))
    return Live(cluster, regions, local, frozenset(connected))


def reading(*rows: Beat) -> Reading:
    return Reading(beats(*(rows or (beat(1), beat(2), beat(3)))), {uuid: (uuid, "hb") for uuid in REGIONS})


def facts(**changes: object) -> Facts:
    """All is well on node1, except for what is changed."""
    values: dict[str, object] = {
        "hostname": "node1",
        "release": "6.1.0",
        "now": NOW,
        "conf": conf.Document().with_cluster(CLUSTER).render(),
        "sysconfig": sysconfig.merged("", sysconfig.wanted(CLUSTER)),
        "live": live(),
        "stack": "o2cb",
        "sysctls": {"panic": "30", "panic_on_oops": "1"},
        "reading": reading(),
        "paths": {uuid: f"/dev/mapper/hb{index}" for index, uuid in enumerate(REGIONS, 1)},
        **changes,
    }
    return Facts(**values)  # type: ignore[arg-type]
