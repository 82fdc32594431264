# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entries a member has stored and may still need, and its own messages that are not yet through. Pure."""

from __future__ import annotations

from collections import deque
from typing import Iterable, Iterator, NamedTuple

from ..base.errors import O2cbError
from .view import Entry


class BusFull(O2cbError):
    """As many messages wait as may. Send again after a Sent."""


class Log:
    """Entries at positions without a gap. Those up to `base` are forgotten, `top` is the last one."""

    __slots__ = ("base", "entries")

    def __init__(self, base: int = 0, entries: Iterable[Entry] = ()) -> None:
        self.base = base
        self.entries = list(entries)

    @property
    def top(self) -> int:
        return self.base + len(self.entries)

    def at(self, position: int) -> Entry:
        return self.entries[position - self.base - 1]

    def after(self, position: int) -> list[Entry]:
        """Those behind this position that are not forgotten."""
        return self.entries[max(position - self.base, 0) :]

    def behind(self, position: int) -> Iterator[tuple[int, Entry]]:
        """The same with their positions."""
        return enumerate(self.after(position), max(position, self.base) + 1)

    def replace(self, keep: int, entries: Iterable[Entry]) -> None:
        """Keep what is up to this position, and put these behind it."""
        self.entries[keep - self.base :] = entries

    def forget(self, position: int) -> None:
        count = min(position - self.base, len(self.entries))
        if count > 0:
            del self.entries[:count]
            self.base += count


class Message(NamedTuple):
    """One that waits for its number or for its delivery."""

    counter: int
    channel: str
    payload: bytes


class Outbox:
    """This member's messages from the call of `send` to their delivery, in the order sent."""

    __slots__ = ("confirmed", "limit", "messages", "submitted")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.messages: deque[Message] = deque()
        self.confirmed = 0
        """The counter of the last one that was delivered."""
        self.submitted = 0
        """The counter of the last one that went to the present sequencer."""

    def add(self, channel: str, payload: bytes) -> int:
        """Put a message last. Returns its counter. Raises BusFull."""
        if len(self.messages) >= self.limit:
            raise BusFull(f"{self.limit} messages of this node wait for the bus: send again when one is through")
        counter = self.confirmed + len(self.messages) + 1
        self.messages.append(Message(counter, channel, payload))
        return counter

    def confirm(self, counter: int) -> None:
        """The first one is delivered."""
        self.confirmed = self.messages.popleft().counter
        if self.confirmed != counter:
            raise AssertionError(f"message {counter} of this node is delivered, and {self.confirmed} was next")
        self.submitted = max(self.submitted, counter)

    def rewind(self) -> None:
        """There is a new sequencer, or a new link to it: what is not through has to be submitted again."""
        self.submitted = self.confirmed

    def following(self, counter: int, in_flight: int) -> list[Message]:
        """Those behind this counter, as far as so many may be under way."""
        first = counter - self.confirmed
        count = min(len(self.messages), in_flight)
        return [self.messages[index] for index in range(max(first, 0), count)] if first < count else []
