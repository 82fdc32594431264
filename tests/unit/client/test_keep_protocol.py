# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One request to o2keep over as many connections as it takes: the protocol by itself, and in its shells."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import wire
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client import keep, keep_protocol
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.keep_aio import Locks
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.keep_protocol import Request

TAKE = {"op": "take", "name": "a", "wait": 8.0}


def request(message: dict[str, Any] | None = None, wait: float = 8.0) -> Request:
    return Request(TAKE if message is None else message, wait, 15.0, "me", 100.0)


def test_who_asks_again_asks_with_the_same_id_and_what_is_left_of_its_wait():
    one = request()
    assert one.packet(100.0) == {**TAKE, "id": "me"}
    assert one.packet(103.0) == {**TAKE, "wait": 5.0, "id": "me"}
    assert one.packet(200.0)["wait"] == 0.0


def test_what_has_no_wait_gets_none():
    assert request({"op": "list"}, 0.0).packet(101.0) == {"op": "list", "id": "me"}


def test_a_connection_that_ends_is_made_anew_until_the_end_of_all_patience():
    one = request()
    assert one.end == 123.0
    assert one.lost("it went away", 122.8) == keep_protocol.AGAIN_SECONDS
    with pytest.raises(O2cbError, match="o2keep did not answer: it went away"):
        one.lost("it went away", 122.95)


def test_a_socket_on_which_nobody_listens_is_waited_for_as_long_as_a_restart_takes():
    one, refused = request(), ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert one.refused(refused, "n1", 104.8) == keep_protocol.AGAIN_SECONDS
    with pytest.raises(O2cbError, match="o2keep does not answer on n1"):
        one.refused(refused, "n1", 104.95)


def test_no_socket_and_no_rights_are_told_at_once():
    with pytest.raises(O2cbError, match="run role"):
        request().refused(FileNotFoundError(errno.ENOENT, "No such file or directory"), "n1", 100.0)
    with pytest.raises(O2cbError, match="only root and the group o2keep"):
        request().refused(PermissionError(errno.EACCES, "Permission denied"), "n1", 100.0)


def test_an_error_closes_the_descriptors_that_came_with_it():
    reader, writer = os.pipe()
    with pytest.raises(O2cbError, match="no"):
        keep_protocol.answered(({"error": "no"}, [writer]))
    assert os.read(reader, 1) == b""
    os.close(reader)


# the shells, on a keeper that goes away


class Keeper:
    """Goes away so many times over a request, and then answers with what it was asked."""

    def __init__(self, path: Path, deaths: int) -> None:
        self.path, self.deaths = str(path), deaths
        self.asked: list[dict[str, Any]] = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                sock, _address = self.listener.accept()
            except OSError:
                return
            with sock:
                received = wire.receive(sock)
                while received is not None:
                    self.asked.append(received[0])
                    if len(self.asked) <= self.deaths:
                        break
                    wire.send(sock, {"held": True, "asked": received[0]})
                    received = wire.receive(sock)

    def end(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


@pytest.fixture
def keepers(tmp_path: Path) -> Iterator[Callable[[int], Keeper]]:
    made: list[Keeper] = []

    def make(deaths: int) -> Keeper:
        made.append(Keeper(tmp_path / f"socket{len(made)}", deaths))
        return made[-1]

    yield make
    for one in made:
        one.end()


def blocking(path: str) -> dict[str, Any]:
    client = keep.Client(path)
    try:
        return client.ask(dict(TAKE), 8.0)[0]
    finally:
        client.close()


def with_asyncio(path: str) -> dict[str, Any]:
    return asyncio.run(Locks("o2cb", path).take("a", 8.0))[0]


@pytest.mark.parametrize("shell", [blocking, with_asyncio])
@pytest.mark.parametrize("deaths", [0, 1, 3])
def test_a_keeper_that_goes_away_is_asked_again_by_every_shell(keepers, shell, deaths):
    keeper = keepers(deaths)
    answer = shell(keeper.path)
    assert answer["held"]
    assert len(keeper.asked) == deaths + 1
    assert len({one["id"] for one in keeper.asked}) == 1
    waits = [one["wait"] for one in keeper.asked]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] > waits[-1] or deaths == 0


def test_two_requests_of_one_client_have_two_ids(keepers):
    keeper = keepers(0)
    client = keep.Client(keeper.path)
    first, second = (client.ask({"op": "list"})[0]["asked"]["id"] for _turn in range(2))
    client.close()
    assert first != second
