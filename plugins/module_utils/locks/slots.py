# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors that outlive the keeper, without a word to systemd for each.

Theory of operation. A descriptor that was sent over a unix socket and was not received yet is in flight: the kernel
keeps its file open for as long as the receiving socket exists (unix(7), SCM_RIGHTS). So a *slot* is a pair of sockets.
To put something into it is one send, to empty it is one receive, and both are done, whole, when the call returns.
Slots in turn are in flight in the queue of one more socket, their *rack*, and that is all that systemd's store keeps:
it is asked once for SLOTS of them and never for a lock. The next keeper gets the racks back, and looks into the queues
by MSG_PEEK, which leaves everything where it is.

A worker of an earlier keeper may be asleep and still mean to write into a slot. So the next one *seals* every slot that
it inherits, before it looks into it (shutdown(2) of the receiving end: a send fails from then on, and what is queued
stays), and never gives an inherited slot away. A rack goes when nothing is left in it.

Each rack brings a page of memory (memfd_create(2)) in which one byte a slot says that it is *confirmed*: that somebody
was told of what is in it. A keeper that dies between the two leaves that to be seen.

systemd compares each descriptor that it is to keep with all that it has. With a rack for many locks that does not grow
with the square of their number.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from ..base import wire
from ..base.errors import O2cbError
from .store import Store

SLOTS = 96
"""Slots in a rack, whose two ends go in one message."""

PREFIXES = ("slots-", "rack-")
"""Names of racks in systemd's store: ours, and those of 0.1, whose locks cannot be read and stay held."""

Grown = Callable[["list[int]", str], None]
"""Called with the numbers of new slots, or with the reason why there are none."""


class _Rack:
    """Slots that systemd keeps together. `full` counts those of an inherited rack that have something in them."""

    __slots__ = ("confirmed", "full", "inherited", "name")

    def __init__(self, name: str, confirmed: mmap.mmap | bytearray, inherited: bool) -> None:
        self.name, self.confirmed, self.inherited = name, confirmed, inherited
        self.full = 0


class _Slot:
    """Two ends of one queue, and the byte of their rack that says whether it is confirmed."""

    __slots__ = ("index", "rack", "receiver", "sender")

    def __init__(self, sender: socket.socket, receiver: socket.socket, rack: _Rack, index: int) -> None:
        self.sender, self.receiver, self.rack, self.index = sender, receiver, rack, index
        sender.setblocking(False)
        receiver.setblocking(False)

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


class Slots:
    """What is kept, by the number of its slot. A message says what the descriptors are."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._all: dict[int, _Slot] = {}
        self._numbers = itertools.count(1)
        self._racks = itertools.count(1)

    def adopt(self, kept: Mapping[str, list[int]]) -> Iterator[tuple[int, dict[str, Any] | None, bool]]:
        """What is in the slots of earlier keepers, and whether it was confirmed; all else is given up.

        None is a message that cannot be read.
        """
        taken = [int(name.split("-")[1]) for name in kept if name.startswith(PREFIXES) and name.split("-")[1].isdigit()]
        self._racks = itertools.count(max(taken, default=0) + 1)
        found: list[tuple[int, dict[str, Any] | None, bool]] = []
        full_racks: set[str] = set()
        for name, descriptors in kept.items():
            if not name.startswith(PREFIXES):
                continue
            slots = _rack(descriptors, name)
            if slots is None:
                continue
            for slot in slots:
                with contextlib.suppress(OSError):
                    slot.receiver.shutdown(socket.SHUT_RD)
                full, message = _look(slot)
                if not full:
                    slot.close()
                    continue
                number = next(self._numbers)
                self._all[number] = slot
                slot.rack.full += 1
                found.append((number, message, bool(slot.rack.confirmed[slot.index])))
                full_racks.add(name)
            if name not in full_racks:
                self._store.remove(name)
        return iter(found)

    def grow(self, call: Grown) -> None:
        """Make another rack of slots, and call this when systemd keeps it."""
        name = f"{PREFIXES[0]}{next(self._racks)}"
        memory = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(memory, mmap.PAGESIZE)
        rack = _Rack(name, mmap.mmap(memory, mmap.PAGESIZE), False)
        slots = [
            _Slot(*socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET), rack, index) for index in range(SLOTS)
        ]

        def kept(problem: str) -> None:
            if problem:
                for slot in slots:
                    slot.close()
                call([], problem)
                return
            new = {next(self._numbers): slot for slot in slots}
            self._all.update(new)
            call(list(new), "")

        sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with sender, receiver:
            try:
                ends = [end.fileno() for slot in slots for end in (slot.sender, slot.receiver)]
                wire.send(sender, {}, [*ends, memory])
                self._store.put(name, [receiver.fileno()])
            except (OSError, O2cbError) as error:
                kept(f"no slots: {error}")
            else:
                self._store.after(kept)
            finally:
                os.close(memory)

    def confirm(self, number: int) -> None:
        """Note that somebody is told of what is in a slot."""
        slot = self._all[number]
        slot.rack.confirmed[slot.index] = 1

    def sender(self, number: int) -> int:
        return self._all[number].sender.fileno()

    def receiver(self, number: int) -> int:
        return self._all[number].receiver.fileno()

    def look(self, number: int) -> tuple[dict[str, Any], list[int]] | None:
        """What is in a slot, with descriptors of the caller's own; None when it is empty or cannot be read."""
        try:
            return wire.receive(self._all[number].receiver, int(socket.MSG_PEEK))
        except (BlockingIOError, ValueError):
            return None

    def is_full(self, number: int) -> tuple[bool, dict[str, Any] | None]:
        """Whether something is in a slot, and its message, if that can be read."""
        return _look(self._all[number])

    def drop(self, number: int) -> None:
        """Empty a slot. Its descriptors are closed when this returns."""
        slot = self._all[number]
        try:
            received = wire.receive(slot.receiver)
        except (BlockingIOError, ValueError):
            received = None
        if received is not None:
            wire.close_all(received[1])
        rack = slot.rack
        rack.confirmed[slot.index] = 0
        if rack.inherited:
            del self._all[number]
            slot.close()
            rack.full -= 1
            if rack.full == 0:
                self._store.remove(rack.name)


def _look(slot: _Slot) -> tuple[bool, dict[str, Any] | None]:
    try:
        received = wire.receive(slot.receiver, int(socket.MSG_PEEK))
    except BlockingIOError:
        return False, None
    except (ValueError, OSError):
        return True, None
    if received is None:
        return False, None
    wire.close_all(received[1])
    return True, received[0]


def _rack(descriptors: list[int], name: str) -> list[_Slot] | None:
    """The slots of a rack; None for one that cannot be read, which stays as it is."""
    with socket.socket(fileno=descriptors[0]) as receiver:
        receiver.setblocking(False)
        try:
            found = wire.receive(receiver, int(socket.MSG_PEEK))
        except (OSError, ValueError):
            found = None
    wire.close_all(descriptors[1:])
    if found is None:
        return None
    own = found[1]
    confirmed: mmap.mmap | bytearray = bytearray(len(own))
    if len(own) % 2:
        memory = own.pop()
        with contextlib.suppress(OSError, ValueError):
            confirmed = mmap.mmap(memory, mmap.PAGESIZE)
        os.close(memory)
    rack = _Rack(name, confirmed, True)
    ends = [socket.socket(fileno=descriptor) for descriptor in own]
    return [_Slot(sender, end, rack, index) for index, (sender, end) in enumerate(zip(ends[::2], ends[1::2]))]
