# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at this node, and changing nothing: the live cluster, and who the kernel says is live.

Kept apart from what changes a node, so that a look needs few imports and system calls.
"""

from __future__ import annotations

from typing import Sequence

from ..base import files
from . import model, network
from .configfs import ConfigFs
from .domains import Domain
from .state import Live

STACK_FILE = "/sys/fs/ocfs2/cluster_stack"
STACK = "o2cb"
"""What it says where the kernel's own stack is in use; empty before any is."""

_DEBUGFS = "/sys/kernel/debug/o2hb"


def live(joined: Sequence[Domain] = ()) -> Live | None:
    """The cluster in the kernel, or None when none is registered."""
    tree = ConfigFs()
    names = tree.names()
    if not names:
        return None
    regions = tuple(tree.regions(names[0]))
    cluster = tree.cluster(names[0], regions)
    local = tree.local(cluster.name)
    own = cluster.node(local) if local else None
    table = files.read("/proc/net/tcp") or ""
    return Live(
        cluster=cluster,
        regions=regions,
        local=local,
        connected=network.connected(table, own, cluster.nodes) if own else frozenset(),
        domains=tuple(domain.name for domain in joined),
    )


def live_nodes() -> frozenset[int] | None:
    """The nodes that the kernel itself holds for live, where debugfs tells it to this user; else None."""
    return _debugfs_numbers("livenodes")


def _debugfs_numbers(name: str) -> frozenset[int] | None:
    try:
        text = files.read(f"{_DEBUGFS}/{name}")
    except OSError:
        return None
    return None if text is None else frozenset(int(word) for word in text.split())


def quorum_regions(uuids: Sequence[str]) -> frozenset[str] | None:
    """Those of these regions that count for quorum, where debugfs tells it; else None."""
    numbers = _debugfs_numbers("quorum_regions")
    if numbers is None:
        return None
    return frozenset(uuid for uuid in uuids if files.read_line(f"{_DEBUGFS}/{uuid}/num") in map(str, numbers))


def slots(found: Live) -> list[int]:
    """The node numbers whose heartbeat blocks are worth reading: all in the same pages as those of the nodes."""
    highest = max((node.number for node in found.cluster.nodes), default=0)
    return list(range(min(highest | 7, model.MAX_NODE_NUMBER) + 1))
