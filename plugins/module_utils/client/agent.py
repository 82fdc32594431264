# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking o2agent, from a module or a program on the same node."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple

from ..base.errors import O2cbError
from ..o2cb.keeping import AGENT_SOCKET

SECONDS = 15.0
MESSAGE_SECONDS = 30.0
PAUSE = 0.2
RECEIVE_BYTES = 1 << 20


GONE = "o2agent is gone: connect again, and begin anew"


def request(op: str, data: bytes, more: Mapping[str, Any]) -> bytes:
    """What goes over the socket: a line of JSON, and the data."""
    length = {"length": len(data)} if data else {}
    return json.dumps({"op": op, **more, **length}).encode() + b"\n" + data


def silent(why: object) -> O2cbError:
    """The agent said nothing, or nothing that can be understood."""
    return O2cbError(f"o2agent did not answer: {why}; see `systemctl status o2agent`")


def unreachable(error: OSError) -> O2cbError:
    """There is no connection to it."""
    if isinstance(error, PermissionError):
        return O2cbError("you may not ask o2agent: use become, or sudo")
    return O2cbError(
        f"o2agent does not answer on {os.uname().nodename} ({error.strerror or error}): run role ocfs2.o2cb.agent, or "
        "see `systemctl status o2agent`"
    )


class Answers(NamedTuple):
    """What became of a question. `down` went down before they answered; `missing` did neither in time."""

    position: int
    answers: dict[int, bytes]
    down: tuple[int, ...]
    missing: tuple[int, ...]


class Event(NamedTuple):
    """A message, or an event: `facts` has its fields, with `event` for what it is (docs/messages.md)."""

    facts: dict[str, Any]
    data: bytes

    @property
    def question(self) -> str:
        """What to give to `answer` where this message is a question; else empty."""
        return str(self.facts.get("head", {}).get("ask", ""))


def collected(answer: Mapping[str, Any], whole: bytes) -> Answers:
    """The answers to a question, of what the agent says of them and their data in one piece."""
    found, start = {}, 0
    for node, length in answer["answers"]:
        found[int(node)] = whole[start : start + length]
        start += length
    return Answers(answer["position"], found, tuple(answer["down"]), tuple(answer["missing"]))


def event_of(received: bytearray, facts: dict[str, Any] | None) -> tuple[Event | None, dict[str, Any] | None]:
    """Take the first event from what was received: it, or what is known of one that is not yet whole."""
    if facts is None:
        end = received.find(b"\n")
        if end < 0:
            return None, None
        facts = json.loads(received[:end])
        del received[: end + 1]
    length = int(facts.get("length", 0))
    if len(received) < length:
        return None, facts
    event = Event(facts, bytes(received[:length]))
    del received[:length]
    return event, None


class Listening:
    """What comes, in its order. It ends with `overrun` or `left`, which say why, or with the agent."""

    def __init__(self, sock: socket.socket, begun: dict[str, Any], received: bytearray) -> None:
        self.node: int = begun["node"]
        self.history = tuple(begun["history"])
        """Names the bus: node and incarnation of its founder. Positions of two of them say nothing of each other."""

        self.position: int = begun["position"]
        self.members = {int(node): incarnation for node, incarnation in begun["members"].items()}
        self.quorate: bool = begun["quorate"]
        self._sock, self._rest = sock, received
        self._facts: dict[str, Any] | None = None

    def fileno(self) -> int:
        """For select(2): something may have come. What was received already is in `ready`."""
        return self._sock.fileno()

    def ready(self) -> Event | None:
        """The next one that has been received whole, without a system call."""
        event, self._facts = event_of(self._rest, self._facts)
        return event

    def receive(self, seconds: float | None = None) -> bool:
        """Receive some more; False when nothing came within `seconds`. Raises O2cbError at the end."""
        self._sock.settimeout(seconds)
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (socket.timeout, BlockingIOError):
            return False
        except OSError as error:
            raise O2cbError(f"o2agent is gone: {error.strerror}; connect again, and begin anew") from None
        if not data:
            raise O2cbError(GONE)
        self._rest += data
        return True

    def next(self, seconds: float | None = None) -> Event | None:
        """The next one, or None when it has not come within `seconds`. Raises O2cbError at the end."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            event = self.ready()
            if event is not None:
                return event
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left < 0:
                return None
            self.receive(left)

    def __iter__(self) -> Iterator[Event]:
        while True:
            event = self.next()
            if event is not None:
                yield event


class Client:
    """One connection. Every call has a deadline and raises O2cbError with a text for people.

    A call that has failed for want of an answer ends it, and the next call makes a new one. So it does where the agent
    has let go of this client after a minute of silence.
    """

    def __init__(self, path: str = AGENT_SOCKET) -> None:
        self._path = path
        self._listens = False
        self._received = bytearray()
        self._sock = self._connect()

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(SECONDS)
        try:
            sock.connect(self._path)
        except OSError as error:
            sock.close()
            raise unreachable(error) from None
        return sock

    def _connect_again(self) -> None:
        """Where the connection has ended since the last call."""
        try:
            self._sock.setblocking(False)
            ended = not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if ended:
            self._sock.close()
            self._received.clear()
            self._sock = self._connect()

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """The answer to a request. Raises O2cbError with what the agent says against it."""
        return self.exchange(op, b"", SECONDS, **more)[0]

    def exchange(self, op: str, data: bytes, within: float, **more: Any) -> tuple[dict[str, Any], bytes]:
        """The same with data, either way, and with a deadline of one's own, in seconds."""
        if self._listens:
            raise O2cbError("this connection listens: use another Client to ask")
        self._connect_again()
        deadline = time.monotonic() + within
        try:
            self._sock.settimeout(within)
            self._sock.sendall(request(op, data, more))
            answer: dict[str, Any] = json.loads(self._line(deadline))
            received = self._take(int(answer.get("length", 0)), deadline)
        except (OSError, ValueError) as error:
            self.close()
            raise silent(error) from None
        if "error" in answer:
            raise O2cbError(str(answer["error"]))
        return answer, received

    def _line(self, deadline: float) -> bytes:
        seen = 0
        while True:
            end = self._received.find(b"\n", seen)
            if end >= 0:
                return self._take(end + 1, deadline)
            seen = len(self._received)
            self._receive(deadline)

    def _take(self, length: int, deadline: float) -> bytes:
        while len(self._received) < length:
            self._receive(deadline)
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def _receive(self, deadline: float) -> None:
        self._sock.settimeout(max(deadline - time.monotonic(), 0.001))
        data = self._sock.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("it has closed the connection")
        self._received += data

    # messages

    def send(self, channel: str, data: bytes, to: Sequence[int] | None = None, seconds: float = MESSAGE_SECONDS) -> int:
        """Send to all members of the bus, or for some nodes' ears only. Returns the position in the order of all.

        When it returns, every member that is not down has the message. Raises O2cbError when that is not so after
        `seconds`: then it may still be delivered.
        """
        more: dict[str, Any] = {"to": list(to)} if to is not None else {}
        answer, _data = self.exchange("send", data, seconds + SECONDS, channel=channel, seconds=seconds, **more)
        return int(answer["position"])

    def question(
        self, channel: str, data: bytes, to: Sequence[int] | None = None, seconds: float = MESSAGE_SECONDS
    ) -> Answers:
        """Send, and collect one answer of each node. Raises O2cbError as `send` does."""
        more: dict[str, Any] = {"to": list(to)} if to is not None else {}
        answer, whole = self.exchange("ask", data, 2 * seconds + SECONDS, channel=channel, seconds=seconds, **more)
        return collected(answer, whole)

    def answer(self, channel: str, question: str, data: bytes, seconds: float = MESSAGE_SECONDS) -> int:
        """Answer a question that `listen` gave."""
        more = {"channel": channel, "to_question": question, "seconds": seconds}
        return int(self.exchange("answer", data, seconds + SECONDS, **more)[0]["position"])

    def listen(self, channels: Sequence[str] | None = None, events: bool = False) -> Listening:
        """Use this connection to listen from now on; no channels are all of them."""
        wanted = None if channels is None else list(channels)
        begun, _data = self.exchange("listen", b"", SECONDS, channels=wanted, events=events)
        self._listens = True
        return Listening(self._sock, begun, self._received)

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def resource(self, name: str) -> dict[str, Any] | None:
        """The facts of one resource as this node sees it, None where it is unknown."""
        found: list[dict[str, Any]] = self.ask("resources")["resources"]
        return next((one for one in found if one["name"] == name), None)

    def wait(self, name: str, done: Callable[[dict[str, Any] | None], bool], seconds: float) -> dict[str, Any] | None:
        """Look until it is as wanted, at most so long. Raises O2cbError that tells the last that was seen."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.resource(name)
            if done(found):
                return found
            if time.monotonic() > deadline:
                state = f"{found['state']!r}{': ' + found['error'] if found['error'] else ''}" if found else "unknown"
                raise O2cbError(f"resource {name} is {state} after {seconds:g} s", resource=found)
            time.sleep(PAUSE)
