# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the keeper that need neither dlmfs nor systemd: its loop, its store, its socket."""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import wire
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.loop import Loop
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client import keep
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import server as servers
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.keeper import Keeper
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.server import STORED, Client, Server
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.store import Store, inherited


def test_a_timer_is_called_once_and_in_its_time():
    loop, called = Loop(), []
    loop.at(0.02, lambda: called.append("late"))
    loop.at(0.0, lambda: called.append("early"))
    started = time.monotonic()
    while time.monotonic() - started < 0.1:
        loop.turn(0.02)
    assert called == ["early", "late"]


def test_a_descriptor_is_watched_until_it_is_forgotten():
    loop, called = Loop(), []
    reader, writer = os.pipe()
    loop.watch(reader, lambda: called.append(os.read(reader, 1)))
    os.write(writer, b"ab")
    loop.turn(1)
    loop.forget(reader)
    loop.forget(reader)
    loop.turn(0.01)
    assert called == [b"a"]
    os.close(reader)
    os.close(writer)


def test_without_systemd_a_barrier_passes_and_nothing_is_inherited():
    loop = Loop()
    store, told = Store({}, loop), []
    store.put("name", [0])
    store.after(told.append)
    store.turn()
    loop.turn(1)
    assert told == [""]
    assert not store.works
    assert inherited({"LISTEN_PID": "1", "LISTEN_FDS": "2"}) == {}


def test_systemd_is_told_of_descriptors_and_its_barrier_is_waited_for(tmp_path):
    loop = Loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        store, told = Store({"NOTIFY_SOCKET": str(tmp_path / "notify")}, loop), []
        store.put("lock", [0])
        store.remove("other")
        store.after(told.append)
        store.turn()
        assert systemd.recv(100) == b"FDSTORE=1\nFDNAME=lock\nFDPOLL=0"
        assert systemd.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=other"
        message, descriptors, _flags, _address = socket.recv_fds(systemd, 100, 4)
        assert (message, len(descriptors)) == (b"BARRIER=1", 1)
        loop.turn(0.05)
        assert told == []
        os.close(descriptors[0])
        loop.turn(1)
        assert told == [""]


def test_a_systemd_that_does_not_listen_takes_over_nothing_and_is_told_later(tmp_path):
    loop, told = Loop(), []
    store = Store({"NOTIFY_SOCKET": str(tmp_path / "notify")}, loop)
    store.remove("lock")
    with pytest.raises(O2cbError, match="does not take over descriptors"):
        store.put("lock", [0])
    store.after(told.append)
    store.turn()
    assert "does not take over" in told[0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        store.tell("WATCHDOG=1")
        assert systemd.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=lock"
        assert systemd.recv(100) == b"WATCHDOG=1"


class Office:
    """A server, whose requests are answered with what they say, and systemd's store for its socket."""

    def __init__(self, path: Path, kept: dict[str, list[int]] | None = None) -> None:
        self.loop, self.path = Loop(), str(path)
        self.store: dict[str, list[int]] = {}
        self.gone: list[Client] = []
        self.server = Server(self.loop, self, self.path, kept or {}, self.call, self.gone.append)  # type: ignore[arg-type]

    def put(self, name: str, descriptors: list[int]) -> None:
        self.store[name] = [os.dup(descriptor) for descriptor in descriptors]

    def remove(self, name: str) -> None:
        for descriptor in self.store.pop(name, []):
            os.close(descriptor)

    def call(self, client: Client, message: dict[str, Any]) -> None:
        self.server.answer(client, {"said": message, "uid": client.uid, "pid": client.pid})

    def die(self) -> dict[str, list[int]]:
        """kill -9: all that stays is what systemd keeps."""
        self.server.stop()
        for client in list(self.server._clients):
            client.sock.close()
        self.server._listener.close()
        return {name: [os.dup(one) for one in descriptors] for name, descriptors in self.store.items()}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "run" / "socket")


def caller(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(5)
    sock.connect(path)
    return sock


def test_a_request_is_answered_to_whom_the_kernel_says_it_is(office):
    with caller(office.path) as client:
        office.loop.turn(1)
        wire.send(client, {"op": "list"})
        office.loop.turn(1)
        assert wire.receive(client) == ({"said": {"op": "list"}, "uid": os.getuid(), "pid": os.getpid()}, [])
    office.loop.turn(1)
    assert len(office.gone) == 1


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (b"[]", "not a JSON object"),
        (b"\xff\xfe\x00", "utf-8"),
        (b"{", "Expecting"),
        (b"[" * 100_000, "recursion"),
        (b" " * 140_000, "longer than"),
    ],
)
def test_odd_bytes_are_answered_in_words_and_their_connection_ends(office, odd, why):
    with caller(office.path) as client, caller(office.path) as other:
        office.loop.turn(1)
        office.loop.turn(1)
        client.send(odd)
        office.loop.turn(1)
        received = wire.receive(client)
        assert received is not None
        assert why in received[0]["error"]
        assert wire.receive(client) is None
        wire.send(other, {"op": "list"})
        office.loop.turn(1)
        received = wire.receive(other)
        assert received is not None
        assert received[0]["said"] == {"op": "list"}
    assert len(office.gone) == 1


def test_descriptors_that_come_with_a_request_are_closed(office):
    reader, writer = os.pipe()
    with caller(office.path) as client:
        office.loop.turn(1)
        wire.send(client, {}, [writer])
        os.close(writer)
        office.loop.turn(1)
        assert os.read(reader, 1) == b""
    os.close(reader)


def test_an_answer_that_nobody_can_take_is_known_as_unheard_once(office):
    client = caller(office.path)
    office.loop.turn(1)
    (connection,) = office.server._clients
    client.close()
    assert office.server.answer(connection, {}) is False
    assert office.server.answer(connection, {}) is False
    assert office.gone == [connection]


def test_who_asks_while_nobody_listens_is_answered_by_the_next(office):
    kept = office.die()
    with caller(office.path) as client:
        wire.send(client, {"op": "take"})
        later = Office(Path(office.path), kept)
        for _turn in range(4):
            later.loop.turn(0.2)
        received = wire.receive(client)
        assert received is not None
        assert received[0]["said"] == {"op": "take"}
    assert later.store == {}, "systemd has it already"


def test_what_came_after_the_end_of_reading_waits_for_the_next(office):
    with caller(office.path) as client:
        office.loop.turn(1)
        office.server.stop()
        wire.send(client, {"op": "take"})
        office.loop.turn(0.05)
        client.settimeout(0.05)
        with pytest.raises(socket.timeout):
            wire.receive(client)


@pytest.mark.parametrize("moved", ["the path is gone", "another has the path"])
def test_an_inherited_socket_that_clients_do_not_find_is_replaced(office, moved):
    kept = office.die()
    os.unlink(office.path)
    if moved == "another has the path":
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stranger.bind(office.path)
        stranger.close()
    later = Office(Path(office.path), kept)
    assert list(later.store) == [STORED]
    with caller(office.path) as client:
        later.loop.turn(1)
        wire.send(client, {})
        later.loop.turn(1)
        assert wire.receive(client) is not None


def test_the_socket_is_roots_alone_where_there_is_no_group(office, monkeypatch, tmp_path):
    monkeypatch.setattr(servers, "GROUP", "no-such-group")
    path = tmp_path / "own" / "socket"
    Office(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_members_of_the_group_may_ask_where_there_is_one(monkeypatch, tmp_path):
    import grp

    monkeypatch.setattr(servers, "GROUP", grp.getgrgid(os.getgid()).gr_name)
    changed: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: changed.append((path, uid, gid)))
    path = tmp_path / "own" / "socket"
    Office(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert changed == [(str(path.parent), 0, os.getgid()), (str(path), 0, os.getgid())]


# the daemon, with workers that are never asked anything


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    found = Keeper({}, ["/bin/false"], str(tmp_path / "run" / "socket"))
    yield found
    found.server.stop()


def ask(keeper: Keeper, tmp_path: Path, message: dict[str, Any]) -> dict[str, Any]:
    with caller(str(tmp_path / "run" / "socket")) as client:
        keeper.loop.turn(1)
        wire.send(client, message)
        keeper.loop.turn(1)
        received = wire.receive(client)
        assert received is not None
        return received[0]


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"op": "none"}, "there is no operation 'none'"),
        ({}, "there is no operation None"),
        ({"op": "take"}, "bad request: KeyError('name')"),
        ({"op": "take", "name": 7}, "a lock's name is a string"),
        ({"op": "take", "name": "a", "mode": "CW"}, "the mode CW does not exist in o2dlm"),
        ({"op": "take", "name": "a", "wait": "soon"}, "bad request: ValueError"),
        ({"op": "take", "name": "a", "wait": float("nan")}, "wait is nan"),
        ({"op": "release", "names": 7}, "bad request: TypeError"),
        ({"op": "list", "after": float("inf")}, "bad request: OverflowError"),
        ({"op": "label", "name": "a", "owner": "x" * 300}, "the owner text is 300 bytes"),
    ],
)
def test_what_is_wrong_with_a_request_is_its_answer(keeper, tmp_path, message, answer):
    assert answer in ask(keeper, tmp_path, message)["error"]
    assert ask(keeper, tmp_path, {"op": "list"}) == {"locks": [], "more": 0}


def test_only_root_lets_the_node_leave(keeper, tmp_path, monkeypatch):
    class Nobody:
        size = struct.calcsize("3i")

        def unpack(self, _data: bytes) -> tuple[int, int, int]:
            return 1, 65534, 65534

    monkeypatch.setattr(servers, "_CREDENTIALS", Nobody())
    assert ask(keeper, tmp_path, {"op": "leave"})["error"] == "only root may let this node leave the cluster"


def test_a_client_is_told_what_to_do_where_no_o2keep_is(tmp_path):
    with pytest.raises(O2cbError, match=r"run role ocfs2\.o2cb\.dlmfs"):
        keep.Client(str(tmp_path / "nothing"))
