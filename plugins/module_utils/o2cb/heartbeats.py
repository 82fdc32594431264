# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading the heartbeat blocks of this node's regions, with a deadline, past the page cache.

A disk that does not answer is named and left out, and the others are still read.
"""

from __future__ import annotations

from typing import Sequence

from . import blocks, devices, direct, superblock
from .blocks import Reading
from .direct import ALIGNMENT, Extent
from .state import LiveRegion

SECONDS = 10.0
"""Deadline of the disks; a healthy one takes milliseconds."""


def read(
    regions: Sequence[LiveRegion],
    numbers: Sequence[int],
    seconds: float = SECONDS,
    volumes: bool = False,
    own: int | None = None,
) -> Reading:
    """The heartbeat blocks of these node numbers on every started region that answers within `seconds`.

    With `volumes`, the superblocks too: what the devices carry now. With `own`, one of the numbers, its block as it is.
    """
    looks = [_Look(region, max(numbers, default=0), volumes) for region in regions if region.started]
    answers = iter(direct.read([extent for look in looks for extent in look.extents], seconds))
    beats, found, blocks_of_own, problems = {}, {}, {}, {}
    for look in looks:
        mine = [next(answers) for _extent in look.extents]
        uuid = look.region.uuid
        why = [answer.problem for answer in mine if answer.problem]
        if why:
            problems[uuid] = why[0]
            continue
        head, area = mine[0].data, mine[-1].data
        area, size = area[look.skipped :], look.region.block_bytes
        beats[uuid] = blocks.decode_region(area, size, list(numbers))
        if own is not None:
            blocks_of_own[uuid] = area[own * size : (own + 1) * size]
            if len(blocks_of_own[uuid]) < size:
                problems[uuid] = f"{look.extents[-1].path} ends before the slot of node number {own}"
        if volumes:
            volume = superblock.parse(head)
            found[uuid] = (volume.uuid, volume.label) if volume else ("", "")
    return Reading(beats=beats, volumes=found, own=blocks_of_own, problems=problems)


class _Look:
    """What is read of one region, in whole pages, on which its blocks need not begin or end.

    First comes the extent with the superblock, if that is asked for, and last the one with the heartbeat blocks, after
    `skipped` bytes.
    """

    def __init__(self, region: LiveRegion, highest: int, volume: bool) -> None:
        self.region = region
        path = devices.preferred_path(region.device)
        start = region.start_block * region.block_bytes
        self.skipped = start % ALIGNMENT
        size = self.skipped + (highest + 1) * region.block_bytes
        self.extents = [Extent(path, start - self.skipped, -(-size // ALIGNMENT) * ALIGNMENT)]
        if volume:
            self.extents.insert(0, Extent(path, 0, superblock.READ_BYTES))
