# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking o2agent from an asyncio program: what `agent` does, with the same errors, and without blocking the loop.

    async with AsyncClient() as bus:
        position = await bus.send("news", b"text")
        async with bus.listen(["news"]) as listening:
            async for event in listening:
                ...

Any number of tasks may use one client; their requests are under way side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ..base.errors import O2cbError
from ..o2cb.keeping import AGENT_SOCKET
from . import protocol
from .protocol import MESSAGE_SECONDS, Answers, Conversation, Event, Node, Request
from .reasons import CLOSED, GONE, granted, late, silent, unreachable

RECEIVE_BYTES = 1 << 20


class AsyncListening:
    """What comes, in its order. It ends with `overrun` or `left`, which say why, or with the agent.

    It has a connection of its own, from `async with` on. `node`, `history`, `position`, `members`, `names` and
    `quorate` tell where it begins.
    """

    def __init__(self, path: str, channels: Sequence[str] | None, events: bool) -> None:
        self.node, self.position, self.quorate = -1, 0, False
        self.history: tuple[int, ...] = ()
        self.members: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self._path, self._request = path, protocol.listen(channels, events)
        self._talk: Conversation[None] = Conversation()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> AsyncListening:
        self._reader, self._writer = await _connected(self._path)
        try:
            self._writer.write(self._talk.ask(self._request, None))
            told = granted(await asyncio.wait_for(self._come(self._reader), self._request.within))
        except asyncio.TimeoutError:
            self.close()
            raise late(self._request.within) from None
        except (OSError, protocol.Broken) as error:
            self.close()
            raise silent(error) from None
        except O2cbError:
            self.close()
            raise
        self.node, self.history, self.position, self.members, self.quorate, self.names = protocol.begun_of(told)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def next(self, seconds: float | None = None) -> Event | None:
        """The next one, or None when it has not come within `seconds`. Raises O2cbError at the end."""
        try:
            return await asyncio.wait_for(self._next(), seconds)
        except asyncio.TimeoutError:
            return None

    async def _next(self) -> Event:
        if self._reader is None:
            raise O2cbError("this does not listen yet: use it with `async with`")
        try:
            return await self._come(self._reader)
        except ConnectionResetError:
            raise O2cbError(GONE) from None
        except OSError as error:
            raise O2cbError(f"{GONE} ({error.strerror})") from None
        except protocol.Broken as error:
            raise O2cbError(f"{GONE} (it says {error})") from None

    async def _come(self, reader: asyncio.StreamReader) -> Event:
        """What was received stays where it is when this is cancelled."""
        while True:
            come = self._talk.next()
            if come is not None:
                return come[1]
            data = await reader.read(RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError(CLOSED)
            self._talk.receive(data)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            yield await self._next()


class AsyncClient:
    """One connection, from `async with` on. Every call has a deadline and raises O2cbError with a text for people.

    When the agent ends it, what is under way fails, and the next call makes a new one.
    """

    def __init__(self, path: str = AGENT_SOCKET) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._talk: Conversation[asyncio.Future[Event]] = Conversation()
        self._end = ""
        """Why the connection has ended."""

    async def __aenter__(self) -> AsyncClient:
        self._turn = asyncio.Lock()
        await self._connect()
        return self

    async def _connect(self) -> asyncio.StreamWriter:
        reader, self._writer = await _connected(self._path)
        self._end, self._talk = "", Conversation()
        self._reading = asyncio.ensure_future(self._read(reader, self._writer, self._talk))
        return self._writer

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection, and with it what is under way."""
        self._writer = None
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        self._fail("this client is closed")

    async def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """The answer to a request. Raises O2cbError with what the agent says against it."""
        return (await self.exchange(protocol.plain(op, **more))).facts

    async def exchange(self, request: Request) -> Event:
        """The same with data, either way, and with a deadline of its own."""
        try:
            return granted(await asyncio.wait_for(self._exchange(request), request.within))
        except asyncio.TimeoutError:
            raise late(request.within) from None
        except OSError as error:
            raise silent(error) from None

    async def _exchange(self, request: Request) -> Event:
        if self._writer is None:
            raise O2cbError("this client is not connected: use it with `async with`")
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        async with self._turn:
            writer = await self._connect() if self._end else self._writer
            # An answer comes to every request that was written, also when nobody waits for it any more.
            writer.write(self._talk.ask(request, answer))
            await writer.drain()
        return await answer

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: Conversation[asyncio.Future[Event]]
    ) -> None:
        try:
            while True:
                data = await reader.read(RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError(CLOSED)
                talk.receive(data)
                come = talk.next()
                while come is not None:
                    waiting, told = come
                    if waiting is not None and not waiting.done():
                        waiting.set_result(told)
                    come = talk.next()
        except (OSError, protocol.Broken) as error:
            self._fail(str(error))
        finally:
            writer.close()

    def _fail(self, why: str) -> None:
        self._end = self._end or why
        for waiting in self._talk.end():
            if not waiting.done():
                waiting.set_exception(silent(self._end))

    # messages

    async def send(
        self, channel: str, data: bytes, to: Sequence[Node] | None = None, seconds: float = MESSAGE_SECONDS
    ) -> int:
        """Send to all members of the bus, or for the ears of some nodes only, which are named or numbered.

        Returns its position in the order of all, when every member that is not down has it. Raises O2cbError when that
        is not so after `seconds`: then it may still be delivered.
        """
        return protocol.position_of(await self.exchange(protocol.send(channel, data, to, seconds)))

    async def question(
        self, channel: str, data: bytes, to: Sequence[Node] | None = None, seconds: float = MESSAGE_SECONDS
    ) -> Answers:
        """Send, and collect one answer of each node. Raises O2cbError as `send` does."""
        return protocol.answers_of(await self.exchange(protocol.question(channel, data, to, seconds)))

    async def answer(self, channel: str, question: str, data: bytes, seconds: float = MESSAGE_SECONDS) -> int:
        """Answer a question that `listen` gave."""
        return protocol.position_of(await self.exchange(protocol.answer(channel, question, data, seconds)))

    def listen(self, channels: Sequence[str] | None = None, events: bool = False) -> AsyncListening:
        """For `async with`: listen from then on; no channels are all of them."""
        return AsyncListening(self._path, channels, events)


async def _connected(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        opening = asyncio.open_unix_connection(path, limit=RECEIVE_BYTES)
        return await asyncio.wait_for(opening, protocol.SECONDS)
    except asyncio.TimeoutError:
        raise silent(f"no connection within {protocol.SECONDS:g} s") from None
    except OSError as error:
        raise unreachable(error) from None
