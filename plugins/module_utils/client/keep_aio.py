# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking o2keep from an asyncio program, without blocking it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any, Mapping

from ..base import wire
from ..locks import names
from ..o2cb.keeping import SOCKET
from .keep_protocol import GRACE, Request, answered

SHORT_SECONDS = 3.0


class Locks:
    """o2keep of this node. Every call has a deadline and raises O2cbError with a text for people."""

    def __init__(self, domain: str = names.AGENT_DOMAIN, path: str = SOCKET) -> None:
        self._domain, self._path = domain, path

    async def take(
        self,
        name: str,
        wait: float,
        owner: str = "",
        kind: str = "node",
        eager: bool = False,
        mode: str = "exclusive",
    ) -> tuple[dict[str, Any], list[int]]:
        """Take a lock: the answer of o2keep, and the descriptors of a process lock. Cancelled, it is not taken."""
        more = {"owner": owner, "kind": kind, "eager": eager, "mode": mode}
        request = {"op": "take", "name": name, "wait": wait, **more}
        return await self._ask(request, wait + GRACE)

    async def release(self, name: str, token: int | None = None) -> bool:
        """Whether this node held it; only that with this token, where one is given."""
        request: dict[str, Any] = {"op": "release", "name": name}
        if token is not None:
            request["token"] = token
        return bool((await self._ask(request, GRACE))[0]["released"])

    async def label(self, name: str, owner: str) -> None:
        """Change the text that a lock of this node shows to others."""
        await self._ask({"op": "label", "name": name, "owner": owner}, SHORT_SECONDS)

    async def who(self, name: str, seconds: float = SHORT_SECONDS) -> dict[str, Any] | None:
        """Who holds a lock, as o2keep knows it; None when nobody says so."""
        found: dict[str, Any] | None = (await self._ask({"op": "who", "name": name}, seconds))[0]["holder"]
        return found

    async def held_lock(self, name: str) -> dict[str, Any] | None:
        """This node's lock of that name, by o2keep's own word, without a question to any other node."""
        found: dict[str, Any] | None = (await self._ask({"op": "held", "name": name}, SHORT_SECONDS))[0]["lock"]
        return found

    async def held(self) -> dict[str, dict[str, Any]]:
        """The node locks of this node in this domain, by their names."""
        found: dict[str, dict[str, Any]] = {}
        after = 0
        while True:
            answer, _descriptors = await self._ask({"op": "list", "after": after}, SHORT_SECONDS)
            for lock in answer["locks"]:
                if (lock["domain"], lock["kind"]) == (self._domain, "node"):
                    found[lock["name"]] = lock
            after = answer["more"]
            if not after:
                return found

    async def _ask(self, message: Mapping[str, Any], seconds: float) -> tuple[dict[str, Any], list[int]]:
        if "name" in message:
            names.stored(str(message["name"]))
        wait = float(message.get("wait", 0.0))
        now = time.monotonic()
        request = Request({"domain": self._domain, **message}, wait, seconds - wait, os.urandom(8).hex(), now)
        while True:
            with await self._connected(request) as sock:
                now = time.monotonic()
                try:
                    wire.send(sock, request.packet(now))
                    await asyncio.wait_for(_readable(sock), max(0.0, request.end - now))
                    received = wire.receive(sock)
                except asyncio.TimeoutError:
                    raise request.late() from None
                except (OSError, ValueError) as error:
                    why: object = error
                else:
                    if received is not None:
                        return answered(received)
                    why = "it went away"
            await asyncio.sleep(request.lost(why, time.monotonic()))

    async def _connected(self, request: Request) -> socket.socket:
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            try:
                sock.connect(self._path)
            except OSError as error:
                sock.close()
                pause = request.refused(error, os.uname().nodename, time.monotonic())
            else:
                return sock
            await asyncio.sleep(pause)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock.fileno())
