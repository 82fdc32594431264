# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the core asks its shell to do. The shell does it in the order given, and reports back by events.

| effect  | what the shell does | events that follow |
|---|---|---|
| Send    | give the frame to the link with that peer, in order; to itself: through its own queue of received frames | |
| Deliver | hand the entry to the consumers | |
| NewView | tell the consumers who is a member from this position on | |
| Sent    | let the sender's call return | |
| Take    | try once for a process lock, with jitter before a repeated try | granted, refused, lost |
| Release | give it up | |
| Probe   | try once with PR for `alive-n` or `node-n` through a detached mount, and drop it again | proven, held |
| Report  | tell whoever watches; nothing in the order depends on it | |
| Feed    | WATCHDOG=1: frames and ticks come through | |
| Evict   | drop every lock and end; the next start is a new incarnation | |
"""

from __future__ import annotations

from typing import NamedTuple, Union

from .frames import Frame
from .view import Entry, Ident

ALIVE = "alive"
NODE = "node"
SEQUENCER = "sequencer"

SUSPECT = "suspect"
UP = "up"

MINORITY = "cut off from most of the view"
ASKED = "the sequencer did not hear from this agent for too long"
DECLARED_DOWN = "declared down by the others: the shell resets the node if that was its node"
EARLIER = "others have known a later incarnation of this agent: it begins anew beyond that"
FOREIGN = "the bus this agent was a member of is over"
NO_ALIVE = "the lock alive of this node is held by another"
LOST_ALIVE = "the lock alive of this node was lost"


class Send(NamedTuple):
    peer: int
    frame: Frame


class Deliver(NamedTuple):
    position: int
    entry: Entry


class NewView(NamedTuple):
    position: int
    members: tuple[Ident, ...]


class Sent(NamedTuple):
    """A message of this member is delivered to every member that is not reported down."""

    counter: int
    position: int


class Take(NamedTuple):
    lock: str


class Release(NamedTuple):
    lock: str


class Probe(NamedTuple):
    """The answer is about this incarnation and earlier ones, not about what has come since."""

    lock: str
    node: int
    incarnation: int


class Report(NamedTuple):
    what: str
    node: int
    incarnation: int


class Feed(NamedTuple):
    pass


class Evict(NamedTuple):
    reason: str


Effect = Union[Send, Deliver, NewView, Sent, Take, Release, Probe, Report, Feed, Evict]
