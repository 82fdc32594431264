# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is: the state of one node, as far as a plan needs it. Pure data, read by `system.System`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .model import Cluster


@dataclass(frozen=True)
class LiveRegion:
    """A heartbeat region in configfs. `device` is the kernel's name, such as dm-0, and empty while it does not beat."""

    uuid: str
    device: str = ""
    block_bytes: int = 0
    start_block: int = 0
    blocks: int = 0

    @property
    def started(self) -> bool:
        return bool(self.device)


@dataclass(frozen=True)
class Live:
    """The cluster that is registered in the running kernel, in /sys/kernel/config/cluster.

    `cluster.regions` are those that beat; `regions` holds the half-made ones too. `local` is the name of the node that
    the kernel takes for this machine. `connected` are the numbers of the peers with an established o2net connection.
    """

    cluster: Cluster
    regions: tuple[LiveRegion, ...] = ()
    local: str | None = None
    connected: frozenset[int] = frozenset()
    domains: tuple[str, ...] = ()

    @property
    def online(self) -> bool:
        """Whether this node takes part: it knows itself, and beats where the heartbeat is global."""
        beats = bool(self.cluster.regions) or self.cluster.heartbeat_mode == "local"
        return self.local is not None and beats


@dataclass(frozen=True)
class Have:
    """Everything a plan looks at on one node. A text is None when the file does not exist.

    `unit` is the state of o2cb.service, active or inactive, where the collection's drop-in is installed, else empty.
    """

    hostname: str
    conf: str | None = None
    sysconfig: str | None = None
    sysconfig_path: str = "/etc/default/o2cb"
    live: Live | None = None
    stack: str = ""
    missing_modules: tuple[str, ...] = ()
    in_use: tuple[str, ...] = field(default=())
    unit: str = ""
