# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lock that this node holds: what it is, and the descriptors that are it.

Everything that must outlive the keeper is in here and goes to systemd's store in one message under one name: the mount,
the lock's own descriptors (but those of a process lock), the end of the pipe that tells of a process lock's end, and a
memory file that says what it all is. A store that was cut off in the middle holds no memory file: it is no
holding.
"""

from __future__ import annotations

import json
import os
import stat
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
    working: int = 0
    """Jobs in the lock's mount that wait for the lock manager. Until they end, none of its files may be unlinked."""

    converting: object | None = None
    """The request on whose behalf the lock is being converted."""

    releasing: bool = False

    def resources(self) -> list[str]:
        """The files of this lock in its mount."""
        return [name for name, _exclusive in resources(self.what.stored, Mode(self.what.mode))]

    def files(self) -> list[str]:
        return [*self.resources(), names.info(self.what.stored)]

    def descriptors(self) -> list[int]:
        """What systemd keeps, without the memory file."""
        return [self.mount, *self.locks, *([self.pipe] if self.pipe >= 0 else [])]


def resources(stored: str, mode: Mode) -> list[tuple[str, bool]]:
    """The files to open for a mode, in the order in which everybody takes them, and whether exclusively."""
    return [(file_name(stored, which), level is Level.EX) for which, level in LEVELS[mode].items()]


def file_name(stored: str, resource: str) -> str:
    return {OWN: stored, WRITERS: names.writers(stored)}[resource]


def memory_file(what: Identity) -> int:
    """The identity in a file that lives as long as somebody holds its descriptor."""
    descriptor = os.memfd_create(f"o2keep-{what.id}", os.MFD_CLOEXEC)
    os.write(descriptor, json.dumps(asdict(what)).encode())
    return descriptor


def adopt(descriptors: list[int]) -> Holding | None:
    """The holding that these descriptors from systemd's store are, or None when it is not whole."""
    found: dict[str, list[int]] = {"mount": [], "locks": [], "pipe": [], "memory": []}
    for descriptor in descriptors:
        found[_kind(descriptor)].append(descriptor)
    if len(found["memory"]) != 1 or len(found["mount"]) != 1:
        return None
    size = os.fstat(found["memory"][0]).st_size
    values: dict[str, Any] = json.loads(os.pread(found["memory"][0], size, 0))
    what = Identity(**values)
    os.close(found["memory"][0])
    pipe = found["pipe"][0] if found["pipe"] else -1
    return Holding(what, found["mount"][0], sorted(found["locks"], key=_is_companion), pipe)


def _is_companion(descriptor: int) -> bool:
    return os.readlink(f"/proc/self/fd/{descriptor}").endswith(names.WRITERS)


def _kind(descriptor: int) -> str:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        return "mount"
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "memory" if os.readlink(f"/proc/self/fd/{descriptor}").startswith("/memfd:") else "locks"


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
