# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What o2keep holds on this node, asked before the node leaves the cluster. No other tool can see its locks.

This is all that the cluster's side knows of the locks' side: two sockets, and four questions in JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from ..base.errors import O2cbError

SOCKET = "/run/o2keep/socket"
AGENT_SOCKET = "/run/o2agent/socket"
MAX_MESSAGE = 65536
SECONDS = 10.0
LEAVE_SECONDS = 60.0


def domains_and_locks() -> tuple[list[str], int, list[str]]:
    """The domains that o2keep has joined, how many locks it holds, and names of some; nothing where there is no o2keep.

    A lock whose record cannot be read is named after its slot, by which it can be released. Those that only say that
    node and agent are there do not count: they go when the node leaves.
    Raises O2cbError when it does not answer: nobody knows then what systemd still keeps for it.
    """
    if not os.path.exists(SOCKET):
        return [], 0, []
    answer = ask("status")
    unreadable = [f"slot:{one['slot']}" for one in answer.get("unreadable", ())]
    names = [*unreadable, *(str(name) for name in answer["names"])]
    return list(answer["domains"]), int(answer.get("named", len(answer["names"]))) + len(unreadable), names


def runs() -> bool:
    """Whether o2keep answers."""
    if not os.path.exists(SOCKET):
        return False
    try:
        ask("status")
    except O2cbError:
        return False
    return True


@contextlib.contextmanager
def domains_left() -> Iterator[None]:
    """The agent is off the bus, and o2keep in no domain: nor does it join one until the end of the block.

    Raises O2cbError when it holds a lock by now.
    """
    if not os.path.exists(SOCKET):
        yield
        return
    let_agent_leave()
    with _asked("leave", LEAVE_SECONDS):
        yield


def let_agent_leave() -> None:
    """Off the bus, without its own locks. Raises O2cbError with what it says against it.

    One that does not run has left its socket behind, and nothing else.
    """
    if not os.path.exists(AGENT_SOCKET):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(LEAVE_SECONDS)
        try:
            sock.connect(AGENT_SOCKET)
            sock.sendall(b'{"op": "leave"}\n')
            answer = json.loads(sock.makefile("rb").readline() or b"{}")
        except ConnectionRefusedError:
            return
        except (OSError, ValueError) as error:
            raise O2cbError(f"o2agent does not answer: {error}; see `systemctl status o2agent`") from None
    if "error" in answer:
        raise O2cbError(f"o2agent: {answer['error']}")


def ask(operation: str, seconds: float = SECONDS) -> dict[str, Any]:
    """One question without descriptors. Raises O2cbError when there is no answer, or the answer is an error."""
    with _asked(operation, seconds) as answer:
        return answer


@contextlib.contextmanager
def _asked(operation: str, seconds: float) -> Iterator[dict[str, Any]]:
    """The answer, and the connection until the end of the block."""
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(seconds)
        try:
            _connect(sock, deadline)
            sock.send(json.dumps({"op": operation}).encode())
            answer: dict[str, Any] = json.loads(sock.recv(MAX_MESSAGE) or b'{"error": "it went away"}')
        except (OSError, ValueError) as error:
            raise O2cbError(f"o2keep does not answer: {error}; see `systemctl status o2keep`") from None
        if "error" in answer:
            raise O2cbError(f"o2keep: {answer['error']}")
        yield answer


def _connect(sock: socket.socket, deadline: float) -> None:
    """Wait for a daemon that is just being restarted: its socket is there, and nobody listens yet."""
    while True:
        try:
            sock.connect(SOCKET)
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
