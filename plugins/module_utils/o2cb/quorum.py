# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Quorum as the kernel computes it (o2quo_make_decision in fs/ocfs2/cluster/quorum.c)."""

from __future__ import annotations

from typing import Collection


def decide(own: int, heartbeating: Collection[int], connected: Collection[int]) -> tuple[bool, str]:
    """Whether the node `own` would survive a decision now, and why in words.

    `heartbeating` are the live nodes on disk, `connected` those of them that this node has a connection to; a node
    always counts as connected to itself. A node that does not beat, or beats alone, decides nothing and is quorate as
    long as it beats.
    """
    beating = set(heartbeating)
    reachable = (set(connected) & beating) | ({own} & beating)
    if own not in beating:
        return False, f"node {own} does not heartbeat"
    if len(beating) == 1:
        return True, f"node {own} is the only one that heartbeats"
    count = f"{len(reachable)} of {len(beating)} heartbeating nodes are connected"
    if len(beating) % 2:
        needed = (len(beating) + 1) // 2
        return len(reachable) >= needed, f"{count}, {needed} are needed"
    half = len(beating) // 2
    if len(reachable) != half:
        return len(reachable) > half, f"{count}, {half + 1} are needed, or {half} with the lowest node among them"
    lowest = min(beating)
    word = "is" if lowest in reachable else "is not"
    return lowest in reachable, f"{count}, half of them, and the lowest, node {lowest}, {word} among them"
