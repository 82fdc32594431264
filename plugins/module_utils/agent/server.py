# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's socket: one JSON object a line, an answer to each. Who may ask is the kernel's word (SO_PEERCRED).

A request that is malformed, too long or too slow ends its own connection and disturbs no other one.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..o2cb.errors import O2cbError
from .configuration import Settings

SOCKET = "/run/o2agent/socket"
LONGEST_LINE = 65536
MOST_CONNECTIONS = 200
IDLE_SECONDS = 60.0
"""A client that says nothing for so long, or does not take its answer, is let go."""

_CREDENTIALS = struct.Struct("3i")

Verb = Callable[["dict[str, Any]"], Awaitable["dict[str, Any]"]]


class Server:
    """Answers requests `{"op": verb, …}`. `reading` are the verbs that change nothing."""

    def __init__(self, verbs: Mapping[str, Verb], reading: frozenset[str], path: str = SOCKET) -> None:
        self._verbs, self._reading, self._path = verbs, reading, path
        self._settings = Settings()
        self._connections = 0
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        temporary = f"{self._path}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        self._server = await asyncio.start_unix_server(self._serve, temporary, limit=LONGEST_LINE)
        os.chmod(temporary, 0o600)
        os.rename(temporary, self._path)

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    def allow(self, settings: Settings) -> None:
        """Who may ask from now on. Others than root reach the socket only where a group is named."""
        self._settings = settings
        os.chmod(self._path, 0o666 if settings.read_group or settings.full_group else 0o600)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections > MOST_CONNECTIONS:
                await _answer(writer, {"error": f"{MOST_CONNECTIONS} connections are open already: close some"})
                return
            rights = self._rights(writer)
            while await self._request(rights, reader, writer):
                pass
        except (OSError, asyncio.TimeoutError):
            return
        finally:
            self._connections -= 1
            writer.close()

    async def _request(
        self, rights: frozenset[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request; False at the end of the connection."""
        try:
            line = await asyncio.wait_for(reader.readline(), IDLE_SECONDS)
        except ValueError:
            await _answer(writer, {"error": f"a request is longer than {LONGEST_LINE} bytes"})
            return False
        if not line.endswith(b"\n"):
            return False
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            await _answer(writer, {"error": "this is no request: send one JSON object a line"})
            return False
        await _answer(writer, await self._call(rights, message))
        return True

    async def _call(self, rights: frozenset[str], message: dict[str, Any]) -> dict[str, Any]:
        op = message.get("op")
        verb = self._verbs.get(op) if isinstance(op, str) else None
        if not rights:
            return {"error": "you may not ask o2agent: use sudo, or become a member of a group that may"}
        if verb is None:
            return {"error": f"there is no operation {op!r}"}
        if op not in rights:
            return {"error": f"you may look, and not {op}: use sudo"}
        try:
            return await verb(message)
        except O2cbError as error:
            return {"error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            return {"error": f"bad request: {error!r}"}

    def _rights(self, writer: asyncio.StreamWriter) -> frozenset[str]:
        sock = writer.get_extra_info("socket")
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _pid, uid, gid = _CREDENTIALS.unpack(found)
        if uid == 0:
            return frozenset(self._verbs)
        groups = _groups(uid, gid)
        if self._settings.full_group in groups:
            return frozenset(self._verbs)
        return self._reading if self._settings.read_group in groups else frozenset()


def _groups(uid: int, gid: int) -> frozenset[str]:
    """The names of a user's groups, as the system's files say now."""
    names = set()
    try:
        user = pwd.getpwuid(uid)
        numbers = os.getgrouplist(user.pw_name, gid)
    except KeyError:
        numbers = [gid]
    for number in numbers:
        with contextlib.suppress(KeyError):
            names.add(grp.getgrgid(number).gr_name)
    return frozenset(names)


async def _answer(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")
    await asyncio.wait_for(writer.drain(), IDLE_SECONDS)
