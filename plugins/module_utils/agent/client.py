# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking o2agent, from a module or a program on the same node."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import Any, Callable, NamedTuple

from ..o2cb.errors import O2cbError
from ..o2cb.keeping import AGENT_SOCKET

SECONDS = 15.0
MESSAGE_SECONDS = 30.0
PAUSE = 0.2
RECEIVE_BYTES = 1 << 20


def _request(op: str, data: bytes, more: dict[str, Any]) -> bytes:
    length = {"length": len(data)} if data else {}
    return json.dumps({"op": op, **more, **length}).encode() + b"\n" + data


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


class Listening:
    """What comes, in its order. It ends with `overrun` or `left`, which say why, or with the agent."""

    def __init__(self, sock: socket.socket, begun: dict[str, Any], lines: BufferedReader) -> None:
        self.node: int = begun["node"]
        self.history = tuple(begun["history"])
        """Names the bus: node and incarnation of its founder. Positions of two of them say nothing of each other."""

        self.position: int = begun["position"]
        self.members = {int(node): incarnation for node, incarnation in begun["members"].items()}
        self.quorate: bool = begun["quorate"]
        self._sock = sock
        self._rest = bytearray()
        self._facts: dict[str, Any] | None = None
        # What the buffered reader has taken from the socket behind the first line: read() would fill its buffer again.
        sock.setblocking(False)
        self._rest += lines.read1(RECEIVE_BYTES)

    def fileno(self) -> int:
        """For select(2): something may have come. What was received already is in `ready`."""
        return self._sock.fileno()

    def ready(self) -> Event | None:
        """The next one that has been received whole, without a system call."""
        if self._facts is None:
            end = self._rest.find(b"\n")
            if end < 0:
                return None
            self._facts = json.loads(self._rest[:end])
            del self._rest[: end + 1]
        length = int(self._facts.get("length", 0))
        if len(self._rest) < length:
            return None
        event = Event(self._facts, bytes(self._rest[:length]))
        del self._rest[:length]
        self._facts = None
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
            raise O2cbError("o2agent is gone: connect again, and begin anew")
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
    """One connection. Every call has a deadline and raises O2cbError with a text for people."""

    def __init__(self, path: str = AGENT_SOCKET) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sock.settimeout(SECONDS)
        try:
            self._sock.connect(path)
        except PermissionError:
            raise O2cbError("you may not ask o2agent: use become, or sudo") from None
        except OSError as error:
            raise O2cbError(
                f"o2agent does not answer on {os.uname().nodename} ({error.strerror}): run role ocfs2.o2cb.agent, or "
                "see `systemctl status o2agent`"
            ) from None
        self._lines = self._sock.makefile("rb")

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """The answer to a request. Raises O2cbError with what the agent says against it."""
        return self.exchange(op, b"", SECONDS, **more)[0]

    def exchange(self, op: str, data: bytes, within: float, **more: Any) -> tuple[dict[str, Any], bytes]:
        """The same with data, either way, and with a deadline of one's own, in seconds."""
        self._sock.settimeout(within)
        try:
            self._sock.sendall(_request(op, data, more))
            answer: dict[str, Any] = json.loads(self._lines.readline())
            received = self._lines.read(int(answer.get("length", 0)))
        except (OSError, ValueError) as error:
            raise O2cbError(f"o2agent did not answer: {error}; see `systemctl status o2agent`") from None
        if "error" in answer:
            raise O2cbError(str(answer["error"]))
        return answer, received

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
        found, start = {}, 0
        for node, length in answer["answers"]:
            found[node] = whole[start : start + length]
            start += length
        return Answers(answer["position"], found, tuple(answer["down"]), tuple(answer["missing"]))

    def answer(self, channel: str, question: str, data: bytes, seconds: float = MESSAGE_SECONDS) -> int:
        """Answer a question that `listen` gave."""
        more = {"channel": channel, "to_question": question, "seconds": seconds}
        return int(self.exchange("answer", data, seconds + SECONDS, **more)[0]["position"])

    def listen(self, channels: Sequence[str] | None = None, events: bool = False) -> Listening:
        """Use this connection to listen from now on; no channels are all of them."""
        wanted = None if channels is None else list(channels)
        self._sock.settimeout(SECONDS)
        try:
            self._sock.sendall(_request("listen", b"", {"channels": wanted, "events": events}))
            line = self._lines.readline()
            begun: dict[str, Any] = json.loads(line)
        except (OSError, ValueError) as error:
            raise O2cbError(f"o2agent did not answer: {error}; see `systemctl status o2agent`") from None
        if "error" in begun:
            raise O2cbError(str(begun["error"]))
        return Listening(self._sock, begun, self._lines)

    def close(self) -> None:
        self._lines.close()
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
