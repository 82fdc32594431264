# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking o2agent from an asyncio program: what `client` does, with the same errors, and without blocking the loop.

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
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ..base.errors import O2cbError
from ..o2cb.keeping import AGENT_SOCKET
from .agent import (
    GONE,
    MESSAGE_SECONDS,
    RECEIVE_BYTES,
    SECONDS,
    Answers,
    Event,
    collected,
    event_of,
    request,
    silent,
    unreachable,
)

LONGEST_ANSWER = 1 << 24
"""Bytes of a line from the agent; data is not among them."""


class AsyncListening:
    """What comes, in its order. It ends with `overrun` or `left`, which say why, or with the agent.

    It has a connection of its own, from `async with` on. `node`, `position`, `members` and `quorate` tell where it
    begins.
    """

    def __init__(self, path: str, channels: Sequence[str] | None, events: bool) -> None:
        self.node, self.position, self.quorate = -1, 0, False
        self.members: dict[int, int] = {}
        self._path, self._channels, self._events = path, channels, events
        self._rest = bytearray()
        self._facts: dict[str, Any] | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> AsyncListening:
        self._reader, self._writer = await _connected(self._path)
        wanted = None if self._channels is None else list(self._channels)
        try:
            self._writer.write(request("listen", b"", {"channels": wanted, "events": self._events}))
            begun = json.loads(await asyncio.wait_for(self._reader.readline(), SECONDS) or b"null")
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            self.close()
            raise silent(_words(error, SECONDS)) from None
        if begun is None or "error" in begun:
            self.close()
            raise silent("it has closed the connection") if begun is None else O2cbError(str(begun["error"]))
        self.node, self.position, self.quorate = begun["node"], begun["position"], begun["quorate"]
        self.members = {int(node): incarnation for node, incarnation in begun["members"].items()}
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
        """What was received stays where it is when this is cancelled."""
        if self._reader is None:
            raise O2cbError("this does not listen yet: use it with `async with`")
        while True:
            event, self._facts = event_of(self._rest, self._facts)
            if event is not None:
                return event
            try:
                data = await self._reader.read(RECEIVE_BYTES)
            except OSError as error:
                raise O2cbError(f"{GONE} ({error.strerror})") from None
            if not data:
                raise O2cbError(GONE)
            self._rest += data

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
        self._waiting: deque[asyncio.Future[tuple[dict[str, Any], bytes]]] = deque()
        self._end = ""
        """Why the connection has ended."""

    async def __aenter__(self) -> AsyncClient:
        self._turn = asyncio.Lock()
        await self._connect()
        return self

    async def _connect(self) -> asyncio.StreamWriter:
        reader, self._writer = await _connected(self._path)
        self._end = ""
        self._reading = asyncio.ensure_future(self._read(reader, self._writer))
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
        return (await self.exchange(op, b"", SECONDS, **more))[0]

    async def exchange(self, op: str, data: bytes, within: float, **more: Any) -> tuple[dict[str, Any], bytes]:
        """The same with data, either way, and with a deadline of one's own, in seconds."""
        try:
            answer, received = await asyncio.wait_for(self._exchange(request(op, data, more)), within)
        except asyncio.TimeoutError:
            raise silent(f"nothing within {within:g} s") from None
        except OSError as error:
            raise silent(error) from None
        if "error" in answer:
            raise O2cbError(str(answer["error"]))
        return answer, received

    async def _exchange(self, whole: bytes) -> tuple[dict[str, Any], bytes]:
        if self._writer is None:
            raise O2cbError("this client is not connected: use it with `async with`")
        answer: asyncio.Future[tuple[dict[str, Any], bytes]] = asyncio.get_running_loop().create_future()
        async with self._turn:
            writer = await self._connect() if self._end else self._writer
            writer.write(whole)
            # An answer comes to every request that was written, also when nobody waits for it any more.
            self._waiting.append(answer)
            await writer.drain()
        return await answer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                line = await reader.readline()
                if not line.endswith(b"\n"):
                    raise ConnectionResetError("it has closed the connection")
                answer = json.loads(line)
                data = await reader.readexactly(int(answer.get("length", 0)))
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result((answer, data))
        except (OSError, ValueError, EOFError, IndexError) as error:
            self._fail(str(error))
        finally:
            writer.close()

    def _fail(self, why: str) -> None:
        self._end = self._end or why
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(silent(self._end))

    # messages

    async def send(
        self, channel: str, data: bytes, to: Sequence[int] | None = None, seconds: float = MESSAGE_SECONDS
    ) -> int:
        """Send to all members of the bus, or for some nodes' ears only. Returns the position in the order of all.

        When it returns, every member that is not down has the message. Raises O2cbError when that is not so after
        `seconds`: then it may still be delivered.
        """
        more: dict[str, Any] = {"to": list(to)} if to is not None else {}
        answer, _data = await self.exchange("send", data, seconds + SECONDS, channel=channel, seconds=seconds, **more)
        return int(answer["position"])

    async def question(
        self, channel: str, data: bytes, to: Sequence[int] | None = None, seconds: float = MESSAGE_SECONDS
    ) -> Answers:
        """Send, and collect one answer of each node. Raises O2cbError as `send` does."""
        more: dict[str, Any] = {"to": list(to)} if to is not None else {}
        return collected(
            *await self.exchange("ask", data, 2 * seconds + SECONDS, channel=channel, seconds=seconds, **more)
        )

    async def answer(self, channel: str, question: str, data: bytes, seconds: float = MESSAGE_SECONDS) -> int:
        """Answer a question that `listen` gave."""
        more = {"channel": channel, "to_question": question, "seconds": seconds}
        return int((await self.exchange("answer", data, seconds + SECONDS, **more))[0]["position"])

    def listen(self, channels: Sequence[str] | None = None, events: bool = False) -> AsyncListening:
        """For `async with`: listen from then on; no channels are all of them."""
        return AsyncListening(self._path, channels, events)


async def _connected(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.wait_for(asyncio.open_unix_connection(path, limit=LONGEST_ANSWER), SECONDS)
    except asyncio.TimeoutError:
        raise silent(f"no connection within {SECONDS:g} s") from None
    except OSError as error:
        raise unreachable(error) from None


def _words(error: BaseException, seconds: float) -> object:
    return f"nothing within {seconds:g} s" if isinstance(error, asyncio.TimeoutError) else error
