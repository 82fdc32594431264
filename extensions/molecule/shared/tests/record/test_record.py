# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of fencing tokens is on every region, all nodes see the same one, and tokens come from it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from faults.controller import SITE, Controller, wait_until
from lab import Node

SHOW = "python3 /usr/local/lib/ocfs2.o2cb/o2cb.pyz record show"
LOSE = (
    "cd /sys/kernel/config/cluster/lab/heartbeat && for region in */start_block; do cd ${region%/*}; "
    "dd if=/dev/zero of=/dev/mapper/$(cat /sys/block/$(cat dev)/dm/name) bs=$(cat block_bytes) count=1 oflag=direct "
    "seek=$(($(cat start_block) + 256)) || exit 1; cd ..; done"
)
"""Zeros where the headers are, as after the regions were formatted again."""

FAR_SECONDS = 240
"""The marks of all nodes are on all regions after two times of catching up at most; it is usually at once."""


def shown(node: Node) -> dict[str, dict[str, Any]]:
    """What `record show` says on this node, by region: its line, and the marks by node number."""
    found: dict[str, dict[str, Any]] = {}
    uuid = ""
    for line in node.run(SHOW, check=True).stdout.splitlines():
        words = line.replace(",", "").replace(":", "").split()
        if words[0] == "node":
            found[uuid]["marks"][int(words[1])] = int(words[3])
        else:
            uuid = words[0]
            found[uuid] = {"line": line.partition("  ")[2], "marks": {}}
    return found


@pytest.fixture(scope="module")
def regions(nodes: list[Node]) -> set[str]:
    return set(nodes[0].run("ls /sys/kernel/config/cluster/lab/heartbeat | grep -x '[0-9A-F]*'").stdout.split())


def test_every_region_has_a_header_of_this_cluster(nodes: list[Node], regions: set[str]) -> None:
    for node in nodes:
        found = shown(node)
        assert set(found) == regions
        lines = {one["line"] for one in found.values()}
        assert len(lines) == 1, found
        assert lines.pop().startswith("floor ")


def test_the_marks_of_all_nodes_are_the_same_on_all_regions_and_for_all_who_look(nodes: list[Node]) -> None:
    def agree() -> bool:
        looks = [shown(node) for node in nodes]
        marks = [one["marks"] for one in looks[0].values()]
        return all(look == looks[0] for look in looks) and all(
            one == marks[0] and set(one) == {1, 2, 3} for one in marks
        )

    wait_until(agree, FAR_SECONDS, lambda: f"the marks differ: {[shown(node) for node in nodes]}")


def test_the_token_of_a_lock_of_which_nothing_is_known_is_above_all_marks_and_raises_one(nodes: list[Node]) -> None:
    before = max(mark for one in shown(nodes[0]).values() for mark in one["marks"].values())
    node, name = nodes[2], f"never seen {time.time()}"
    answer = json.loads(node.run(f"o2ctl lock hold --json '{name}'", check=True).stdout)
    try:
        after = [one["marks"][3] for one in shown(nodes[0]).values()]
        assert sum(mark >= answer["token"] for mark in after) > len(after) // 2
        assert answer["token"] > before - 1000
    finally:
        node.run(f"o2ctl lock release '{name}'", check=True)


def test_a_record_that_was_lost_is_made_anew_by_a_run_on_all_nodes_and_by_no_other(
    controller: Controller, nodes: list[Node]
) -> None:
    largest = max(mark for one in shown(nodes[0]).values() for mark in one["marks"].values())
    nodes[1].run(LOSE, check=True)
    lost = {uuid: one["line"] for uuid, one in shown(nodes[0]).items()}
    assert set(lost.values()) == {"its header is blank"}

    some = controller.play(SITE, limit="node1", o2cb_locks=True)
    assert (some.rc, some.changes) == (0, []), some.output
    assert "this run leaves out node2, node3" in some.output
    assert {uuid: one["line"] for uuid, one in shown(nodes[0]).items()} == lost

    run = controller.play(SITE, o2cb_locks=True)
    assert (run.rc, len(run.changes)) == (0, 1), run.output
    floors = {int(one["line"].split()[1].rstrip(",")) for one in shown(nodes[0]).values()}
    assert len(floors) == 1
    assert floors.pop() > largest
    assert controller.play(SITE, o2cb_locks=True).changes == []
