# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The o2net connections of this node, from /proc/net/tcp. No debugfs is needed."""

from __future__ import annotations

import socket
import struct
from typing import Iterable

from .model import Node

_ESTABLISHED = "01"
_LISTEN = "0A"


def parse_address(text: str) -> tuple[str, int]:
    """`0100007F:1E61` -> ("127.0.0.1", 7777); the address is in the byte order of the machine (proc(5))."""
    address, port = text.split(":")
    return socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)


def connected(table: str, own: Node, nodes: Iterable[Node]) -> frozenset[int]:
    """The numbers of the nodes with an established connection to `own`.

    The node with the higher number connects to the port of the lower one, so either end may have the known port.
    """
    peers = {node.address: node for node in nodes if node.number != own.number}
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4 or fields[3] != _ESTABLISHED:
            continue
        (local, local_port), (remote, remote_port) = parse_address(fields[1]), parse_address(fields[2])
        peer = peers.get(remote)
        if peer and local == own.address and (local_port == own.port or remote_port == peer.port):
            found.add(peer.number)
    return frozenset(found)


def listens(table: str, address: str, port: int) -> bool:
    """Whether anything listens on this address and port, or on the port of all addresses."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if (
            len(fields) >= 4
            and fields[3] == _LISTEN
            and parse_address(fields[1]) in ((address, port), ("0.0.0.0", port))
        ):
            return True
    return False
