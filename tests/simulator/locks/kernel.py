# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the kernel matters to locks: files in lanes, descriptors of them, the lock manager, and slots.

Each rule was measured (docs/o2cb-facts): a try never recalls what another mount merely caches; what is open more than
once in one mount is one holder; closing keeps the level cached, unlinking gives it up, and is refused while the file is
open; a blocking open elsewhere makes a level fall that nobody has open; a dead node's locks go with its eviction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PR, EX = 3, 5


class LaneMount:
    """A mount on one node. It lives as long as somebody refers to it."""

    __slots__ = ("dead", "domain", "files", "node", "number", "refs", "touched", "toucher")

    def __init__(self, node: int, domain: str, number: int) -> None:
        self.node, self.domain, self.number = node, domain, number
        self.files: dict[str, File] = {}
        self.refs = 0
        self.touched = -10.0
        """When a lock of it was last unlinked, and by whose worker: the kernel may have work queued for it."""

        self.toucher: Any = None

        self.dead = False
        """Its node is, and nobody has noticed yet."""


class File:
    """A lock of one mount: how often it is open, and the level that the lock manager has granted."""

    __slots__ = ("ex", "lane", "level", "name", "opener", "pr")

    def __init__(self, lane: LaneMount, name: str) -> None:
        self.lane, self.name = lane, name
        self.pr = self.ex = self.level = 0
        self.opener: Any = None
        """The keeper whose worker has opened it last."""

    def needed(self) -> int:
        return EX if self.ex else PR if self.pr else 0

    @property
    def key(self) -> tuple[str, str]:
        return (self.lane.domain, self.name)


class Descriptor:
    """An open file description. It closes with its last reference: a process, a message or a slot that has it."""

    __slots__ = ("closed", "file", "level", "refs")

    def __init__(self, file: File, level: int, closed: Callable[[File], None]) -> None:
        self.file, self.level, self.closed = file, level, closed
        self.refs = 1

    def dup(self) -> Descriptor:
        self.refs += 1
        return self

    def close(self) -> None:
        self.refs -= 1
        if self.refs == 0:
            if self.level == EX:
                self.file.ex -= 1
            else:
                self.file.pr -= 1
            self.closed(self.file)


class Pipe:
    """It has ended when no process has its other end."""

    __slots__ = ("refs", "watchers")

    def __init__(self) -> None:
        self.refs = 1
        self.watchers: list[Callable[[], None]] = []

    def dup(self) -> Pipe:
        self.refs += 1
        return self

    def close(self) -> None:
        self.refs -= 1
        if self.refs == 0:
            for watcher in self.watchers:
                watcher()


class Slot:
    """A queue of one message. Once it is sealed nobody can send any more."""

    __slots__ = ("confirmed", "descriptors", "lane", "message", "pipe", "sealed")

    def __init__(self) -> None:
        self.message: dict[str, Any] | None = None
        self.descriptors: list[Descriptor] = []
        self.lane: LaneMount | None = None
        self.pipe: Pipe | None = None
        self.sealed = self.confirmed = False

    def empty(self) -> None:
        self.message, self.confirmed = None, False
        descriptors, self.descriptors = self.descriptors, []
        for descriptor in descriptors:
            descriptor.close()
        if self.lane is not None:
            self.lane.refs -= 1
            self.lane = None
        self.pipe = None


class LockManager:
    """All nodes' files of each resource, and the value blocks."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], list[File]] = {}
        self.values: dict[tuple[str, str], Any] = {}
        self.waiters: dict[tuple[str, str], list[Callable[[], None]]] = {}
        """Foreign programs that wait with a blocking open for EX."""

    def attempt(self, lane: LaneMount, name: str, level: int) -> File | None:
        """A try without waiting. None where another mount has, or caches, what excludes it."""
        file = lane.files.get(name)
        if file is None:
            file = lane.files[name] = File(lane, name)
            self.files.setdefault(file.key, []).append(file)
        if file.level < level:
            for other in self.files[file.key]:
                if other is not file and other.level and (other.level == EX or level == EX):
                    return None
            file.level = level
        if level == EX:
            file.ex += 1
        else:
            file.pr += 1
        return file

    def recall(self, key: tuple[str, str], level: int) -> bool:
        """What a blocking open asks of all others. Whether it would be granted now."""
        granted = True
        for file in self.files.get(key, ()):
            if file.lane.dead and (file.level == EX or (file.level and level == EX)):
                granted = False
            elif file.level == EX or level == EX:
                needed = file.needed()
                keeps = needed if level == EX else min(file.level, PR) if needed <= PR else EX
                file.level = keeps
                granted = granted and (keeps == 0 or (keeps == PR and level == PR))
        return granted

    def unlink(self, lane: LaneMount, name: str) -> bool:
        """False while the file is open."""
        file = lane.files.get(name)
        if file is None:
            return True
        if file.pr or file.ex:
            return False
        self.drop(file)
        return True

    def drop(self, file: File) -> None:
        del file.lane.files[file.name]
        self.files[file.key].remove(file)
        if not self.files[file.key]:
            del self.files[file.key]

    def closed(self, file: File) -> None:
        self.stir(file.key)

    def stir(self, key: tuple[str, str]) -> None:
        for waiter in list(self.waiters.get(key, ())):
            waiter()

    def evict(self, node: int) -> None:
        """The lock manager has noticed that a node is dead. Its value blocks go with it."""
        for key, files in list(self.files.items()):
            for file in [file for file in files if file.lane.node == node]:
                if file.level == EX:
                    self.values.pop(key, None)
                self.drop(file)
            self.stir(key)
