# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading the heartbeat blocks of this node's regions, with a deadline, past the page cache.

One child process reads all regions. A disk that does not answer is named and left out, and the others are still read.
"""

from __future__ import annotations

import os
from typing import Any, Sequence

from . import blocks, devices
from .blocks import Reading
from .deadline import Call, DeadlineExceeded, Progress, call
from .state import LiveRegion

SECONDS = 10.0
"""Deadline of a disk; a healthy one takes milliseconds."""


def read(regions: Sequence[LiveRegion], numbers: Sequence[int], seconds: float = SECONDS) -> Reading:
    """The heartbeat blocks of these node numbers on every started region that answers within `seconds`."""
    left = {region.uuid: region for region in regions if region.started}
    problems = {}
    while left:
        try:
            answer = call(_look(list(left.values()), numbers), seconds, "reading the heartbeat regions")
        except DeadlineExceeded as error:
            last = error.progress.split()[-1]
            for hung in [last] if last in left else list(left):
                problems[hung] = f"its disk did not answer within {seconds:g} s"
                del left[hung]
            continue
        problems.update(answer["problems"])
        return Reading(
            beats={
                uuid: {number: blocks.Beat(*values) for number, values in beats}
                for uuid, beats in answer["beats"].items()
            },
            volumes={uuid: (found, label) for uuid, (found, label) in answer["volumes"].items()},
            problems=problems,
        )
    return Reading(problems=problems)


def _look(regions: Sequence[LiveRegion], numbers: Sequence[int]) -> Call:
    def look(progress: Progress) -> dict[str, dict[str, Any]]:
        answer: dict[str, dict[str, Any]] = {"beats": {}, "volumes": {}, "problems": {}}
        for region in regions:
            path = devices.preferred_path(region.device)
            progress(f"reading {path}, heartbeat region {region.uuid}")
            try:
                beats = _read_region(path, region, numbers)
                head = devices.read_superblock(path)
            except OSError as error:
                answer["problems"][region.uuid] = f"{path}: {os.strerror(error.errno or 0)}"
                continue
            answer["beats"][region.uuid] = [(number, list(vars(beat).values())) for number, beat in beats.items()]
            answer["volumes"][region.uuid] = (head.uuid, head.label) if head else ("", "")
        return answer

    return look


def _read_region(path: str, region: LiveRegion, numbers: Sequence[int]) -> dict[int, blocks.Beat]:
    """O_DIRECT wants whole, aligned pages, which the region's start need not be."""
    start = region.start_block * region.block_bytes
    offset = start % 4096
    size = offset + (max(numbers, default=0) + 1) * region.block_bytes
    data = devices.read_direct(path, start - offset, (size + 4095) // 4096 * 4096)
    return blocks.decode_region(data[offset:], region.block_bytes, list(numbers))
