# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""This node's place on the bus: it joins whenever the node is online, and again after each end of an incarnation.

Before it joins it takes the node lock `node-n`, which stays with o2keep when this process goes: for the others the node
is down only when it has left the cluster, or o2dlm has evicted it. A node that learns that it was declared down while
it still runs is reset, since others may hold by now what it thinks to hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

from ..base import files, journal
from ..base.errors import O2cbError, join_problems
from ..bus import effects
from ..bus.settings import Settings as BusSettings
from ..client.keep_aio import Locks
from ..o2cb import observe
from ..o2cb.model import Cluster
from ..o2cb.timeouts import Timeouts
from ..transport import authority, corosync, cpg, credentials
from ..transport.cpg import Cpg
from ..transport.links import SILENCE_SECONDS, Peer, Transport
from ..transport.tcp import Tcp
from . import service
from .configuration import COROSYNC, TCP, Settings
from .exchange import Exchange
from .messenger import Messenger

INCARNATION = "/var/lib/o2agent/incarnation"
SYSRQ = "/proc/sysrq-trigger"

LOOK_SECONDS = 1.0
KNOW_TURNS = 5
"""So often, in looks, the nodes of the cluster are read again."""

PAUSES = (1.0, 30.0)
"""Seconds between two incarnations: the first, and the most."""

LIVED_SECONDS = 60.0
NODE_LOCK_SECONDS = 10.0
STAY_AWAY_SECONDS = 120.0
"""So long the agent stays off the bus when it was asked to leave, and the node does not go offline."""

RENEW_SECONDS = 3600.0
GRACE_SECONDS = 8.0


class Place:
    """`online` tells this node and all nodes of the cluster by number, or raises O2cbError."""

    def __init__(
        self,
        exchange: Exchange,
        locks: Locks,
        online: Callable[[], tuple[Peer, Mapping[int, Peer]]],
        settings: Callable[[], Settings],
    ) -> None:
        self._exchange, self._locks, self._online, self._settings = exchange, locks, online, settings
        self._away_until = 0.0
        self._ended = asyncio.Event()
        self._transport: Transport | None = None
        self._carried = (TCP, 0)
        """By what the present incarnation is on the bus."""
        self._said = ""

    async def keep(self) -> None:
        """Be on the bus. It ends only when it is cancelled."""
        pause = PAUSES[0]
        while True:
            began = time.monotonic()
            reason, lived = await self._live()
            self._exchange.end(reason)
            self._ended.set()
            if reason != self._said:
                journal.write(f"not on the bus: {reason}", journal.WARNING)
            self._said = reason
            short = lived and time.monotonic() - began < LIVED_SECONDS
            pause = min(pause * 2, PAUSES[1]) if short else PAUSES[0]
            await asyncio.sleep(pause)

    async def _live(self) -> tuple[str, bool]:
        """One incarnation, if there can be one. Why it ended, and whether there was one."""
        if time.monotonic() < self._away_until:
            return await self._stay_away(), False
        try:
            me, peers = self._online()
            await self._renew(me.number)
            transport, settings = self._make_transport(me, peers)
            await self._take_node_lock(me.number)
            incarnation = _next_incarnation()
            messenger = Messenger(me, peers, incarnation, self._locks, transport, self._exchange, settings)
        except O2cbError as error:
            return str(error), False
        self._ended.clear()
        self._exchange.begin(me.number, messenger)
        self._transport, self._said = transport, ""
        journal.write(f"joins the bus as incarnation {incarnation}")
        watching = asyncio.ensure_future(self._watch(messenger))
        try:
            reason = await messenger.run()
        except O2cbError as error:
            return str(error), False
        finally:
            watching.cancel()
            self._transport = None
        if messenger.core.later:
            # The one after it can be what the others have heard of.
            files.write(INCARNATION, f"{messenger.core.later + 1}\n")
        if reason == effects.DECLARED_DOWN:
            _reset_node(reason)
        return reason, True

    async def _stay_away(self) -> str:
        """Until the node has left the cluster, or long enough."""
        while time.monotonic() < self._away_until:
            try:
                self._online()
            except O2cbError:
                self._away_until = 0.0
                break
            await asyncio.sleep(LOOK_SECONDS)
        return "the node was to leave the cluster"

    def _make_transport(self, me: Peer, peers: Mapping[int, Peer]) -> tuple[Transport, BusSettings]:
        settings = self._settings()
        self._carried = (settings.transport, settings.port)
        cluster = _cluster()
        patience = _patience(cluster.timeouts)
        if settings.transport == COROSYNC:
            transport, limits = _by_corosync(me, peers, cluster)
        else:
            transport, limits = Tcp(me, peers, credentials.load(), settings.port), BusSettings()
        return transport, limits._replace(evict_after=patience)

    async def _renew(self, number: int) -> bool:
        if self._settings().transport == COROSYNC:
            return False
        if not credentials.present():
            raise O2cbError("this node has no certificate: run role ocfs2.o2cb.agent")
        renewed = await asyncio.get_running_loop().run_in_executor(None, authority.renew, number)
        if renewed:
            journal.write("this node's certificate is renewed")
        return renewed

    async def _take_node_lock(self, number: int) -> None:
        name = f"{effects.NODE}-{number}"
        answer, _descriptors = await self._locks.take(name, NODE_LOCK_SECONDS, owner="the node is in the cluster")
        if not answer["held"]:
            raise O2cbError(f"lock {name} of this very node could not be had: {answer.get('reason')}")

    async def _watch(self, messenger: Messenger) -> None:
        """What changes while it lives: the nodes of the cluster, the side that decides, the certificate."""
        renewal = time.monotonic() + RENEW_SECONDS
        turns = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._exchange.look()
            turns += 1
            if turns % KNOW_TURNS:
                continue
            try:
                messenger.know(self._online()[1])
                if time.monotonic() > renewal:
                    renewal = time.monotonic() + RENEW_SECONDS
                    if await self._renew(messenger.core.node):
                        await self.reload()
            except O2cbError as error:
                if not messenger.core.links:
                    messenger.stop()
                journal.write(f"on the bus, and {error}", journal.WARNING)

    # what the agent wants

    async def reload(self) -> None:
        """Use certificates that have changed, or another transport, which only a new incarnation can."""
        settings, messenger = self._settings(), self._exchange.messenger
        if messenger is not None and self._carried != (settings.transport, settings.port):
            messenger.stop()
            return
        if isinstance(self._transport, Tcp):
            try:
                await self._transport.renew(credentials.load())
            except O2cbError as error:
                journal.write(f"the certificates stay what they were: {error}", journal.WARNING)

    async def leave(self, seconds: float) -> None:
        """Off the bus, and without the locks of the agent itself, so that the node can leave the cluster."""
        self._away_until = time.monotonic() + STAY_AWAY_SECONDS
        messenger = self._exchange.messenger
        if messenger is not None:
            messenger.stop()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), seconds)
        for name in await self._locks.held():
            if name.startswith(f"{effects.NODE}-"):
                await self._locks.release(name)

    def works(self) -> bool:
        """Whether the bus of this process makes progress, if there is one."""
        messenger = self._exchange.messenger
        return messenger is None or messenger.works()


def _cluster() -> Cluster:
    """As it is in the kernel. Raises O2cbError when the node is not online."""
    live = observe.live(())
    if live is None:
        raise O2cbError("this node is not online in an o2cb cluster: see `systemctl status o2cb`")
    return live.cluster


def _patience(timeouts: Timeouts) -> float:
    """For so many seconds a member that nobody hears is o2cb's to judge, and its own watchdog's: then it has to go."""
    return max(timeouts.verdict_seconds, service.WATCHDOG_SECONDS + SILENCE_SECONDS) + GRACE_SECONDS


def _by_corosync(me: Peer, peers: Mapping[int, Peer], cluster: Cluster) -> tuple[Transport, BusSettings]:
    """Raises O2cbError when corosync's token does not fit to the timeouts of o2cb."""
    token = corosync.token_of(files.read(corosync.PATH) or "")
    problems = list(corosync.timeout_problems(token, cluster.timeouts))
    if problems:
        raise O2cbError(join_problems(problems))
    return Cpg(me, peers, cluster.name, token), cpg.bus_settings(token)


def _next_incarnation() -> int:
    """Larger than all before, whatever the clock says, and also when the file was lost."""
    text = (files.read(INCARNATION) or "").strip()
    found = max(int(text) + 1 if text.isdigit() else 1, int(time.time() * 1000))
    files.write(INCARNATION, f"{found}\n")
    return found


def _reset_node(reason: str) -> None:
    """At once, as o2cb does it: nothing is written any more, and nothing is waited for."""
    journal.write(f"this node is reset: {reason}", journal.ALERT)
    time.sleep(0.2)
    with open(SYSRQ, "w", encoding="ascii") as trigger:
        trigger.write("b")
