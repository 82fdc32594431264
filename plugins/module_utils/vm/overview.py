# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people are shown of virtual machines: the locks and the processes of this node, put together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base.errors import O2cbError
from . import guard, machine
from .guard import Held, View
from .machine import Machine

RUNNING = "running here"
STARTING = "being started here"
INCOMING = "coming in"
NO_MACHINE = "no machine"
NOT_GUARDED = "not guarded"
TWICE = "RUNS TWICE"
ELSEWHERE = "elsewhere"
NOWHERE = "nowhere"

REMEDY = {
    NO_MACHINE: "its lock is left over: `o2ctl vm check` releases it",
    NOT_GUARDED: "it runs without a lock: `o2ctl vm check` takes it",
    TWICE: "end it on one of the two nodes, at once",
}


@dataclass(frozen=True)
class Row:
    """A machine. `node`, `since` (microseconds since the epoch) and `token` are those of its lock, None without one."""

    uuid: str
    name: str
    state: str
    node: int | None = None
    since: int | None = None
    token: int | None = None
    remedy: str = ""
    pids: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Here:
    """What is on this node: o2keep's locks as it tells them, processes by UUID, what is not to be guarded."""

    locks: Sequence[Mapping[str, Any]]
    processes: Mapping[str, Sequence[tuple[int, Machine]]]
    patterns: Sequence[str] = ()
    now: float = 0.0
    """Seconds since the epoch."""
    node: int | None = None

    def uuids(self) -> list[str]:
        found = {machine.uuid_of_lock(lock["name"]) for lock in self.locks} | set(self.processes)
        return sorted(found - {""})

    def lock(self, name: str) -> Mapping[str, Any] | None:
        return next((lock for lock in self.locks if lock["name"] == name), None)

    def machine(self, uuid: str) -> Machine:
        """A machine of this node, by the name that its process has, or that its lock was taken for."""
        for _pid, found in self.processes.get(uuid, ()):
            return found
        nameless = Machine(uuid, uuid)
        lock = self.lock(nameless.run) or self.lock(nameless.incoming)
        return Machine(uuid, str(lock["owner"]) or uuid) if lock else nameless

    def view(self, uuid: str) -> View:
        found = Machine(uuid, uuid)
        pids = tuple(pid for pid, _machine in self.processes.get(uuid, ()))
        return View(self._held(found.run), self._held(found.incoming), pids)

    def _held(self, name: str) -> Held | None:
        lock = self.lock(name)
        return Held(lock["token"], max(0.0, self.now - lock["since"] / 1e6)) if lock else None


def row(here: Here, uuid: str, record: Mapping[str, Any] | None) -> Row:
    """A machine as this node sees it. `record` says who holds its lock `run`, None when nobody does."""
    found, view = here.machine(uuid), here.view(uuid)
    state = _state(here, found, view, record)
    lock = here.lock(found.run) or (record if not view.run else None) or here.lock(found.incoming)
    values: dict[str, Any] = (
        {} if lock is None else {"since": lock["since"], "token": lock["token"], "node": lock.get("node", here.node)}
    )
    name = found.name
    if name == uuid and record and record.get("owner"):
        name = str(record["owner"])
    remedy = "" if state == NOT_GUARDED and machine.is_unguarded(found, here.patterns) else REMEDY.get(state, "")
    return Row(uuid, name, state, remedy=remedy, pids=list(view.pids), **values)


def _state(here: Here, found: Machine, view: View, record: Mapping[str, Any] | None) -> str:
    if view.pids:
        if view.run:
            return RUNNING
        if view.incoming:
            return INCOMING
        return TWICE if record and not machine.is_unguarded(found, here.patterns) else NOT_GUARDED
    if view.run or view.incoming:
        if not guard.may_be_starting(view):
            return NO_MACHINE
        return STARTING if view.run else INCOMING
    return ELSEWHERE if record else NOWHERE


def chosen(here: Here, word: str, defined: Mapping[str, str]) -> str:
    """The UUID of what a person calls a machine: its UUID, or a name that one here, or one that is `defined`, has."""
    found = machine.normal_uuid(word)
    if found:
        return found
    named = {uuid for uuid in here.uuids() if here.machine(uuid).name == word}
    named |= {uuid for name, uuid in defined.items() if name == word}
    if len(named) == 1:
        return named.pop()
    if named:
        raise O2cbError(
            f"{len(named)} machines of this node are called {word!r}: give a UUID, {', '.join(sorted(named))}"
        )
    raise O2cbError(
        f"this node knows no machine {word!r}: give its UUID, as `virsh domuuid` prints it where it is defined"
    )
