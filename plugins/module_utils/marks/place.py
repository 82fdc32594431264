# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the record of a region is: in the part of its heartbeat file that the kernel never touches. Pure.

Theory of operation. The file of a volume's heartbeat is 256 blocks of the *file system* long and one extent (mkfs.c),
zeroed by mkfs.ocfs2 in every version from 1.2 on. The kernel uses one *sector* for each of 255 node numbers from its
start (heartbeat.c). So with a block of two sectors or more at least 257 sectors are free:

    sector    0 .. 254   the kernel's heartbeat blocks, of node 0 .. 254
              255        left alone: a kernel that knew one node more would take it
              256        header of the record
              257 .. 511 slot of node 0 .. 254

With blocks as small as the sectors (4096-byte sectors, or volumes of 512-byte blocks) one sector is free, and there is
no place: a sector that several nodes write loses what one of them wrote. No tool reads or writes there but o2image,
which saves and restores it with the volume.

`walk` follows the file's inode from the superblock, once in a record's life: configfs says only where the kernel
beats, not how far the file goes.
"""

from __future__ import annotations

import struct
from typing import Generator, NamedTuple, Tuple

from ..base.errors import O2cbError
from ..o2cb.state import LiveRegion

NODES = 255
HEADER, SLOTS, END = 256, 257, 512
"""In sectors from the start of the heartbeat file."""

BLOCKS = 256
LARGEST_BLOCK = 4096

_INODE = b"INODE01\0"
_SYSTEM_DIRECTORY = 0xC0 + 0x30
_SIZE, _FLAGS, _DYNAMIC, _LIST, _INLINE = 0x20, 0x2C, 0x76, 0xC0, 0xC8
_EXTENTS = _LIST + 0x10
_INLINE_DATA = 0x1
_HEARTBEAT_FLAG = 0x200
_NAME = b"heartbeat"

Block = Generator[int, bytes, Tuple[int, int]]


class Place(NamedTuple):
    """Where one region's record is on its device; all in bytes. `device` is the kernel's name, such as dm-0."""

    uuid: str
    device: str
    start: int
    sector: int

    def beats(self, nodes: int) -> tuple[int, int]:
        """Offset and size of the heartbeat blocks of so many node numbers."""
        return self.start, nodes * self.sector

    def record(self, nodes: int) -> tuple[int, int]:
        """Offset and size of the header and the slots of so many node numbers."""
        return self.start + HEADER * self.sector, (1 + nodes) * self.sector

    def slot(self, node: int) -> int:
        return self.start + (SLOTS + node) * self.sector


def has_room(block_size: int, sector: int) -> bool:
    return block_size >= 2 * sector


def find(region: LiveRegion, block_size: int) -> Place | None:
    """The place of a started region whose volume has blocks of this size; None where there is none."""
    if not has_room(block_size, region.block_bytes):
        return None
    return Place(region.uuid, region.device, region.start_block * region.block_bytes, region.block_bytes)


def check(place: Place, start: int, size: int) -> None:
    """Whether the place is inside the heartbeat file that `walk` found. Raises O2cbError."""
    _expect(start == place.start, f"the kernel beats at byte {place.start}, and the heartbeat file starts at {start}")
    _expect(END * place.sector <= size, f"the heartbeat file has {size} bytes, too few for the record")


def walk(block_size: int, superblock: bytes) -> Block:
    """Find the heartbeat file from the superblock's block; yields numbers of blocks and is sent their bytes.

    Returns the byte at which the file starts, and its bytes. Raises O2cbError where it is not what mkfs.ocfs2 makes.
    """
    (number,) = struct.unpack_from("<Q", superblock, _SYSTEM_DIRECTORY)
    directory = yield number
    _expect(directory.startswith(_INODE), "the system directory has no inode")
    inode = 0
    if struct.unpack_from("<H", directory, _DYNAMIC)[0] & _INLINE_DATA:
        inode = _entry(directory[_INLINE:])
    else:
        depth, _count, used = struct.unpack_from("<HHH", directory, _LIST)
        _expect(depth == 0, "the system directory is a tree")
        for record in range(used):
            _cpos, _clusters, first = struct.unpack_from("<IIQ", directory, _EXTENTS + 16 * record)
            data = yield first
            inode = inode or _entry(data)
    _expect(inode > 0, "the system directory has no file named heartbeat in its first blocks")
    file = yield inode
    _expect(file.startswith(_INODE), "the heartbeat file has no inode")
    (size,) = struct.unpack_from("<Q", file, _SIZE)
    (flags,) = struct.unpack_from("<I", file, _FLAGS)
    depth, _count, used = struct.unpack_from("<HHH", file, _LIST)
    _cpos, _clusters, first = struct.unpack_from("<IIQ", file, _EXTENTS)
    _expect(bool(flags & _HEARTBEAT_FLAG), "the file named heartbeat is not marked as one")
    _expect((depth, used) == (0, 1), "the heartbeat file is not one extent")
    _expect(size >= BLOCKS * block_size, f"the heartbeat file has {size} bytes, not {BLOCKS * block_size}")
    return first * block_size, size


def _entry(data: bytes) -> int:
    """The inode of the entry named heartbeat in a directory block; 0 when there is none."""
    offset = 0
    while offset + 12 <= len(data):
        inode, length, name_length = struct.unpack_from("<QHB", data, offset)
        if length < 12:
            break
        if data[offset + 12 : offset + 12 + name_length] == _NAME and inode:
            return int(inode)
        offset += length
    return 0


def _expect(condition: bool, problem: str) -> None:
    if not condition:
        raise O2cbError(f"{problem}: check the volume with fsck.ocfs2, or format another region")
