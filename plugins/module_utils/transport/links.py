# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The seam between the bus and what carries its frames: what a transport does, and what it tells.

Links are ordered and lose only their end. A transport says when a link is there and when it is gone, at the latest
SILENCE_SECONDS after the last sign of the peer; what was under way in between is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Protocol, Sequence

from ..bus.frames import Frame

SILENCE_SECONDS = 6.0
"""A link on which nothing came for so long is down. Pulses come every second."""


@dataclass(frozen=True)
class Peer:
    """A node as cluster.conf has it."""

    number: int
    name: str
    address: str


class Events(Protocol):
    """Who is told. None of these calls may block."""

    def link_up(self, node: int) -> None:
        """Frames can be sent to that node. An earlier link to it was reported down before."""

    def link_down(self, node: int) -> None:
        """What was sent and not received is lost."""

    def received(self, node: int, frames: Iterable[Frame]) -> None:
        """Frames of that node, in the order in which they were sent."""


class Transport(Protocol):
    """Carries frames between the agents of a cluster."""

    async def open(self, events: Events) -> None:
        """Begin. Raises O2cbError when that cannot be."""

    def send(self, node: int, frames: Sequence[Frame]) -> None:
        """Send frames in order. Where there is no link they are lost, which the bus knows by `link_down`."""

    def know(self, peers: Mapping[int, Peer]) -> None:
        """These are the nodes of the cluster from now on, by number."""

    def troubles(self) -> dict[int, str]:
        """Why there is no link to a node, in words, by number."""

    async def close(self) -> None:
        """End all links. Nothing is reported after this."""
