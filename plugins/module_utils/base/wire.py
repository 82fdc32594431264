# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages between the keeper, its workers and its clients.

One JSON object, with descriptors where they belong to it.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any

MAX_MESSAGE = 65536
MAX_DESCRIPTORS = 64
"""More in one message would have to be cut up; the kernel's own limit is 253 (SCM_MAX_FD)."""


def send(sock: socket.socket, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """Send one message as one packet (SOCK_SEQPACKET). The sender's own descriptors stay open."""
    ancillary = []
    if descriptors:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())]
    sock.sendmsg([json.dumps(message).encode()], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, flags: int = 0) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and the descriptors that came with it, close-on-exec; None at the end.

    `flags` may be MSG_PEEK: then it stays in the queue.
    """
    size = array.array("i").itemsize
    data, ancillary, found, _address = sock.recvmsg(
        MAX_MESSAGE, socket.CMSG_SPACE(MAX_DESCRIPTORS * size), socket.MSG_CMSG_CLOEXEC | flags
    )
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) // size * size])
    if not data:
        close_all(descriptors.tolist())
        return None
    if found & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(descriptors.tolist())
        raise ValueError(f"a message is longer than {MAX_MESSAGE} bytes or has more than {MAX_DESCRIPTORS} descriptors")
    message = json.loads(data)
    if not isinstance(message, dict):
        close_all(descriptors.tolist())
        raise ValueError("a message is not a JSON object")
    return message, descriptors.tolist()


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
