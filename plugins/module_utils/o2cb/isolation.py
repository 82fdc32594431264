# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether this node knows all who live, before it joins a domain.

Theory of operation. Who joins a domain asks those nodes in that o2hb holds for live at that moment (o2dlm's
dlm_try_to_join_domain). Just after the first beat that is nobody: a node that joins then is alone in a domain of the
same name, the connections that come a second later change nothing, and from then on both sides grant every lock. It was
seen when a lock was asked for while o2cb.service was still bringing the node online.

A connection of o2net exists only between nodes that hold each other for live. So every node that is seen to beat on
disk, by two readings, has to be connected, in two looks, since a peer that refuses the handshake is for milliseconds.
Two readings of no region say nothing of anybody: while the node is still brought online there is none, and until the
cluster is told otherwise its heartbeat counts as local, for which none is needed. So both must have seen one region.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from ..base.errors import O2cbError
from . import blocks
from .blocks import Beats
from .state import Live

SECONDS = 30.0
PAUSE = 0.25


def wait(look: Callable[[], Live], beats: Callable[[Live], Beats], seconds: float = SECONDS) -> None:
    """Wait until all who live are connected. Raises O2cbError that names those who are not in the end.

    `look` gives the cluster as this node runs it, and raises O2cbError where it is not online.
    """
    deadline = time.monotonic() + seconds
    before: Beats = {}
    connected: Collection[int] = ()
    while True:
        live = look()
        own = live.cluster.node(live.local or "")
        if own is None:
            raise O2cbError("this machine is no node of the cluster that it runs: run role ocfs2.o2cb.cluster")
        now = beats(live)
        proved = bool(before.keys() & now.keys())
        alive = sorted(blocks.alive_on_any(before, now) - {own.number})
        missing = [number for number in alive if number not in live.connected or number not in connected]
        if proved and not missing:
            return
        if time.monotonic() > deadline:
            raise O2cbError(_problem(live, own.name, missing))
        connected = live.connected
        if not proved:
            before = now
        time.sleep(PAUSE if proved else blocks.PROBE_SECONDS)


def _problem(live: Live, own: str, missing: list[int]) -> str:
    if not missing:
        return f"{own} cannot read any heartbeat region, so nobody knows who lives; see cluster_info"
    names = ", ".join(node.name for node in live.cluster.nodes if node.number in missing)
    return (
        f"{own} has no connection to {names}, which heartbeats: a domain joined now would be another one than theirs; "
        "see cluster_info, or the kernel's log"
    )
