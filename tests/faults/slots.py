# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a node beat: its slots, read all the time from the files of this machine that are the lab's disks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import blocks
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat
from faults import kernel
from lab.node import Node

BETWEEN = 0.05
"""Seconds between two looks."""


@dataclass
class Slot:
    """A node's slot in one region: what stood there and since when, by this machine's monotonic clock."""

    path: str
    offset: int
    size: int
    number: int
    beats: list[tuple[float, Beat]] = field(default_factory=list)

    def look(self, disk: int) -> None:
        at = time.monotonic()
        beat = blocks.decode(os.pread(disk, self.size, self.offset), self.number)
        if beat is not None and (not self.beats or self.beats[-1][1] != beat):
            self.beats.append((at, beat))


@dataclass(frozen=True)
class Return:
    """What a node's slots showed of its end and its return, in seconds after the last beat of its earlier life.

    `ended`: generation 0 stood in the last of the slots. `beat`: the first beat of the next life, in any of them.
    """

    ended: float
    beat: float


class Slots:
    """The slots of a node. Made while it beats."""

    def __init__(self, node: Node, reader: Node) -> None:
        self._slots = [_slot(node, reader, uuid) for uuid in kernel.regions(reader)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _watch(self) -> None:
        disks = [os.open(slot.path, os.O_RDONLY) for slot in self._slots]
        try:
            while not self._over.wait(BETWEEN):
                for slot, disk in zip(self._slots, disks, strict=True):
                    slot.look(disk)
        finally:
            for disk in disks:
                os.close(disk)

    def returned(self) -> Return:
        last, ended, first = [], [], []
        for slot in self._slots:
            earlier = slot.beats[0][1].generation
            last += [at for at, beat in slot.beats if beat.generation == earlier][-1:]
            ended += [at for at, beat in slot.beats if beat.left][:1]
            first += [at for at, beat in slot.beats if beat.generation not in (earlier, 0)][:1]
        assert len(ended) == len(self._slots), f"generation 0 was seen in {len(ended)} of {len(self._slots)} slots"
        return Return(max(ended) - max(last), min(first) - max(last))


def _slot(node: Node, reader: Node, uuid: str) -> Slot:
    """Where the slot is, as a node says that beats there."""
    tree = f"{kernel.TREE}/*/heartbeat/{uuid}"
    said = reader.run(f"cd {tree}; cat start_block block_bytes; cat /sys/block/$(cat dev)/dm/name", check=True).stdout
    start, size, disk = said.split()
    path = str(node.machine.disks / disk)
    return Slot(path, (int(start) + node.number) * int(size), int(size), node.number)
