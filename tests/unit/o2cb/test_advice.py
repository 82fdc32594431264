# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person is told: nothing when all is well, and each trouble with its remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, report
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.advice import advice
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Reading
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.report import Facts
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live, LiveRegion
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.sound_facts import (
    CLUSTER,
    NODES,
    REGIONS,
    beat,
    beats,
    facts,
    live,
    reading,
)


def told(found: Facts) -> list[str]:
    return advice(report.make(found))


def written(cluster: Cluster) -> str:
    return conf.Document().with_cluster(cluster).render()


def test_nobody_is_bothered_while_all_is_well():
    assert told(facts()) == []


def without_regions(**changes: object) -> Live:
    bare = replace(CLUSTER, regions=())
    return Live(bare, (), **changes)  # type: ignore[arg-type]


def with_beat(number: int, **changes: object) -> Reading:
    return reading(*(beat(n, **(changes if n == number else {})) for n in (1, 2, 3)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"root": False}, "not root"),
        ({"modules_missing": ("ocfs2_dlmfs",)}, "kernel 6.1.0 has no module ocfs2_dlmfs"),
        ({"stack": "pcmk"}, "the cluster stack is 'pcmk'"),
        ({"sysctls": {"panic": "0", "panic_on_oops": "1"}}, "sysctl kernel.panic is 0"),
        ({"sysctls": {"panic": "1", "panic_on_oops": "0"}}, "sysctl kernel.panic_on_oops is 0"),
        ({"conf": None}, "there is no /etc/ocfs2/cluster.conf"),
        ({"conf": "cluster:\n\tname = lab\r\n"}, "/etc/ocfs2/cluster.conf line"),
        ({"conf": ""}, "cluster 'lab' is not in /etc/ocfs2/cluster.conf"),
        ({"live": None}, "cluster lab is configured and not in the kernel"),
        ({"live": None, "hostname": "other"}, "no node is called 'other'"),
        ({"live": without_regions(local=None), "hostname": "node1"}, "cluster lab is registered and no node of it is"),
        ({"live": without_regions(local="node1")}, "cluster lab is registered and no region beats"),
        ({"conf": written(replace(CLUSTER, nodes=NODES[:2]))}, "node node3 (number 3, 10.0.0.3:7777) is in the kernel"),
        (
            {"conf": written(replace(CLUSTER, nodes=(*NODES[:2], Node("node3", 3, "10.0.0.33"))))},
            "node node3 (number 3, 10.0.0.33:7777) of",
        ),
        ({"conf": written(replace(CLUSTER, heartbeat_mode="local"))}, "heartbeat is global in the kernel and local"),
        ({"conf": written(replace(CLUSTER, regions=REGIONS[:2]))}, f"region {REGIONS[2]} beats and is not in"),
        ({"conf": written(replace(CLUSTER, regions=(*REGIONS, "D" * 32)))}, f"region {'D' * 32} is in"),
        (
            {"sysconfig": "O2CB_ENABLED=true\nO2CB_BOOTCLUSTER=lab\nO2CB_IDLE_TIMEOUT_MS=10000\n"},
            "idle_timeout_ms is 30000 in",
        ),
        ({"sysconfig": "O2CB_ENABLED=false\nO2CB_BOOTCLUSTER=lab\n"}, "/etc/default/o2cb does not start lab at boot"),
        (
            {"live": live(replace(CLUSTER, timeouts=Timeouts(5))), "reading": Reading()},
            "heartbeat_dead_threshold is 5: set",
        ),
        (
            {"live": live(replace(CLUSTER, regions=REGIONS[:1]))},
            "1 heartbeat region(s): the loss or stall of it resets",
        ),
        ({"live": live(replace(CLUSTER, regions=REGIONS[:2]))}, "2 heartbeat region(s): the loss or stall of one"),
        (
            {"live": replace(live(), regions=(*live().regions, LiveRegion("E" * 32)))},
            f"region {'E' * 32} is in the kernel and",
        ),
        (
            {
                "reading": Reading(
                    beats(beat(1), beat(2), beat(3)), problems={REGIONS[0]: "it did not answer within 4 s"}
                )
            },
            f"region {REGIONS[0]} on /dev/mapper/hb1 could not be read, it did not answer within 4 s",
        ),
        (
            {"reading": replace(reading(), volumes={REGIONS[1]: ("F" * 32, "new")})},
            f"region {REGIONS[1]} on /dev/mapper/hb2 was formatted again and is {'F' * 32} now",
        ),
        (
            {"reading": with_beat(1, age=20)},
            f"region {REGIONS[0]} on /dev/mapper/hb1: the last beat of this node is 20 s old",
        ),
        (
            {"reading": with_beat(2, valid=False)},
            f"region {REGIONS[0]} on /dev/mapper/hb1: the block of node 2 is damaged",
        ),
        ({"reading": with_beat(3, generation=0)}, "node node3 is configured and not live"),
        ({"live": live(connected=(2,))}, "node node3 is live and not connected"),
        ({"reading": with_beat(2, dead_ms=14000)}, "node node2 has a dead threshold of 7 and this node of 31"),
        ({"reading": with_beat(2, age=60)}, "the last beat of node node2 is 60 s old"),
        ({"reading": with_beat(2, age=-60)}, "the clock of node node2 is 60 s ahead"),
        ({"reading": reading(beat(1), beat(2), beat(3), beat(6))}, "somebody heartbeats as node 6"),
        ({"live": live(connected=())}, "this node has no quorum, 1 of 3"),
    ],
)
def test_each_trouble_is_named_with_its_remedy(changes, start):
    found = [text for text in told(facts(**changes)) if text.startswith(start)]
    assert len(found) == 1, told(facts(**changes))
    assert len(found[0]) > len(start) + 10


def test_a_clock_within_a_beat_and_five_seconds_is_fine():
    assert told(facts(reading=with_beat(2, age=6))) == []


def test_a_host_with_nothing_installed_gets_one_advice():
    assert [text.split(":")[0] for text in told(Facts("new"))] == ["there is no /etc/ocfs2/cluster.conf"]


def test_who_is_not_root_is_told_so_once():
    refused = Reading(problems=dict.fromkeys(REGIONS, "Permission denied"))
    assert [text.split(",")[0] for text in told(facts(root=False, reading=refused))] == ["not root"]
