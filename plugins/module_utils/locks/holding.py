# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lock that this node holds: what it is, and the descriptors that are it.

Everything that must outlive the keeper goes into one slot in one message: the mount, the lock's own descriptors (but
those of a process lock), the end of the pipe that tells of a process lock's end, and what it all is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from . import names
from .modes import LEVELS, OWN, WRITERS, Level, Mode

NODE = "node"
PROCESS = "process"
CGROUP = "cgroup"
"""Whose life a lock has: its node's, that of the processes that have its descriptors, that of a control group."""


@dataclass(frozen=True)
class Identity:
    """What is held. `since` is in microseconds since the epoch; `cgroup` is that of a lock of the kind CGROUP."""

    id: str
    domain: str
    name: str
    mode: str
    kind: str
    owner: str
    token: int
    since: int
    cgroup: str = ""

    @property
    def stored(self) -> str:
        return names.stored(self.name)

    @property
    def key(self) -> tuple[str, str]:
        return (self.domain, self.stored)


@dataclass
class Holding:
    """A lock and its descriptors, `locks` in the order of its mode's resources.

    `locks` is empty for a process lock, whose descriptors its holder has.
    """

    what: Identity
    mount: int
    locks: list[int] = field(default_factory=list)
    pipe: int = -1
    info: int = -1
    converting: object | None = None
    """The request on whose behalf the lock is being converted."""

    releasing: bool = False
    number: int = 0
    """Its place in lists: later ones have larger numbers."""

    _working: int = 0
    _when_idle: list[Callable[[], object]] = field(default_factory=list)

    def begin(self) -> None:
        """A job in the lock's mount waits for the lock manager. Until it ends, none of its files may be unlinked."""
        self._working += 1

    def end(self) -> None:
        self._working -= 1
        if not self._working:
            calls, self._when_idle = self._when_idle, []
            for call in calls:
                self.when_idle(call)

    def when_idle(self, call: Callable[[], object]) -> None:
        """Call this when no such job is under way."""
        if self._working:
            self._when_idle.append(call)
        else:
            call()

    def resources(self) -> list[str]:
        """The files of this lock in its mount."""
        return [name for name, _exclusive in resources(self.what.stored, Mode(self.what.mode))]

    def files(self) -> list[str]:
        return [*self.resources(), names.info(self.what.stored)]

    def descriptors(self) -> list[int]:
        """What is to outlive the keeper."""
        return [self.mount, *self.locks, *([self.pipe] if self.pipe >= 0 else [])]

    def record(self) -> dict[str, Any]:
        """What these descriptors are."""
        return {"lock": asdict(self.what), "released": self.releasing}


class Holdings:
    """The locks of this node. Whoever waits for one of the same name is told when one comes or goes."""

    def __init__(self, changed: Callable[[tuple[str, str]], object]) -> None:
        self._changed = changed
        self._all: dict[str, Holding] = {}
        self._by_key: dict[tuple[str, str], list[Holding]] = {}
        self._last = 0

    def add(self, held: Holding) -> None:
        self._last += 1
        held.number = self._last
        self._all[held.what.id] = held
        self._by_key.setdefault(held.what.key, []).append(held)
        self._changed(held.what.key)

    def remove(self, held: Holding) -> None:
        key = held.what.key
        del self._all[held.what.id]
        self._by_key[key].remove(held)
        if not self._by_key[key]:
            del self._by_key[key]
        self._changed(key)

    def discard(self, held: Holding) -> None:
        """Remove it where it is still there: what an earlier keeper was releasing never was."""
        if held.what.id in self._all:
            self.remove(held)

    def of(self, key: tuple[str, str]) -> list[Holding]:
        """Those of one name in one domain, among them such as are being released."""
        return self._by_key.get(key, [])

    def node_lock(self, key: tuple[str, str]) -> Holding | None:
        """The node lock of this name, of which there is one at most."""
        return next((held for held in self.of(key) if held.what.kind == NODE and not held.releasing), None)

    def following(self, number: int, count: int) -> list[Holding]:
        """So many at most of those with larger numbers, in their order. None that is there all the time is missed."""
        later = (held for held in self._all.values() if held.number > number and not held.releasing)
        return list(itertools.islice(later, count))

    def __iter__(self) -> Iterator[Holding]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)


def resources(stored: str, mode: Mode) -> list[tuple[str, bool]]:
    """The files to open for a mode, in the order in which everybody takes them, and whether exclusively."""
    return [(file_name(stored, which), level is Level.EX) for which, level in LEVELS[mode].items()]


def file_name(stored: str, resource: str) -> str:
    return {OWN: stored, WRITERS: names.writers(stored)}[resource]


def adopt(record: dict[str, Any], descriptors: list[int]) -> Holding:
    """The holding that an earlier keeper has put aside as `record` says."""
    what = Identity(**record["lock"])
    pipe = descriptors.pop() if what.kind == PROCESS and not record["released"] else -1
    return Holding(what, descriptors[0], descriptors[1:], pipe, releasing=record["released"])


def facts(held: Holding) -> dict[str, Any]:
    """What people and programs are told of a lock."""
    what = held.what
    return {
        "name": what.name,
        "domain": what.domain,
        "mode": what.mode,
        "kind": what.kind,
        "owner": what.owner,
        "token": what.token,
        "since": what.since,
    }
