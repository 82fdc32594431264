# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's socket: one JSON object a line, an answer to each. Who may ask is the kernel's word (SO_PEERCRED).

Where a line has a `length`, so many bytes of data follow it.

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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Awaitable, Callable

from ..base import tasks
from ..base.errors import O2cbError
from ..bus.pieces import LARGEST
from ..client.protocol import encoded
from ..o2cb.keeping import AGENT_SOCKET
from .configuration import Settings

LONGEST_LINE = 65536
MOST_CONNECTIONS = 200
MOST_STRANGERS = 20
"""Connections of those who may not ask anything, and are told so: they must not take the place of others."""

MOST_SIDE_BY_SIDE = 256
IDLE_SECONDS = 60.0
"""A client that says nothing for so long, or does not take its answer, is let go."""

GONE = (OSError, asyncio.TimeoutError)
"""What a client causes that goes away, or stands still."""

_CREDENTIALS = struct.Struct("3i")

Verb = Callable[["dict[str, Any]"], Awaitable["dict[str, Any]"]]
"""Answers a request. `data`, in either, is what follows the line of JSON, whose `length` tells its bytes."""

Stream = Callable[["dict[str, Any]", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Takes the connection over until its end."""


@dataclass(frozen=True)
class Verbs:
    """What can be asked. `reading` changes nothing; of `side_by_side` many may be under way on one connection.

    The answers on a connection come in the order of its requests all the same.
    """

    answers: Mapping[str, Verb]
    streams: Mapping[str, Stream]
    reading: frozenset[str]
    side_by_side: frozenset[str]

    def all(self) -> frozenset[str]:
        return frozenset(self.answers) | frozenset(self.streams)


class Server:
    """Answers requests `{"op": verb, …}`."""

    def __init__(self, verbs: Verbs, path: str = AGENT_SOCKET) -> None:
        self._verbs, self._path = verbs, path
        self._settings = Settings()
        self._connections = self._strangers = 0
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
        rights: frozenset[str] | None = None
        try:
            if self._connections > MOST_CONNECTIONS:
                await _answer(writer, {"error": f"{MOST_CONNECTIONS} connections are open already: close some"})
                return
            rights = self._rights(writer)
            if not rights:
                self._strangers += 1
                if self._strangers > MOST_STRANGERS:
                    return
            await Connection(self._verbs, rights, reader, writer).serve()
        except GONE:
            return
        finally:
            self._connections -= 1
            if rights == frozenset():
                self._strangers -= 1
            writer.close()

    def _rights(self, writer: asyncio.StreamWriter) -> frozenset[str]:
        sock = writer.get_extra_info("socket")
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _pid, uid, gid = _CREDENTIALS.unpack(found)
        if uid == 0:
            return self._verbs.all()
        groups = _groups(uid, gid)
        if self._settings.full_group in groups:
            return self._verbs.all()
        return self._verbs.reading if self._settings.read_group in groups else frozenset()


class Connection:
    """One client. Its requests are taken one after the other; those that may be are worked on side by side."""

    def __init__(
        self, verbs: Verbs, rights: frozenset[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._verbs, self._rights, self._reader, self._writer = verbs, rights, reader, writer
        self._answers: asyncio.Queue[asyncio.Future[dict[str, Any]]] = asyncio.Queue(MOST_SIDE_BY_SIDE)
        self._open = 0
        """Requests that are not answered yet."""

    async def serve(self) -> None:
        """Until its end."""
        answering = asyncio.ensure_future(self._give_answers())
        reading = asyncio.ensure_future(self._take_requests())
        try:
            await asyncio.wait({answering, reading}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return
            stream = reading.result()
            await asyncio.wait_for(self._answers.join(), IDLE_SECONDS)
            if stream is not None:
                await stream
        finally:
            await tasks.end([answering, reading])
            for task in (answering, reading):
                _raise_fault(task)

    async def _take_requests(self) -> Awaitable[None] | None:
        """The stream that a request begins, or nothing at the end of the connection."""
        while True:
            message = await self._request()
            if message is None:
                return None
            if isinstance(message, str):
                await self._refuse(message)
                return None
            op = message.get("op")
            problem = self._problem(op)
            data = await self._data(message, problem)
            if data is None:
                await self._refuse(problem or f"length is no number of bytes up to {LARGEST}, or they did not come")
                return None
            if problem:
                await self._refuse(problem)
                continue
            if op in self._verbs.streams:
                return self._verbs.streams[str(op)](message, self._reader, self._writer)
            message["data"] = data
            working = asyncio.ensure_future(self._call(self._verbs.answers[str(op)], message))
            self._open += 1
            await self._answers.put(working)
            if op not in self._verbs.side_by_side:
                await asyncio.wait({working})

    async def _refuse(self, problem: str) -> None:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        answer.set_result({"error": problem})
        self._open += 1
        await self._answers.put(answer)

    async def _request(self) -> dict[str, Any] | str | None:
        """The next one, what is wrong with it, or None at the end. Who waits for an answer need not say anything."""
        while True:
            try:
                line = await asyncio.wait_for(self._reader.readline(), IDLE_SECONDS)
                break
            except asyncio.TimeoutError:
                if not self._open:
                    raise
            except ValueError:
                return f"a request is longer than {LONGEST_LINE} bytes"
        if not line.endswith(b"\n"):
            return None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        return message if isinstance(message, dict) else "this is no request: send one JSON object a line"

    def _problem(self, op: object) -> str:
        """Why this must not be done for this client."""
        if not self._rights:
            return "you may not ask o2agent: use sudo, or become a member of a group that may"
        if not isinstance(op, str) or (op not in self._verbs.answers and op not in self._verbs.streams):
            return f"there is no operation {op!r}"
        if op not in self._rights:
            return f"you may look, and not {op}: use sudo"
        return ""

    async def _data(self, message: Mapping[str, Any], problem: str) -> bytes | None:
        """What follows the line. None where nobody can tell what does, or it is not taken of this client."""
        length = message.get("length", 0)
        if isinstance(length, bool) or not isinstance(length, int) or not 0 <= length <= LARGEST:
            return None
        if not length:
            return b""
        if problem:
            return None
        try:
            return await asyncio.wait_for(self._reader.readexactly(length), IDLE_SECONDS)
        except asyncio.IncompleteReadError:
            return None

    async def _call(self, verb: Verb, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return await verb(message)
        except O2cbError as error:
            return {"error": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            return {"error": f"bad request: {error!r}"}

    async def _give_answers(self) -> None:
        while True:
            working = await self._answers.get()
            await _answer(self._writer, await working)
            self._open -= 1
            self._answers.task_done()


def _raise_fault(task: asyncio.Future[Any]) -> None:
    """A client that went away is no fault. It can end both tasks, and asyncio complains of what nobody asks for."""
    fault = None if task.cancelled() or not task.done() else task.exception()
    if fault is not None and not isinstance(fault, GONE):
        raise fault


async def _answer(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    data = message.pop("data", b"")
    writer.write(encoded(message, data))
    await asyncio.wait_for(writer.drain(), IDLE_SECONDS)


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
