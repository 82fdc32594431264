# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd's side of a service: readiness, watchdog, and the store that keeps descriptors across a crash.

The protocol is sd_notify(3) and sd_listen_fds(3), a few lines over a datagram socket. A message is only sure to be
acted on once systemd has read it while its sender still lived; so a change of the store counts after a *barrier*: a
pipe that systemd closes when it has read everything before. Barriers cost milliseconds, so one stands for many changes.

systemd does not keep O_PATH descriptors, and drops one that polls as hung up. Without systemd (in a test) the store
keeps nothing and says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence

from ..base import notify
from ..base.errors import O2cbError
from ..base.loop import Loop

BARRIER_SECONDS = 5.0
_FIRST_DESCRIPTOR = 3


class Store:
    """Descriptors kept by systemd under names. A name stands for all descriptors of one thing."""

    def __init__(self, environment: Mapping[str, str], loop: Loop) -> None:
        self._loop = loop
        self._waiting: list[Callable[[str], None]] = []
        self.address = environment.get("NOTIFY_SOCKET", "")
        self._unsent: list[str] = []

    @property
    def works(self) -> bool:
        return bool(self.address)

    def tell(self, text: str) -> None:
        """Tell systemd something; later, with the next message, when it does not listen now."""
        self._unsent.append(text)
        with contextlib.suppress(OSError):
            while self._unsent:
                self._send(self._unsent[0], [])
                del self._unsent[0]

    def put(self, name: str, descriptors: list[int]) -> None:
        """Ask systemd to keep these under a name. Counts after a barrier. Raises O2cbError when it does not listen."""
        try:
            self._send(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", descriptors)
        except OSError as error:
            raise O2cbError(f"systemd does not take over descriptors: {error.strerror or error}") from None

    def remove(self, name: str) -> None:
        """Ask systemd to close what it keeps under this name."""
        self.tell(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def after(self, call: Callable[[str], None]) -> None:
        """Call this when systemd has acted on everything sent to it so far; with the reason when it has not in time."""
        self._waiting.append(call)

    def turn(self) -> None:
        """One barrier for all that wait for one after a turn of the loop. What they do may need another."""
        while self._waiting:
            calls, self._waiting = self._waiting, []
            self._barrier(calls)

    def _barrier(self, calls: Sequence[Callable[[str], None]]) -> None:
        """systemd closes its copy of the pipe's end when it has read everything before."""
        reader, writer = os.pipe2(os.O_CLOEXEC)

        def passed(problem: str) -> None:
            nonlocal reader
            if reader >= 0:
                self._loop.forget(reader)
                os.close(reader)
                reader = -1
                for call in calls:
                    call(problem)

        try:
            self._send("BARRIER=1", [writer])
        except OSError as error:
            passed(f"systemd does not take over descriptors: {error.strerror or error}")
        else:
            self._loop.watch(reader, lambda: passed(""))
            self._loop.at(BARRIER_SECONDS, lambda: passed(f"systemd took over nothing within {BARRIER_SECONDS:g} s"))
        finally:
            os.close(writer)

    def _send(self, text: str, descriptors: list[int]) -> None:
        notify.send(self.address, text, descriptors)


def inherited(environment: Mapping[str, str]) -> dict[str, list[int]]:
    """The descriptors that systemd hands over at the start, by name (LISTEN_FDS, LISTEN_FDNAMES)."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(environment.get("LISTEN_FDS", "0"))
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[int]] = {}
    for index in range(count):
        descriptor = _FIRST_DESCRIPTOR + index
        os.set_inheritable(descriptor, False)
        found.setdefault(names[index] if index < len(names) else "", []).append(descriptor)
    return found
