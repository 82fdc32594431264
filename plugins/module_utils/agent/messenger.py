# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One incarnation of this node's agent on the bus: the core with a clock, links and locks.

The core decides (see bus/core.py); here its effects are carried out in their order, and what follows is reported back.
Whatever has arrived in one turn of the loop is fed before the effects are fetched, so that they are sent together.

Locks are those of o2keep, in the agent's domain: `alive-n` and `sequencer` are process locks, so they end with this
process whatever happens to it. A probe takes `alive-n` or `node-n` shared, for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from ..base import journal, tasks, wire
from ..base.errors import O2cbError
from ..bus import effects, words
from ..bus.core import Core
from ..bus.frames import Frame
from ..bus.settings import Settings
from ..bus.view import Entry, Ident
from ..client.keep_aio import Locks
from ..transport.links import Peer, Transport

TICK_SECONDS = 1.0
PROBE_SECONDS = 3.0
"""So long one probe waits: while a node is recovered it sleeps in the kernel, and the next one goes on waiting."""

JITTER = (0.02, 0.3)
"""Seconds before a lock is tried for again."""

FED_SECONDS = 10.0
"""Without a frame of its own for so long, the bus of this process stands still."""


class Consumer(Protocol):
    """Who is told what the bus delivers. None of these calls may block."""

    def delivered(self, position: int, entry: Entry) -> None:
        """An entry, at the same position on every node."""

    def viewed(self, position: int, members: tuple[Ident, ...]) -> None:
        """The members from this position on."""

    def sent(self, counter: int, position: int) -> None:
        """An own message is delivered to all."""

    def reported(self, what: str, node: int, incarnation: int) -> None:
        """A member is suspect, or up again."""


class Messenger:
    """Lives until the core gives up, or `stop`."""

    def __init__(
        self,
        me: Peer,
        peers: Mapping[int, Peer],
        incarnation: int,
        locks: Locks,
        transport: Transport,
        consumer: Consumer,
        settings: Settings | None = None,
    ) -> None:
        self.core = Core(me.number, incarnation, peers, settings)
        self.transport = transport
        self._me, self._peers, self._locks, self._consumer = me, peers, locks, consumer
        self._own: deque[Frame] = deque()
        self._scheduled = False
        self._fed = time.monotonic()
        self._held: dict[str, list[int]] = {}
        """Descriptors by lock: while they are open, the lock is held."""
        self._tries: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self) -> str:
        """Why it ended. Raises O2cbError when it cannot begin."""
        await self.transport.open(self)
        try:
            self.core.start(time.monotonic())
            while not self._over.done():
                self._soon()
                await asyncio.wait([self._over], timeout=TICK_SECONDS)
                self.core.tick(time.monotonic())
            return self._over.result()
        finally:
            await self._end()

    async def _end(self) -> None:
        """First the links, so that nothing of this incarnation is sent any more, then the locks."""
        await self.transport.close()
        await tasks.end(self._tasks)
        for lock in list(self._held):
            self._drop(lock)

    def stop(self) -> None:
        """Leave in good order."""
        self.core.stop()
        self._soon()

    def send(self, name: str, payload: bytes) -> int:
        """The counter that `sent` will tell. Raises BusFull, O2cbError."""
        counter = self.core.send(name, payload)
        self._soon()
        return counter

    def know(self, peers: Mapping[int, Peer]) -> None:
        """The nodes of the cluster from now on."""
        self._peers = peers
        self.core.nodes = tuple(peers)
        self.transport.know(peers)

    # what people and the watchdog ask

    def works(self) -> bool:
        """Whether frames come through."""
        return time.monotonic() - self._fed < FED_SECONDS

    def waits(self) -> list[str]:
        """What it waits for, in words."""
        names = {number: peer.name for number, peer in self._peers.items()}
        return words.waits(self.core, names, self.transport.troubles())

    def is_member(self) -> bool:
        return self.core.phase == self.core.MEMBER

    def decides(self) -> bool:
        """Whether this node is on the side that decides: a member that reaches most of the view (see view.quorate)."""
        return self.is_member() and self.core.cut_since is None

    def sequencer(self) -> int:
        """The node that numbers messages, as far as is known; -1 for none."""
        return self.core.promised[1] if self.is_member() else -1

    # what the transport tells

    def link_up(self, node: int) -> None:
        with self._guarded():
            self.core.link_up(node)
        self._soon()

    def link_down(self, node: int) -> None:
        with self._guarded():
            self.core.link_down(node)
        self._soon()

    def received(self, node: int, frames: Iterable[Frame]) -> None:
        receive = self.core.receive
        with self._guarded():
            for frame in frames:
                receive(node, frame)
        self._soon()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """A fault of the program itself must not end in asyncio's log while the rest goes on: it ends `run`."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- whatever it is
            if not self._over.done():
                self._over.set_exception(error)

    # effects

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """Feed what one has sent to oneself, and carry out what the core wants."""
        self._scheduled = False
        with self._guarded():
            while self._own:
                self.core.receive(self.core.node, self._own.popleft())
            sending: dict[int, list[Frame]] = {}
            for effect in self.core.drain():
                if isinstance(effect, effects.Send):
                    sending.setdefault(effect.peer, []).append(effect.frame)
                else:
                    self._carry_out(effect)
            for frame in sending.pop(self.core.node, []):
                self._own.append(frame)
                self._soon()
            for node, frames in sending.items():
                self.transport.send(node, frames)

    def _carry_out(self, effect: effects.Effect) -> None:
        consumer = self._consumer
        if isinstance(effect, effects.Deliver):
            consumer.delivered(effect.position, effect.entry)
        elif isinstance(effect, effects.Sent):
            consumer.sent(effect.counter, effect.position)
        elif isinstance(effect, effects.NewView):
            consumer.viewed(effect.position, effect.members)
        elif isinstance(effect, effects.Report):
            consumer.reported(effect.what, effect.node, effect.incarnation)
        elif isinstance(effect, effects.Take):
            tasks.begin(self._take(effect.lock), self._tasks)
        elif isinstance(effect, effects.Release):
            self._drop(effect.lock)
        elif isinstance(effect, effects.Probe):
            tasks.begin(self._probe(effect), self._tasks)
        elif isinstance(effect, effects.Feed):
            self._fed = time.monotonic()
        elif isinstance(effect, effects.Evict) and not self._over.done():
            self._over.set_result(effect.reason)

    # locks

    def _name(self, lock: str) -> str:
        return f"{effects.ALIVE}-{self.core.node}" if lock == effects.ALIVE else lock

    async def _take(self, lock: str) -> None:
        """Try once. Who tries again leaves a moment to others."""
        if self._tries.get(lock):
            await asyncio.sleep(random.uniform(*JITTER))
        self._tries[lock] = self._tries.get(lock, 0) + 1
        name = self._name(lock)
        try:
            answer, descriptors = await self._locks.take(
                name, 0, owner=f"agent {self.core.incarnation}", kind="process"
            )
        except O2cbError as error:
            self._complain(f"lock {name}: {error}")
            await asyncio.sleep(TICK_SECONDS)
            self.core.refused(lock)
        else:
            if answer["held"]:
                self._tries[lock] = 0
                self._held[lock] = descriptors
                self.core.granted(lock)
            else:
                self.core.refused(lock)
        self._soon()

    def _drop(self, lock: str) -> None:
        wire.close_all(self._held.pop(lock, []))

    async def _probe(self, probe: effects.Probe) -> None:
        """Whether anybody holds it. What nobody answers for proves nothing."""
        name = f"{probe.lock}-{probe.node}"
        free = False
        try:
            answer, descriptors = await self._locks.take(name, PROBE_SECONDS, kind="process", mode="shared")
            free = bool(answer["held"])
            wire.close_all(descriptors)
        except O2cbError as error:
            self._complain(f"probe of {name}: {error}")
        if free:
            self.core.proven(probe.lock, probe.node, probe.incarnation)
        else:
            self.core.held(probe.lock, probe.node, probe.incarnation)
        self._soon()

    def _complain(self, text: str) -> None:
        with contextlib.suppress(OSError):
            journal.write(text, journal.WARNING)
