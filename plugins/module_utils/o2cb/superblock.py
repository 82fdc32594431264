# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The superblock of an OCFS2 volume: which region it is and which cluster it was made for.

struct ocfs2_super_block and ocfs2_cluster_info in fs/ocfs2/ocfs2_fs.h. The superblock is block 2 of the volume, and the
block size is not known beforehand, so all four are tried.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

READ_BYTES = 16384
"""The superblock of any block size (512 to 4096 bytes) lies within this many bytes of the device's start."""

_SIGNATURE = b"OCFSV2\0\0"
_INCOMPAT_CLUSTER_INFO = 0x4000
_GLOBAL_HEARTBEAT = 0x01


@dataclass(frozen=True)
class Superblock:
    """`uuid` is 32 upper-case hex digits, the name of the heartbeat region on this volume."""

    uuid: str
    label: str
    stack: str
    cluster: str
    global_heartbeat: bool
    block_size: int


def parse(head: bytes) -> Superblock | None:
    """The superblock in the first READ_BYTES of a device, or None when there is no OCFS2 on it."""
    for block_size in (512, 1024, 2048, 4096):
        block = head[2 * block_size : 3 * block_size]
        if len(block) < 0x180 or not block.startswith(_SIGNATURE):
            continue
        (incompat,) = struct.unpack_from("<I", block, 0xC0 + 0x20)
        stack, cluster, flags = "", "", 0
        if incompat & _INCOMPAT_CLUSTER_INFO:
            stack = _text(block[0x160:0x164])
            flags = block[0x164]
            cluster = _text(block[0x168:0x178])
        return Superblock(
            uuid=block[0x150:0x160].hex().upper(),
            label=_text(block[0x110:0x150]),
            stack=stack,
            cluster=cluster,
            global_heartbeat=bool(flags & _GLOBAL_HEARTBEAT),
            block_size=block_size,
        )
    return None


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "replace")
