# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper's socket: who asks, whether he may, and what he is answered."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ..base import wire
from ..base.errors import O2cbError
from ..base.loop import Loop

_CREDENTIALS = struct.Struct("3i")


@dataclass
class Client:
    """A connection. `uid` and `pid` are the kernel's word for who made it."""

    sock: socket.socket
    uid: int
    pid: int
    closed: bool = False


Verb = Callable[[Client, "dict[str, Any]"], None]
"""Does what a request asks for, and answers it now or later. An O2cbError is an answer too."""


class Server:
    """Takes requests, one JSON object each, by the operation they name."""

    def __init__(self, loop: Loop, path: str, verbs: Mapping[str, Verb]) -> None:
        self._loop = loop
        self._verbs = verbs
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{os.getpid()}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        listener.bind(temporary)
        os.chmod(temporary, 0o600)
        listener.listen(128)
        os.rename(temporary, path)
        loop.watch(listener.fileno(), lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _address = listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        pid, uid, _gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        client = Client(sock, uid, pid)
        self._loop.watch(sock.fileno(), lambda: self._request(client))

    def _request(self, client: Client) -> None:
        try:
            received = wire.receive(client.sock)
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self.answer(client, {"error": f"this is no request: {error}"})
            self._close(client)
            return
        if received is None:
            self._close(client)
            return
        message, descriptors = received
        wire.close_all(descriptors)
        self.call(client, message)

    def call(self, client: Client, message: dict[str, Any]) -> None:
        """Do what a request asks for, if its sender may ask for it. What is wrong with it is an answer too."""
        try:
            if client.uid != 0:
                raise O2cbError("only root may ask o2keep")
            verb = self._verbs.get(str(message.get("op")))
            if verb is None:
                raise O2cbError(f"there is no operation {message.get('op')!r}")
            verb(client, message)
        except O2cbError as error:
            self.answer(client, {"error": str(error)})
        except (KeyError, TypeError, ValueError) as error:
            self.answer(client, {"error": f"bad request: {error!r}"})

    def answer(self, client: Client, message: dict[str, Any], descriptors: list[int] | None = None) -> bool:
        """Send an answer; False when nobody is there to take it."""
        if client.closed:
            return False
        try:
            wire.send(client.sock, message, descriptors)
        except OSError:
            self._close(client)
            return False
        return True

    def _close(self, client: Client) -> None:
        if not client.closed:
            client.closed = True
            self._loop.forget(client.sock.fileno())
            client.sock.close()
