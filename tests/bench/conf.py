# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""255 nodes in one cluster.conf: parse, plan and render, in milliseconds. The best of some rounds counts.

Prints one line a part and their sum; the exit code is 1 when the sum is over the target.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / ".ansible/tree"))

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, plan, sysconfig  # noqa: E402
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node  # noqa: E402
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have  # noqa: E402

TARGET_MS = 50.0
ROUNDS = 20


def best_ms(function: Callable[[], object]) -> float:
    times = []
    for _round in range(ROUNDS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def main() -> int:
    nodes = tuple(Node(f"node{number}", number, f"10.0.{number // 250}.{number % 250 + 1}") for number in range(255))
    old = Cluster("lab", nodes, tuple(f"{uuid:032X}" for uuid in range(3)))
    new = Cluster("lab", (*nodes[:254], Node("node254", 254, "10.0.9.9")), old.regions)
    text = conf.Document().with_cluster(old).render()
    document = conf.parse(text)
    have = Have("node7", conf=text, sysconfig=sysconfig.merged("", sysconfig.wanted(old)))
    parts = {
        "parse": best_ms(lambda: conf.parse(text).cluster("lab")),
        "plan": best_ms(lambda: plan.plan(have, new)),
        "render": best_ms(lambda: document.with_cluster(new).render()),
    }
    total = sum(parts.values())
    for name, milliseconds in parts.items():
        print(f"{name:8}{milliseconds:8.1f} ms")
    verdict = "ok" if total <= TARGET_MS else "too slow"
    print(f"{'total':8}{total:8.1f} ms  (target {TARGET_MS:g} ms for 255 nodes: {verdict})")
    return int(total > TARGET_MS)


if __name__ == "__main__":
    raise SystemExit(main())
