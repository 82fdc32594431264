# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One request to o2keep until it is answered, over as many connections as that takes. Pure: no I/O, no clock.

o2keep may be restarted at any time. Its socket stays, so a connection that is made meanwhile waits; one that was there
ends. Each request has an id: who asks again with the same one is told what the first has come to, so no lock is
acquired twice and no wait is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base import wire
from ..base.errors import O2cbError

GRACE = 15.0
"""Seconds that o2keep may need beyond the wait that was asked for, so that no caller hangs on a daemon that does."""

AGAIN_SECONDS = 0.1
"""Pause before the next connection."""

RESTART_SECONDS = 5.0
"""Where nobody listens on the socket at all, a restart is waited for this long."""


class Request:
    """A request, with its deadlines in seconds of any clock that never goes back, of which each call gives the time.

    `wait` is for the lock, `grace` for o2keep to answer after that.
    """

    def __init__(self, message: Mapping[str, Any], wait: float, grace: float, identity: str, now: float) -> None:
        self._message = dict(message)
        self._identity = identity
        self._begun = now
        self._deadline = now + wait
        self.end = self._deadline + grace
        """When o2keep must have answered."""

    def packet(self, now: float) -> dict[str, Any]:
        """What to send on a new connection: with what is left of the wait."""
        left = {"wait": max(0.0, self._deadline - now)} if "wait" in self._message else {}
        return {**self._message, **left, "id": self._identity}

    def lost(self, why: object, now: float) -> float:
        """The connection has ended before the answer. Returns the pause before the next one, in seconds.

        Raises O2cbError at the end of all patience.
        """
        if now + AGAIN_SECONDS >= self.end:
            raise O2cbError(f"o2keep did not answer: {why}; see `systemctl status o2keep`")
        return AGAIN_SECONDS

    def refused(self, error: OSError, node: str, now: float) -> float:
        """No connection. Returns the pause before the next try, in seconds.

        Raises O2cbError where nobody will answer: without rights, without o2keep, and after some seconds.
        """
        if isinstance(error, PermissionError):
            raise O2cbError("only root and the group o2keep may ask o2keep: use become, or sudo")
        if isinstance(error, FileNotFoundError) or now + AGAIN_SECONDS > min(self.end, self._begun + RESTART_SECONDS):
            raise unreachable(error, node)
        return AGAIN_SECONDS

    def late(self) -> O2cbError:
        """What to say at the end of its time."""
        return O2cbError("o2keep did not answer in time: see `systemctl status o2keep`, and `o2ctl keep status`")


def unreachable(error: OSError, node: str) -> O2cbError:
    return O2cbError(
        f"o2keep does not answer on {node} ({error.strerror}): run role ocfs2.o2cb.dlmfs, or see "
        "`systemctl status o2keep`"
    )


def answered(received: tuple[dict[str, Any], list[int]]) -> tuple[dict[str, Any], list[int]]:
    """What o2keep's answer is, with its descriptors. Raises O2cbError for a refusal in words."""
    answer, descriptors = received
    if "error" in answer:
        wire.close_all(descriptors)
        raise O2cbError(str(answer["error"]))
    return answer, descriptors
