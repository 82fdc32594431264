# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record on disk as its regions hold it, seen and changed from this machine: no node is asked, and none knows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import format, place
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.format import View
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import blocks, superblock

SECTOR = 512
RECORD_BYTES = (place.END - place.HEADER) * SECTOR
WATCH_SECONDS = 0.01


class Region:
    """One region with 512-byte sectors: a shared disk's file, or the part of it that begins at `offset`."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.name = path.name
        self._disk = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._offset = offset
        head = self._read(0, superblock.READ_BYTES)
        volume = superblock.parse(head)
        assert volume, f"{path} carries no OCFS2 volume"
        self.uuid = volume.uuid
        steps = place.walk(volume.block_size, head[2 * volume.block_size : 3 * volume.block_size])
        number = next(steps)
        try:
            while True:
                number = steps.send(self._read(number * volume.block_size, volume.block_size))
        except StopIteration as end:
            self._start = end.value[0]

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._disk, size, self._offset + offset)

    def close(self) -> None:
        os.close(self._disk)

    def view(self) -> View:
        """What the record says here."""
        data = self.image()
        kind, header = format.decode_header(data[:SECTOR], self.uuid)
        slots, bad = {}, {}
        for node in range(place.NODES):
            sector = data[(1 + node) * SECTOR : (2 + node) * SECTOR]
            if any(sector):
                found, slot = format.decode_slot(sector, self.uuid, node)
                if slot is None:
                    bad[node] = found
                else:
                    slots[node] = slot
        return View(kind, header, slots, bad)

    def beat(self, node: int) -> int:
        """The time stamp of a node's last beat, in seconds of that node's clock."""
        found = blocks.decode(self._read(self._start + node * SECTOR, SECTOR), node)
        return found.sequence if found else 0

    def image(self) -> bytes:
        """All sectors of the record."""
        return self._read(self._start + place.HEADER * SECTOR, RECORD_BYTES)

    def put(self, image: bytes) -> None:
        os.pwrite(self._disk, image, self._offset + self._start + place.HEADER * SECTOR)

    def blank(self) -> None:
        self.put(bytes(RECORD_BYTES))


@dataclass
class Watch:
    """What was seen of the marks, by region and node, again and again: `falls` has each that became smaller."""

    falls: list[str] = field(default_factory=list)
    writes: dict[tuple[str, int], list[tuple[float, int]]] = field(default_factory=dict)
    """When a mark was first seen, in monotonic seconds, and the mark."""

    def look(self, regions: Sequence[Region]) -> None:
        for region in regions:
            for node, slot in region.view().slots.items():
                seen = self.writes.setdefault((region.name, node), [])
                last = seen[-1][1] if seen else -1
                if slot.mark < last:
                    self.falls.append(f"node {node} on {region.name}: {last} -> {slot.mark}")
                if slot.mark != last:
                    seen.append((time.monotonic(), slot.mark))

    def at(self, region: Region, node: int, moment: float) -> int:
        """The mark at this time."""
        return max((mark for seen, mark in self.writes[region.name, node] if seen <= moment), default=0)


@contextmanager
def watched(regions: Sequence[Region]) -> Iterator[Watch]:
    """Look at all marks as long as the block lasts."""
    watch, over = Watch(), threading.Event()

    def go_on() -> None:
        while not over.wait(WATCH_SECONDS):
            watch.look(regions)

    watch.look(regions)
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
