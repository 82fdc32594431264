# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's parts that need no cluster: its socket, its journal, its frames, its way with the parts of a resource."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import os
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import server, service
from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent.configuration import Settings
from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent.server import Server, Verbs
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import journal
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources import announce, runner
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.actions import Actions
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.election import State
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.resource import Commands, Resource
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.runner import Runner


async def echo(message: dict[str, Any]) -> dict[str, Any]:
    return {"text": message["text"]}


async def refuse(_message: dict[str, Any]) -> dict[str, Any]:
    raise O2cbError("no")


def talk(path: Path, talking: Callable[[Server, str], Awaitable[None]]) -> None:
    """Let something talk to a server."""

    async def run() -> None:
        verbs = Verbs({"echo": echo, "refuse": refuse}, {}, frozenset({"echo"}), frozenset())
        served = Server(verbs, str(path / "socket"))
        await served.open()
        try:
            await asyncio.wait_for(talking(served, str(path / "socket")), 20)
        finally:
            served.close()

    asyncio.run(run())


async def ask(path: str, data: bytes) -> list[Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    answers = [json.loads(line) for line in (await reader.read()).splitlines()]
    writer.close()
    return answers


def test_each_request_is_answered_whatever_it_is(tmp_path):
    async def talking(_served: Server, path: str) -> None:
        good = b'{"op": "echo", "text": "x"}\n'
        assert await ask(path, good + good) == [{"text": "x"}] * 2
        assert await ask(path, b'{"op": "refuse"}\n') == [{"error": "no"}]
        assert await ask(path, b'{"op": "echo"}\n') == [{"error": "bad request: KeyError('text')"}]
        assert await ask(path, b'{"op": ["echo"]}\n') == [{"error": "there is no operation ['echo']"}]
        for nonsense in (b"\n", b"[]\n", b"\xff\n", b"[" * 60000 + b"\n"):
            assert "this is no request" in (await ask(path, nonsense + good))[0]["error"]
        assert "longer than" in (await ask(path, b"x" * 100000))[0]["error"]
        assert await ask(path, b'{"op": "echo"') == [], "an end in the middle is no request"

    talk(tmp_path, talking)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_no_bytes_disturb_the_next_client(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]) -> None:
    async def talking(_served: Server, path: str) -> None:
        await ask(path, b"\n".join(chunks))
        assert await ask(path, b'{"op": "echo", "text": 1}\n') == [{"text": 1}]

    talk(tmp_path_factory.mktemp("fuzz"), talking)


def test_one_who_is_slow_keeps_nobody_and_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.3)

    async def talking(_served: Server, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"op":')
        assert await ask(path, b'{"op": "echo", "text": 1}\n') == [{"text": 1}]
        assert await reader.read() == b""
        writer.close()

    talk(tmp_path, talking)


def test_clients_that_go_away_amid_answers_are_no_fault(tmp_path):
    async def talking(_served: Server, path: str) -> None:
        complaints: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: complaints.append(what["message"]))
        for size in (10, 1000, 20000):
            _reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"op": "echo", "text": "%s"}\n' % (b"x" * size) * 200 + b'{"op": "echo", "length": 10}\n')
            await asyncio.sleep(0.2)
            writer.transport.abort()
            await asyncio.sleep(0.2)
            gc.collect()
        assert complaints == []

    talk(tmp_path, talking)


def test_there_is_an_end_to_connections(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)

    async def talking(_served: Server, path: str) -> None:
        kept = [await asyncio.open_unix_connection(path) for _number in range(2)]
        await asyncio.sleep(0.1)
        assert "connections are open already" in (await ask(path, b""))[0]["error"]
        for _reader, writer in kept:
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.1)
        assert await ask(path, b'{"op": "echo", "text": 1}\n') == [{"text": 1}]

    talk(tmp_path, talking)


@pytest.mark.parametrize(
    ("settings", "verb", "why"),
    [
        (Settings(), "echo", "you may not ask"),
        (Settings(read_group="staff"), "echo", ""),
        (Settings(read_group="staff"), "refuse", "you may look, and not refuse"),
        (Settings(full_group="staff"), "refuse", "no"),
        (Settings(read_group="others"), "echo", "you may not ask"),
    ],
)
def test_who_may_ask_is_decided_by_the_kernels_word_and_the_groups(tmp_path, monkeypatch, settings, verb, why):
    monkeypatch.setattr(server, "_CREDENTIALS", _Somebody())
    monkeypatch.setattr(server, "_groups", lambda uid, gid: frozenset({"staff"}))

    async def talking(served: Server, path: str) -> None:
        served.allow(settings)
        mode = os.stat(path).st_mode & 0o777
        assert mode == (0o600 if settings == Settings() else 0o666)
        answer = (await ask(path, json.dumps({"op": verb, "text": 1}).encode() + b"\n"))[0]
        assert why in answer.get("error", "")

    talk(tmp_path, talking)


class _Somebody:
    """Credentials of a user who is not root."""

    size = struct.calcsize("3i")

    def unpack(self, _data: bytes) -> tuple[int, int, int]:
        return 1, 1000, 1000


def test_a_message_of_the_journal_has_its_fields_and_no_value_can_forge_one():
    found = journal.message("two\nPRIORITY=0", journal.ALERT, {"RESOURCE": "web"})
    assert found.startswith(b"MESSAGE\n" + struct.pack("<Q", 14) + b"two\nPRIORITY=0\n")
    assert b"\nPRIORITY=1\n" in found
    assert found.endswith(b"O2_RESOURCE=web\n")


def test_arp_asks_as_a_probe_and_knows_the_answer_of_another_machine():
    own, other = b"\x52\x54\0\0\0\1", b"\x52\x54\0\0\0\2"
    address = ipaddress.ip_address("192.0.2.10").packed
    probe = announce.arp(own, b"\0" * 4, address)
    assert probe[:14] == b"\xff" * 6 + own + b"\x08\x06"
    assert len(probe) == 42
    assert announce.answers(announce.arp(other, address, address), address, own) == "52:54:00:00:00:02"
    assert announce.answers(announce.arp(own, address, address), address, own) == "", "our own"
    assert announce.answers(announce.arp(other, b"\1\2\3\4", address), address, own) == "", "another address"
    assert announce.answers(probe[:20], address, own) == ""


def test_an_advertisement_overrides_what_others_remember():
    found = announce.advertisement(ipaddress.ip_address("2001:db8::1").packed, b"\x52\x54\0\0\0\1")
    assert (found[0], found[4] & 0x20, len(found)) == (136, 0x20, 32)
    assert found[24:26] == b"\x02\x01", "the option with the hardware address"


def test_the_units_keep_services_and_stop_them_when_the_agent_does_not_come_back():
    assert "KillMode=process" in service.service()
    assert "OnFailure=o2agent-stop.service" in service.service()
    assert "/run/o2agent/o2cb.pyz o2agent-stop" in service.stop_service()
    assert "ConditionPathExists=/run/o2agent/o2cb.pyz\n" in service.stop_service()


def commands(path: Path, check: str, stop: str = "true") -> Commands:
    shell = ("/bin/sh", "-c")
    return Commands((*shell, f"touch {path}/runs"), (*shell, stop), (*shell, check), check_timeout=1)


@pytest.mark.parametrize(
    ("check", "state"),
    [
        ("exit 0", State.RUNS),
        ("exit 3", State.STOPPED),
        ("exit 7", State.STOPPED),
        ("exit 1", State.UNKNOWN),
        ("exec sleep 5", State.UNKNOWN),
    ],
)
def test_what_a_check_says_and_does_not_say(tmp_path, check, state):
    assert asyncio.run(Actions().state(commands(tmp_path, check))) is state


def test_a_stop_that_is_not_proved_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.actions.PROOF_SECONDS", 0.2)
    check = f"test -e {tmp_path}/runs || exit 3"
    actions = Actions()
    asyncio.run(actions.start(commands(tmp_path, check), {}))
    with pytest.raises(O2cbError, match="may still run"):
        asyncio.run(actions.stop(commands(tmp_path, check), {}))
    asyncio.run(actions.stop(commands(tmp_path, check, f"rm {tmp_path}/runs"), {}))
    with pytest.raises(O2cbError, match="ended with 5: why"):
        asyncio.run(actions.stop(commands(tmp_path, check, "echo why >&2; exit 5"), {}))
    with pytest.raises(O2cbError, match="No such file"):
        asyncio.run(actions.start(Commands(("/none",), ("/none",), ("/none",)), {}))


class Keeper:
    """o2keep of one node, as far as a runner asks it."""

    def __init__(self) -> None:
        self.held: dict[str, Any] | None = None
        self.free = True
        self.wisher: dict[str, Any] | None = None
        self.told: list[tuple[str, int | None]] = []
        """Who is made to look, by node number, or all."""
        self.tokens = 0
        self.labels: list[str] = []

    async def held_lock(self, _name: str) -> dict[str, Any] | None:
        return self.held

    async def who(self, name: str, _seconds: float = 0) -> dict[str, Any] | None:
        if name.startswith("wish:"):
            return self.wisher
        return None if self.free or self.held else {"node": 2, "owner": ""}

    async def take(self, _name: str, wait: float, **_more: Any) -> tuple[dict[str, Any], list[int]]:
        if not self.free:
            await asyncio.sleep(wait)
            return {"held": False, "reason": "busy", "holder": None}, []
        self.tokens += 1
        self.held = {"token": self.tokens, "owner": ""}
        return {"held": True, "token": self.tokens}, []

    async def release(self, _name: str, token: int) -> bool:
        assert self.held is not None
        assert token == self.held["token"]
        self.held = None
        return True

    async def label(self, _name: str, owner: str) -> None:
        self.labels.append(owner)
        if self.held:
            self.held["owner"] = owner


class Parts:
    """Parts that do as they are told, but for those that do not."""

    def __init__(self, keeper: Keeper) -> None:
        self.running: set[str] = set()
        self.log: list[str] = []
        self.fails: set[str] = set()
        self.sticks: set[str] = set()
        self._keeper = keeper

    async def state(self, part: Any) -> State:
        return State.RUNS if str(part) in self.running else State.STOPPED

    async def start(self, part: Any, environment: Any) -> None:
        assert self._keeper.held, "nothing starts without its lock"
        assert environment["O2_LOCK_TOKEN"] == str(self._keeper.held["token"])
        self.log.append(f"start {part}")
        if str(part) in self.fails:
            raise O2cbError("it is broken")
        self.running.add(str(part))

    async def stop(self, part: Any, _environment: Any) -> None:
        self.log.append(f"stop {part}")
        if str(part) in self.sticks:
            raise O2cbError("it does not listen")
        self.running.discard(str(part))


ONE, TWO = (Commands((f"/{name}",), ("/x",), ("/x",)) for name in ("one", "two"))
BOTH = Resource("both", (ONE, TWO), check_interval=0.05, attempts=2, backoff=600)


@pytest.fixture
def held_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runner, "HELD", str(tmp_path))
    return tmp_path


def watch(
    watching: Callable[[Runner, Keeper, Parts, Callable[[Callable[[], bool]], Awaitable[None]]], Awaitable[None]],
    resource: Resource | None = BOTH,
    prepare: Callable[[Keeper, Parts], None] = lambda keeper, parts: None,
) -> None:
    """Let a runner run on node1, and look at it."""

    async def until(done: Callable[[], bool]) -> None:
        for _attempt in range(500):
            if done():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come to that")

    async def run() -> None:
        keeper = Keeper()
        parts = Parts(keeper)
        prepare(keeper, parts)
        nodes = {"node1": 1, "node2": 2}
        told = keeper.told.append
        one = Runner("both", resource, keeper, parts, lambda: nodes, "node1", lambda *what: told(what))  # type: ignore[arg-type]
        task = asyncio.ensure_future(one.run())
        try:
            await watching(one, keeper, parts, until)
            assert not task.done() or task.exception() is None
        finally:
            task.cancel()

    asyncio.run(run())


def test_a_resource_starts_in_order_and_stops_in_the_reverse(held_here):
    async def watching(one, keeper, parts, until):
        await until(lambda: parts.running == {"/one", "/two"})
        assert one.facts()["state"] in ("runs here", "starts")
        one.memory.drained = True
        one.poke()
        await until(lambda: keeper.told)
        assert keeper.held is None
        assert parts.log == ["start /one", "start /two", "stop /two", "stop /one"]
        assert keeper.told == [("both", None)], "all are to see that it is free"

    watch(watching)


def test_the_next_agent_touches_nothing_that_is_as_it_should(held_here):
    def prepare(keeper: Keeper, parts: Parts) -> None:
        keeper.held = {"token": 7, "owner": ""}
        parts.running = {"/one", "/two"}
        (held_here / "both").write_text(BOTH.as_definition())

    async def watching(one, keeper, parts, until):
        await until(lambda: one.facts()["runs"])
        await asyncio.sleep(0.3)
        assert (parts.log, one.facts()["token"]) == ([], 7)

    watch(watching, prepare=prepare)


def test_what_was_configured_otherwise_is_stopped_as_it_was_started(held_here):
    def prepare(keeper: Keeper, parts: Parts) -> None:
        keeper.held = {"token": 7, "owner": ""}
        parts.running = {"/one", "/two"}
        (held_here / "both").write_text(BOTH.as_definition())

    async def watching(one, keeper, parts, until):
        await until(lambda: keeper.held is None)
        assert parts.log == ["stop /two", "stop /one"]
        await until(lambda: not (held_here / "both").exists())

    watch(watching, None, prepare)


def test_parts_that_are_defined_otherwise_are_stopped_as_they_were_and_the_new_ones_started(held_here):
    async def watching(one, keeper, parts, until):
        await until(lambda: len(parts.running) == 2)
        tokens = keeper.tokens
        one.resource = Resource("both", (ONE,), check_interval=0.05)
        one.poke()
        await until(lambda: parts.log[-3:] == ["stop /two", "stop /one", "start /one"])
        assert keeper.tokens == tokens, "the lock was not let go of"
        await until(lambda: one.facts()["runs"])

    watch(watching)


def test_what_runs_without_its_lock_is_stopped(held_here):
    def prepare(keeper: Keeper, parts: Parts) -> None:
        keeper.free = False
        parts.running = {"/two"}

    async def watching(one, keeper, parts, until):
        await until(lambda: not parts.running)
        assert parts.log == ["stop /two"]
        await until(lambda: one.facts()["state"] == "on node2")

    watch(watching, prepare=prepare)


def test_a_stop_that_fails_keeps_the_lock_and_says_so(held_here, monkeypatch):
    monkeypatch.setattr("ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.election.STUCK_SECONDS", 0.2)

    async def watching(one, keeper, parts, until):
        await until(lambda: len(parts.running) == 2)
        parts.sticks = {"/one"}
        one.memory.drained = True
        one.poke()
        await until(lambda: parts.log.count("stop /one") >= 2)
        assert keeper.held
        assert "so the lock stays here: it does not listen" in one.facts()["error"]
        parts.sticks = set()
        await until(lambda: keeper.held is None)

    watch(watching)


def test_what_fails_too_often_is_left_to_others_for_a_while(held_here):
    async def watching(one, keeper, parts, until):
        await until(lambda: keeper.tokens == 1 and keeper.held is None and "start /two" in parts.log)
        assert parts.log == ["start /one", "start /two", "start /two", "stop /one"]
        assert "it is broken" in one.facts()["error"]
        assert 500 < one.facts()["retry_in"] <= 600
        parts.fails = set()
        one.order("clear")
        await until(lambda: len(parts.running) == 2)

    watch(watching, prepare=lambda keeper, parts: parts.fails.add("/two"))


def test_a_part_that_ends_by_itself_is_started_again_and_counts_as_a_failure(held_here):
    async def watching(one, keeper, parts, until):
        await until(lambda: len(parts.running) == 2)
        parts.running.discard("/two")
        await until(lambda: len(parts.running) == 2)
        assert len(one.memory.failures) == 1
        parts.running.discard("/two")
        await until(lambda: keeper.held is None)

    watch(watching)


def test_one_who_is_to_have_it_next_gets_it_from_the_holder_and_from_who_came_first(held_here):
    async def watching(one, keeper, parts, until):
        await until(lambda: len(parts.running) == 2)
        one.order("move", "node2")
        await until(lambda: keeper.labels == ["to node2"])
        keeper.wisher = {"node": 2, "owner": "move"}
        await until(lambda: keeper.held is None)
        tokens = keeper.tokens
        await asyncio.sleep(0.5)
        assert keeper.tokens == tokens, "it is left to the other node"
        assert keeper.told == [("both", None)], "of the order, and nobody is disturbed by the release"

    watch(watching)


def test_an_order_that_makes_no_sense_is_refused_in_words(held_here):
    async def watching(one, keeper, parts, until):
        await until(lambda: one.facts()["state"] == "on node2")
        with pytest.raises(O2cbError, match="there is no node 'node9'"):
            one.order("move", "node9")
        one.resource = Resource("both", (ONE,), nodes={"node1": 1})
        with pytest.raises(O2cbError, match="must not run on node2"):
            one.order("move", "node2")

    watch(watching, prepare=lambda keeper, parts: setattr(keeper, "free", False))
