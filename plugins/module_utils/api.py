# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What programs on a node may use of this library. Docs: docs/programs.md.

    PYTHONPATH=/usr/local/lib/ocfs2.o2cb/o2cb.pyz python3 -c 'from ocfs2_o2cb.api import Bus'

Names in here stay; what they do not name may change with any release.
"""

from __future__ import annotations

from .base.errors import O2cbError
from .client.agent import Client as Bus
from .client.agent import Listening
from .client.aio import AsyncClient as AsyncBus
from .client.aio import AsyncListening
from .client.cluster_ops import (
    LCK_CR,
    LCK_EX,
    LCK_NL,
    LCK_NONBLOCK,
    LCK_PR,
    LCK_PW,
    LCKF_CONVERT,
    LCKF_NOQUEUE,
    ClusterOps,
    LeftBus,
    csid,
    node_of,
)
from .client.lock_requests import LockError
from .client.master import AsyncMaster, Master
from .client.protocol import Answers, Event

__all__ = [
    "LCKF_CONVERT",
    "LCKF_NOQUEUE",
    "LCK_CR",
    "LCK_EX",
    "LCK_NL",
    "LCK_NONBLOCK",
    "LCK_PR",
    "LCK_PW",
    "Answers",
    "AsyncBus",
    "AsyncListening",
    "AsyncMaster",
    "Bus",
    "ClusterOps",
    "Event",
    "LeftBus",
    "Listening",
    "LockError",
    "Master",
    "O2cbError",
    "csid",
    "node_of",
]
