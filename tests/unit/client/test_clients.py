# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two clients of the bus against the agent's real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import listener as listener_module
from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import server as server_module
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client import protocol
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.agent import Client
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.aio import AsyncClient

LARGE = os.urandom(1 << 20) * 4
"""4 MiB, many entries of the bus."""


def run(work: Awaitable[Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))  # type: ignore[arg-type]


# both flavours say the same


def test_a_message_comes_to_listeners_on_every_node_at_its_position(agents):
    listening = [Client(agents.socket(node)).listen(["news"]) for node in (1, 2, 3)]
    with Client(agents.socket(2)) as client:
        position = client.send("news", b"text")
    for one in listening:
        event = one.next(5)
        assert (event.data, event.facts["node"], event.facts["position"]) == (b"text", 2, position)


def test_a_stream_begins_at_what_was_given_out_however_far_the_core_is(agents):
    def core_is_ahead() -> None:
        agents.exchanges[1].messenger.core.view.position += 5

    told = agents.position
    agents.call(core_is_ahead)
    listening = Client(agents.socket(1)).listen(["news"])
    with Client(agents.socket(2)) as client:
        position = client.send("news", b"text")
    assert (listening.position, listening.next(5).facts["position"]) == (told, position)
    assert position > listening.position, "what its beginning holds does not come once more"


def test_an_agent_that_was_not_told_of_its_own_join_has_nothing_to_listen_to(agents):
    def begin() -> None:
        exchange = agents.exchanges[1]
        exchange.begin(1, exchange.messenger)

    agents.call(begin)
    with pytest.raises(O2cbError, match="about to join"):
        Client(agents.socket(1)).listen(["news"])


def test_the_asyncio_client_sends_and_listens(agents):
    async def talk() -> None:
        async with AsyncClient(agents.socket(1)) as bus, bus.listen(["news"]) as listening:
            assert listening.node == 1
            assert listening.members == {1: 7, 2: 7, 3: 7}
            position = await bus.send("news", b"text")
            event = await listening.next(5)
            assert event is not None
            assert (event.data, event.facts["node"], event.facts["position"]) == (b"text", 1, position)

    run(talk())


def test_many_messages_of_one_asyncio_client_are_under_way_side_by_side_and_come_in_order(agents):
    async def talk() -> list[bytes]:
        async with AsyncClient(agents.socket(1)) as bus, bus.listen(["news"]) as listening:
            await asyncio.gather(*(bus.send("news", b"%d" % number) for number in range(500)))
            found = []
            async for event in listening:
                found.append(event.data)
                if len(found) == 500:
                    return found
        return []

    assert run(talk()) == [b"%d" % number for number in range(500)]


def test_large_data_comes_whole(agents):
    listening = Client(agents.socket(3)).listen(["large"])
    with Client(agents.socket(1)) as client:
        client.send("large", LARGE)
        assert listening.next(20).data == LARGE

        async def talk() -> None:
            async with AsyncClient(agents.socket(1)) as bus, bus.listen(["large"]) as others:
                await bus.send("large", LARGE)
                event = await others.next(20)
                assert event is not None
                assert event.data == LARGE

        run(talk())


def answer_as(agents: Any, node: int, count: int) -> threading.Thread:
    listening = Client(agents.socket(node)).listen(["work"])

    def serve() -> None:
        with Client(agents.socket(node)) as client:
            for _turn in range(count):
                event = listening.next(10)
                client.answer("work", event.question, b"from %d: " % node + event.data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_a_question_collects_one_answer_of_each_node_and_says_who_was_silent(agents):
    threads = [answer_as(agents, node, 2) for node in (1, 2)]
    with Client(agents.socket(3)) as client:
        found = client.question("work", b"x", seconds=1)
    assert found.answers == {1: b"from 1: x", 2: b"from 2: x"}
    assert (found.missing, found.down) == ((3,), ())

    async def talk() -> Any:
        async with AsyncClient(agents.socket(3)) as bus:
            return await bus.question("work", b"y", to=[1, 2], seconds=5)

    found = run(talk())
    assert found.answers == {1: b"from 1: y", 2: b"from 2: y"}
    assert not found.missing
    for thread in threads:
        thread.join(5)


def test_nodes_can_be_named_and_are_named_by_the_agent(agents):
    others = [Client(agents.socket(node)).listen(["news"], events=True) for node in (1, 2, 3)]
    assert others[0].names == {1: "node1", 2: "node2", 3: "node3"}
    with Client(agents.socket(3)) as client:
        position = client.send("news", b"x", to=["node2", 1])
        with pytest.raises(O2cbError, match="no node 'node9' in the cluster: known are node1, node2, node3"):
            client.send("news", b"x", to=["node9"])
        with pytest.raises(O2cbError, match="no node True"):
            client.send("news", b"x", to=[True])
        assert client.question("news", b"x", to=["2"], seconds=0.1).names == {2: "node2"}
    for one in others[:2]:
        event = one.next(5)
        assert (event.facts["position"], event.facts["name"], event.name) == (position, "node3", "node3")
    agents.end(2)
    facts = others[2].next(5).facts
    assert (facts["event"], facts["node"], facts["name"]) == ("agent_down", 2, "node2")


def test_a_node_that_goes_down_before_it_answers_is_told(agents):
    threading.Timer(0.3, agents.end, [2]).start()
    with Client(agents.socket(3)) as client:
        assert client.question("work", b"x", to=[2], seconds=20).down == (2,)


def test_a_message_that_does_not_become_stable_ends_at_its_deadline(agents):
    agents.hold_back(True)
    started = time.monotonic()
    with Client(agents.socket(1)) as client, pytest.raises(O2cbError, match="may still do so"):
        client.send("news", b"x", seconds=0.3)

    async def talk() -> None:
        async with AsyncClient(agents.socket(1)) as bus:
            with pytest.raises(O2cbError, match="may still do so"):
                await bus.send("news", b"y", seconds=0.3)
            agents.held_back = False
            assert await bus.ask("members")

    run(talk())
    assert time.monotonic() - started < 5


def test_events_are_told_with_their_positions(agents):
    listening = Client(agents.socket(1)).listen([], events=True)
    agents.end(2, node_too=True)
    agents.join(2)
    found = [listening.next(5).facts for _turn in range(3)]
    assert [(one["event"], one["node"]) for one in found] == [("agent_down", 2), ("node_down", 2), ("agent_up", 2)]
    assert [one["position"] for one in found] == [101, 102, 103]


def test_a_listener_that_reads_too_slowly_is_told_and_let_go(agents, monkeypatch):
    monkeypatch.setattr(listener_module, "MOST_EVENTS", 50)
    listening = Client(agents.socket(1)).listen(["news"])
    listening._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    with Client(agents.socket(1)) as client:
        for _turn in range(140):
            client.send("news", bytes(60_000))
    seen = []

    def read_all() -> None:
        for event in listening:
            seen.append(event.facts)

    with pytest.raises(O2cbError, match="gone"):
        read_all()
    assert seen[-1]["event"] == "overrun"
    assert "too slowly" in seen[-1]["error"]
    positions = [facts["position"] for facts in seen[:-1]]
    assert positions == list(range(positions[0], positions[0] + len(positions))), "no gap before the end"


def test_the_end_of_the_agent_is_told_to_a_listener_in_both_flavours(agents):
    listening = Client(agents.socket(1)).listen(["news"])

    async def talk() -> list[str]:
        seen = []
        async with AsyncClient(agents.socket(1)) as bus, bus.listen(["news"]) as others:
            asyncio.get_running_loop().call_later(0.2, lambda: threading.Thread(target=agents.end, args=[1]).start())
            try:
                async for event in others:
                    seen.append(event.facts["event"])
            except O2cbError as error:
                seen.append(str(error))
        return seen

    seen = run(talk())
    assert seen[0] == "left"
    assert "begin anew" in seen[1]
    assert listening.next(5).facts["event"] == "left"
    with pytest.raises(O2cbError, match="begin anew"):
        listening.next(5)


# an agent that misbehaves


def play(path: Path, talking: Callable[[socket.socket], None]) -> str:
    """An agent of one connection after the other, each as `talking` says."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path / "played"))
    server.listen(5)

    def serve() -> None:
        while True:
            connection, _address = server.accept()
            with connection:
                talking(connection)

    threading.Thread(target=serve, daemon=True).start()
    return str(path / "played")


def test_an_agent_that_says_nothing_is_not_waited_for_longer_than_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "SECONDS", 0.3)
    path = play(tmp_path, lambda connection: time.sleep(2))
    started = time.monotonic()
    with pytest.raises(O2cbError, match="did not answer"):
        Client(path).ask("members")

    async def talk() -> None:
        async with AsyncClient(path) as bus:
            with pytest.raises(O2cbError, match="did not answer"):
                await bus.exchange(protocol.Request("members", b"", {}, 0.3))

    run(talk())
    assert time.monotonic() - started < 4


def test_an_agent_that_answers_a_byte_at_a_time_is_not_waited_for_longer_than_asked(tmp_path):
    def drip(connection: socket.socket) -> None:
        connection.recv(1000)
        with contextlib.suppress(OSError):
            for _turn in range(40):
                connection.send(b" ")
                time.sleep(0.1)

    client = Client(play(tmp_path, drip))
    started = time.monotonic()
    with pytest.raises(O2cbError, match="did not answer"):
        client.exchange(protocol.Request("members", b"", {}, 0.5))
    assert time.monotonic() - started < 2


def test_after_a_missed_answer_the_next_call_gets_its_own(tmp_path):
    def late(connection: socket.socket) -> None:
        request = json.loads(connection.recv(1000))
        time.sleep(request.get("sleep", 0))
        try:
            connection.send(json.dumps({"text": request["text"]}).encode() + b"\n")
        except OSError:
            return

    client = Client(play(tmp_path, late))
    with pytest.raises(O2cbError, match="did not answer"):
        client.exchange(protocol.Request("echo", b"", {"text": "one", "sleep": 0.6}, 0.2))
    assert client.ask("echo", text="two") == {"text": "two"}


def test_a_client_that_was_let_go_of_connects_again(agents, monkeypatch):
    monkeypatch.setattr(server_module, "IDLE_SECONDS", 0.2)
    with Client(agents.socket(1)) as client:
        client.ask("members")
        time.sleep(0.6)
        assert client.ask("members")["node"] == 1

    async def talk() -> None:
        async with AsyncClient(agents.socket(1)) as bus:
            await bus.ask("members")
            await asyncio.sleep(0.6)
            assert (await bus.ask("members"))["node"] == 1

    run(talk())


def test_without_an_agent_both_say_what_to_do(tmp_path):
    with pytest.raises(O2cbError, match=r"run role ocfs2\.o2cb\.agent"):
        Client(str(tmp_path / "none"))

    async def talk() -> None:
        async with AsyncClient(str(tmp_path / "none")):
            pass

    with pytest.raises(O2cbError, match=r"run role ocfs2\.o2cb\.agent"):
        run(talk())


def test_an_asyncio_request_that_is_cancelled_does_not_shift_the_answers(agents):
    async def talk() -> None:
        async with AsyncClient(agents.socket(1)) as bus:
            agents.held_back = True
            waiting = asyncio.ensure_future(bus.send("news", b"x", seconds=1))
            await asyncio.sleep(0.1)
            waiting.cancel()
            agents.held_back = False
            assert (await bus.ask("members"))["node"] == 1
            with pytest.raises(O2cbError, match="no operation"):
                await bus.ask("nonsense")

    run(talk())


def test_what_the_agent_refuses_is_an_error_with_its_words(agents):
    with Client(agents.socket(1)) as client, pytest.raises(O2cbError, match="channel ''"):
        client.send("", b"x")
    with Client(agents.socket(1)) as client, pytest.raises(O2cbError, match="nothing is asked for"):
        client.listen([])
    with Client(agents.socket(1)) as client:
        client.listen(["news"])
        with pytest.raises(O2cbError, match="another Client"):
            client.ask("members")
