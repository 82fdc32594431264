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
from ..locks.token import SECOND
from ..o2cb.keeping import SOCKET
from .keep_protocol import GRACE, RESTART_SECONDS, Request, answered


class Client:
    """A connection, made anew where o2keep was restarted. Every call has a deadline and raises O2cbError with a text
    for people.

    `grace`, in seconds, is for callers that cannot wait as long as GRACE.
    """

    def __init__(self, path: str = SOCKET, grace: float = GRACE) -> None:
        self.grace = grace
        self._path = path
        self._sock: socket.socket | None = None
        now = time.monotonic()
        self._connect(Request({}, 0.0, min(grace, RESTART_SECONDS), "", now))

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def ask(self, message: dict[str, Any], seconds: float = 0.0) -> tuple[dict[str, Any], list[int]]:
        """Send a request and return its answer, at the latest `seconds` and a little after."""
        request = Request(message, seconds, self.grace, os.urandom(8).hex(), time.monotonic())
        while True:
            sock = self._sock or self._connect(request)
            now = time.monotonic()
            sock.settimeout(max(0.001, request.end - now))
            try:
                wire.send(sock, request.packet(now))
                received = wire.receive(sock)
            except socket.timeout:
                self.close()
                raise request.late() from None
            except (OSError, ValueError) as error:
                why: object = error
            else:
                if received is not None:
                    return answered(received)
                why = "it went away"
            self.close()
            time.sleep(request.lost(why, time.monotonic()))

    def _connect(self, request: Request) -> socket.socket:
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            sock.settimeout(max(0.001, request.end - time.monotonic()))
            try:
                sock.connect(self._path)
            except socket.timeout:
                sock.close()
                raise request.late() from None
            except OSError as error:
                sock.close()
                time.sleep(request.refused(error, os.uname().nodename, time.monotonic()))
            else:
                self._sock = sock
                return sock

    def locks(self) -> Iterator[dict[str, Any]]:
        """What this node holds."""
        after = 0
        while True:
            answer, _descriptors = self.ask({"op": "list", "after": after})
            yield from answer["locks"]
            after = answer["more"]
            if not after:
                return


def refusal(name: str, answer: dict[str, Any], wait: float) -> str:
    """Why a lock was not got, in words that name its holder."""
    waited = f" within {wait:g} s" if wait else ""
    if answer["reason"] == "busy":
        return f"lock {name!r} could not be had{waited}: {holder(answer.get('holder'))}"
    if answer["reason"] == "joining":
        return (
            f"lock {name!r} could not be had: its domain is still being joined, for {answer['asleep']:g} s now; "
            "ask again, or see `o2ctl keep status`"
        )
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
