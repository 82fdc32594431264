# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What o2agent is asked over its socket, and what it says: without I/O. Pure.

Theory of operation. Either side sends lines of JSON; where a line has a `length`, that many bytes of data follow it.
The agent answers requests in their order, however many are under way, so the first answer is that of the first request.
Once a request to listen is granted, the connection carries events, and nothing can be asked on it any more.

A `Conversation` is all that there is to know of one connection. A shell writes the bytes that `ask` returns, gives what
it reads to `receive`, and takes from `next` what that was, and of which request. The shell waits, knows the clock and
makes an exception of an answer with an `error`. There are three, for programs that block (`agent`), for asyncio (`aio`)
and for a select loop (`pipeline`). The event source for ansible-rulebook loads this file by its path, without the
collection around it, so nothing of the library is imported here.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, Union

SECONDS = 15.0
"""Deadline of an answer."""

MESSAGE_SECONDS = 30.0
"""Deadline of a message, unless it is given one."""

LONGEST_LINE = 1 << 24
"""Bytes of a line from the agent; data is not among them."""

LISTEN = "listen"

Node = Union[int, str]
"""A number or a name."""

Who = TypeVar("Who")
"""What a shell remembers a request by."""


class Broken(ValueError):
    """The agent said what cannot be understood. The connection is of no use any more."""


def called(node: int) -> str:
    """What a node is called whose name is not known."""
    return f"node {node}"


class Event(NamedTuple):
    """An answer, a message, or an event: `facts` has its fields, with `event` for what it is (docs/messages.md)."""

    facts: dict[str, Any]
    data: bytes

    @property
    def question(self) -> str:
        """What to give to `answer` where this message is a question; else empty."""
        return str(self.facts.get("head", {}).get("ask", ""))

    @property
    def name(self) -> str:
        """Of the node that it is about, or that has sent it; empty where it is about none."""
        return self.facts.get("name") or (called(self.facts["node"]) if "node" in self.facts else "")


class Answers(NamedTuple):
    """What became of a question. `down` went down before they answered; `missing` did neither in time."""

    position: int
    answers: dict[int, bytes]
    down: tuple[int, ...]
    missing: tuple[int, ...]
    names: Mapping[int, str] = {}
    """Of all of these nodes, by number."""

    def name(self, node: int) -> str:
        return self.names.get(node) or called(node)


class Begun(NamedTuple):
    """Where a stream of events begins. `history` names the bus: node and incarnation of its founder."""

    node: int
    history: tuple[int, ...]
    position: int
    members: dict[int, int]
    quorate: bool
    names: dict[int, str]
    """Of the members, by number."""


class Request(NamedTuple):
    """`within`: so many seconds its answer may take."""

    op: str
    data: bytes
    more: Mapping[str, Any]
    within: float


def plain(op: str, **more: Any) -> Request:
    return Request(op, b"", more, SECONDS)


def send(channel: str, data: bytes, to: Sequence[Node] | None, seconds: float) -> Request:
    """Answered when every member that is not down has the message."""
    return Request("send", data, {"channel": channel, "seconds": seconds, **_for(to)}, seconds + SECONDS)


def question(channel: str, data: bytes, to: Sequence[Node] | None, seconds: float) -> Request:
    return Request("ask", data, {"channel": channel, "seconds": seconds, **_for(to)}, 2 * seconds + SECONDS)


def answer(channel: str, to_question: str, data: bytes, seconds: float) -> Request:
    more = {"channel": channel, "to_question": to_question, "seconds": seconds}
    return Request("answer", data, more, seconds + SECONDS)


def listen(channels: Sequence[str] | None, events: bool) -> Request:
    """No channels are all of them."""
    return plain(LISTEN, channels=None if channels is None else list(channels), events=events)


def _for(to: Sequence[Node] | None) -> dict[str, Any]:
    return {} if to is None else {"to": list(to)}


def encoded(facts: Mapping[str, Any], data: bytes = b"") -> bytes:
    """What goes over the socket, either way."""
    length = {"length": len(data)} if data else {}
    return json.dumps({**facts, **length}, separators=(",", ":")).encode() + b"\n" + data


def position_of(told: Event) -> int:
    """Of the answer to a message."""
    return int(told.facts["position"])


def answers_of(told: Event) -> Answers:
    """Of the answer to a question: the data are in one piece, one answer after the other."""
    found, start = {}, 0
    for node, length in told.facts["answers"]:
        found[int(node)] = told.data[start : start + length]
        start += length
    facts = told.facts
    return Answers(position_of(told), found, tuple(facts["down"]), tuple(facts["missing"]), _names(facts))


def begun_of(told: Event) -> Begun:
    """Of the answer to a request to listen."""
    facts = told.facts
    return Begun(
        node=facts["node"],
        history=tuple(facts["history"]),
        position=facts["position"],
        members={int(node): incarnation for node, incarnation in facts["members"].items()},
        quorate=facts["quorate"],
        names=_names(facts),
    )


def _names(facts: Mapping[str, Any]) -> dict[int, str]:
    return {int(node): name for node, name in facts.get("names", {}).items()}


class Conversation(Generic[Who]):
    """One connection from its beginning on. With `keep`, data of more than so many bytes are left out as they come."""

    def __init__(self, keep: int | None = None) -> None:
        self.listens = False
        """Whether events come now, and nothing can be asked."""

        self._keep = keep
        self._waiting: deque[tuple[Who, str]] = deque()
        self._received = bytearray()
        self._looked = 0
        """Bytes of it that are known to hold no end of a line."""

        self._facts: dict[str, Any] | None = None
        """The line whose data have not all come."""

        self._left = 0
        """Bytes of data that are still to come, or to be left out."""

    def ask(self, request: Request, who: Who) -> bytes:
        """The bytes to be written for a request; its answer will be that of `who`."""
        if self.listens:
            raise ValueError("this connection listens: nothing can be asked on it")
        self._waiting.append((who, request.op))
        return encoded({"op": request.op, **request.more}, request.data)

    def first(self) -> Who | None:
        """Whose answer is the next."""
        return self._waiting[0][0] if self._waiting else None

    def __len__(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def end(self) -> list[Who]:
        """The connection is at its end: those that get no answer any more."""
        waiting, self._waiting = self._waiting, deque()
        return [who for who, _op in waiting]

    def receive(self, data: bytes) -> None:
        self._received += data

    def next(self) -> tuple[Who | None, Event] | None:
        """What has come whole, and whose answer it is, or nobody's as an event. None when more has to be received.

        Raises Broken for what is no answer, or one that nobody asked for.
        """
        told = self._told()
        if told is None:
            return None
        if self.listens:
            return None, told
        if not self._waiting:
            raise Broken("an answer that was not asked for")
        who, op = self._waiting.popleft()
        self.listens = op == LISTEN and "error" not in told.facts
        return who, told

    def _told(self) -> Event | None:
        if self._facts is None:
            self._facts = self._line()
            if self._facts is None:
                return None
            self._left = _length(self._facts)
        facts, length = self._facts, _length(self._facts)
        if self._keep is not None and length > self._keep:
            gone = min(self._left, len(self._received))
            del self._received[:gone]
            self._left -= gone
            if self._left:
                return None
            length = 0
        elif len(self._received) < length:
            return None
        event = Event(facts, bytes(self._received[:length]))
        del self._received[:length]
        self._facts = None
        return event

    def _line(self) -> dict[str, Any] | None:
        end = self._received.find(b"\n", self._looked)
        if end < 0:
            self._looked = len(self._received)
            if self._looked > LONGEST_LINE:
                raise Broken(f"a line of more than {LONGEST_LINE} bytes")
            return None
        self._looked = 0
        try:
            facts = json.loads(self._received[:end])
        except (ValueError, RecursionError):
            facts = None
        del self._received[: end + 1]
        if not isinstance(facts, dict):
            raise Broken("a line that is no JSON object")
        return facts


def _length(facts: Mapping[str, Any]) -> int:
    length = facts.get("length", 0)
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise Broken(f"a length of {length!r}")
    return length
