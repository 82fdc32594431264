# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Local clients that listen: each has a queue of what it is still to be sent, and is let go when that grows too long.

Nothing is left out of a stream. A client that reads too slowly is told where its stream ends, and then its connection
does: it has to ask for the present state and begin anew. The cluster does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from typing import Any

from ..base.errors import O2cbError
from ..bus.pieces import Message
from ..client.protocol import encoded

MOST_BYTES = 80 << 20
MOST_EVENTS = 20000
"""What may wait for one client. The largest message fits."""

WRITE_SECONDS = 60.0
"""A client that takes nothing for so long is let go, however little waits for it."""

GATHER_BYTES = 1 << 18


class Listener:
    """One client. `channels` are those it wants messages of, or None for all; `events` says whether it wants those."""

    def __init__(self, channels: frozenset[str] | None, events: bool) -> None:
        self._channels, self._events = channels, events
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._ready = asyncio.Event()
        self.ended = False

    @classmethod
    def from_request(cls, message: Mapping[str, Any]) -> Listener:
        """Raises O2cbError for a request that asks for nothing."""
        channels, events = message.get("channels", []), bool(message.get("events"))
        if channels is not None and not (
            isinstance(channels, list) and all(isinstance(name, str) and name for name in channels)
        ):
            raise O2cbError("channels is a list of names, or null for all")
        if channels == [] and not events:
            raise O2cbError("nothing is asked for: give channels, or events: true")
        return cls(None if channels is None else frozenset(channels), events)

    def wants(self, channel: str) -> bool:
        return self._channels is None or channel in self._channels

    def message(self, message: Message, me: int, name: str | None) -> None:
        """Queue a message that it wants, and that is for this node. `name` is that of its sender."""
        to = message.head.get("to")
        if not self.wants(message.channel) or (to and me not in to):
            return
        facts = {
            "event": "message",
            "channel": message.channel,
            "node": message.node,
            "name": name,
            "position": message.position,
            **({"head": message.head} if message.head else {}),
            "length": len(message.data),
        }
        self._add(facts, message.data)

    def event(self, facts: Mapping[str, Any]) -> None:
        """Queue an event, if it wants those."""
        if self._events:
            self._add(facts)

    def end(self, why: Mapping[str, Any]) -> None:
        """The last thing it is told."""
        if not self.ended:
            self._put(why, b"")
            self.ended = True

    def _add(self, facts: Mapping[str, Any], data: bytes = b"") -> None:
        if self.ended:
            return
        if self._bytes + len(data) > MOST_BYTES or len(self._queue) >= MOST_EVENTS:
            self.end({"event": "overrun", "error": "you read too slowly: what comes after this is lost for you"})
            return
        self._put(facts, data)

    def _put(self, facts: Mapping[str, Any], data: bytes) -> None:
        whole = encoded(facts, data)
        self._queue.append(whole)
        self._bytes += len(whole)
        self._ready.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send what is queued, until the client goes or is let go."""
        gone = asyncio.ensure_future(_end_of(reader))
        try:
            while not gone.done():
                self._ready.clear()
                while self._queue:
                    await self._write_some(writer)
                if self.ended:
                    return
                waiting = asyncio.ensure_future(self._ready.wait())
                await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            self.ended = True
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _write_some(self, writer: asyncio.StreamWriter) -> None:
        batch: list[bytes] = []
        size = 0
        while self._queue and size < GATHER_BYTES:
            batch.append(self._queue.popleft())
            size += len(batch[-1])
        self._bytes -= size
        writer.write(b"".join(batch))
        await asyncio.wait_for(writer.drain(), WRITE_SECONDS)


async def _end_of(reader: asyncio.StreamReader) -> None:
    """A listener says nothing more: whatever comes is thrown away."""
    with contextlib.suppress(OSError):
        while await reader.read(4096):
            pass
