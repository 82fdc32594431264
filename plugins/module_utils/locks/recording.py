# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that keeps the record on disk (marks), as a child of the keeper.

It ends with the keeper, by a pipe of which the keeper has the other end. Where it ends by itself, since the cluster's
regions have changed or it could not go on, it is started again, ever more rarely where it cannot live.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

from ..base.loop import Loop

SHORTEST_PAUSE, LONGEST_PAUSE = 0.3, 5.0
"""Seconds between two starts."""

LOOK_SECONDS = 0.5


class Recording:
    """Runs while the node is a member of a domain, or about to be one."""

    def __init__(self, loop: Loop, command: Sequence[str]) -> None:
        self._loop, self._command = loop, list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._pause = SHORTEST_PAUSE
        self._wanted = False
        self._started = 0.0

    def begin(self) -> None:
        """Have it run from now on."""
        if not self._wanted:
            self._wanted = True
            self._pause = SHORTEST_PAUSE
            self._start()
            self._look()

    def end(self) -> None:
        """Have it end. It has nothing that would have to be waited for."""
        self._wanted = False
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _start(self) -> None:
        self._started = time.monotonic()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen([*self._command, str(reader)], pass_fds=[reader], stdin=subprocess.DEVNULL)
        finally:
            os.close(reader)
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._lifeline = writer

    def _look(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            lived = time.monotonic() - self._started
            self._pause = SHORTEST_PAUSE if lived > LONGEST_PAUSE else min(2 * self._pause, LONGEST_PAUSE)
            if self._wanted:
                self._loop.at(self._pause, self._again)
                return
        if self._wanted:
            self._loop.at(LOOK_SECONDS, self._look)

    def _again(self) -> None:
        if self._wanted:
            self._start()
            self._look()
