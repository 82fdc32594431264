# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that keeps the record on disk (marks), for the keeper.

It ends with the keeper, which has the other end of its channel. Where it ends by itself, since the cluster's regions
have changed or it could not go on, it is started again, ever more rarely where it cannot live.
"""

from __future__ import annotations

import socket
import time

from ..base.loop import Loop
from .starter import Starter

SHORTEST_PAUSE, LONGEST_PAUSE = 0.3, 5.0
"""Seconds between two starts."""


class Recording:
    """Runs while the node is a member of a domain, or about to be one."""

    def __init__(self, loop: Loop, starter: Starter) -> None:
        self._loop, self._starter = loop, starter
        self._channel: socket.socket | None = None
        self._pause = SHORTEST_PAUSE
        self._wanted = False
        self._started = 0.0

    def begin(self) -> None:
        """Have it run from now on."""
        if not self._wanted:
            self._wanted = True
            self._pause = SHORTEST_PAUSE
            self._start()

    def end(self) -> None:
        """Have it end. It has nothing that would have to be waited for."""
        self._wanted = False
        self._hang_up()

    def _start(self) -> None:
        if self._wanted and self._channel is None:
            self._started = time.monotonic()
            self._channel = channel = self._starter.start("record")
            self._loop.watch(channel.fileno(), lambda: self._read(channel))

    def _read(self, channel: socket.socket) -> None:
        """It tells who it is; what comes after that is its end."""
        try:
            if channel.recv(4096):
                return
        except OSError:
            pass
        self._hang_up()
        lived = time.monotonic() - self._started
        self._pause = SHORTEST_PAUSE if lived > LONGEST_PAUSE else min(2 * self._pause, LONGEST_PAUSE)
        self._loop.at(self._pause, self._start)

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._loop.forget(self._channel.fileno())
            self._channel.close()
            self._channel = None
