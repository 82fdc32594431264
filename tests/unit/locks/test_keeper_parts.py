# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the keeper that need neither dlmfs nor systemd: its loop, its mark, its store, its socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import wire
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.loop import Loop
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import mark
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.keeper import Keeper
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.mark import AHEAD, Mark
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.server import Client, Server
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.store import Store, inherited


class Workers:
    """Takes jobs, and answers when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[dict[str, Any], Callable[[dict[str, Any], list[int]], None]]] = []

    def run(self, job: dict[str, Any], _descriptors: list[int], answer: Callable[..., None]) -> None:
        self.jobs.append((job, answer))

    def answer(self, **message: Any) -> dict[str, Any]:
        job, answer = self.jobs.pop(0)
        answer(message, [])
        return job


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def marked(workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Mark]:
    """A mark whose file says so much."""
    monkeypatch.setattr(mark, "MARK", str(tmp_path / "token"))

    def make(written: int) -> Mark:
        (tmp_path / "token").write_text(f"{written}\n")
        return Mark(Loop(), workers)  # type: ignore[arg-type]

    return make


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


def test_no_token_is_told_before_the_mark_is_above_it(marked, workers):
    told: list[str] = []
    mark = marked(1000)
    assert mark.seen == 1000
    mark.reach(1001, told.append)
    mark.reach(1002, told.append)
    assert told == []
    assert workers.answer()["token"] == 1001 + AHEAD
    assert told == ["", ""]
    mark.reach(1002 + AHEAD - 1, told.append)
    assert told == ["", "", ""]
    assert workers.jobs == []


def test_a_token_that_came_while_the_mark_was_written_may_need_another(marked, workers):
    told: list[str] = []
    mark = marked(0)
    mark.reach(10, told.append)
    mark.reach(11 + 2 * AHEAD, told.append)
    workers.answer()
    assert told == [""]
    workers.answer()
    assert told == ["", ""]


def test_a_mark_that_cannot_be_written_gives_out_no_token(marked, workers):
    told: list[str] = []
    marked(0).reach(10, told.append)
    workers.answer(error="No space left on device")
    assert len(told) == 1
    assert "No space left on device" in told[0]


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


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({"op": "echo", "text": "x"}, {"text": "x"}),
        ({"op": "refuse"}, {"error": "no"}),
        ({"op": "echo"}, {"error": "bad request: KeyError('text')"}),
        ({"op": "none"}, {"error": "there is no operation 'none'"}),
        ([], {"error": "this is no request: a message is not a JSON object"}),
    ],
)
def test_a_request_is_answered_whatever_it_is(tmp_path, monkeypatch, request_, answer):
    loop = Loop()

    def echo(client: Client, message: dict[str, Any]) -> None:
        server.answer(client, {"text": message["text"]})

    def refuse(_client: Client, _message: dict[str, Any]) -> None:
        raise O2cbError("no")

    server = Server(loop, str(tmp_path / "run" / "socket"), {"echo": echo, "refuse": refuse})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(tmp_path / "run" / "socket"))
        loop.turn(1)
        wire.send(client, request_)
        loop.turn(1)
        assert wire.receive(client) == (answer, [])
    loop.turn(1)


@pytest.mark.parametrize(
    ("message", "released"),
    [({}, True), ({"token": 17}, True), ({"token": 18}, False), ({"token": None}, False)],
)
def test_a_lock_that_was_taken_anew_is_not_released_by_the_token_of_the_old_one(message, released):
    answers: list[dict[str, Any]] = []
    releases: list[tuple[str, str]] = []
    keeper = SimpleNamespace(
        holdings=SimpleNamespace(node_lock=lambda key: SimpleNamespace(what=SimpleNamespace(token=17))),
        _release_within=lambda seconds, client, key: releases.append(key),
        answer=lambda client, answer: answers.append(answer),
    )
    Keeper._release(keeper, None, {"name": "a", **message})
    assert releases == ([("o2cb", "a")] if released else [])
    assert answers == ([] if released else [{"released": False, "changed": False}])


def test_nobody_but_root_is_answered(tmp_path, monkeypatch):
    loop = Loop()
    server = Server(loop, str(tmp_path / "socket"), {})
    monkeypatch.setattr("ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.server._CREDENTIALS", Nobody())
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(tmp_path / "socket"))
        loop.turn(1)
        wire.send(client, {"op": "list"})
        loop.turn(1)
        assert wire.receive(client) == ({"error": "only root may ask o2keep"}, [])
    assert server is not None


class Nobody:
    """Credentials of an ordinary user."""

    size = 12

    def unpack(self, _data: bytes) -> tuple[int, int, int]:
        return 1, 65534, 65534
