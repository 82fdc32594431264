# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Agents and keepers of three nodes in this process: the real sockets and verbs, on a bus and locks that are played."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import message_verbs
from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent.exchange import Exchange
from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent.message_verbs import MessageVerbs
from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent.server import Server, Verbs
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import files, wire
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.settings import Settings
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.view import AGENT_DOWN, JOIN, MESSAGE, NODE_DOWN, Entry
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode, compatible, parse
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport.links import Peer

NODES = (1, 2, 3)


class Messenger:
    """A member of a bus that delivers to all at once, in the order in which messages are sent."""

    def __init__(self, agents: Agents, node: int) -> None:
        self._agents = agents
        view = SimpleNamespace(position=agents.position, absent={})
        self.core = SimpleNamespace(node=node, incarnation=7, history=(1, 7), settings=Settings(), view=view)
        self._counter = 0

    def is_member(self) -> bool:
        return True

    def decides(self) -> bool:
        return True

    def sequencer(self) -> int:
        return 1

    def waits(self) -> list[str]:
        return []

    def send(self, name: str, payload: bytes) -> int:
        self._counter += 1
        counter, node = self._counter, self.core.node
        entry = Entry(MESSAGE, node, 7, counter, name, payload)
        asyncio.get_running_loop().call_soon(self._agents.order, entry, node, counter)
        return counter


class Agents:
    """Of all nodes, served by a thread of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = 100
        self.held_back = False
        self._back: list[tuple[Entry, int, int]] = []
        self.exchanges: dict[int, Exchange] = {}
        self.servers: dict[int, Server] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._begin())

    def socket(self, node: int) -> str:
        return str(self._path / f"agent{node}")

    def run(self, work: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(30)

    def call(self, call: Callable[[], Any]) -> Any:
        async def called() -> Any:
            return call()

        return self.run(called())

    async def _begin(self) -> None:
        peers = {node: Peer(node, f"node{node}", f"10.0.0.{node}") for node in NODES}
        for node in NODES:
            exchange = self.exchanges[node] = Exchange(lambda node: f"node{node}")
            messages = MessageVerbs(exchange, lambda: peers)
            verbs = Verbs(messages.answers(), messages.streams(), message_verbs.READING, message_verbs.SIDE_BY_SIDE)
            self.servers[node] = Server(verbs, self.socket(node))
            await self.servers[node].open()
            exchange.begin(node, Messenger(self, node))  # type: ignore[arg-type]
        for node in NODES:
            self.exchanges[node].viewed(self.position, tuple((other, 7) for other in NODES))
            self.exchanges[node].look()

    def order(self, entry: Entry, sender: int = 0, counter: int = 0) -> None:
        """The next entry of the order, or a later one while the bus stands still."""
        if self.held_back:
            self._back.append((entry, sender, counter))
            return
        self.position += 1
        for exchange in self.exchanges.values():
            if exchange.messenger is not None:
                exchange.messenger.core.view.position = self.position
                exchange.delivered(self.position, entry)
        if sender:
            self.exchanges[sender].sent(counter, self.position)

    def hold_back(self, held: bool) -> None:
        """Let the bus stand still, as with a suspect member, or go on."""

        def change() -> None:
            self.held_back = held
            back, self._back = self._back, []
            for entry, sender, counter in back:
                self.order(entry, sender, counter)

        self.call(change)

    def end(self, node: int, node_too: bool = False) -> None:
        """An agent leaves the bus; its node goes down as well, or stays."""

        def change() -> None:
            self.exchanges[node].end("a test")
            self.order(Entry(AGENT_DOWN, node, 7))
            if node_too:
                self.order(Entry(NODE_DOWN, node, 7))

        self.call(change)

    def join(self, node: int) -> None:
        def change() -> None:
            self.order(Entry(JOIN, node, 7))
            self.exchanges[node].begin(node, Messenger(self, node))  # type: ignore[arg-type]
            self.exchanges[node].viewed(self.position, tuple((other, 7) for other in NODES))
            self.exchanges[node].look()

        self.call(change)

    def close(self) -> None:
        async def end() -> None:
            for server in self.servers.values():
                server.close()
            for _turn in range(3):
                tasks = asyncio.all_tasks() - {asyncio.current_task()}
                for task in tasks:
                    task.cancel()
                await asyncio.sleep(0.01)

        with contextlib.suppress(Exception):
            self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Keepers:
    """o2keep of all nodes: takes, converts and releases by the table of modes, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._epoll = select.epoll()
        self._servers: dict[int, tuple[int, socket.socket]] = {}
        self._clients: dict[int, tuple[int, socket.socket]] = {}
        self._pipes: dict[int, tuple[int, str, str]] = {}
        self._lock = threading.Lock()
        self.locks: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._waiting: list[tuple[float, int, socket.socket, dict[str, Any]]] = []
        self._token = 0
        self.deaf = False
        self.asked: list[dict[str, Any]] = []
        for node in NODES:
            self.open(node)
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def socket(self, node: int) -> str:
        return str(self._path / f"keeper{node}")

    def open(self, node: int) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket(node))
        sock.bind(self.socket(node))
        sock.listen(50)
        self._servers[sock.fileno()] = (node, sock)
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def shut(self, node: int) -> None:
        """This node's o2keep is gone; its locks are still held."""
        for descriptor, (number, sock) in list(self._servers.items()):
            if number == node:
                self._epoll.unregister(descriptor)
                sock.close()
                del self._servers[descriptor]

    def modes(self, name: str, domain: str = "clvmd") -> dict[int, str]:
        with self._lock:
            return {lock["node"]: lock["mode"] for lock in self.locks.get((domain, name), [])}

    def die(self, node: int) -> None:
        """The node is gone, and its locks are recovered."""
        with self._lock:
            for key, locks in self.locks.items():
                self.locks[key] = [lock for lock in locks if lock["node"] != node]

    def lose(self, name: str, domain: str) -> None:
        """A fault: o2keep does not know of the lock any more."""
        with self._lock:
            self.locks.pop((domain, name), None)

    def close(self) -> None:
        self._ending = True
        self._thread.join(5)
        for _node, sock in [*self._servers.values(), *self._clients.values()]:
            sock.close()

    def _run(self) -> None:
        while not self._ending:
            for descriptor, _events in self._epoll.poll(0.01):
                if descriptor in self._servers:
                    node, server = self._servers[descriptor]
                    client, _address = server.accept()
                    self._clients[client.fileno()] = (node, client)
                    self._epoll.register(client.fileno(), select.EPOLLIN)
                elif descriptor in self._pipes:
                    self._drop(descriptor)
                elif not self.deaf and descriptor in self._clients:
                    self._serve(descriptor)
            with self._lock:
                waiting, self._waiting = self._waiting, []
                for deadline, node, client, message in waiting:
                    self._take(deadline, node, client, message)

    def _drop(self, descriptor: int) -> None:
        _node, domain, name = self._pipes.pop(descriptor)
        self._epoll.unregister(descriptor)
        os.close(descriptor)
        with self._lock:
            held = self.locks.get((domain, name), [])
            held[:] = [lock for lock in held if lock.get("pipe") != descriptor]

    def _serve(self, descriptor: int) -> None:
        node, client = self._clients[descriptor]
        try:
            received = wire.receive(client)
        except OSError:
            received = None
        if received is None:
            self._epoll.unregister(descriptor)
            client.close()
            del self._clients[descriptor]
            return
        message = received[0]
        self.asked.append(message)
        with self._lock:
            if message["op"] == "take":
                self._take(time.monotonic() + message.get("wait", 0), node, client, message)
            else:
                self._answer(client, getattr(self, f"_{message['op']}")(node, message))

    def _answer(self, client: socket.socket, answer: dict[str, Any], descriptors: list[int] | None = None) -> None:
        with contextlib.suppress(OSError):
            wire.send(client, answer, descriptors)

    def _take(self, deadline: float, node: int, client: socket.socket, message: dict[str, Any]) -> None:
        if client.fileno() < 0:
            return
        held = self.locks.setdefault((message["domain"], message["name"]), [])
        mode, kind = parse(message["mode"]), message["kind"]
        mine = next((one for one in held if one["node"] == node and one["kind"] == kind == "node"), None)
        free = all(compatible(mode, Mode(one["mode"])) for one in held if one is not mine)
        if not free and time.monotonic() < deadline:
            self._waiting.append((deadline, node, client, message))
        elif not free:
            reason = {"reason": "conversion", "mode": mine["mode"]} if mine else {"reason": "busy"}
            self._answer(client, {"held": False, "holder": None, **reason})
        else:
            self._token += 1
            lock = mine or {"node": node, "kind": kind, "name": message["name"], "domain": message["domain"]}
            lock.update(mode=mode.value, token=self._token, owner=message.get("owner", ""), since=0)
            if mine is None:
                held.append(lock)
            writers = []
            if kind == "process":
                reader, writer = os.pipe()
                lock["pipe"], writers = reader, [writer]
                self._pipes[reader] = (node, message["domain"], message["name"])
                self._epoll.register(reader, 0)
            self._answer(client, {"held": True, "changed": True, **lock}, writers)
            wire.close_all(writers)

    def _mine(self, node: int, message: dict[str, Any]) -> dict[str, Any] | None:
        held = self.locks.get((message["domain"], message["name"]), [])
        return next((lock for lock in held if (lock["node"], lock["kind"]) == (node, "node")), None)

    def _release(self, node: int, message: dict[str, Any]) -> dict[str, Any]:
        lock = self._mine(node, message)
        if lock is not None:
            self.locks[message["domain"], message["name"]].remove(lock)
        return {"released": lock is not None, "changed": lock is not None}

    def _held(self, node: int, message: dict[str, Any]) -> dict[str, Any]:
        return {"lock": self._mine(node, message)}

    def _who(self, _node: int, message: dict[str, Any]) -> dict[str, Any]:
        held = self.locks.get((message["domain"], message["name"]), [])
        return {"holder": next((lock for lock in held if Mode(lock["mode"]) in (Mode.EX, Mode.PW)), None)}

    def _list(self, node: int, _message: dict[str, Any]) -> dict[str, Any]:
        return {"locks": [lock for held in self.locks.values() for lock in held if lock["node"] == node], "more": 0}


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test that forgets to move a path is told so, and nobody's machine is changed: tests may run as root."""
    own = (os.path.realpath(tmp_path_factory.getbasetemp()), os.path.realpath(tempfile.gettempdir()))

    def guarded(call: Callable[..., None]) -> Callable[..., None]:
        def change(path: str, *more: Any, **options: Any) -> None:
            assert os.path.realpath(path).startswith(own), f"a unit test wants to change {path}"
            call(path, *more, **options)

        return change

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "remove", "remove_with_directory"):
            patch.setattr(files, name, guarded(getattr(files, name)))
        yield


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    found = Agents(tmp_path)
    yield found
    found.close()


@pytest.fixture
def keepers(tmp_path: Path) -> Iterator[Keepers]:
    found = Keepers(tmp_path)
    yield found
    found.close()
