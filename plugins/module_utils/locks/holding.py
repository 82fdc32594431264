# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lock that this node holds: what it is, in which slot and lane, and what is being done with it. Pure.

Its descriptors are in its slot, in one message that also says what they are; that is all that outlives the keeper. A
message of a later version, or a damaged one, is a lock that nobody can read: it stays where it is (see `kept`).
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from . import names
from .modes import LEVELS, OWN, WRITERS, Level, Mode

NODE = "node"
PROCESS = "process"
CGROUP = "cgroup"
"""Whose life a lock has: its node's, that of the processes that have its descriptors, that of a control group."""

KINDS = (NODE, PROCESS, CGROUP)

VERSION = 1
"""Of the messages in slots. Fields that this version does not know are ignored; a later version may need more."""


@dataclass(frozen=True)
class Identity:
    """What is held. `since` is in microseconds since the epoch; `cgroup` is that of a lock of the kind CGROUP.

    `request` is the id of the request that it answers, `serial` counts its modes: a lock that is found twice is what
    the larger one says.
    """

    id: str
    domain: str
    name: str
    mode: str
    kind: str
    owner: str
    token: int
    since: int
    cgroup: str = ""
    lane: int = 0
    request: str = ""
    serial: int = 0

    @property
    def stored(self) -> str:
        return names.stored(self.name)

    @property
    def key(self) -> tuple[str, str]:
        return (self.domain, names.stored(self.name))


class KeptLane(NamedTuple):
    """A lane that an earlier keeper has made. `node` is this node's number."""

    domain: str
    lane: int
    node: int


class KeptInfo(NamedTuple):
    """The `.info` of the lock with this id."""

    id: str


def kept(message: Mapping[str, Any] | None) -> Identity | KeptLane | KeptInfo | None:
    """What a slot's message says; None for what this version cannot read."""
    if message is None or message.get("v") != VERSION:
        return None
    try:
        if "lock" in message:
            return _identity(message["lock"])
        if "lane" in message:
            return KeptLane(*(_TYPES[key](message["lane"][key]) for key in ("domain", "lane", "node")))
        return KeptInfo(str(message["info"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


_TYPES: dict[str, type] = {"domain": str, "lane": int, "node": int}
_FIELDS = {one.name: one for one in fields(Identity)}


def _identity(found: Mapping[str, Any]) -> Identity | None:
    known = {key: value for key, value in found.items() if key in _FIELDS}
    if any(type(value).__name__ != _FIELDS[key].type for key, value in known.items()):
        return None
    what = Identity(**known)
    if what.kind not in KINDS or what.mode not in Mode.__members__ or names.name_problem(what.name):
        return None
    return what


def lock_message(what: Mapping[str, Any]) -> dict[str, Any]:
    """`what` has the fields of an Identity."""
    return {"v": VERSION, "lock": dict(what)}


def lane_message(domain: str, lane: int, node: int) -> dict[str, Any]:
    return {"v": VERSION, "lane": {"domain": domain, "lane": lane, "node": node}}


def info_message(lock: str) -> dict[str, Any]:
    return {"v": VERSION, "info": lock}


class State(enum.Enum):
    """GRANTING: it is in its slot, and its token is not covered by the mark yet, so nobody is told of it."""

    GRANTING = "granting"
    HELD = "held"
    RELEASING = "releasing"
    FORGETTING = "forgetting"
    GONE = "gone"


@dataclass
class Holding:
    """A lock. `slot` has its descriptors, `info` that of its `.info`, -1 while the holder is not shown."""

    what: Identity
    slot: int
    state: State = State.GRANTING
    info: int = -1
    converting: object = None
    """The request that converts it, None for none."""

    number: int = 0
    """Its place in lists: later ones have larger numbers."""

    jobs: int = 0
    """Jobs that are under way in its files. Until they end none of those may be unlinked."""

    unclaimed: bool = False
    """An earlier keeper won it, and nobody was told of it."""

    show_again: bool = False
    touched: set[str] = field(default_factory=set)
    """Files beyond those of its mode that may be there, and are to be unlinked with them."""

    def resources(self) -> list[str]:
        """The files of this lock in its lane."""
        return [name for name, _exclusive in resources(self.what.stored, Mode(self.what.mode))]

    def files(self) -> list[str]:
        return sorted({*self.resources(), *self.touched})


class Holdings:
    """The locks of this node."""

    def __init__(self) -> None:
        self._all: dict[str, Holding] = {}
        self._by_key: dict[tuple[str, str], list[Holding]] = {}
        self._last = 0

    def add(self, held: Holding) -> None:
        self._last += 1
        held.number = self._last
        self._all[held.what.id] = held
        self._by_key.setdefault(held.what.key, []).append(held)

    def remove(self, held: Holding) -> None:
        key = held.what.key
        del self._all[held.what.id]
        self._by_key[key].remove(held)
        if not self._by_key[key]:
            del self._by_key[key]

    def of(self, key: tuple[str, str]) -> list[Holding]:
        """Those of one name in one domain, among them such as are being released."""
        return self._by_key.get(key, [])

    def by_id(self, lock: str) -> Holding | None:
        return self._all.get(lock)

    def node_lock(self, key: tuple[str, str]) -> Holding | None:
        """The node lock of this name, of which there is one at most."""
        for held in self._by_key.get(key, ()):
            if held.what.kind == NODE and held.state in _THERE:
                return held
        return None

    def following(self, number: int, count: int) -> list[Holding]:
        """So many at most of those with larger numbers, in their order. None that is there all the time is missed."""
        later = (held for held in self._all.values() if held.number > number and held.state is State.HELD)
        return list(itertools.islice(later, count))

    def __iter__(self) -> Iterator[Holding]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)


_THERE = (State.GRANTING, State.HELD)


def resources(stored: str, mode: Mode) -> list[tuple[str, bool]]:
    """The files to open for a mode, in the order in which everybody takes them, and whether exclusively."""
    return [(file_name(stored, which), level is Level.EX) for which, level in LEVELS[mode].items()]


def file_name(stored: str, resource: str) -> str:
    return {OWN: stored, WRITERS: names.writers(stored)}[resource]


def facts(what: Identity) -> dict[str, Any]:
    """What people and programs are told of a lock."""
    return {
        "name": what.name,
        "domain": what.domain,
        "mode": what.mode,
        "kind": what.kind,
        "owner": what.owner,
        "token": what.token,
        "since": what.since,
    }
