# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper's socket: who asks, and what he is answered.

systemd keeps the listening socket: who connects while no keeper runs waits in its queue. Root may ask, and the members
of the system's group GROUP, where there is one: the socket's mode says so, and the kernel sees to it.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any, Callable, Sequence

from ..base import wire
from ..base.errors import O2cbError
from ..base.loop import Loop
from .store import Store

GROUP = "o2keep"
STORED = "listen"
BACKLOG = 1024
_CREDENTIALS = struct.Struct("3i")


@dataclass(eq=False)
class Client:
    """A connection. `uid` and `pid` are the kernel's word for who made it."""

    sock: socket.socket
    uid: int
    pid: int
    closed: bool = False


class Server:
    """Takes requests, one JSON object each."""

    def __init__(
        self,
        loop: Loop,
        store: Store,
        path: str,
        kept: dict[str, list[int]],
        call: Callable[[Client, dict[str, Any]], None],
        gone: Callable[[Client], None],
    ) -> None:
        self._loop, self._call, self._gone = loop, call, gone
        self._clients: set[Client] = set()
        descriptors = kept.pop(STORED, [])
        listener = _inherited(descriptors, path)
        if listener is None:
            if descriptors:
                store.remove(STORED)
            listener = _listen(path)
            with contextlib.suppress(O2cbError):
                store.put(STORED, [listener.fileno()])
        _open_to_group(path)
        self._listener = listener
        self._loop.watch(listener.fileno(), self._accept)

    def stop(self) -> None:
        """Read nothing more: what comes now waits for the next keeper."""
        self._loop.forget(self._listener.fileno())
        for client in self._clients:
            self._loop.forget(client.sock.fileno())

    def _accept(self) -> None:
        try:
            sock, _address = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        pid, uid, _gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        client = Client(sock, uid, pid)
        self._clients.add(client)
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
        self._call(client, message)

    def answer(self, client: Client, message: dict[str, Any], descriptors: Sequence[int] = ()) -> bool:
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
            self._clients.discard(client)
            self._loop.forget(client.sock.fileno())
            client.sock.close()
            self._gone(client)


def _inherited(descriptors: list[int], path: str) -> socket.socket | None:
    """The socket of an earlier keeper, if it is still the one that clients find under its path."""
    if len(descriptors) != 1:
        wire.close_all(descriptors)
        return None
    listener = socket.socket(fileno=descriptors[0])
    try:
        if listener.getsockname() == path and os.path.exists(path) and _answers(path):
            listener.setblocking(False)
            return listener
    except OSError:
        pass
    listener.close()
    return None


def _answers(path: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def _listen(path: str) -> socket.socket:
    directory = os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


def _open_to_group(path: str) -> None:
    """The directory too, whose mode systemd sets anew at each start."""
    with contextlib.suppress(KeyError, PermissionError):
        group = grp.getgrnam(GROUP).gr_gid
        for one, mode in ((os.path.dirname(path), 0o750), (path, 0o660)):
            os.chown(one, 0, group)
            os.chmod(one, mode)
