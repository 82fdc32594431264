# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking o2keep, from a module or a program on the same node."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from ..base import wire
from ..base.errors import O2cbError
from ..locks.token import SECOND
from ..o2cb.keeping import SOCKET

GRACE = 15.0
"""Seconds that o2keep may need beyond the wait that was asked for, so that no caller hangs on a daemon that does."""


class Client:
    """One connection. Every call has a deadline and raises O2cbError with a text for people.

    `grace`, in seconds, is for callers that cannot wait as long as GRACE.
    """

    def __init__(self, path: str = SOCKET, grace: float = GRACE) -> None:
        self.grace = grace
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.grace)
        try:
            self.sock.connect(path)
        except PermissionError:
            raise O2cbError("only root may ask o2keep: use become, or sudo") from None
        except OSError as error:
            raise O2cbError(
                f"o2keep does not answer on {os.uname().nodename} ({error.strerror}): run role ocfs2.o2cb.dlmfs, or "
                "see `systemctl status o2keep`"
            ) from None

    def ask(self, message: dict[str, Any], seconds: float = 0.0) -> tuple[dict[str, Any], list[int]]:
        """Send a request and return its answer, at the latest `seconds` and a little after."""
        self.sock.settimeout(seconds + self.grace)
        try:
            wire.send(self.sock, message)
            received = wire.receive(self.sock)
        except (OSError, ValueError) as error:
            raise O2cbError(f"o2keep did not answer: {error}; see `systemctl status o2keep`") from None
        return answered(received)

    def locks(self) -> Iterator[dict[str, Any]]:
        """What this node holds."""
        after = 0
        while True:
            answer, _descriptors = self.ask({"op": "list", "after": after})
            yield from answer["locks"]
            after = answer["more"]
            if not after:
                return


def answered(received: tuple[dict[str, Any], list[int]] | None) -> tuple[dict[str, Any], list[int]]:
    """What o2keep's answer is, with its descriptors. Raises O2cbError for a refusal, and where it has gone away."""
    if received is None:
        raise O2cbError("o2keep went away in the middle of the request: see `journalctl -u o2keep`")
    answer, descriptors = received
    if "error" in answer:
        wire.close_all(descriptors)
        raise O2cbError(str(answer["error"]))
    return answer, descriptors


def refusal(name: str, answer: dict[str, Any], wait: float) -> str:
    """Why a lock was not got, in words that name its holder."""
    waited = f" within {wait:g} s" if wait else ""
    if answer["reason"] == "busy":
        return f"lock {name!r} could not be had{waited}: {holder(answer.get('holder'))}"
    if answer["reason"] == "conversion":
        return (
            f"lock {name!r} stays in mode {answer['mode']}{waited}: somebody else holds it too; where that one wants "
            "to rise as well neither ever will, so release it and take it anew"
        )
    if answer["reason"] == "recovering":
        return (
            f"lock {name!r} could not be had{waited}: the lock manager has not answered for {answer['asleep']:g} s; "
            "a node is being recovered or is cut off, see cluster_info"
        )
    return f"lock {name!r} could not be had{waited}: the lock manager has not answered yet; wait longer"


def holder(found: dict[str, Any] | None) -> str:
    """Who holds a lock, for people."""
    if not found:
        return "somebody holds it who has not said who; it may be another program, or the holder is just taking it"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"] / SECOND))
    owner = f" for {found['owner']!r}" if found["owner"] else ""
    return f"node {found['node']} holds it{owner} since {since}, token {found['token']}"
