# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many locks of one program on one node, on the one node lock that o2keep has for each name. Pure.

Theory of operation. In a lock manager of its own kind a program can have any number of locks on a resource, each with
its mode. A node lock is one, and is converted. So this table excludes the program's own locks from one another, by the
same rule that holds between nodes, and tells which mode the node lock needs: the weakest that covers them all. Locks
that are compatible with one another are covered by the highest of them, and another node's lock is compatible with that
one exactly when it is with all of them (tests/unit/client/test_lock_table.py tries all combinations).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from ..locks.modes import Mode, compatible

RANK = {mode: number for number, mode in enumerate(Mode)}


def covering(modes: Iterable[Mode]) -> Mode:
    """The weakest mode that covers these, which are compatible with one another."""
    return max(modes, key=RANK.__getitem__, default=Mode.NL)


class LockTable:
    """The locks of one program, by their numbers."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._locks: dict[int, tuple[str, Mode]] = {}
        self._held: dict[str, Mode] = {}
        """The mode of each node lock, as o2keep has said last."""

    def new(self) -> int:
        """A number for a lock, never given before."""
        return next(self._numbers)

    def lock(self, number: int) -> tuple[str, Mode] | None:
        """Resource and mode of a lock that is granted."""
        return self._locks.get(number)

    def locks(self) -> dict[int, tuple[str, Mode]]:
        return dict(self._locks)

    def held(self, resource: str) -> Mode:
        return self._held.get(resource, Mode.NL)

    def holds(self, resource: str, mode: Mode) -> None:
        """What o2keep has said."""
        if mode is Mode.NL:
            self._held.pop(resource, None)
        else:
            self._held[resource] = mode

    def others(self, resource: str, number: int) -> list[Mode]:
        """The modes of the program's other locks on this resource."""
        return [mode for other, (name, mode) in self._locks.items() if name == resource and other != number]

    def excluded(self, resource: str, number: int, mode: Mode) -> bool:
        """Whether another lock of this program stands in the way of this one."""
        return not all(compatible(mode, other) for other in self.others(resource, number))

    def needed(self, resource: str, number: int, mode: Mode) -> Mode:
        """The mode of the node lock when this lock has that mode."""
        return covering([mode, *self.others(resource, number)])

    def grant(self, resource: str, number: int, mode: Mode) -> None:
        self._locks[number] = (resource, mode)

    def drop(self, number: int) -> None:
        self._locks.pop(number, None)
