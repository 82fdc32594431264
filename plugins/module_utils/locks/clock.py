# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this node knows of time: its own clock, and the time stamps in the heartbeat blocks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

FRESH_SECONDS = 4.0
"""A reading counts for so long: two beats."""


class Clock:
    """The heartbeats' time stamps, by node, from the last two readings."""

    def __init__(self) -> None:
        self.own = 0
        """Number of this node, 0 before the first reading."""
        self._at: float | None = None
        self._stamps: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def read(self, own: int, stamps: Mapping[int, int], at: float) -> None:
        """Take in a reading that was made at `at`, in monotonic seconds."""
        self._before, self._stamps = self._stamps, dict(stamps)
        self.own, self._at = own, at

    def is_fresh(self, now: float) -> bool:
        return self._at is not None and now - self._at < FRESH_SECONDS

    def newest(self) -> float:
        return float(max(self._stamps.values(), default=0))

    def newest_of_others(self) -> float:
        """Of the other nodes whose stamp moved between the two readings; of all others, while there was only one."""
        others = {node: stamp for node, stamp in self._stamps.items() if node != self.own}
        moved = [stamp for node, stamp in others.items() if not self._before or self._before.get(node) != stamp]
        return float(max(moved, default=0))
