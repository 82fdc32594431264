# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors in flight: they stay open while nobody has them, and the next keeper finds them."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import wire
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import holding
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


def rack(slots: Slots, systemd: Systemd) -> list[int]:
    """The numbers of new slots, which systemd keeps."""
    told: list[tuple[list[int], str]] = []
    slots.grow(lambda numbers, problem: told.append((numbers, problem)))
    assert told == [], "systemd keeps no rack yet"
    systemd.pass_barriers()
    ((numbers, problem),) = told
    assert problem == ""
    return numbers


def send(slots: Slots, number: int, message: dict[str, Any], descriptors: list[int]) -> None:
    """As a worker does."""
    with socket.socket(fileno=os.dup(slots.sender(number))) as sender:
        wire.send(sender, message, descriptors)


def test_what_nobody_has_is_open_until_it_is_dropped(systemd, pipe):
    reader, writer = pipe
    slots = Slots(systemd)
    numbers = rack(slots, systemd)
    assert len(numbers) == SLOTS
    send(slots, numbers[3], {"lock": 1}, [writer])
    os.close(writer)
    del slots
    assert is_open(reader), "the sockets of the keeper that died are in flight"
    later = Slots(systemd)
    ((number, message, confirmed),) = later.adopt(systemd.hand_over())
    assert (message, confirmed) == ({"lock": 1}, False)
    found = later.look(number)
    assert found is not None
    os.close(found[1][0])
    assert is_open(reader), "a look leaves it where it is"
    later.drop(number)
    assert not is_open(reader)
    assert systemd.kept == {}, "a rack goes when nothing is left in it"


def test_a_slot_is_used_again_and_systemd_is_not_asked(systemd, pipe):
    reader, writer = pipe
    slots = Slots(systemd)
    number = rack(slots, systemd)[0]
    for turn in range(10):
        assert slots.is_full(number) == (False, None)
        send(slots, number, {"turn": turn}, [writer])
        assert slots.is_full(number) == (True, {"turn": turn})
        slots.drop(number)
    os.close(writer)
    assert not is_open(reader)
    assert list(systemd.kept) == ["slots-1"]


def test_a_worker_of_an_earlier_keeper_can_put_nothing_into_its_slot(systemd, pipe):
    """What is queued stays, a slot is sealed before it is looked into, and every other worker of it is told."""
    reader, writer = pipe
    slots = Slots(systemd)
    full, empty = rack(slots, systemd)[:2]
    senders = [socket.socket(fileno=os.dup(slots.sender(number))) for number in (full, empty)]
    send(slots, full, {"lock": 1}, [writer])
    os.close(writer)
    del slots
    later = Slots(systemd)
    ((number, _message, _confirmed),) = later.adopt(systemd.hand_over())
    for sender in senders:
        with sender, pytest.raises(BrokenPipeError):
            wire.send(sender, {"late": 1}, [])
    assert later.is_full(number) == (True, {"lock": 1})
    assert is_open(reader)
    later.drop(number)
    assert not is_open(reader)


def test_what_is_confirmed_is_so_for_every_later_keeper_until_it_is_dropped(systemd):
    slots = Slots(systemd)
    numbers = rack(slots, systemd)[:3]
    for number in numbers:
        send(slots, number, {"lock": number}, [0])
        slots.confirm(number)
    slots.drop(numbers[1])
    send(slots, numbers[1], {"lock": numbers[1]}, [0])
    del slots
    second = Slots(systemd)
    found = {message["lock"]: (number, confirmed) for number, message, confirmed in second.adopt(systemd.hand_over())}
    assert [found[number][1] for number in numbers] == [True, False, True]
    second.confirm(found[numbers[1]][0])
    second.drop(found[numbers[0]][0])
    del second
    third = {message["lock"]: confirmed for _number, message, confirmed in Slots(systemd).adopt(systemd.hand_over())}
    assert third == {numbers[1]: True, numbers[2]: True}


def test_new_racks_have_names_of_their_own_beside_inherited_ones(systemd):
    slots = Slots(systemd)
    for _turn in range(2):
        number = rack(slots, systemd)[0]
        send(slots, number, {"lock": number}, [0])
    del slots
    later = Slots(systemd)
    assert len(list(later.adopt(systemd.hand_over()))) == 2
    new = rack(later, systemd)
    assert sorted(systemd.kept) == ["slots-1", "slots-2", "slots-3"]
    assert len(set(new)) == SLOTS
    assert later.is_full(new[0]) == (False, None)


@given(st.binary(max_size=200))
@example(b"\xff")
@example(b"[]")
@example(b"{" * 50_000)
def test_random_bytes_in_a_slot_are_a_lock_that_nobody_can_read_and_stay(data: bytes) -> None:
    systemd = Systemd()
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    slots = Slots(systemd)
    numbers = rack(slots, systemd)
    with socket.socket(fileno=os.dup(slots.sender(numbers[0]))) as sender:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))]
        sender.sendmsg([data or b"?"], rights)
    send(slots, numbers[1], {"lock": 1}, [writer])
    os.close(writer)
    del slots
    later = Slots(systemd)
    found = list(later.adopt(systemd.hand_over()))
    assert len(found) == 2
    assert found[1][1] == {"lock": 1}
    later.drop(found[1][0])
    assert is_open(reader)
    assert later.is_full(found[0][0])[0]
    later.drop(found[0][0])
    assert not is_open(reader)
    os.close(reader)


def test_a_rack_that_cannot_be_read_stays_where_it_is(systemd, pipe):
    reader, writer = pipe
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))]
        ours.sendmsg([b"\x00\xff"], rights)
        systemd.put("slots-7", [theirs.fileno()])
    os.close(writer)
    later = Slots(systemd)
    assert list(later.adopt(systemd.hand_over())) == []
    assert list(systemd.kept) == ["slots-7"]
    assert is_open(reader)
    rack(later, systemd)
    assert sorted(systemd.kept) == ["slots-7", "slots-8"]


def test_racks_of_the_first_version_are_held_and_not_confirmed(systemd, pipe):
    """They have no page of memory, and their messages say another version."""
    reader, writer = pipe
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wire.send(ends[0], {"id": "1", "name": "old"}, [writer])
    wire.send(ours, {}, [end.fileno() for end in ends])
    systemd.put("rack-1", [theirs.fileno()])
    for end in (*ends, ours, theirs):
        end.close()
    os.close(writer)
    later = Slots(systemd)
    ((number, message, confirmed),) = later.adopt(systemd.hand_over())
    assert (message, confirmed, holding.kept(message)) == ({"id": "1", "name": "old"}, False, None)
    assert is_open(reader)
    later.drop(number)
    assert not is_open(reader)
    assert systemd.kept == {}


def test_there_are_no_slots_that_systemd_does_not_keep(systemd):
    slots, told = Slots(systemd), []
    systemd.refuses = True
    slots.grow(lambda numbers, problem: told.append((numbers, problem)))
    systemd.refuses = False
    slots.grow(lambda numbers, problem: told.append((numbers, problem)))
    systemd.pass_barriers("systemd took over nothing within 5 s")
    assert told == [
        ([], "no slots: systemd does not take over descriptors"),
        ([], "systemd took over nothing within 5 s"),
    ]
