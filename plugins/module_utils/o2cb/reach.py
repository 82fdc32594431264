# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether o2net could connect: tried before the first beat, while nothing is at stake yet."""

from __future__ import annotations

import socket
from typing import Callable, Sequence

from .model import Node

CONNECT_SECONDS = 3.0
"""Deadline of a connection; peers of a cluster are milliseconds away."""


def unreachable(own: Node, peers: Sequence[Node]) -> frozenset[int]:
    """The numbers of the peers whose o2net port takes no connection from this node.

    o2net drops such a connection by itself, since no heartbeat stands behind it yet.
    """
    from concurrent.futures import ThreadPoolExecutor  # costs as much as the rest of a module that does not get here

    with ThreadPoolExecutor(max_workers=min(len(peers), 32) or 1) as pool:
        return frozenset(peer.number for peer, found in zip(peers, pool.map(_reacher(own), peers)) if not found)


def _reacher(own: Node) -> Callable[[Node], bool]:
    def reaches(peer: Node) -> bool:
        try:
            socket.create_connection((peer.address, peer.port), CONNECT_SECONDS, (own.address, 0)).close()
        except OSError:
            return False
        return True

    return reaches
