# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is live, as far as one look can tell.

Theory of operation. Without debugfs the kernel does not say whom it holds for live, so it has to be concluded. A
heartbeat generation of 0, or no block at all, is an orderly leave: not live, for certain. An established o2net
connection is live: the kernel connects only to nodes it sees beating, and drops them when they die; it lags by the idle
timeout at most. What is left is the time stamp, as good as the two clocks. `watch` takes more time and proves more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection

from . import blocks
from .blocks import Beat, Beats


@dataclass(frozen=True)
class Verdict:
    """Whether a node is live, and how that is known. `live` is None when nothing here can tell."""

    live: bool | None
    by: str


def newest(beats: Beats, number: int) -> Beat | None:
    """The last beat of a node over all regions; None when it has none that is sound."""
    found = [region[number] for region in beats.values() if number in region and region[number].valid]
    return max(found, key=lambda beat: (not beat.left, beat.sequence), default=None)


def judge(
    number: int,
    beats: Beats,
    connected: Collection[int],
    now: float,
    live_nodes: Collection[int] | None = None,
    before: Beats | None = None,
) -> Verdict:
    """The verdict on a peer from one look; from two, when `before` holds an earlier one."""
    if live_nodes is not None:
        return Verdict(number in live_nodes, "debugfs")
    if not beats:
        return Verdict(True, "connection") if number in connected else Verdict(None, "")
    if before is not None:
        alive = number in blocks.alive_on_any(before, beats)
        return Verdict(alive, "probe")
    beat = newest(beats, number)
    if beat is None or beat.left:
        return Verdict(False, "generation")
    if number in connected:
        return Verdict(True, "connection")
    return Verdict(blocks.looks_alive(beat, now), "time stamp")
