# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors that outlive the keeper, without a word to systemd for each.

Theory of operation. A descriptor that was sent over a unix socket and was not received yet is in flight: the kernel
keeps its file open for as long as the receiving socket lives (unix(7), SCM_RIGHTS). So a *slot* is a pair of sockets.
To put something into it is one send, to take it out is one receive, and both are done, whole, when the call returns.
Slots in turn are in flight in the queue of one more socket, their *rack*, and that is all that systemd's store keeps:
it is asked once for SLOTS of them and never for a lock. The next keeper gets the racks back, and looks into the queues
by MSG_PEEK, which leaves everything where it is.

systemd compares each descriptor that it is to keep with all that it has. With a rack for many locks that does not grow
with the square of their number.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from ..base import wire
from ..base.errors import O2cbError
from .store import Store

SLOTS = wire.MAX_DESCRIPTORS // 2
"""Slots in a rack, whose two ends go in one message."""

SPARE = SLOTS // 2
"""With fewer free slots than this, systemd is asked to keep another rack."""

_PREFIX = "rack-"

Told = Callable[[str], None]
"""Called with the reason when something is not kept, else with an empty string."""


class _Slot:
    """Two ends of one queue."""

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        self.sender, self.receiver = sender, receiver
        sender.setblocking(False)
        receiver.setblocking(False)

    def put(self, message: dict[str, Any], descriptors: list[int]) -> None:
        wire.send(self.sender, message, descriptors)

    def look(self) -> tuple[dict[str, Any], list[int]] | None:
        """What is in it, with descriptors of the caller's own; None when it is empty."""
        try:
            return wire.receive(self.receiver, socket.MSG_PEEK)
        except BlockingIOError:
            return None

    def clear(self) -> None:
        received = wire.receive(self.receiver)
        if received is not None:
            wire.close_all(received[1])


class Slots:
    """What is kept, by key. A message says what the descriptors are."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._free: deque[_Slot] = deque()
        self._used: dict[str, _Slot] = {}
        self._waiting: deque[tuple[str, dict[str, Any], list[int], Told]] = deque()
        self._growing = False
        self._racks = 0

    def adopt(self, kept: Mapping[str, list[int]]) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """What earlier keepers have put here, from what systemd kept, with descriptors for the caller to own."""
        for name, descriptors in kept.items():
            if not name.startswith(_PREFIX):
                wire.close_all(descriptors)
                self._store.remove(name)
                continue
            self._racks = max(self._racks, int(name[len(_PREFIX) :]))
            for slot in _rack(descriptors):
                found = slot.look()
                if found is None:
                    self._free.append(slot)
                else:
                    message, own = found
                    self._used[message["key"]] = slot
                    yield message["what"], own

    def put(self, key: str, what: dict[str, Any], descriptors: list[int], call: Told) -> None:
        """Keep these, and call this when they are kept: at once, unless systemd has to be asked for room."""
        if self._free and not self._waiting:
            self._fill_one(key, what, descriptors, call)
        else:
            self._waiting.append((key, what, [os.dup(descriptor) for descriptor in descriptors], call))
        self.fill()

    def remove(self, key: str) -> None:
        """Keep this no longer. Its descriptors are closed here when this returns."""
        for entry in [entry for entry in self._waiting if entry[0] == key]:
            self._waiting.remove(entry)
            wire.close_all(entry[2])
        slot = self._used.pop(key, None)
        if slot is not None:
            slot.clear()
            self._free.append(slot)

    def fill(self) -> None:
        """Put what waits into the slots that there are, and ask for more in time."""
        while self._waiting and self._free:
            waiting = self._waiting.popleft()
            try:
                self._fill_one(*waiting)
            finally:
                wire.close_all(waiting[2])
        if len(self._free) < SPARE and not self._growing:
            self._grow()

    def _fill_one(self, key: str, what: dict[str, Any], descriptors: list[int], call: Told) -> None:
        slot = self._free.popleft()
        try:
            slot.put({"key": key, "what": what}, descriptors)
        except OSError as error:
            self._free.append(slot)
            call(f"the kernel keeps no descriptors: {error.strerror}")
        else:
            self._used[key] = slot
            call("")

    def _grow(self) -> None:
        self._growing = True
        self._racks += 1
        slots = [_Slot(*socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)) for _number in range(SLOTS)]

        def kept(problem: str) -> None:
            self._growing = False
            if not problem:
                self._free.extend(slots)
                self.fill()
                return
            waiting, self._waiting = self._waiting, deque()
            for _key, _what, descriptors, call in waiting:
                wire.close_all(descriptors)
                call(problem)

        sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with sender, receiver:
            ends = [end.fileno() for slot in slots for end in (slot.sender, slot.receiver)]
            wire.send(sender, {}, ends)
            try:
                self._store.put(f"{_PREFIX}{self._racks}", [receiver.fileno()])
            except O2cbError as error:
                kept(str(error))
            else:
                self._store.after(kept)


def _rack(descriptors: list[int]) -> list[_Slot]:
    with socket.socket(fileno=descriptors[0]) as receiver:
        found = wire.receive(receiver, socket.MSG_PEEK)
    ends = [socket.socket(fileno=descriptor) for descriptor in (found[1] if found else [])]
    return [_Slot(sender, receiver) for sender, receiver in zip(ends[::2], ends[1::2])]
