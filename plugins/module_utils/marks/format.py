# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bytes of the record on disk: a header for each region, a slot for each node. Pure.

A header and a slot are one sector each, the unit that a disk writes whole or not at all. Little endian; what follows
the fields is zero, up to the CRC-32 in the sector's last four bytes, which covers all the rest. A later version may
put other fields between version and CRC, and is still told from damage.

    header                                        slot
     0   8  magic "O2CBMARK"                       0   8  magic "O2CBSLOT"
     8   2  version, 1                             8   2  version, 1
    16  16  UUID of the region                    16  16  UUID of the region
    32  16  name of the cluster                   32   1  number of the node
    48   8  generation of the set of regions      40  16  boot id of its writer
    56   8  floor: no token was above it when     56   8  sequence number of the write
            the region became part of the record  64   8  mark: the node gives out no token above it
                                                  72   8  generation of the definitions that the node has
                                                  80  16  their digest

Zeros are a sector that was never written, as mkfs leaves it: it means *unknown*, never *zero*.
"""

from __future__ import annotations

import struct
import zlib
from typing import Mapping, NamedTuple, Sequence

VERSION = 1
MOST_TOKEN = 2**63 - 1
DIGEST_BYTES = 16

BLANK, TORN, FOREIGN, LATER, VALID = "blank", "torn", "foreign", "of a later version", "valid"
"""What a sector turns out to be. TORN has our magic and a wrong checksum; FOREIGN is of somebody else, or of another
region or node."""

_HEADER_MAGIC, _SLOT_MAGIC = b"O2CBMARK", b"O2CBSLOT"
_HEADER = struct.Struct("<8sH6x16s16sQQ")
_SLOT = struct.Struct("<8sH6x16sB7x16sQQQ16s")
_START = struct.Struct("<8sH")
_CRC = struct.Struct("<I")


class Header(NamedTuple):
    """`uuid` is 32 upper-case hex digits."""

    uuid: str
    cluster: str
    generation: int
    floor: int


class Slot(NamedTuple):
    """`boot` is a boot id without dashes; `digest` is hex, empty where the node has no definitions."""

    uuid: str
    node: int
    boot: str
    sequence: int
    mark: int
    generation: int = 0
    digest: str = ""


class View(NamedTuple):
    """What one region holds. `header` is None unless its kind is VALID.

    `bad` has the kind of every slot that is neither blank nor valid, by node.
    """

    kind: str
    header: Header | None
    slots: Mapping[int, Slot]
    bad: Mapping[int, str]

    @property
    def answers(self) -> bool:
        """Whether this region counts: whatever it does not know is nothing that was ever written to it."""
        return self.header is not None and not self.bad

    @property
    def later(self) -> bool:
        return self.kind == LATER or LATER in self.bad.values()

    def mark(self, node: int) -> int:
        slot = self.slots.get(node)
        return slot.mark if slot else 0

    def top(self) -> int:
        """The largest number that any token known here may have. For a region that answers."""
        floor = self.header.floor if self.header else 0
        return max([floor, *(slot.mark for slot in self.slots.values())])

    def trouble(self) -> str:
        """Why it does not answer, in words; empty when it does."""
        if self.header is None:
            return f"its header is {self.kind}"
        return ", ".join(f"the slot of node {node} is {kind}" for node, kind in sorted(self.bad.items()))


def encode_header(header: Header, sector: int) -> bytes:
    return _sealed(
        _HEADER.pack(
            _HEADER_MAGIC,
            VERSION,
            bytes.fromhex(header.uuid),
            header.cluster.encode(),
            header.generation,
            header.floor,
        ),
        sector,
    )


def encode_slot(slot: Slot, sector: int) -> bytes:
    boot, digest = bytes.fromhex(slot.boot), bytes.fromhex(slot.digest)
    uuid = bytes.fromhex(slot.uuid)
    return _sealed(
        _SLOT.pack(_SLOT_MAGIC, VERSION, uuid, slot.node, boot, slot.sequence, slot.mark, slot.generation, digest),
        sector,
    )


def _sealed(fields: bytes, sector: int) -> bytes:
    body = fields + bytes(sector - len(fields) - _CRC.size)
    return body + _CRC.pack(zlib.crc32(body))


def _kind(data: bytes, magic: bytes) -> str:
    if not any(data):
        return BLANK
    found, version = _START.unpack_from(data)
    if found != magic:
        return FOREIGN
    end = len(data) - _CRC.size
    if zlib.crc32(data[:end]) != _CRC.unpack(data[end:])[0]:
        return TORN
    return LATER if version > VERSION else VALID


def decode_header(data: bytes, uuid: str) -> tuple[str, Header | None]:
    """The kind of a header's sector on region `uuid`, and the header when it is VALID."""
    kind = _kind(data, _HEADER_MAGIC)
    if kind != VALID:
        return kind, None
    _magic, _version, found, cluster, generation, floor = _HEADER.unpack_from(data)
    header = Header(found.hex().upper(), cluster.rstrip(b"\0").decode("utf-8", "replace"), generation, floor)
    return (VALID, header) if header.uuid == uuid.upper() else (FOREIGN, None)


def decode_slot(data: bytes, uuid: str, node: int) -> tuple[str, Slot | None]:
    """The kind of the sector of this node's slot on region `uuid`, and the slot when it is VALID."""
    kind = _kind(data, _SLOT_MAGIC)
    if kind != VALID:
        return kind, None
    _magic, _version, found, writer, boot, sequence, mark, generation, digest = _SLOT.unpack_from(data)
    slot = Slot(
        found.hex().upper(), writer, boot.hex(), sequence, mark, generation, digest.hex() if any(digest) else ""
    )
    return (VALID, slot) if (slot.uuid, writer) == (uuid.upper(), node) else (FOREIGN, None)


def decode_record(data: bytes, uuid: str, sector: int) -> View:
    """What the header's sector of region `uuid` and those of the slots after it hold."""
    kind, header = decode_header(data[:sector], uuid)
    slots: dict[int, Slot] = {}
    bad: dict[int, str] = {}
    for node, start in enumerate(range(sector, len(data), sector)):
        what, slot = decode_slot(data[start : start + sector], uuid, node)
        if slot is not None:
            slots[node] = slot
        elif what != BLANK:
            bad[node] = what
    return View(kind, header, slots, bad)


def majority(regions: Sequence[str]) -> int:
    """So many of the regions of cluster.conf, whether they answer or not: more than half."""
    return len(regions) // 2 + 1
