# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What local clients and the agent itself do with the bus: send, ask, answer, listen, and see who is there.

It outlives the incarnations of this agent on the bus. When one ends, everybody who waits is told that what he sent may
have been delivered or not, and every listener that there is a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..base import journal, tasks
from ..base.errors import O2cbError
from ..bus import membership, pieces
from ..bus.log import BusFull
from ..bus.membership import Membership
from ..bus.pieces import LONGEST_CHANNEL, Joiner, Message
from ..bus.view import AGENT_DOWN, MESSAGE, Entry, Ident
from .listener import Listener
from .messenger import Messenger

INTERNAL = "o2agent"
"""The channel of the agents themselves."""

SEND_SECONDS, LONGEST_SECONDS = 30.0, 3600.0
ROOM_SECONDS = 0.05
PIECES_UNDER_WAY = 8
"""So many entries of one large message are in the queue at a time; those of others come between."""

MOST_UNSENT = 256 << 20
"""Bytes that clients of this node may have under way; the next one waits."""


class Question:
    """A message that is answered by the members that got it, each once."""

    def __init__(self, nodes: frozenset[int]) -> None:
        self.waiting = set(nodes)
        self.answers: dict[int, Message] = {}
        self.down: set[int] = set()
        self.done = asyncio.Event()

    def answered(self, message: Message) -> None:
        if message.node in self.waiting:
            self.answers[message.node] = message
            self._gone(message.node)

    def went(self, node: int) -> None:
        if node in self.waiting:
            self.down.add(node)
            self._gone(node)

    def _gone(self, node: int) -> None:
        self.waiting.discard(node)
        if not self.waiting:
            self.done.set()


class Exchange:
    """The messages of this node. `name_of` gives a node's name by its number, None where it is not known (yet)."""

    def __init__(self, name_of: Callable[[int], str | None] = lambda _node: None) -> None:
        self._name_of = name_of
        self.membership = Membership()
        self.messenger: Messenger | None = None
        self.off = "the agent has not begun to join the bus"
        """Why there is no messenger."""

        self.node = -1
        self._joiner = Joiner()
        self._numbers = itertools.count(1)
        self._sending: dict[int, asyncio.Future[int]] = {}
        self._tasks: set[asyncio.Task[int]] = set()
        self._unsent = 0
        self._listeners: set[Listener] = set()
        self._questions: dict[str, Question] = {}
        self._internal: Callable[[Message], None] = lambda _message: None
        self._watchers: list[Callable[[Mapping[str, Any]], None]] = []

    # one incarnation after the other

    def begin(self, me: int, messenger: Messenger) -> None:
        """From now on this messenger delivers."""
        self.node, self.messenger, self.off = me, messenger, ""
        self.membership, self._joiner = Membership(), Joiner()

    def end(self, why: str) -> None:
        """It does not any more."""
        self.messenger, self.off = None, why
        error = O2cbError(_left(why))
        for waiting in self._sending.values():
            if not waiting.done():
                waiting.set_exception(error)
        self._sending.clear()
        for question in self._questions.values():
            question.done.set()
        self._tell(self.membership.decides(False))
        for listener in self._listeners:
            listener.end({"event": "left", "error": f"the agent has left the bus ({why}): begin anew"})
        self._listeners.clear()

    def on_message(self, call: Callable[[Message], None]) -> None:
        """Who takes the messages of the agents themselves."""
        self._internal = call

    def on_event(self, call: Callable[[Mapping[str, Any]], None]) -> None:
        """One more who is told every event, on this process's own side."""
        self._watchers.append(call)

    def look(self) -> None:
        """Once a second: whether this node is on the side that decides."""
        if self.messenger is not None:
            self._tell(self.membership.decides(self.messenger.decides()))

    # what the bus tells

    def delivered(self, position: int, entry: Entry) -> None:
        if entry.kind == MESSAGE:
            self.membership.passed(position)
            self._message(position, entry)
            return
        if entry.kind == AGENT_DOWN:
            self._joiner.ended(entry.node)
            for question in self._questions.values():
                question.went(entry.node)
        if self.membership.position:
            self._tell(self.membership.delivered(position, entry, time.time()))

    def viewed(self, position: int, members: tuple[Ident, ...]) -> None:
        if not self.membership.position and self.messenger is not None:
            self.membership.begin(position, dict(members), self.messenger.core.view.absent, time.time())
            for node, incarnation in members:
                facts = {"event": membership.JOINED, "node": node, "incarnation": incarnation, "position": position}
                self._tell(facts)

    def sent(self, counter: int, position: int) -> None:
        waiting = self._sending.pop(counter, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(position)

    def reported(self, what: str, node: int, incarnation: int) -> None:
        self._tell(self.membership.reported(what, node, incarnation, time.time()))

    def _message(self, position: int, entry: Entry) -> None:
        try:
            message = self._joiner.add(entry.channel, entry.node, position, entry.payload)
        except ValueError as error:
            journal.write(f"a message of node {entry.node} is not understood: {error}", journal.WARNING)
            return
        if message is None:
            return
        if "re" in message.head:
            question = self._questions.get(str(message.head["re"]))
            if question is not None:
                question.answered(message)
            return
        if message.channel == INTERNAL:
            self._internal(message)
            return
        for listener in list(self._listeners):
            listener.message(message, self.node, self._name_of(message.node))

    def _tell(self, facts: Mapping[str, Any] | None) -> None:
        if facts is None:
            return
        if "node" in facts:
            facts = {**facts, "name": self._name_of(facts["node"])}
        for listener in list(self._listeners):
            listener.event(facts)
        for watcher in self._watchers:
            watcher(facts)

    # what clients want

    async def send(
        self, channel: str, data: bytes, head: Mapping[str, Any] | None = None, seconds: float = SEND_SECONDS
    ) -> int:
        """The position at which all members that are not down have the message.

        Raises O2cbError, also when that is not so after `seconds`: then it may still be delivered.
        """
        _check_channel(channel)
        whole = pieces.encode(head or {}, data)
        ends = time.monotonic() + seconds
        while self._unsent + len(whole) > MOST_UNSENT:
            if time.monotonic() > ends:
                raise O2cbError(f"clients of this node have {self._unsent} bytes under way: send again later")
            await asyncio.sleep(ROOM_SECONDS)
        task = tasks.begin(self._send(channel, whole, ends), self._tasks)
        try:
            return await asyncio.wait_for(asyncio.shield(task), seconds)
        except asyncio.TimeoutError:
            task.add_done_callback(_forget_error)
            raise O2cbError(
                f"the message has not reached all members within {seconds:g} s, and may still do so: "
                f"{'; '.join(self.waits()) or 'the bus is busy'}"
            ) from None

    async def _send(self, channel: str, whole: bytes, ends: float) -> int:
        """All its pieces, some under way at a time. It goes on when nobody waits any more: half a message is none."""
        under_way: list[asyncio.Future[int]] = []
        messenger = self._working()
        self._unsent += len(whole)
        try:
            for piece in pieces.cut(whole, next(self._numbers) % (1 << 32), messenger.core.settings.payload):
                if len(under_way) >= PIECES_UNDER_WAY:
                    await under_way.pop(0)
                under_way.append(await self._queue(messenger, channel, piece, ends))
            position = 0
            for waiting in under_way:
                position = await waiting
            return position
        finally:
            self._unsent -= len(whole)
            for waiting in under_way:
                waiting.add_done_callback(_forget_error)

    async def _queue(self, messenger: Messenger, channel: str, piece: bytes, ends: float) -> asyncio.Future[int]:
        while True:
            if messenger is not self.messenger:
                raise O2cbError(
                    f"this agent has left the bus ({self.off}): what was sent may have been delivered, or not"
                )
            try:
                counter = messenger.send(channel, piece)
            except BusFull:
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(ROOM_SECONDS)
                continue
            self._sending[counter] = waiting = asyncio.get_running_loop().create_future()
            return waiting

    async def ask(
        self, channel: str, data: bytes, to: list[int] | None = None, seconds: float = SEND_SECONDS
    ) -> dict[str, Any]:
        """Send a message, and collect one answer of each member that is to get it.

        `answers` are data by node; `down` those that went down before they answered, `missing` those that did neither.
        """
        ends = time.monotonic() + seconds
        members = self.membership.up()
        wanted = frozenset(to if to is not None else members)
        unknown = sorted(wanted - set(members))
        if unknown:
            raise O2cbError(f"node {unknown[0]} has no agent on the bus: `o2ctl members` shows who has")
        identity = f"{self.node}-{self._working().core.incarnation}-{next(self._numbers)}"
        question = self._questions[identity] = Question(wanted)
        try:
            head = {"ask": identity, **({"to": sorted(wanted)} if to is not None else {})}
            position = await self.send(channel, data, head, seconds)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(question.done.wait(), max(ends - time.monotonic(), 0.001))
        finally:
            del self._questions[identity]
        return {
            "position": position,
            "answers": {node: message.data for node, message in sorted(question.answers.items())},
            "down": sorted(question.down),
            "missing": sorted(question.waiting),
            "names": self._names(wanted),
        }

    async def answer(self, channel: str, identity: str, data: bytes, seconds: float = SEND_SECONDS) -> int:
        """Answer a question; the other members do not see it."""
        return await self.send(channel, data, {"re": identity}, seconds)

    def listen(self, listener: Listener) -> dict[str, Any]:
        """Give this client what comes from now on. Where that begins."""
        messenger = self._working()
        self._listeners.add(listener)
        return {
            "listening": True,
            "node": self.node,
            "history": list(messenger.core.history),
            "position": self.membership.position,
            "members": {str(node): incarnation for node, incarnation in sorted(self.membership.up().items())},
            "names": self._names(self.membership.up()),
            "quorate": self.membership.quorate,
        }

    def _names(self, nodes: Iterable[int]) -> dict[str, str]:
        """Names by number, in a form for JSON."""
        return {str(node): self._name_of(node) or f"node {node}" for node in sorted(nodes)}

    def forget(self, listener: Listener) -> None:
        """This client has gone."""
        self._listeners.discard(listener)

    def waits(self) -> list[str]:
        """What the bus waits for, in words."""
        return [self.off] if self.messenger is None else self.messenger.waits()

    def _working(self) -> Messenger:
        if self.messenger is None or not self.messenger.is_member() or not self.membership.position:
            raise O2cbError(
                f"this node is not on the bus: {'; '.join(self.waits()) or 'it is about to join'}; see `o2ctl members`"
            )
        return self.messenger


def _left(why: str) -> str:
    return f"this agent has left the bus ({why}): what was sent may have been delivered, or not"


def _check_channel(channel: str) -> None:
    if not channel or len(channel.encode()) > LONGEST_CHANNEL or not channel.isprintable():
        raise O2cbError(f"channel {channel!r}: give a name of 1 to {LONGEST_CHANNEL} bytes that can be printed")


def _forget_error(done: asyncio.Future[int]) -> None:
    """Nobody waits for it any more; without this a failure would be logged as never seen."""
    if not done.cancelled():
        done.exception()
