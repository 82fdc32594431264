# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to o2agent that are not waited for, from a program with one thread and one select loop.

They go out one after the other over one connection, and their answers come in the same order.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections import deque
from typing import Any, Callable

from ..base.errors import O2cbError
from ..o2cb.keeping import AGENT_SOCKET
from .agent import RECEIVE_BYTES, SECONDS, request, silent, unreachable

MOST_BYTES = 128 << 20
"""What may wait to be written; the largest message fits."""

Answered = Callable[["dict[str, Any] | None", "O2cbError | None"], object]
"""Is given the answer, or the error instead."""


class Pipeline:
    """A connection, made when it is needed, watched by the epoll of its program."""

    def __init__(self, epoll: select.epoll, path: str = AGENT_SOCKET) -> None:
        self._epoll, self._path = epoll, path
        self._sock: socket.socket | None = None
        self._unsent, self._received = bytearray(), bytearray()
        self._waiting: deque[tuple[float, Answered]] = deque()

    def ask(self, op: str, data: bytes, within: float, answered: Answered, **more: Any) -> None:
        """Send a request. Raises O2cbError when the agent is not there, or too much waits to be written."""
        if len(self._unsent) + len(data) > MOST_BYTES:
            raise O2cbError(f"{len(self._unsent)} bytes wait for o2agent to take them: send again later")
        self._connect()
        self._unsent += request(op, data, more)
        self._waiting.append((time.monotonic() + within, answered))
        self._write()

    def under_way(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def next_deadline(self) -> float | None:
        """When `work` is to be called even if nothing came, on the monotonic clock, in seconds."""
        return self._waiting[0][0] if self._waiting else None

    def work(self) -> None:
        """Write and read what can be without waiting; what is over fails, and with it the connection."""
        if self._sock is not None:
            self._write()
            self._read()
        if self._waiting and time.monotonic() > self._waiting[0][0]:
            self.close("nothing came in time")

    def close(self, why: str = "this client is closed") -> None:
        """End the connection; what is under way fails."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(self._sock.fileno())
            self._sock.close()
        self._sock = None
        self._unsent.clear()
        self._received.clear()
        waiting, self._waiting = self._waiting, deque()
        for _deadline, answered in waiting:
            answered(None, silent(why))

    def _connect(self) -> None:
        if self._sock is not None:
            return
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sock.settimeout(SECONDS)
        try:
            self._sock.connect(self._path)
        except OSError as error:
            self._sock.close()
            self._sock = None
            raise unreachable(error) from None
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
        self._received += data
        while True:
            end = self._received.find(b"\n")
            if end < 0:
                break
            answer = json.loads(self._received[:end])
            del self._received[: end + 1]
            _deadline, answered = self._waiting.popleft()
            answered(None, O2cbError(str(answer["error"]))) if "error" in answer else answered(answer, None)
        if not data:
            self.close("it has closed the connection")
