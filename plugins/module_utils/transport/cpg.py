# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames over corosync's closed process groups: the agents of a cluster are one group, and group.py makes links of it.

corosync orders messages and knows its own members. Neither says anything about the cluster: that a message is with all,
and that a node is down, only the bus decides (see bus/core.py). Here corosync's word ends and begins links, no more.

All calls that wait for the daemon are made one after the other in a thread of their own. A daemon that stands still
ends the links; the agent goes on. When the daemon is gone, this comes back as soon as there is one.

No more than a window of messages is on its way at a time: what waits here costs nothing, what waits in corosync delays
the signs of life, too. While corosync forms its ring it takes nothing, and is asked again a little later.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..base import journal, tasks
from ..base.errors import O2cbError
from ..bus.frames import Frame
from ..bus.settings import Settings
from . import group, libcpg
from .group import Down, Group, Message, Received, Up
from .libcpg import Changed, Connection, CpgError
from .links import SILENCE_SECONDS, Events, Peer

PULSE_SECONDS = 1.0
PAUSES = (0.2, 5.0)
"""Seconds before the first new attempt to reach corosync, and the most."""

TRY_AGAIN_SECONDS = 0.02
CLOSE_SECONDS = 2.0
LIVED_SECONDS = 10.0
SLOW_SECONDS = 3.0
"""After so long without an answer people are told that corosync does not answer."""

STUCK_SECONDS = 30.0
"""A corosync that has not delivered what it took for so long is left, and joined again."""

WINDOW_MESSAGES = 64
WINDOW_BYTES = 262144
"""What may be on its way through corosync: one message at least."""

MOST_AT_ONCE = 64
"""Messages that are taken from corosync before others of this process have their turn."""

MOST_UNSENT = 64 << 20
"""Bytes that wait for corosync; then it is given up. The bus itself keeps far below this."""

TOKEN_MS = 3000


def group_name(cluster: str) -> str:
    """The process group of the agents of a cluster."""
    return f"o2agent:{cluster}"


def detection_seconds(token_ms: int) -> float:
    """So long corosync takes to find that a node is gone, and delivers nothing meanwhile.

    The token, and 1.2 times that for consensus: measured within 0.3 s (facts/corosync.md).
    """
    return 2.2 * token_ms / 1000


def bus_settings(token_ms: int) -> Settings:
    """The bus is not to suspect healthy members while corosync delivers nothing."""
    usual, gone = Settings(), detection_seconds(token_ms) + PULSE_SECONDS
    return usual._replace(suspect_after=max(usual.suspect_after, gone), release_after=max(usual.release_after, gone))


class Worker:
    """A thread for calls that wait, one after the other. It ends by itself; nobody waits for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="corosync", daemon=True).start()

    def call(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        """What the job returns or raises."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((job, answer))
        return answer

    def end(self) -> None:
        """After what it was given."""
        self._jobs.put(None)

    def _work(self) -> None:
        for job, answer in iter(self._jobs.get, None):
            found, error = None, None
            try:
                found = job()
            except Exception as raised:  # noqa: BLE001 -- it is raised where it was asked for
                error = raised
            with contextlib.suppress(RuntimeError):  # The loop is closed already: nobody waits.
                self._loop.call_soon_threadsafe(_answer, answer, found, error)


def _answer(answer: asyncio.Future[Any], found: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(found)


class Session:
    """One connection to corosync, until its end."""

    def __init__(self, owner: Cpg, connection: Connection, links: Group) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Its result says why, in words."""
        self.links = links
        self._owner, self._connection = owner, connection
        self._flushing = False
        self._waiting: dict[int, list[Frame]] = {}
        """Frames by node, of this turn of the loop."""
        self._queue: deque[tuple[tuple[group.Address, ...], list[bytes]]] = deque()
        self._unsent = 0
        """Bytes in the queue."""
        self._batch: list[bytes] = []
        """Messages that are to be handed over next, or are being handed over."""
        self._busy = self._pausing = False
        self._flying: deque[int] = deque()
        """Lengths of the messages that corosync has, and has not delivered here yet."""
        self._number = 0
        self._sent = self._progress = time.monotonic()

    # what comes

    def readable(self) -> None:
        """Take what corosync has delivered."""
        try:
            happened = self._connection.dispatch(MOST_AT_ONCE)
        except CpgError as error:
            self.end(str(error))
            return
        now = time.monotonic()
        for one in happened:
            if isinstance(one, Changed):
                self._tell(self.links.changed(one, now))
            elif one.sender == self._connection.me:
                self._progress = now
                if self._flying:
                    self._flying.popleft()
            else:
                self._tell(self.links.delivered(one, now))
        self._pump()

    def _tell(self, events: Iterable[group.Event]) -> None:
        for event in events:
            if isinstance(event, Received):
                self._owner.events.received(event.node, event.frames)
            else:
                self._owner.told(event)

    def know(self, nodes: Iterable[int]) -> None:
        self._tell(self.links.allow(nodes))
        self._pump()

    def end(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)

    # what goes

    def send(self, node: int, given: Sequence[Frame]) -> None:
        """To be sent at the end of this turn, together with what others are to get."""
        self._waiting.setdefault(node, []).extend(given)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        waiting, self._waiting = self._waiting, {}
        for parcel in group.parcels(waiting):
            addresses = tuple(self.links.addresses(parcel.nodes))
            if addresses:
                self._queue.append((addresses, parcel.bodies))
                self._unsent += sum(map(len, parcel.bodies))
        if self._unsent > MOST_UNSENT:
            self.end("corosync on this node does not take what it is given")
        self._pump()

    def _pump(self) -> None:
        """Hand over what the window allows, greetings first: they come before what is sent over the links they open."""
        if self._busy or self._pausing or self.ended.done():
            return
        if not self._batch:
            self._fill()
        if not self._batch:
            return
        self._busy = True
        batch, connection = self._batch, self._connection
        if not self._flying:
            self._progress = time.monotonic()
        self._flying.extend(map(len, batch))
        self._owner.worker.call(lambda: _hand_over(connection, batch)).add_done_callback(self._handed_over)

    def _fill(self) -> None:
        now = time.monotonic()
        greetings = self.links.greetings(now)
        if greetings:
            self._put(greetings=greetings)
        while self._queue and self._room():
            addresses, bodies = self._queue.popleft()
            self._unsent -= sum(map(len, bodies))
            still = [one for one in addresses if one in self.links.addresses([one.node])]
            if still:
                self._put(addresses=still, bodies=bodies)

    def _put(self, **message: Any) -> None:
        self._number += 1
        self._batch.append(group.encode(Message(self._number, **message)))

    def _room(self) -> bool:
        messages = len(self._flying) + len(self._batch)
        return messages == 0 or (
            messages < WINDOW_MESSAGES and sum(self._flying) + sum(map(len, self._batch)) < WINDOW_BYTES
        )

    def _handed_over(self, answer: asyncio.Future[int]) -> None:
        self._busy = False
        if answer.cancelled() or self.ended.done():
            return
        error = answer.exception()
        if error is not None:
            self.end(str(error))
            return
        taken = answer.result()
        for _left in self._batch[taken:]:
            self._flying.pop()
        self._batch = self._batch[taken:]
        if taken:
            self._sent = time.monotonic()
        if self._batch:
            self._pausing = True
            asyncio.get_running_loop().call_later(TRY_AGAIN_SECONDS, self._try_again)
        else:
            self._pump()

    def _try_again(self) -> None:
        self._pausing = False
        self._pump()

    # time

    def pulse(self, now: float, late: bool, silence: float) -> None:
        """About once a second. Own pauses do not count."""
        if late:
            self.links.excuse(now)
            self._progress = now
        if self._flying and now - self._progress > STUCK_SECONDS:
            self.end(f"corosync on this node has not moved for {STUCK_SECONDS:.0f} s")
            return
        self._tell(self.links.silent(now, silence))
        if not self._busy and not self._batch and now - self._sent > PULSE_SECONDS / 2:
            self._put()
        self._pump()


def _hand_over(connection: Connection, batch: Sequence[bytes]) -> int:
    """In the thread. How many of the messages corosync has taken."""
    for number, data in enumerate(batch):
        if not connection.multicast(data):
            return number
    return len(batch)


class Cpg:
    """All links of this node, by way of corosync."""

    def __init__(
        self,
        me: Peer,
        peers: Mapping[int, Peer],
        cluster: str,
        token_ms: int = TOKEN_MS,
        connect: Callable[[str], Connection] = libcpg.connect,
    ) -> None:
        """`token_ms` is corosync's token timeout: while it looks for a lost node it is silent about all others."""
        self.events: Events
        self.worker: Worker
        self._me, self._peers, self._group = me, dict(peers), group_name(cluster)
        self._connect = connect
        self._silence = max(SILENCE_SECONDS, detection_seconds(token_ms) + 3 * PULSE_SECONDS)
        self._session: Session | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._why = "it is being asked"
        self._troubles: dict[int, str] = {}
        self._closed = False

    async def open(self, events: Events) -> None:
        self.events = events
        if self._connect is libcpg.connect:
            libcpg.require()
        self.worker = Worker()
        self._keeping = asyncio.ensure_future(self._keep())

    def know(self, peers: Mapping[int, Peer]) -> None:
        self._peers = dict(peers)
        if self._session is not None:
            self._session.know(self._peers)

    def send(self, node: int, given: Sequence[Frame]) -> None:
        if self._session is not None and not self._closed:
            self._session.send(node, given)

    def troubles(self) -> dict[int, str]:
        session = self._session
        others = [number for number in self._peers if number != self._me.number]
        if session is None:
            return dict.fromkeys(others, self._why)
        up = session.links.up()
        return {number: self._trouble(session, number) for number in others if number not in up}

    def _trouble(self, session: Session, number: int) -> str:
        if number not in session.links.members:
            return self._troubles.get(number, "no agent of it is in corosync's group")
        return self._troubles.get(number, "its agent is in corosync's group and has not answered yet")

    async def close(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if self._keeping is not None:
            await tasks.end([self._keeping])
            self.worker.end()
        if session is not None:
            session.end("this agent leaves")

    # the loop

    async def _keep(self) -> None:
        """Be in the group, again after each end."""
        least, most = PAUSES
        pause = least
        while True:
            began = time.monotonic()
            why = await self._live()
            if why != self._why:
                _say(-1, f"no links by corosync: {why}")
            self._why = why
            pause = least if time.monotonic() - began > LIVED_SECONDS else min(pause * 2, most)
            await asyncio.sleep(pause)

    async def _live(self) -> str:
        """One session, if there can be one. Why it ended."""
        asking = self.worker.call(self._join)
        try:
            done, _pending = await asyncio.wait([asking], timeout=SLOW_SECONDS)
            if not done:
                self._why = "corosync on this node does not answer"
            connection: Connection = await asking
        except O2cbError as error:
            return str(error)
        try:
            if group.number_of(connection.me.node_id) != self._me.number:
                return (
                    f"corosync runs as node {connection.me.node_id}, and this is {self._me.name}, for corosync "
                    f"{group.node_id(self._me.number)}: run role ocfs2.o2cb.agent"
                )
            return await self._use(connection)
        finally:
            leaving = self.worker.call(connection.close)
            if self._closed:
                await asyncio.wait([leaving], timeout=CLOSE_SECONDS)

    def _join(self) -> Connection:
        """In the thread."""
        connection = self._connect(self._group)
        if self._closed:
            connection.close()
            raise CpgError("this agent leaves")
        return connection

    async def _use(self, connection: Connection) -> str:
        loop = asyncio.get_running_loop()
        session = Session(self, connection, Group(self._me.number, secrets.randbits(32), self._peers))
        descriptor = connection.fileno()
        loop.add_reader(descriptor, session.readable)
        self._session = session
        pulsing = asyncio.ensure_future(self._pulse(session))
        try:
            return await session.ended
        finally:
            pulsing.cancel()
            loop.remove_reader(descriptor)
            self._session = None
            if not self._closed:
                for node in session.links.up():
                    self.events.link_down(node)

    async def _pulse(self, session: Session) -> None:
        then = time.monotonic()
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            now = time.monotonic()
            session.pulse(now, now - then > 2 * PULSE_SECONDS, self._silence)
            then = now

    def told(self, event: Up | Down) -> None:
        """A link has begun or ended."""
        if self._closed:
            return
        if isinstance(event, Up):
            self._troubles.pop(event.node, None)
            self.events.link_up(event.node)
        else:
            self._troubles[event.node] = event.why
            name = self._peers[event.node].name if event.node in self._peers else f"node {event.node}"
            _say(event.node, f"the link with {name} ended: {event.why}")
            self.events.link_down(event.node)


def _say(node: int, text: str) -> None:
    with contextlib.suppress(OSError):
        journal.write(text, journal.WARNING, **({"PEER": node} if node >= 0 else {}))
