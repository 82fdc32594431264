# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to o2agent that are not waited for, from a program with one thread and one select loop.

They go out one after the other over one connection, and their answers come in the same order.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Callable, Optional

from ..base.errors import O2cbError
from ..o2cb.keeping import AGENT_SOCKET
from . import protocol
from .agent import RECEIVE_BYTES, connected
from .protocol import Conversation, Event, Request
from .reasons import CLOSED, silent

MOST_BYTES = 128 << 20
"""What may wait to be written; the largest message fits."""

Answered = Callable[[Optional[Event], Optional[O2cbError]], object]
"""Is given the answer, or the error instead."""


class Pipeline:
    """A connection, made when it is needed, watched by the epoll of its program."""

    def __init__(self, epoll: select.epoll, path: str = AGENT_SOCKET) -> None:
        self._epoll, self._path = epoll, path
        self._sock: socket.socket | None = None
        self._unsent = bytearray()
        self._talk: Conversation[tuple[float, Answered]] = Conversation()

    def ask(self, request: Request, answered: Answered) -> None:
        """Send a request. Raises O2cbError when the agent is not there, or too much waits to be written."""
        if len(self._unsent) + len(request.data) > MOST_BYTES:
            raise O2cbError(f"{len(self._unsent)} bytes wait for o2agent to take them: send again later")
        self._connect()
        self._unsent += self._talk.ask(request, (time.monotonic() + request.within, answered))
        self._write()

    def under_way(self) -> int:
        """Requests without an answer."""
        return len(self._talk)

    def next_deadline(self) -> float | None:
        """When `work` is to be called even if nothing came, on the monotonic clock, in seconds."""
        first = self._talk.first()
        return first[0] if first else None

    def work(self) -> None:
        """Write and read what can be without waiting; what is over fails, and with it the connection."""
        if self._sock is not None:
            self._write()
            self._read()
        deadline = self.next_deadline()
        if deadline is not None and time.monotonic() > deadline:
            self.close("nothing came in time")

    def close(self, why: str = "this client is closed") -> None:
        """End the connection; what is under way fails."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(self._sock.fileno())
            self._sock.close()
        self._sock = None
        self._unsent.clear()
        talk, self._talk = self._talk, Conversation()
        for _deadline, answered in talk.end():
            answered(None, silent(why))

    def _connect(self) -> None:
        if self._sock is not None:
            return
        self._sock = connected(self._path)
        self._sock.setblocking(False)
        self._epoll.register(self._sock.fileno(), select.EPOLLIN)

    def _write(self) -> None:
        if self._sock is None:
            return
        try:
            while self._unsent:
                sent = self._sock.send(self._unsent[:RECEIVE_BYTES])
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self.close(str(error))
            return
        self._epoll.modify(self._sock.fileno(), select.EPOLLIN | (select.EPOLLOUT if self._unsent else 0))

    def _read(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(str(error))
            return
        talk = self._talk
        talk.receive(data)
        try:
            self._give_answers(talk)
        except protocol.Broken as error:
            self.close(str(error))
            return
        if not data and talk is self._talk:
            self.close(CLOSED)

    def _give_answers(self, talk: Conversation[tuple[float, Answered]]) -> None:
        """Each to its own call, which may end this connection, or begin another."""
        come = talk.next()
        while come is not None:
            waiting, told = come
            if waiting is not None:
                refused = O2cbError(str(told.facts["error"])) if "error" in told.facts else None
                waiting[1](None if refused else told, refused)
            come = talk.next() if talk is self._talk else None
