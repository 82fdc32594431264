# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the cluster's side asks of o2keep, by a socket of its own."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import keeping


class Keeper:
    """Answers one client, and notes what it asked, and when it closed its connection."""

    def __init__(self, path: Path, answer: dict[str, Any]) -> None:
        self.log: list[Any] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        sock, _address = self._listener.accept()
        with sock, self._listener:
            sock.settimeout(20)
            self.log.append(json.loads(sock.recv(65536)))
            sock.send(json.dumps(self._answer).encode())
            self.log.append(sock.recv(65536))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keeping, "SOCKET", str(tmp_path / "keep"))
    monkeypatch.setattr(keeping, "AGENT_SOCKET", str(tmp_path / "agent"))
    return tmp_path / "keep"


def test_the_domains_stay_left_until_the_end_of_the_block(path: Path) -> None:
    keeper = Keeper(path, {"left": True})
    with keeping.domains_left():
        keeper.thread.join(0.3)
        assert keeper.log == [{"op": "leave"}], "it is asked, and the connection is still there"
    keeper.thread.join(20)
    assert keeper.log[1:] == [b""]


def test_a_lock_that_is_held_keeps_the_block_from_its_work(path: Path) -> None:
    Keeper(path, {"error": "1 lock(s) are held: web"})
    with pytest.raises(O2cbError, match=r"o2keep: 1 lock\(s\) are held: web"), keeping.domains_left():
        pytest.fail("the block was run")


@pytest.mark.usefixtures("path")
def test_without_a_keeper_there_is_nothing_to_leave() -> None:
    with keeping.domains_left():
        pass
    assert keeping.domains_and_locks() == ([], 0, [])


def test_what_cannot_be_read_counts_as_held_under_the_name_that_releases_it(path: Path) -> None:
    names = [f"lock{number}" for number in range(20)]
    unreadable = [{"slot": 7, "why": "of version 99"}]
    Keeper(path, {"domains": ["o2cb"], "locks": 1002, "named": 1000, "names": names, "unreadable": unreadable})
    assert keeping.domains_and_locks() == (["o2cb"], 1001, ["slot:7", *names])
