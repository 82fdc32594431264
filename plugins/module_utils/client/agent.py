# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking o2agent, from a module or a program on the same node that waits for each answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from ..base.errors import O2cbError
from ..o2cb.keeping import AGENT_SOCKET
from . import protocol
from .protocol import MESSAGE_SECONDS, Answers, Begun, Conversation, Event, Node, Request
from .reasons import CLOSED, GONE, granted, silent, unreachable

PAUSE = 0.2
RECEIVE_BYTES = 1 << 20


class Listening:
    """What comes, in its order. It ends with `overrun` or `left`, which say why, or with the agent."""

    def __init__(self, sock: socket.socket, begun: Begun, talk: Conversation[None]) -> None:
        self.node, self.history, self.position, self.members, self.quorate, self.names = begun
        self._sock, self._talk = sock, talk

    def fileno(self) -> int:
        """For select(2): something may have come. What was received already is in `ready`."""
        return self._sock.fileno()

    def ready(self) -> Event | None:
        """The next one that has been received whole, without a system call."""
        try:
            come = self._talk.next()
        except protocol.Broken as error:
            raise O2cbError(f"o2agent says {error}: connect again, and begin anew") from None
        return come[1] if come else None

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
        self._talk.receive(data)
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


def connected(path: str) -> socket.socket:
    """A connection to the agent. Raises O2cbError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(protocol.SECONDS)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise unreachable(error) from None
    return sock


class Client:
    """One connection. Every call has a deadline and raises O2cbError with a text for people.

    A call that has failed for want of an answer ends it, and the next call makes a new one. So it does where the agent
    has let go of this client after a minute of silence.
    """

    def __init__(self, path: str = AGENT_SOCKET) -> None:
        self._path = path
        self._connect()

    def _connect(self) -> None:
        self._talk: Conversation[None] = Conversation()
        self._sock = connected(self._path)

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
            self._connect()

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """The answer to a request. Raises O2cbError with what the agent says against it."""
        return self.exchange(protocol.plain(op, **more)).facts

    def exchange(self, request: Request) -> Event:
        """The same with data, either way, and with a deadline of its own."""
        if self._talk.listens:
            raise O2cbError("this connection listens: use another Client to ask")
        self._connect_again()
        deadline = time.monotonic() + request.within
        try:
            self._sock.settimeout(request.within)
            self._sock.sendall(self._talk.ask(request, None))
            return granted(self._answer(deadline))
        except (OSError, protocol.Broken) as error:
            self.close()
            raise silent(error) from None

    def _answer(self, deadline: float) -> Event:
        while True:
            come = self._talk.next()
            if come is not None:
                return come[1]
            self._sock.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._sock.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError(CLOSED)
            self._talk.receive(data)

    # messages

    def send(
        self, channel: str, data: bytes, to: Sequence[Node] | None = None, seconds: float = MESSAGE_SECONDS
    ) -> int:
        """Send to all members of the bus, or for the ears of some nodes only, which are named or numbered.

        Returns its position in the order of all, when every member that is not down has it. Raises O2cbError when that
        is not so after `seconds`: then it may still be delivered.
        """
        return protocol.position_of(self.exchange(protocol.send(channel, data, to, seconds)))

    def question(
        self, channel: str, data: bytes, to: Sequence[Node] | None = None, seconds: float = MESSAGE_SECONDS
    ) -> Answers:
        """Send, and collect one answer of each node. Raises O2cbError as `send` does."""
        return protocol.answers_of(self.exchange(protocol.question(channel, data, to, seconds)))

    def answer(self, channel: str, question: str, data: bytes, seconds: float = MESSAGE_SECONDS) -> int:
        """Answer a question that `listen` gave."""
        return protocol.position_of(self.exchange(protocol.answer(channel, question, data, seconds)))

    def listen(self, channels: Sequence[str] | None = None, events: bool = False) -> Listening:
        """Use this connection to listen from now on; no channels are all of them."""
        begun = protocol.begun_of(self.exchange(protocol.listen(channels, events)))
        return Listening(self._sock, begun, self._talk)

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
