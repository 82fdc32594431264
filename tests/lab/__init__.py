# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real o2cb clusters on one machine, for tests, benchmarks and demonstrations.

Theory of operation
    A node is a User-Mode Linux kernel: the kernel's own source, run as a process of this machine, so that heartbeat,
    o2net, o2dlm and self-fencing are real. Its root disk is a copy-on-write file over a cached image (`image`), its
    heartbeat and data disks are files shared with the other nodes (`disks`), its network is a tap on a bridge in a
    network namespace of the lab (`network`). A supervisor process per node (`supervisor`) is the machine's "power
    supply": it boots the kernel again when that reset itself (reboot, self-fence, panic) and leaves it off when it
    was powered off or killed.

    The lab keeps no process ids. A process belongs to a node when its executable is what the lab starts and its working
    directory is the node's (`processes`), so nothing ever goes stale, and `up` mends whatever it finds.

Use
    from lab import Lab
    lab = Lab("demo"); lab.up(nodes=3); lab.node("node1").run("uname -n").stdout
"""

from __future__ import annotations

from .errors import LabError
from .lab import Lab
from .node import Node
from .ssh import Result

__all__ = ["Lab", "LabError", "Node", "Result"]
