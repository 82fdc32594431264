# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors in flight: they stay open while nobody has them, and the next keeper finds them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.slots import SLOTS, Slots


class Systemd:
    """Keeps duplicates, as systemd does, and passes a barrier when the test says so."""

    def __init__(self) -> None:
        self.kept: dict[str, list[int]] = {}
        self.barriers: list[Callable[[str], None]] = []
        self.refuses = False

    def put(self, name: str, descriptors: list[int]) -> None:
        if self.refuses:
            raise O2cbError("systemd does not take over descriptors")
        self.kept[name] = [os.dup(descriptor) for descriptor in descriptors]

    def remove(self, name: str) -> None:
        for descriptor in self.kept.pop(name):
            os.close(descriptor)

    def after(self, call: Callable[[str], None]) -> None:
        self.barriers.append(call)

    def pass_barriers(self, problem: str = "") -> None:
        while self.barriers:
            self.barriers.pop()(problem)

    def hand_over(self) -> dict[str, list[int]]:
        """What the next keeper is started with."""
        return {name: [os.dup(descriptor) for descriptor in found] for name, found in self.kept.items()}


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)


def is_open(reader: int) -> bool:
    """Whether anybody has the other end."""
    try:
        return os.read(reader, 1) != b""
    except BlockingIOError:
        return True


def test_what_nobody_has_is_open_until_it_is_removed(systemd, pipe):
    reader, writer = pipe
    slots, told = Slots(systemd), []
    slots.put("lock", {"lock": 1}, [writer], told.append)
    assert told == [], "systemd keeps no rack yet"
    systemd.pass_barriers()
    assert told == [""]
    os.close(writer)
    del slots
    assert is_open(reader), "the sockets of the keeper that died are in flight"
    later = Slots(systemd)
    found = list(later.adopt(systemd.hand_over()))
    assert [record for record, _descriptors in found] == [{"lock": 1}]
    os.close(found[0][1][0])
    assert is_open(reader), "a look leaves it where it is"
    later.remove("lock")
    assert not is_open(reader)
    assert list(Slots(systemd).adopt(systemd.hand_over())) == []


def test_there_is_always_room_and_systemd_is_asked_rarely(systemd, pipe):
    _reader, writer = pipe
    slots, told = Slots(systemd), []
    for number in range(3 * SLOTS):
        slots.put(f"lock{number}", {"lock": number}, [writer], told.append)
        systemd.pass_barriers()
    assert told == [""] * 3 * SLOTS
    assert len(systemd.kept) == 4, "one ahead"
    os.close(writer)
    later = Slots(systemd)
    found = sorted(record["lock"] for record, _own in later.adopt(systemd.hand_over()))
    assert found == list(range(3 * SLOTS))


def test_a_slot_is_used_again_also_by_the_next_keeper(systemd, pipe):
    _reader, writer = pipe
    slots, told = Slots(systemd), []
    slots.fill()
    systemd.pass_barriers()
    later = Slots(systemd)
    assert list(later.adopt(systemd.hand_over())) == []
    for number in range(10 * SLOTS):
        later.put("lock", {"lock": number}, [writer], told.append)
        later.remove("lock")
    assert told == [""] * 10 * SLOTS
    assert systemd.barriers == []
    os.close(writer)


def test_what_cannot_be_kept_is_told(systemd, pipe):
    reader, writer = pipe
    slots, told = Slots(systemd), []
    systemd.refuses = True
    slots.put("one", {}, [writer], told.append)
    systemd.refuses = False
    slots.put("two", {}, [writer], told.append)
    systemd.pass_barriers("systemd took over nothing within 5 s")
    assert told == ["systemd does not take over descriptors", "systemd took over nothing within 5 s"]
    os.close(writer)
    assert not is_open(reader)


def test_what_is_removed_while_it_waits_for_room_is_not_kept(systemd, pipe):
    reader, writer = pipe
    slots, told = Slots(systemd), []
    slots.put("lock", {}, [writer], told.append)
    slots.remove("lock")
    os.close(writer)
    assert not is_open(reader)
    systemd.pass_barriers()
    assert told == []


def test_what_another_version_has_left_at_systemd_is_let_go(systemd, pipe):
    reader, writer = pipe
    systemd.put("1234-5", [writer])
    os.close(writer)
    assert list(Slots(systemd).adopt(systemd.hand_over())) == []
    assert not is_open(reader)
    assert systemd.kept == {}


def test_every_version_finds_what_another_one_has_put_aside(systemd, pipe):
    """A rack's one message has the ends of its slots, sender and receiver in turn. A slot's says what it keeps."""
    _reader, writer = pipe
    slots = Slots(systemd)
    slots.put("lock", {"lock": {"name": "web"}, "released": False}, [writer], lambda _problem: None)
    systemd.pass_barriers()
    assert list(systemd.kept) == ["rack-1"]
    with socket.socket(fileno=os.dup(systemd.kept["rack-1"][0])) as rack:
        data, ends = look(rack)
    assert (data, len(ends)) == (b"{}", 64)
    sockets = [socket.socket(fileno=end) for end in ends]
    assert look(sockets[1])[0] == b'{"key": "lock", "what": {"lock": {"name": "web"}, "released": false}}'
    for one in sockets:
        one.close()
    os.close(writer)


def look(sock: socket.socket) -> tuple[bytes, list[int]]:
    data, descriptors, _flags, _address = socket.recv_fds(sock, 65536, 64, socket.MSG_PEEK)
    return data, descriptors
