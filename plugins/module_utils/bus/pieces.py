# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages of up to 64 MiB as entries of the bus, and back. Pure.

A message is a head, a small table that says whom it is for and what it answers, and its data. One that does not fit
into an entry is cut into pieces, between which those of other messages have their turn. A node's pieces come in order,
so a message is whole with its last piece; there it has its position. It is delivered by the members that saw its first
piece: who joins in the middle does not get it, and it ends with its sender.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Iterator, Mapping, NamedTuple

from ..base.errors import O2cbError

LARGEST = 64 << 20
"""Bytes of a message's data."""

LARGEST_HEAD = 4096

LONGEST_CHANNEL = 200
"""Bytes of a channel's name."""

_WHOLE, _FIRST, _MORE = 0, 1, 2
_KIND = struct.Struct("<BH")
"""Kind, and bytes of the head."""

_PIECE = struct.Struct("<BIQ")
"""Kind, number of the message among its sender's, bytes of the whole."""


class Message(NamedTuple):
    """What one node has sent to all."""

    channel: str
    node: int
    position: int
    head: Mapping[str, Any]
    data: bytes


def encode(head: Mapping[str, Any], data: bytes) -> bytes:
    """A message as one piece. Raises O2cbError when it is too large."""
    if len(data) > LARGEST:
        raise O2cbError(f"a message of {len(data)} bytes: {LARGEST} is the most; share a file and send its name")
    text = json.dumps(head, separators=(",", ":")).encode() if head else b""
    if len(text) > LARGEST_HEAD:
        raise O2cbError(f"the head of a message is {len(text)} bytes: {LARGEST_HEAD} is the most")
    return _KIND.pack(_WHOLE, len(text)) + text + data


def cut(whole: bytes, number: int, most: int) -> Iterator[bytes]:
    """What goes into the entries, each at most `most` bytes."""
    if len(whole) <= most:
        yield whole
        return
    room = most - _PIECE.size
    for start in range(0, len(whole), room):
        yield _PIECE.pack(_MORE if start else _FIRST, number, len(whole)) + whole[start : start + room]


class Joiner:
    """Makes messages of entries. It is given every message entry and every end of a member, in their order."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[int, tuple[int, bytearray]]] = {}
        """Messages that are not yet whole, by sender and number: bytes to come to, bytes so far."""

    def add(self, channel: str, node: int, position: int, payload: bytes) -> Message | None:
        """The message that this entry completes. Raises ValueError for what no agent sends."""
        if payload[:1] == bytes([_WHOLE]):
            return _decode(channel, node, position, payload)
        if len(payload) < _PIECE.size:
            raise ValueError(f"a piece of {len(payload)} bytes")
        kind, number, total = _PIECE.unpack_from(payload)
        if total > LARGEST + LARGEST_HEAD + _KIND.size:
            raise ValueError(f"a message of {total} bytes")
        parts = self._parts.setdefault(node, {})
        if kind == _FIRST:
            parts[number] = (total, bytearray())
        elif number not in parts:
            return None
        whole = parts[number][1]
        whole += payload[_PIECE.size :]
        if len(whole) < total:
            return None
        del parts[number]
        return _decode(channel, node, position, bytes(whole))

    def ended(self, node: int) -> None:
        """What this sender has begun will never be whole."""
        self._parts.pop(node, None)


def _decode(channel: str, node: int, position: int, whole: bytes) -> Message:
    if len(whole) < _KIND.size:
        raise ValueError(f"a message of {len(whole)} bytes")
    _kind, length = _KIND.unpack_from(whole)
    start = _KIND.size + length
    head = json.loads(whole[_KIND.size : start]) if length else {}
    if not isinstance(head, dict) or start > len(whole):
        raise ValueError("a message with a broken head")
    return Message(channel, node, position, head, whole[start:])
