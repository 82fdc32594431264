# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Heartbeat blocks on disk: what each node last wrote, and who lives by that evidence.

Theory of operation (struct o2hb_disk_heartbeat_block, fs/ocfs2/cluster/ocfs2_heartbeat.h). A region is a file in an
OCFS2 volume; the block of node N lies at `(start_block + N) * block_bytes`. Every 2 s a node writes a new sequence
number, the seconds of its own real-time clock, with a generation drawn at the start of the region; a generation of 0 is
an orderly leave. `dead_ms` is that node's own dead threshold, so a wrong one shows before it does harm.

A clock may be wrong, so one reading proves little: *two* readings more than two beats apart prove life when the
sequence number has changed. That is what `alive` asks for; `age` is for a quick look.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Dict, Mapping

_BLOCK = struct.Struct("<QB3xIQI")

MARK = b"ended by its successor\0\0"
"""Follows the fields in a block with which a booted node ended its own earlier life. The kernel neither reads nor keeps
it: its next beat overwrites the whole block with zeros there."""

PROBE_SECONDS = 4.2
"""Two readings this far apart hold at least one new beat of every live node (2 s each, o2hb may be late by one)."""


@dataclass(frozen=True)
class Beat:
    """One heartbeat block. `sequence` is in seconds of the writer's clock, `dead_ms` in milliseconds."""

    node: int
    sequence: int
    generation: int
    dead_ms: int
    valid: bool

    @property
    def left(self) -> bool:
        """The node stopped this region in good order."""
        return self.generation == 0


Beats = Dict[str, Dict[int, Beat]]
"""By UUID of the region and number of the node."""


@dataclass(frozen=True)
class Reading:
    """What one look at the regions showed. `volumes`: the UUID and the label that a region's device carries now."""

    beats: Beats = field(default_factory=dict)
    volumes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    own: Mapping[str, bytes] = field(default_factory=dict)
    """The block of this node itself, byte by byte, by UUID of the region; where it was asked for."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why a region could not be read, by its UUID."""


def decode(block: bytes, node: int) -> Beat | None:
    """The block of one node, or None when nothing was ever written there.

    `valid` is False when the checksum does not match or the block names another node: two nodes share a number then, or
    the device is not what it should be.
    """
    if not any(block):
        return None
    sequence, writer, checksum, generation, dead_ms = _BLOCK.unpack_from(block)
    return Beat(writer, sequence, generation, dead_ms, checksum == _checksum(block) and writer == node)


def _checksum(block: bytes) -> int:
    """crc32_le of the kernel, seed 0, over the whole block with the field of the checksum itself empty."""
    return zlib.crc32(block[:12] + bytes(4) + block[16:], 0xFFFFFFFF) ^ 0xFFFFFFFF


def encode(beat: Beat, block_bytes: int, mark: bytes = b"") -> bytes:
    """The block that holds this beat, with the right checksum."""
    fields = _BLOCK.pack(beat.sequence, beat.node, 0, beat.generation, beat.dead_ms)
    block = (fields + mark).ljust(block_bytes, b"\0")
    return block[:12] + _checksum(block).to_bytes(4, "little") + block[16:]


def ended(block: bytes, node: int) -> bytes:
    """The block that tells everybody who reads it that this node is down: generation 0 and the next sequence, marked.

    A node leaves such a block behind when it goes in good order, without the mark (o2hb_thread). It keeps the dead time
    of the one before it.
    """
    old = decode(block, node)
    sequence, dead_ms = (old.sequence, old.dead_ms) if old else (0, 0)
    return encode(Beat(node, (sequence + 1) % 2**64, 0, dead_ms, True), len(block), MARK)


def is_marked(block: bytes) -> bool:
    """Whether this block was made by `ended`: whether the others have read it is not known."""
    return block[_BLOCK.size : _BLOCK.size + len(MARK)] == MARK


def decode_region(data: bytes, block_bytes: int, numbers: list[int]) -> dict[int, Beat]:
    """The beats of these node numbers in a region's bytes, which begin with the block of node 0."""
    found = {}
    for number in numbers:
        beat = decode(data[number * block_bytes : (number + 1) * block_bytes], number)
        if beat is not None:
            found[number] = beat
    return found


def alive(before: Mapping[int, Beat], after: Mapping[int, Beat]) -> list[int]:
    """The nodes proved alive by two readings of one region at least PROBE_SECONDS apart, sorted.

    A block that was blank at the first reading and is not at the second is a proof too.
    """
    return sorted(
        number
        for number, beat in after.items()
        if beat.valid
        and not beat.left
        and (
            number not in before
            or (beat.sequence, beat.generation) != (before[number].sequence, before[number].generation)
        )
    )


def alive_on_any(before: Mapping[str, Mapping[int, Beat]], after: Mapping[str, Mapping[int, Beat]]) -> set[int]:
    """The nodes proved alive on any region, by its UUID, that both readings saw."""
    return {number for uuid in before.keys() & after.keys() for number in alive(before[uuid], after[uuid])}


def age(beat: Beat, now: float) -> float:
    """Seconds since this beat, as far as its writer's clock agrees with `now`; negative for a clock that is ahead."""
    return round(now - beat.sequence, 1)


def looks_alive(beat: Beat, now: float) -> bool:
    """A quick guess from one reading: a beat within the writer's own dead time of `now`, by either clock."""
    return beat.valid and not beat.left and abs(now - beat.sequence) <= beat.dead_ms / 1000
