# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The owner record: 64 bytes in a lock's value block that say who holds it, and with which fencing token. Pure.

    offset  size  field
         0     4  magic "O2K1"
         4     1  version, 1
         5     1  number of the holder's node
         6     2  length of the owner text
         8     8  first bytes of the holder's boot id
        16     8  time of the grant, microseconds of the holder's real-time clock
        24     8  fencing token
        32    28  owner text, UTF-8, cut to 28 bytes
        60     4  CRC-32 of the 60 bytes before

Little endian. All zeros is what o2dlm gives after the death of a node that held or cached the lock exclusively, or some
seconds after the last node forgot it: it means *unknown*, never *free*. Anything else that is no valid record was
written by a foreign program, and means unknown too.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

SIZE = 64
_MAGIC = b"O2K1"
_VERSION = 1
_HEAD = struct.Struct("<4sBBH8sQQ28s")
_CRC = struct.Struct("<I")
TEXT_BYTES = 28


class Record(NamedTuple):
    """`since` is in microseconds since the epoch, `boot` the first 8 bytes of the boot id in hex."""

    node: int
    boot: str
    since: int
    token: int
    owner: str


def encode(record: Record) -> bytes:
    text = record.owner.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore").encode()
    head = _HEAD.pack(
        _MAGIC, _VERSION, record.node, len(text), bytes.fromhex(record.boot), record.since, record.token, text
    )
    return head + _CRC.pack(zlib.crc32(head))


def decode(data: bytes) -> Record | None:
    """The record, or None for *unknown*: zeros, a foreign program's bytes, a damaged record, a later version."""
    if len(data) != SIZE:
        return None
    magic, version, node, length, boot, since, token, text = _HEAD.unpack_from(data)
    (checksum,) = _CRC.unpack_from(data, _HEAD.size)
    if (magic, version) != (_MAGIC, _VERSION) or checksum != zlib.crc32(data[: _HEAD.size]) or length > TEXT_BYTES:
        return None
    return Record(node, boot.hex(), since, token, text[:length].decode("utf-8", "replace"))
