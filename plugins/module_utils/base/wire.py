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
from typing import Any, Sequence

MAX_MESSAGE = 131072
"""Bytes. A packet has to fit into the sender's buffer (net.core.wmem_default, 212,992 bytes)."""

MAX_DESCRIPTORS = 240
"""More in one message would have to be cut up; the kernel's own limit is 253 (SCM_MAX_FD)."""

_LEVEL, _RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)
_NOSIGNAL, _CLOEXEC = int(socket.MSG_NOSIGNAL), int(socket.MSG_CMSG_CLOEXEC)
_CUT = int(socket.MSG_TRUNC) | int(socket.MSG_CTRUNC)
_SPACE = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
_encode = json.JSONEncoder(separators=(",", ":")).encode
_buffer = bytearray(MAX_MESSAGE)
_view = memoryview(_buffer)


def send(sock: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message as one packet (SOCK_SEQPACKET). The sender's own descriptors stay open."""
    ancillary = [(_LEVEL, _RIGHTS, array.array("i", descriptors))] if descriptors else []
    sock.sendmsg([_encode(message).encode()], ancillary, _NOSIGNAL)


def receive(sock: socket.socket, flags: int = 0) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and the descriptors that came with it, close-on-exec; None at the end.

    `flags` may be MSG_PEEK: then it stays in the queue. Raises ValueError for what is no message; its descriptors are
    closed. One thread of a process receives.
    """
    size, ancillary, found, _address = sock.recvmsg_into([_buffer], _SPACE, _CLOEXEC | int(flags))
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (_LEVEL, _RIGHTS):
            rights = array.array("i")
            rights.frombytes(content[: len(content) // rights.itemsize * rights.itemsize])
            descriptors += rights
    if not size:
        close_all(descriptors)
        return None
    try:
        if found & _CUT:
            raise ValueError(
                f"a message is longer than {MAX_MESSAGE} bytes or has more than {MAX_DESCRIPTORS} descriptors"
            )
        message = json.loads(str(_view[:size], "utf-8"))
        if not isinstance(message, dict):
            raise ValueError("a message is not a JSON object")
    except (ValueError, RecursionError) as error:
        close_all(descriptors)
        raise ValueError(str(error)) from None
    return message, descriptors


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
