# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking o2agent, from a module or a program on the same node."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, Callable

from ..o2cb.errors import O2cbError
from .server import SOCKET

SECONDS = 15.0
PAUSE = 0.2


class Client:
    """One connection. Every call has a deadline and raises O2cbError with a text for people."""

    def __init__(self, path: str = SOCKET) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sock.settimeout(SECONDS)
        try:
            self._sock.connect(path)
        except PermissionError:
            raise O2cbError("you may not ask o2agent: use become, or sudo") from None
        except OSError as error:
            raise O2cbError(
                f"o2agent does not answer on {os.uname().nodename} ({error.strerror}): run role ocfs2.o2cb.agent, or "
                "see `systemctl status o2agent`"
            ) from None
        self._lines = self._sock.makefile("rb")

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """The answer to a request. Raises O2cbError with what the agent says against it."""
        try:
            self._sock.sendall(json.dumps({"op": op, **more}).encode() + b"\n")
            line = self._lines.readline()
            answer: dict[str, Any] = json.loads(line)
        except (OSError, ValueError) as error:
            raise O2cbError(f"o2agent did not answer: {error}; see `systemctl status o2agent`") from None
        if "error" in answer:
            raise O2cbError(str(answer["error"]))
        return answer

    def resource(self, name: str) -> dict[str, Any] | None:
        """The facts of one resource as this node sees it, None where it is unknown."""
        found: list[dict[str, Any]] = self.ask("resources")["resources"]
        return next((one for one in found if one["name"] == name), None)

    def wait(self, name: str, done: Callable[[dict[str, Any] | None], bool], seconds: float) -> dict[str, Any] | None:
        """Look until it is as wanted, at most so long. Raises O2cbError that tells the last that was seen."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.resource(name)
            if done(found):
                return found
            if time.monotonic() > deadline:
                state = f"{found['state']!r}{': ' + found['error'] if found['error'] else ''}" if found else "unknown"
                raise O2cbError(f"resource {name} is {state} after {seconds:g} s", resource=found)
            time.sleep(PAUSE)
