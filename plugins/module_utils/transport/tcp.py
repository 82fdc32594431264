# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames over TCP with mutual TLS, one connection between each two nodes: the higher number dials.

The addresses are those of o2cb, so what the agents see of the network is what the kernel sees. Who accepts looks at the
certificate, which names the node, and at the address that it comes from; who dials, at the certificate. A peer that
sends what is no frame is logged, and its connection is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..base import journal, tasks
from ..base.errors import O2cbError
from ..bus import frames
from ..bus.frames import Echo, Frame, FrameError
from . import credentials
from .credentials import Credentials
from .links import SILENCE_SECONDS, Events, Peer

PULSE = Echo(0)
PULSE_SECONDS = 1.0
CONNECT_SECONDS = 5.0
PAUSES = (0.2, 5.0)
"""Seconds before the first repeated dial, and the most."""

MOST_HANDSHAKES = 64
"""So many strangers may be at the door at once; more wait in the kernel's queue."""

BACKLOG = 64
MOST_UNSENT = 64 << 20
"""Bytes that wait for a peer that does not read; then it is let go. The bus itself keeps far below this."""

RENEW_SECONDS = 0.5


class Link(asyncio.Protocol):
    """A connection to a peer that has proved who it is."""

    def __init__(self, owner: Tcp, expected: int = -1) -> None:
        self.node = expected
        self.up = False
        self.ended = asyncio.get_running_loop().create_future()
        """Its result says why, in words."""
        self.heard = self.sent = time.monotonic()
        self._owner, self._dialled = owner, expected >= 0
        self._unpacker = frames.Unpacker()
        self._transport: asyncio.Transport | None = None
        self._why = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE_SECONDS * 1000))
        found = credentials.node_of(transport.get_extra_info("peercert"))
        problem = self._owner.problem(found, self.node, transport.get_extra_info("peername"))
        if problem:
            self.end(problem)
            return
        self.node = found
        # Who dials learns only by this that it was let in.
        self.write([PULSE])
        if not self._dialled:
            self._owner.came_up(self)

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        if not self.up and self._dialled and not self._why:
            self._owner.came_up(self)
        try:
            received = self._unpacker.feed(data)
        except FrameError as error:
            self.end(f"what it sent is no message of an agent: {error}")
            return
        if self.up:
            self._owner.events.received(self.node, received)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.went_down(self)
        if not self.ended.done():
            self.ended.set_result(self._why or (_words(exc) if exc else "the other side has closed the connection"))

    def write(self, given: Sequence[Frame]) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.sent = time.monotonic()
        transport.write(b"".join(map(frames.pack, given)))
        if transport.get_write_buffer_size() > MOST_UNSENT:
            self.end("it does not read what it is sent")

    def end(self, why: str) -> None:
        """Drop it at once."""
        self._why = self._why or why
        if self._transport is not None:
            self._transport.abort()


class Tcp:
    """All links of this node."""

    def __init__(self, me: Peer, peers: Mapping[int, Peer], given: Credentials, port: int) -> None:
        self.events: Events
        self._me, self._peers = me, dict(peers)
        self._credentials, self._port = given, port
        self._links: dict[int, Link] = {}
        self._dials: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._troubles: dict[int, str] = {}
        self._listener: socket.socket | None = None
        self._closed = False

    async def open(self, events: Events) -> None:
        self.events = events
        self._listener = self._listen()
        tasks.begin(self._accept(self._listener), self._tasks)
        tasks.begin(self._pulse(), self._tasks)
        self.know(self._peers)

    def know(self, peers: Mapping[int, Peer]) -> None:
        if self._closed:
            return
        for number in [number for number, peer in self._peers.items() if peers.get(number) != peer]:
            self._forget(number)
        self._peers = dict(peers)
        for number in self._peers:
            if number < self._me.number and number not in self._dials:
                self._dials[number] = asyncio.ensure_future(self._dial(number))

    def send(self, node: int, given: Sequence[Frame]) -> None:
        link = self._links.get(node)
        if link is not None:
            link.write(given)

    def troubles(self) -> dict[int, str]:
        return {
            number: self._troubles.get(number, "it has not called yet")
            for number in self._peers
            if number != self._me.number and number not in self._links
        }

    async def renew(self, given: Credentials) -> None:
        """Use these certificates from now on. Links that this node has dialled are made anew, one after the other."""
        self._credentials = given
        for number in sorted(self._dials):
            link = self._links.get(number)
            if link is not None:
                link.end("its certificate is renewed")
                await asyncio.sleep(RENEW_SECONDS)

    async def close(self) -> None:
        self._closed = True
        if self._listener is not None:
            self._listener.close()
        for link in list(self._links.values()):
            link.end("this agent leaves")
        await tasks.end([*self._dials.values(), *self._tasks])

    # what links tell

    def problem(self, found: int, expected: int, address: Any) -> str:
        """Why a peer with the certificate of node `found` is not let in; nothing when it is."""
        peer = self._peers.get(found)
        if self._closed:
            return "this agent leaves"
        if found < 0 or peer is None:
            return f"its certificate is for {'node ' + str(found) if found >= 0 else 'no node'}, which is none of ours"
        if expected >= 0 and found != expected:
            return f"node {found} answers where node {expected} should"
        if expected < 0 and (found <= self._me.number or address[0] != peer.address):
            return f"it has the certificate of {peer.name}, and comes from {address[0]}"
        return ""

    def came_up(self, link: Link) -> None:
        if self._closed:
            return
        old = self._links.get(link.node)
        if old is not None:
            self.went_down(old)
            old.end("a new connection takes its place")
        self._troubles.pop(link.node, None)
        self._links[link.node] = link
        link.up = True
        self.events.link_up(link.node)

    def went_down(self, link: Link) -> None:
        if link.up and self._links.get(link.node) is link:
            del self._links[link.node]
            link.up = False
            if not self._closed:
                self.events.link_down(link.node)

    # the loops

    def _forget(self, number: int) -> None:
        dial = self._dials.pop(number, None)
        if dial is not None:
            dial.cancel()
        link = self._links.get(number)
        if link is not None:
            link.end("its node is configured otherwise now")

    def _listen(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self._me.address, self._port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise O2cbError(
                f"{self._me.address} port {self._port}: {error.strerror}: set o2cb_agent_port to one that is free"
            ) from None
        return sock

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        door = asyncio.Semaphore(MOST_HANDSHAKES)
        while True:
            await door.acquire()
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError as error:
                journal.write(f"accepting a connection: {error.strerror}", journal.WARNING)
                door.release()
                await asyncio.sleep(PAUSES[0])
                continue
            tasks.begin(self._welcome(sock, address, door), self._tasks)

    async def _welcome(self, sock: socket.socket, address: Any, door: asyncio.Semaphore) -> None:
        """The handshake of one that has called. Then the link lives by itself."""
        loop = asyncio.get_running_loop()
        link = Link(self)
        why = ""
        try:
            await asyncio.wait_for(
                loop.connect_accepted_socket(lambda: link, sock, ssl=self._credentials.accepting), CONNECT_SECONDS
            )
        except (OSError, asyncio.TimeoutError) as error:
            sock.close()
            why = _words(error)
        finally:
            door.release()
        why = why or await link.ended
        name = self._peers[link.node].name if link.node in self._peers else "a connection"
        if not self._closed:
            if link.node >= 0:
                self._troubles.setdefault(link.node, why)
            self._say(link.node, f"{name} from {address[0]} ended: {why}")

    async def _dial(self, number: int) -> None:
        """Keep a link to a node of a lower number."""
        least, most = PAUSES
        pause = least
        while True:
            began = time.monotonic()
            peer = self._peers[number]
            why = await self._call(peer)
            if self._troubles.get(number) != why:
                self._say(number, f"no connection with {peer.name} ({peer.address} port {self._port}): {why}")
            self._troubles[number] = why
            pause = least if time.monotonic() - began > most else min(pause * 2, most)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _call(self, peer: Peer) -> str:
        """Why the link ended, or did not come about."""
        loop = asyncio.get_running_loop()
        link = Link(self, peer.number)
        try:
            await asyncio.wait_for(
                loop.create_connection(
                    lambda: link,
                    peer.address,
                    self._port,
                    local_addr=(self._me.address, 0),
                    ssl=self._credentials.dialling,
                    server_hostname=credentials.common_name(peer.number),
                ),
                CONNECT_SECONDS,
            )
        except (OSError, asyncio.TimeoutError) as error:
            return _words(error)
        try:
            return str(await link.ended)
        finally:
            link.end("")

    async def _pulse(self) -> None:
        """A sign of life on every quiet link, and an end to those that are silent. Own pauses do not count."""
        then = time.monotonic()
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            now = time.monotonic()
            late = now - then > 2 * PULSE_SECONDS
            then = now
            for link in list(self._links.values()):
                if late:
                    link.heard = now
                elif now - link.heard > SILENCE_SECONDS:
                    link.end(f"nothing came from it for {SILENCE_SECONDS:g} s")
                    continue
                if now - link.sent > PULSE_SECONDS / 2:
                    link.write([PULSE])

    def _say(self, node: int, text: str) -> None:
        with contextlib.suppress(OSError):
            journal.write(text, journal.WARNING, PEER=node)


def _words(error: BaseException) -> str:
    """What went wrong, for people."""
    if isinstance(error, asyncio.TimeoutError):
        return f"it did not answer within {CONNECT_SECONDS:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return f"TLS: {reason}"
    if isinstance(error, ConnectionResetError):
        return "it broke the connection off"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__
