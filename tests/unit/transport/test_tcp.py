# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links over TCP with certificates that openssl(1) has made: who is let in, and what becomes of those who are not.

Each agent has a loopback address of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import journal
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.frames import Ack, Frame, pack
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport import authority, credentials, tcp
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport.authority import Authority
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport.links import Peer
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport.tcp import Tcp

PORT = 17000 + os.getpid() % 8000
PEERS = {number: Peer(number, f"node{number}", f"127.22.0.{number}") for number in (1, 2, 3)}
SECONDS = 20.0
FRAMES = [Ack((1, 1, 1), number, 0) for number in range(500)]


@pytest.fixture(scope="session")
def ours() -> Authority:
    return authority.create("test")


@contextmanager
def files_of(path: Path, number: int, signing: Authority, trusted: list[Authority], days: int = 10) -> Iterator[None]:
    """The files of one node, where the code looks for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "TRUSTED", str(path / "trusted.crt"))
        patch.setattr(credentials, "OWN", str(path / "node.pem"))
        (path / "trusted.crt").write_text("".join(one.certificate for one in trusted))
        (path / "node.pem").write_text(authority.issue(number, signing, days))
        yield


class Told:
    """What a transport has told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.frames: list[Frame] = []
        self.changed = asyncio.Event()

    def link_up(self, node: int) -> None:
        self._tell(("up", node))

    def link_down(self, node: int) -> None:
        self._tell(("down", node))

    def received(self, node: int, frames: Any) -> None:
        self.frames += [frame for frame in frames if frame != tcp.PULSE]
        self.changed.set()

    def _tell(self, what: Any) -> None:
        self.events.append(what)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                self.changed.clear()
                await self.changed.wait()

        await asyncio.wait_for(wait(), SECONDS)


class World:
    """Agents that see one another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: list[Tcp] = []

    async def agent(self, number: int, signing: Authority, trusted: list[Authority], **more: Any) -> tuple[Tcp, Told]:
        directory = self.path / str(len(self.open))
        directory.mkdir()
        with files_of(directory, number, signing, trusted, **more):
            given = credentials.load()
        transport, told = Tcp(PEERS[number], PEERS, given, PORT), Told()
        await transport.open(told)
        self.open.append(transport)
        return transport, told


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[World], Awaitable[None]]], list[str]]:
    """Runs a scene, and returns what was logged."""
    logged: list[str] = []
    monkeypatch.setattr(journal, "write", lambda text, *_more, **_fields: logged.append(text))

    def run(scene: Callable[[World], Awaitable[None]]) -> list[str]:
        async def whole() -> None:
            world = World(tmp_path)
            try:
                await asyncio.wait_for(scene(world), 3 * SECONDS)
            finally:
                for transport in world.open:
                    await transport.close()

        asyncio.run(whole())
        return logged

    return run


def test_frames_come_in_their_order_and_a_link_that_ends_is_told_and_made_anew(play, ours):
    async def scene(world: World) -> None:
        one, told_one = await world.agent(1, ours, [ours])
        two, told_two = await world.agent(2, ours, [ours])
        await told_one.until(lambda: told_one.events == [("up", 2)])
        await told_two.until(lambda: told_two.events == [("up", 1)])
        one.send(2, FRAMES)
        two.send(1, FRAMES[:5])
        two.send(3, FRAMES)
        await told_two.until(lambda: told_two.frames == FRAMES)
        await told_one.until(lambda: told_one.frames == FRAMES[:5])
        assert set(two.troubles()) == {3}
        two._links[1].end("for the test")
        await told_one.until(lambda: told_one.events == [("up", 2), ("down", 2), ("up", 2)])
        await told_two.until(lambda: told_two.events == [("up", 1), ("down", 1), ("up", 1)])

    play(scene)


def test_a_certificate_of_another_authority_is_refused_on_both_sides(play, ours):
    foreign = authority.create("foreign")

    async def scene(world: World) -> None:
        _one, told_one = await world.agent(1, ours, [ours])
        two, told_two = await world.agent(2, foreign, [foreign, ours])
        while not two._troubles.get(1):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        assert (told_one.events, told_two.events) == ([], [])

    assert any("refused" in line for line in play(scene))


def test_an_expired_certificate_is_refused(play, ours):
    async def scene(world: World) -> None:
        _one, told_one = await world.agent(1, ours, [ours])
        two, told_two = await world.agent(2, ours, [ours], days=-1)
        while not two._troubles.get(1):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        assert (told_one.events, told_two.events) == ([], [])

    assert any("certificate has expired" in line for line in play(scene))


def test_a_node_that_calls_itself_another_is_refused(play, ours):
    async def scene(world: World) -> None:
        _one, told_one = await world.agent(1, ours, [ours])
        three, told_three = await world.agent(2, ours, [ours])
        await told_one.until(lambda: told_one.events == [("up", 2)])
        await three.close()
        with files_of(world.path, 3, ours, [ours]):
            given = credentials.load()
        liar = Tcp(PEERS[2], PEERS, given, PORT)
        world.open.append(liar)
        await liar.open(Told())
        while "it broke the connection off" not in liar._troubles.get(1, "") and "closed" not in liar._troubles.get(
            1, ""
        ):
            await asyncio.sleep(0.05)
        assert told_one.events == [("up", 2), ("down", 2)]
        assert told_three.events[0] == ("up", 1)

    assert any("it has the certificate of node3, and comes from 127.22.0.2" in line for line in play(scene))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (struct.pack("<I", 0), "0 bytes are no frame"),
        (struct.pack("<I", 0xFFFFFFFF), "longer than"),
        (struct.pack("<I", 2) + b"\x01\xff", "no kind of frame"),
        (struct.pack("<I", 2) + b"\x63\x00", "a frame of version 99"),
        (pack(FRAMES[0])[:-1] + b"x" + pack(FRAMES[0])[:2], ""),
    ],
)
def test_a_peer_that_sends_what_is_no_frame_is_let_go_and_others_go_on(play, ours, what, words):
    async def scene(world: World) -> None:
        one, told_one = await world.agent(1, ours, [ours])
        _three, told_three = await world.agent(3, ours, [ours])
        await told_one.until(lambda: told_one.events == [("up", 3)])
        with files_of(world.path, 2, ours, [ours]):
            context = credentials.load().dialling
        reader, writer = await asyncio.open_connection(
            PEERS[1].address, PORT, ssl=context, local_addr=(PEERS[2].address, 0), server_hostname="o2cb-node-1"
        )
        await told_one.until(lambda: ("up", 2) in told_one.events)
        writer.write(what)
        if words:
            await told_one.until(lambda: ("down", 2) in told_one.events)
        else:
            writer.close()
        one.send(3, FRAMES[:3])
        await told_three.until(lambda: told_three.frames == FRAMES[:3])
        assert ("down", 3) not in told_one.events
        assert reader

    logged = play(scene)
    assert not words or any(words in line for line in logged)


def test_a_stranger_without_a_certificate_and_one_who_says_nothing_are_let_go(play, ours, monkeypatch):
    monkeypatch.setattr(tcp, "CONNECT_SECONDS", 1.0)

    async def scene(world: World) -> None:
        _one, told_one = await world.agent(1, ours, [ours])
        silent = [await asyncio.open_connection(PEERS[1].address, PORT) for _stranger in range(100)]
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        own = ("127.22.0.2", 0)
        reader, _writer = await asyncio.open_connection(PEERS[1].address, PORT, ssl=context, local_addr=own)
        with contextlib.suppress(ssl.SSLError):
            assert await asyncio.wait_for(reader.read(), SECONDS) == b""
        await asyncio.wait_for(silent[0][0].read(), SECONDS)
        for _reader, writer in silent:
            writer.close()
        _two, told_two = await world.agent(2, ours, [ours])
        await told_two.until(lambda: told_two.events == [("up", 1)])
        assert told_one.events[0] == ("up", 2)

    assert any("certificate" in line for line in play(scene))


def test_certificates_are_exchanged_without_an_end_to_anything_but_the_links(play, ours):
    new = authority.create("new")

    async def scene(world: World) -> None:
        one, told_one = await world.agent(1, ours, [ours, new])
        two, told_two = await world.agent(2, ours, [ours, new])
        await told_two.until(lambda: told_two.events == [("up", 1)])
        (world.path / "new").mkdir()
        for transport, number in ((one, 1), (two, 2)):
            with files_of(world.path / "new", number, new, [new, ours]):
                await transport.renew(credentials.load())
        await told_two.until(lambda: told_two.events == [("up", 1), ("down", 1), ("up", 1)])
        two.send(1, FRAMES)
        await told_one.until(lambda: told_one.frames == FRAMES)
        issuer = two._links[1]._transport.get_extra_info("peercert")["issuer"]
        assert any("new" in value for part in issuer for _key, value in part)

    play(scene)


def test_a_port_that_is_taken_is_told(play, ours):
    async def scene(world: World) -> None:
        await world.agent(1, ours, [ours])
        with pytest.raises(O2cbError, match="set o2cb_agent_port"):
            await world.agent(1, ours, [ours])

    play(scene)
