# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper's one thread: what has come on a descriptor, and what is due by the clock."""

from __future__ import annotations

import heapq
import selectors
import time
from typing import Callable

Call = Callable[[], object]


class Loop:
    """Callbacks of descriptors and of time. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Call]] = []
        self._counter = 0

    def watch(self, descriptor: int, call: Call) -> None:
        """Call this whenever the descriptor can be read, or its other end is closed."""
        self._selector.register(descriptor, selectors.EVENT_READ, call)

    def forget(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def at(self, seconds: float, call: Call) -> None:
        """Call this once, after so many seconds."""
        self._counter += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._counter, call))

    def turn(self, longest: float | None = None) -> None:
        """Wait for something, at most as long as given, and call all that is due."""
        waits = [] if longest is None else [longest]
        if self._timers:
            waits.append(max(0.0, self._timers[0][0] - time.monotonic()))
        for key, _events in self._selector.select(min(waits, default=None)):
            key.data()
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()
