# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The frames of the bus and their form on the wire. Pure.

On a stream each frame is a 32-bit length and a body; a transport that keeps messages apart, as CPG, carries bodies.
A body is a version, a kind, and the fields of that kind in their order. Integers are little endian. What is too long,
too short, or says what no sender says raises FrameError, after which the link is to be dropped: nothing on it can be
believed any more.

The frames in the order of a life: Hello, Join, Welcome, Welcomed; Submit, Ordered, Ack, Sync; Collect, Tail, Promise,
Refused, Start; Newer, Go, Dead, Echo.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, NamedTuple, Union

from ..base.errors import O2cbError
from .view import KINDS, MESSAGE, Entry, Epoch, Ident

VERSION = 1
MAX_NODE = 254
MAX_PAYLOAD = 1 << 20
MAX_BODY = MAX_PAYLOAD + 512
"""Bytes. The largest frame besides messages is a Welcome to 255 nodes, which is 6,700."""


MAX_INCARNATION = 1 << 62
"""Of a Hello. They are milliseconds since 1970; beyond this there would be no later one."""


class FrameError(O2cbError):
    """A peer sent what is no frame of this version."""


class Hello(NamedTuple):
    """First on a link. Who sends it holds `alive`, so every earlier incarnation of its node is dead."""

    incarnation: int
    history: Ident
    """The founder of the bus of which the sender is a member, or NOBODY."""


class Join(NamedTuple):
    """The sender asks for membership, and has state of this epoch."""

    epoch: Epoch


class Welcome(NamedTuple):
    """The state from which a joining member goes on."""

    number: int
    history: Ident
    epoch: Epoch
    position: int
    members: tuple[tuple[int, int, int], ...]
    """Node, incarnation and last counter of each."""
    absent: tuple[Ident, ...]


class Welcomed(NamedTuple):
    """The sender goes on from the state of that number: acknowledgements before this one were of another."""

    epoch: Epoch
    number: int


class Submit(NamedTuple):
    """A message to be numbered. Its sender is the peer."""

    counter: int
    channel: str
    payload: bytes


class Ordered(NamedTuple):
    """An entry at its position, with what a Sync says."""

    epoch: Epoch
    position: int
    stable: int
    forgotten: int
    entry: Entry


class Ack(NamedTuple):
    """The sender has stored everything up to `have`, and delivered everything up to `delivered`."""

    epoch: Epoch
    have: int
    delivered: int


class Sync(NamedTuple):
    """Everything up to `stable` is with every member, and up to `forgotten` was delivered by every member."""

    epoch: Epoch
    stable: int
    forgotten: int
    ask: bool
    """Whether an Ack is wanted even if nothing changed."""


class Collect(NamedTuple):
    """A candidate asks for a promise, and says what it has. From NOBODY: it would found a new bus."""

    history: Ident
    epoch: Epoch
    accepted: Epoch
    top: int
    delivered: int


class Tail(NamedTuple):
    """An entry that the candidate may lack. Sent in order, before the Promise."""

    epoch: Epoch
    position: int
    entry: Entry


class Promise(NamedTuple):
    """Nothing of an epoch before this one is accepted any more."""

    epoch: Epoch
    accepted: Epoch
    top: int
    delivered: int


class Refused(NamedTuple):
    """The sender has promised this later epoch; or, with NO_EPOCH, is a member of a bus."""

    promised: Epoch


class Start(NamedTuple):
    """The epoch is open. The receiver keeps its entries up to `keep`, and is sent those up to `top` and what comes."""

    epoch: Epoch
    keep: int
    top: int


class Newer(NamedTuple):
    """The sender got the Hello of this incarnation."""

    node: int
    incarnation: int


class Go(NamedTuple):
    """The sequencer, with most of the view, asks a member it cannot hear to give up. Passed on by the others."""

    epoch: Epoch
    node: int
    incarnation: int


class Dead(NamedTuple):
    """The receiver's incarnation is declared down, or, with `history`, the bus it was a member of is over."""

    incarnation: int
    latest: int
    """The latest of its node that is declared down: where that is later, this one was not meant."""
    history: bool


class Echo(NamedTuple):
    """To oneself, through the queue of received frames: it proves that they are worked off."""

    number: int


Frame = Union[
    Hello,
    Join,
    Welcome,
    Welcomed,
    Submit,
    Ordered,
    Ack,
    Sync,
    Collect,
    Tail,
    Promise,
    Refused,
    Start,
    Newer,
    Go,
    Dead,
    Echo,
]

_U8 = struct.Struct("<B")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_IDENT = struct.Struct("<BQ")
_EPOCH = struct.Struct("<QBQ")
_ENTRY = struct.Struct("<BBQQBI")
_SUBMIT = struct.Struct("<QBI")
_MEMBER = struct.Struct("<BQQ")
_HEAD = struct.Struct("<BB")


class _Reader:
    """Takes fields off a body, each checked."""

    __slots__ = ("body", "offset")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.offset = _HEAD.size

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        try:
            fields = form.unpack_from(self.body, self.offset)
        except struct.error:
            raise FrameError(f"a frame of {len(self.body)} bytes ends in the middle of a field") from None
        self.offset += form.size
        return fields

    def take(self, length: int) -> bytes:
        end = self.offset + length
        if end > len(self.body):
            raise FrameError(f"a frame of {len(self.body)} bytes announces {length} at {self.offset}")
        piece = self.body[self.offset : end]
        self.offset = end
        return piece


def _node(number: int) -> int:
    if number > MAX_NODE:
        raise FrameError(f"{number} is no node number")
    return number


def _put_u8(value: int) -> bytes:
    return _U8.pack(value)


def _get_u8(reader: _Reader) -> int:
    return _node(reader.unpack(_U8)[0])


def _put_bool(value: bool) -> bytes:
    return b"\1" if value else b"\0"


def _get_bool(reader: _Reader) -> bool:
    (value,) = reader.unpack(_U8)
    if value > 1:
        raise FrameError(f"{value} is neither yes nor no")
    return bool(value)


def _put_u64(value: int) -> bytes:
    return _U64.pack(value)


def _get_u64(reader: _Reader) -> int:
    value: int = reader.unpack(_U64)[0]
    return value


def _get_incarnation(reader: _Reader) -> int:
    value = _get_u64(reader)
    if value > MAX_INCARNATION:
        raise FrameError(f"{value} is no incarnation")
    return value


def _put_ident(value: Ident) -> bytes:
    return _IDENT.pack(*value)


def _get_ident(reader: _Reader) -> Ident:
    node, incarnation = reader.unpack(_IDENT)
    return _node(node), incarnation


def _put_epoch(value: Epoch) -> bytes:
    return _EPOCH.pack(*value)


def _get_epoch(reader: _Reader) -> Epoch:
    number, node, incarnation = reader.unpack(_EPOCH)
    return number, _node(node), incarnation


def _channel(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FrameError(f"the channel {raw!r} is not UTF-8") from None


def _put_entry(value: Entry) -> bytes:
    kind, node, incarnation, counter, channel, payload = value
    name = channel.encode()
    return _ENTRY.pack(kind, node, incarnation, counter, len(name), len(payload)) + name + payload


def _get_entry(reader: _Reader) -> Entry:
    kind, node, incarnation, counter, name, length = reader.unpack(_ENTRY)
    if kind not in KINDS:
        raise FrameError(f"{kind} is no kind of entry")
    if kind != MESSAGE and (counter or name or length):
        raise FrameError("a view change carries no message")
    return Entry(kind, _node(node), incarnation, counter, _channel(reader.take(name)), reader.take(length))


def _put_members(value: tuple[tuple[int, int, int], ...]) -> bytes:
    return _U16.pack(len(value)) + b"".join(_MEMBER.pack(*member) for member in value)


def _get_members(reader: _Reader) -> tuple[tuple[int, int, int], ...]:
    (count,) = reader.unpack(_U16)
    if count > MAX_NODE + 1:
        raise FrameError(f"a view of {count} members")
    members = [reader.unpack(_MEMBER) for number in range(count)]
    return tuple((_node(node), incarnation, counter) for node, incarnation, counter in members)


def _put_idents(value: tuple[Ident, ...]) -> bytes:
    return _U16.pack(len(value)) + b"".join(map(_put_ident, value))


def _get_idents(reader: _Reader) -> tuple[Ident, ...]:
    (count,) = reader.unpack(_U16)
    if count > MAX_NODE + 1:
        raise FrameError(f"{count} nodes in one frame")
    return tuple(_get_ident(reader) for number in range(count))


def _put_channel(value: str) -> bytes:
    raw = value.encode()
    return _U8.pack(len(raw)) + raw


def _get_channel(reader: _Reader) -> str:
    (length,) = reader.unpack(_U8)
    return _channel(reader.take(length))


def _put_payload(value: bytes) -> bytes:
    return _U32.pack(len(value)) + value


def _get_payload(reader: _Reader) -> bytes:
    (length,) = reader.unpack(_U32)
    return reader.take(length)


_Put = Callable[[Any], bytes]
_Get = Callable[[_Reader], Any]
_CODECS: dict[str, tuple[_Put, _Get]] = {
    "node": (_put_u8, _get_u8),
    "bool": (_put_bool, _get_bool),
    "u64": (_put_u64, _get_u64),
    "incarnation": (_put_u64, _get_incarnation),
    "ident": (_put_ident, _get_ident),
    "epoch": (_put_epoch, _get_epoch),
    "entry": (_put_entry, _get_entry),
    "members": (_put_members, _get_members),
    "idents": (_put_idents, _get_idents),
    "channel": (_put_channel, _get_channel),
    "payload": (_put_payload, _get_payload),
}

_FORMS: list[tuple[type, str]] = [
    (Hello, "incarnation ident"),
    (Join, "epoch"),
    (Welcome, "u64 ident epoch u64 members idents"),
    (Welcomed, "epoch u64"),
    (Submit, "u64 channel payload"),
    (Ordered, "epoch u64 u64 u64 entry"),
    (Ack, "epoch u64 u64"),
    (Sync, "epoch u64 u64 bool"),
    (Collect, "ident epoch epoch u64 u64"),
    (Tail, "epoch u64 entry"),
    (Promise, "epoch epoch u64 u64"),
    (Refused, "epoch"),
    (Start, "epoch u64 u64"),
    (Newer, "node u64"),
    (Go, "epoch node u64"),
    (Dead, "u64 u64 bool"),
    (Echo, "u64"),
]
"""Each kind's number is its place here: only ever append."""

_ENCODERS: dict[type, tuple[bytes, list[_Put]]] = {
    frame: (_HEAD.pack(VERSION, number), [_CODECS[word][0] for word in form.split()])
    for number, (frame, form) in enumerate(_FORMS)
}
_DECODERS: list[tuple[Callable[..., Frame], list[_Get]]] = [
    (frame, [_CODECS[word][1] for word in form.split()]) for frame, form in _FORMS
]


def encode(frame: Frame) -> bytes:
    """The body of a frame. Raises FrameError when a field does not fit."""
    head, puts = _ENCODERS[type(frame)]
    try:
        body = head + b"".join([put(value) for put, value in zip(puts, frame)])
    except struct.error as error:
        raise FrameError(f"{type(frame).__name__} cannot be sent: {error}") from None
    if len(body) > MAX_BODY:
        raise FrameError(f"a frame of {len(body)} bytes is longer than {MAX_BODY}")
    return body


def decode(body: bytes) -> Frame:
    """The frame of a body. Raises FrameError."""
    if len(body) < _HEAD.size:
        raise FrameError(f"{len(body)} bytes are no frame")
    if len(body) > MAX_BODY:
        raise FrameError(f"a frame of {len(body)} bytes is longer than {MAX_BODY}")
    version, kind = body[0], body[1]
    if version != VERSION:
        raise FrameError(f"a frame of version {version}, and this agent knows {VERSION}: update the older one")
    if kind >= len(_DECODERS):
        raise FrameError(f"{kind} is no kind of frame")
    make, gets = _DECODERS[kind]
    reader = _Reader(body)
    frame = make(*[get(reader) for get in gets])
    if reader.offset != len(body):
        raise FrameError(f"{len(body) - reader.offset} bytes too many behind a {type(frame).__name__}")
    return frame


def pack(frame: Frame) -> bytes:
    """A frame as it goes on a stream."""
    body = encode(frame)
    return _U32.pack(len(body)) + body


class Unpacker:
    """Cuts a stream into frames. Holds at most one incomplete frame; after a FrameError it is of no more use."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. A length beyond the limit is refused before its bytes are read."""
        rest = self._rest
        rest += data
        frames = []
        start = 0
        while len(rest) - start >= _U32.size:
            (length,) = _U32.unpack_from(rest, start)
            if length > MAX_BODY:
                raise FrameError(f"a frame of {length} bytes is longer than {MAX_BODY}")
            end = start + _U32.size + length
            if end > len(rest):
                break
            frames.append(decode(bytes(rest[start + _U32.size : end])))
            start = end
        del rest[:start]
        return frames
