# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the keeper's core asks its shell to do, and what workers are asked to do. Pure.

An effect is carried out in the order in which it was returned. A job names lanes and slots by number; the shell adds
their descriptors. What a worker answers is told to the core as an event.
"""

from __future__ import annotations

from typing import Any, Hashable, NamedTuple, Sequence, Union

Asker = Hashable
"""Who asked: the shell's own handle, of which the core knows nothing but that it is the same one again."""

# Jobs. A worker does one at a time; any of them may sleep in the kernel while a node is being recovered.


class Join(NamedTuple):
    """Make the first lane of a domain, once all who live are known. The lane is in its slot before the answer."""

    domain: str
    lane: int
    slot: int


class MakeLane(NamedTuple):
    """One more lane of a domain that this node is a member of."""

    domain: str
    lane: int
    slot: int
    node: int


class Take(NamedTuple):
    """Open all locks or none, again and again until `until`. Each is in its slot before the answer.

    `locks` are (slot, identity), `until` is a time of the monotonic clock, `seen` the largest token that this
    node has given out.
    """

    domain: str
    lane: int
    locks: Sequence[tuple[int, dict[str, Any]]]
    mode: str
    node: int
    seen: int
    until: float
    eager: bool


class Convert(NamedTuple):
    """Open a lock's new levels in its lane, all or none, and put all that the new mode has into a new slot."""

    domain: str
    lane: int
    second: int
    slot: int
    old: int
    what: dict[str, Any]
    mode: str
    node: int
    seen: int


class Settle(NamedTuple):
    """Lower files from EX to PR by a question through a second lane, and unlink what the mode no longer has."""

    domain: str
    lane: int
    second: int
    lowered: list[str]
    dropped: list[str]


class Recall(NamedTuple):
    """Make other programs give up what they merely cache, by a blocking open."""

    domain: str
    lane: int
    resources: list[tuple[str, bool]]


class Publish(NamedTuple):
    """Show the holder on `.info`. The descriptor is in its slot before the answer."""

    domain: str
    lane: int
    slot: int
    id: str
    name: str
    node: int
    token: int
    since: int
    owner: str


class Look(NamedTuple):
    """Read a holder's record from `.info`."""

    domain: str
    lane: int
    name: str


class Forget(NamedTuple):
    """Unlink files whose descriptors are closed. {"busy": FILES} are those that somebody still has open."""

    domain: str
    lane: int
    names: list[str]


class Sweep(NamedTuple):
    """Unlink all files of a lane but these."""

    domain: str
    lane: int
    claimed: list[str]


class Mark(NamedTuple):
    """Raise the token up to which this node may give tokens out, on disk. Answered with what is there now."""

    token: int


Job = Union[Join, MakeLane, Take, Convert, Settle, Recall, Publish, Look, Forget, Sweep, Mark]
JOBS: dict[str, Any] = {
    job.__name__: job for job in (Join, MakeLane, Take, Convert, Settle, Recall, Publish, Look, Forget, Sweep, Mark)
}

# Effects


class Run(NamedTuple):
    """Give this job to a worker."""

    number: int
    job: Job


class Drop(NamedTuple):
    """Empty a slot: what is in it is closed when this has been done."""

    slot: int


class Confirm(NamedTuple):
    """Note, where the next keeper finds it, that somebody is told of what is in this slot."""

    slot: int


class Answer(NamedTuple):
    """Tell who asked. `gift` is the job whose descriptors go with it, 0 for none.

    `undo` are the ids of node locks that are to be released again when nobody is there to hear it.
    """

    asker: Asker
    message: dict[str, Any]
    gift: int = 0
    undo: tuple[str, ...] = ()


class Discard(NamedTuple):
    """Close the descriptors that came with this job's answer: nobody wants them any more."""

    gift: int


class Watch(NamedTuple):
    """Tell when the life that a lock is bound to has ended: a pipe in this slot, or a control group."""

    slot: int
    cgroup: str


class Grow(NamedTuple):
    """There are few free slots."""


class CloseLanes(NamedTuple):
    """Let the mounts of these domains go, and answer when the kernel has left them."""

    domains: tuple[str, ...]
    asker: Asker


class Audit(NamedTuple):
    """One line in the journal for what was granted or released."""

    verb: str
    facts: dict[str, Any]
    asker: Asker


class Say(NamedTuple):
    """Something that an administrator should read."""

    text: str


Effect = Union[Run, Drop, Confirm, Answer, Discard, Watch, Grow, CloseLanes, Audit, Say]
