# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading the heartbeat blocks of this node's regions, with a deadline, past the page cache.

One child process reads all regions into memory that it shares with this process, and does nothing else: each page that
a forked child writes to is copied. A disk that does not answer is named and left out, and the others are still read.
"""

from __future__ import annotations

import mmap
import os
from typing import Sequence

from . import blocks, devices, superblock
from .blocks import Reading
from .deadline import Call, DeadlineExceeded, Progress, call
from .state import LiveRegion

SECONDS = 10.0
"""Deadline of a disk; a healthy one takes milliseconds."""

_PAGE = 4096
"""O_DIRECT wants whole, aligned pages, which the start of a region need not be."""

_SUPERBLOCK = superblock.READ_BYTES


class _Window:
    """What is read of one region: the superblock, then the heartbeat blocks of node 0 up to the highest."""

    def __init__(self, region: LiveRegion, highest: int) -> None:
        start = region.start_block * region.block_bytes
        self.region = region
        self.path = devices.preferred_path(region.device)
        self.skipped = start % _PAGE
        self.offset = start - self.skipped
        size = self.skipped + (highest + 1) * region.block_bytes
        self.memory = mmap.mmap(-1, _SUPERBLOCK + (size + _PAGE - 1) // _PAGE * _PAGE)

    def fill(self) -> int:
        """Read. An errno where that fails, else 0."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
            view = memoryview(self.memory)
            os.preadv(descriptor, [view[:_SUPERBLOCK]], 0)
            os.preadv(descriptor, [view[_SUPERBLOCK:]], self.offset)
        except OSError as error:
            return error.errno or -1
        return 0

    def blocks(self) -> bytes:
        return self.memory[_SUPERBLOCK + self.skipped :]

    def volume(self) -> tuple[str, str]:
        head = superblock.parse(self.memory[:_SUPERBLOCK])
        return (head.uuid, head.label) if head else ("", "")


def read(regions: Sequence[LiveRegion], numbers: Sequence[int], seconds: float = SECONDS) -> Reading:
    """The heartbeat blocks of these node numbers on every started region that answers within `seconds`."""
    windows = {region.uuid: _Window(region, max(numbers, default=0)) for region in regions if region.started}
    problems = {}
    while windows:
        try:
            errors = call(_fill(list(windows.values())), seconds, "")
        except DeadlineExceeded as error:
            for uuid in [error.progress] if error.progress else list(windows):
                problems[uuid] = f"{windows.pop(uuid).path} did not answer within {seconds:g} s"
            continue
        for uuid, number in errors.items():
            problems[uuid] = f"{windows.pop(uuid).path}: {os.strerror(number)}"
        break
    return Reading(
        beats={
            uuid: blocks.decode_region(window.blocks(), window.region.block_bytes, list(numbers))
            for uuid, window in windows.items()
        },
        volumes={uuid: window.volume() for uuid, window in windows.items()},
        problems=problems,
    )


def _fill(windows: Sequence[_Window]) -> Call:
    def fill(progress: Progress) -> dict[str, int]:
        failed = {}
        for window in windows:
            progress(window.region.uuid)
            number = window.fill()
            if number:
                failed[window.region.uuid] = number
        return failed

    return fill
