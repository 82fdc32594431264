# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links between the members of a process group: which messages belong to them, and when they begin and end. Pure.

A closed process group (corosync's CPG) delivers every message to all members, in one order, and tells who is a member
at the same places of that order. Of that, links are made, which are ordered and lose only their end:

*Generations.* Each side of a link names it by a number of its own, its *generation*, which is new whenever that side
has seen the link end. A Greeting tells the peer that number, and the peer's own as far as it is known. A side holds the
link for up when a Greeting has brought back its present number. What is sent over the link carries the number that the
receiver gave it, and is dropped where that is not its present one. So after a partition, when the same process is a
member again and its messages of before may still come, nothing that was sent before the end of the link is received
after it has begun anew.

*One-sided ends.* Messages of one process come in the order in which it sent them. So when a peer greets with another
generation than before, all that comes behind it belongs to a new link, and only the old one has to be ended here.

*Gaps.* Each process counts its messages. All members get all of them, so a gap ends the link, whatever corosync says.

A message is a head, the addresses, and frames, each with its length. Without an address it is a sign of life. What is
addressed to others is heard, and dropped.
"""

from __future__ import annotations

import struct
from typing import Iterable, Iterator, NamedTuple, Sequence, Union

from ..bus import frames
from ..bus.frames import Frame, FrameError
from .libcpg import LEAVE, NODEDOWN, PROCDOWN, Changed, Delivered, Process

VERSION = 1
GREETING, FRAMES = range(2)

NODE_ID_OF_ZERO = 255
"""corosync has no node 0, and o2cb has no node 255."""

MAX_BATCH = 65536
"""Bytes of frames in one message, unless a single frame is longer. Long messages hold up everybody's."""

RETRY_SECONDS = 1.0
PENALTY_SECONDS = 5.0
"""So long there is no link to one that sends what cannot be understood."""

_HEAD = struct.Struct("<2sBBQB")
_MAGIC = b"o2"
_ADDRESS_FORM = struct.Struct("<BI")
_GREETING_FORM = struct.Struct("<BII")
_LENGTH = struct.Struct("<I")
_GENERATIONS = 1 << 32

_DEPARTURES = {
    LEAVE: "its agent has left corosync's group",
    NODEDOWN: "corosync has lost its node",
    PROCDOWN: "its agent has ended",
}


def node_id(number: int) -> int:
    """corosync's number of a node."""
    return number or NODE_ID_OF_ZERO


def number_of(identifier: int) -> int:
    """The number of a node of corosync; -1 where it is none of o2cb."""
    if identifier == NODE_ID_OF_ZERO:
        return 0
    return identifier if 0 < identifier <= frames.MAX_NODE else -1


class Address(NamedTuple):
    """A node, and the generation by which it knows its link."""

    node: int
    generation: int


class Greeting(NamedTuple):
    """To a node: the generation of the sender's side, and that of the receiver's as the sender knows it, or 0."""

    node: int
    mine: int
    yours: int


class Message(NamedTuple):
    """What one multicast carries."""

    number: int
    """The sender counts its messages."""

    greetings: Sequence[Greeting] = ()
    addresses: Sequence[Address] = ()
    bodies: Sequence[bytes] = ()


def encode(message: Message) -> bytes:
    """The bytes of a message: either greetings, or addresses and bodies of frames."""
    if message.greetings:
        head = _HEAD.pack(_MAGIC, VERSION, GREETING, message.number, len(message.greetings))
        return head + b"".join(_GREETING_FORM.pack(*one) for one in message.greetings)
    parts = [_HEAD.pack(_MAGIC, VERSION, FRAMES, message.number, len(message.addresses))]
    parts += [_ADDRESS_FORM.pack(*one) for one in message.addresses]
    for body in message.bodies:
        parts += [_LENGTH.pack(len(body)), body]
    return b"".join(parts)


def decode(data: bytes, node: int) -> Message:
    """A message as far as it is for `node`: what is for others is left out. Raises FrameError."""
    try:
        magic, version, kind, number, count = _HEAD.unpack_from(data)
    except struct.error:
        raise FrameError(f"{len(data)} bytes are no message of an agent") from None
    if magic != _MAGIC or kind not in (GREETING, FRAMES):
        raise FrameError(f"{data[:4]!r} does not begin a message of an agent")
    if version != VERSION:
        raise FrameError(f"a message of version {version}, and this agent knows {VERSION}: update the older one")
    form = _GREETING_FORM if kind == GREETING else _ADDRESS_FORM
    start, end = _HEAD.size, _HEAD.size + count * form.size
    if end > len(data) or (kind == GREETING and end != len(data)):
        raise FrameError(f"a message of {len(data)} bytes announces {count} addresses")
    found = [fields for fields in form.iter_unpack(data[start:end]) if fields[0] == node]
    if kind == GREETING:
        return Message(number, greetings=[Greeting(*fields) for fields in found])
    if not found:
        return Message(number)
    return Message(number, (), [Address(*fields) for fields in found], list(_bodies(data, end)))


def _bodies(data: bytes, start: int) -> Iterator[bytes]:
    while start < len(data):
        if start + _LENGTH.size > len(data):
            raise FrameError("a message ends in the middle of a length")
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if length > len(data) - start:
            raise FrameError(f"a message of {len(data)} bytes announces a frame of {length}")
        yield data[start : start + length]
        start += length


class Parcel(NamedTuple):
    """Frames for the same nodes, to be sent at once."""

    nodes: tuple[int, ...]
    bodies: list[bytes]


def parcels(waiting: dict[int, list[Frame]]) -> list[Parcel]:
    """What is to be sent to each node, so that frames which several are to get are sent once, as far as order allows.

    Where the next frame differs from node to node, one that nobody else gets later goes first, so that they meet again.
    """
    known: dict[tuple[type, Frame], bytes] = {}
    queues: dict[int, list[bytes]] = {}
    for node, given in waiting.items():
        queue = queues[node] = []
        for frame in given:
            key = (type(frame), frame)
            body = known.get(key)
            if body is None:
                body = known[key] = frames.encode(frame)
            queue.append(body)
        queue.reverse()  # The next one is the last one.
    found: list[Parcel] = []
    while True:
        queues = {node: queue for node, queue in queues.items() if queue}
        if not queues:
            return found
        body = _next(list(queues.values()))
        nodes = tuple(node for node, queue in queues.items() if queue[-1] is body)
        for node in nodes:
            queues[node].pop()
        last = found[-1] if found else None
        if last and last.nodes == nodes and sum(map(len, last.bodies)) + len(body) <= MAX_BATCH:
            last.bodies.append(body)
        else:
            found.append(Parcel(nodes, [body]))


def _next(queues: list[list[bytes]]) -> bytes:
    first = queues[0][-1]
    if all(queue[-1] is first for queue in queues):
        return first
    for body in (queue[-1] for queue in queues):
        if not any(body is other for queue in queues for other in queue[:-1]):
            return body
    return first


class Up(NamedTuple):
    node: int


class Down(NamedTuple):
    node: int
    why: str


class Received(NamedTuple):
    node: int
    frames: list[Frame]


Event = Union[Up, Down, Received]


class Member:
    """Another process of the group, and this side of the link with it."""

    __slots__ = ("heard", "last", "mine", "pid", "quiet_until", "retry", "theirs", "told", "up")

    def __init__(self, pid: int, mine: int, now: float) -> None:
        self.pid = pid
        self.mine = mine
        self.theirs = 0
        """0 while it is not known."""
        self.told = (0, 0)
        """What it was greeted with last."""
        self.up = False
        self.last = -1
        """The number of its last message; -1 before the first."""
        self.heard = now
        self.retry = 0.0
        self.quiet_until = 0.0
        """No link before this."""


class Group:
    """All links of one process. Times are seconds of one monotonic clock. Nothing is sent here: see `greetings`."""

    def __init__(self, me: int, generation: int, allowed: Iterable[int]) -> None:
        """`generation` is where its numbers begin: best one that no earlier process of this node has used."""
        self.me = me
        self.members: dict[int, Member] = {}
        """By node."""
        self._generation = generation
        self._allowed = set(allowed)

    def _next_generation(self) -> int:
        self._generation = (self._generation + 1) % _GENERATIONS or 1
        return self._generation

    def up(self) -> list[int]:
        return [node for node, member in self.members.items() if member.up]

    def addresses(self, nodes: Iterable[int]) -> list[Address]:
        """Those of the nodes to which there is a link."""
        members = self.members
        return [Address(node, members[node].theirs) for node in nodes if node in members and members[node].up]

    def allow(self, nodes: Iterable[int]) -> list[Event]:
        """The nodes of the cluster from now on."""
        self._allowed = set(nodes)
        gone = [node for node, member in self.members.items() if member.up and node not in self._allowed]
        return [event for node in gone for event in self.end(node, "its node is not in the cluster any more")]

    # what comes

    def changed(self, change: Changed, now: float) -> list[Event]:
        """The group has changed. A process that was there before, and is joined again, has a new link."""
        events: list[Event] = []
        for process, reason in change.left:
            node = number_of(process.node_id)
            if node in self.members and self.members[node].pid == process.pid:
                events += self._remove(node, _DEPARTURES.get(reason, "it has left corosync's group"))
        for process in change.joined:
            events += self._remove(number_of(process.node_id), "it has begun anew")
            self._add(process, now)
        present = set(change.members)
        for node in [node for node, one in self.members.items() if Process(node_id(node), one.pid) not in present]:
            events += self._remove(node, "it has left corosync's group")
        for process in change.members:
            if number_of(process.node_id) not in self.members:
                self._add(process, now)
        return events

    def _add(self, process: Process, now: float) -> None:
        node = number_of(process.node_id)
        if node >= 0 and node != self.me:
            self.members[node] = Member(process.pid, self._next_generation(), now)

    def _remove(self, node: int, why: str) -> list[Event]:
        member = self.members.pop(node, None)
        return [Down(node, why)] if member and member.up else []

    def end(self, node: int, why: str, quiet_until: float = 0.0) -> list[Event]:
        """End a link from this side. It begins anew once both have greeted."""
        member = self.members[node]
        was_up, member.up = member.up, False
        member.mine, member.theirs = self._next_generation(), 0
        member.quiet_until = quiet_until
        return [Down(node, why)] if was_up else []

    def delivered(self, message: Delivered, now: float) -> list[Event]:
        """A message of another process. What is no member's, or of an earlier link, is dropped."""
        node = number_of(message.sender.node_id)
        member = self.members.get(node)
        if member is None or member.pid != message.sender.pid or node not in self._allowed:
            return []
        member.heard = now
        try:
            found = decode(message.data, self.me)
        except FrameError as error:
            member.last = -1
            return self._not_understood(node, error, now)
        events: list[Event] = []
        if member.last >= 0 and found.number != member.last + 1:
            events += self.end(node, f"message {member.last + 1} of it is missing")
        member.last = found.number
        for greeting in found.greetings:
            events += self._greeted(node, greeting, now)
        if found.bodies and member.up and found.addresses[0].generation == member.mine:
            try:
                events.append(Received(node, list(map(frames.decode, found.bodies))))
            except FrameError as error:
                events += self._not_understood(node, error, now)
        return events

    def _not_understood(self, node: int, error: FrameError, now: float) -> list[Event]:
        return self.end(node, f"what it sent is no message of an agent: {error}", now + PENALTY_SECONDS)

    def _greeted(self, node: int, greeting: Greeting, now: float) -> list[Event]:
        member = self.members[node]
        events: list[Event] = []
        if member.theirs not in (0, greeting.mine):
            was_up, member.up = member.up, False
            events += [Down(node, "it has begun a new link")] if was_up else []
        member.theirs = greeting.mine
        if not member.up and greeting.yours == member.mine and now >= member.quiet_until:
            member.up = True
            events.append(Up(node))
        return events

    # time, and what is to be sent

    def silent(self, now: float, seconds: float) -> list[Event]:
        """End the links on which nothing came for so long."""
        late = [node for node, member in self.members.items() if member.up and now - member.heard > seconds]
        return [event for node in late for event in self.end(node, f"nothing came from it for {seconds:g} s")]

    def excuse(self, now: float) -> None:
        """This process stood still: the silence is its own."""
        for member in self.members.values():
            member.heard = now

    def greetings(self, now: float) -> list[Greeting]:
        """Whom to greet: a peer that has not been told what it should know, or does not answer."""
        due = []
        for node, member in self.members.items():
            if node not in self._allowed or now < member.quiet_until:
                continue
            state = (member.mine, member.theirs)
            if state != member.told or (not member.up and now >= member.retry):
                member.told, member.retry = state, now + RETRY_SECONDS
                due.append(Greeting(node, *state))
        return due
