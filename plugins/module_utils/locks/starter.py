# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper's side of the nursery: asks it for processes, and starts it where there is none."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence

from ..base import wire


class Starter:
    """Starts o2keep's processes. That one could not be started is seen by its channel, which ends."""

    def __init__(self, command: Sequence[str]) -> None:
        """`command`, with the number of a descriptor behind it, runs the nursery."""
        self._command = list(command)
        self._channel: socket.socket | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, kind: str) -> socket.socket:
        """The channel of a new process of this kind. Waits for nothing."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if not self._ask(kind, theirs) and self._begin():
                self._ask(kind, theirs)
        return ours

    def _ask(self, kind: str, theirs: socket.socket) -> bool:
        """False where there is no nursery. One that is too far behind with its work is not asked for still more."""
        if self._channel is None:
            return False
        try:
            wire.send(self._channel, {"kind": kind}, [theirs.fileno()])
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _begin(self) -> bool:
        self.end()
        self._processes = [process for process in self._processes if process.poll() is None]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                command = [*self._command, str(theirs.fileno())]
                process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            except OSError:
                ours.close()
                return False
        self._processes.append(process)
        self._channel = ours
        return True

    def renew(self) -> None:
        """The nursery stands still: it is killed, and the next start begins another. What it was asked for ends."""
        self.end()
        for process in self._processes:
            if process.poll() is None:
                process.kill()

    def end(self) -> None:
        """The nursery ends, in its own time; the processes that it has started do not."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
