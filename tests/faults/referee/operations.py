# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program on a node that has ClusterOps, in one select loop with its standard input. Runs on the node.

Requests are one JSON object a line, answered by another: {"op": "look"}, "record", "send", "lock", "begin", "unlock" or
"close". What was told by the calls of ClusterOps is in the answer to "record".
"""

from __future__ import annotations

import json
import os
import select
import sys

sys.path.insert(0, "/usr/local/lib/ocfs2.o2cb/o2cb.pyz")
from ocfs2_o2cb.api import ClusterOps, LockError, O2cbError, csid, node_of


class Operator:
    def __init__(self, program: str) -> None:
        self.order: list[object] = []
        """Messages and events in the order in which they were told."""
        self.sent: list[object] = []
        self.locks: list[object] = []
        self.ops = ClusterOps(program, self.message, self.node, loopback=True)
        self.ops.init_cluster(120)

    def message(self, data: bytes, sender: bytes) -> None:
        self.order.append([self.ops.position, "message", node_of(sender), data.decode()])

    def node(self, identity: bytes, up: bool, why: str) -> None:
        self.order.append([self.ops.position, "up" if up else why, node_of(identity), ""])

    def look(self, **_request: object) -> dict[str, object]:
        """Each operation that tells something."""
        ops, found = self.ops, {}
        code = ops.cluster_do_node_callback(lambda identity, up: found.update({node_of(identity): up}))
        ops.reread_config()
        names = [ops.name_from_csid(csid(node)) for node in sorted(found)]
        return {
            "us": node_of(ops.get_our_csid()),
            "csid": ops.get_our_csid().hex(),
            "names": names,
            "back": [node_of(ops.csid_from_name(name)) for name in names],
            "count": ops.get_num_nodes(),
            "nodes": found,
            "code": code,
            "quorate": ops.is_quorate(),
            "cluster": ops.get_cluster_name(),
            "fd": ops.get_main_cluster_fd(),
        }

    def record(self, **_request: object) -> dict[str, object]:
        return {"order": self.order, "sent": self.sent, "locks": self.locks}

    def send(self, texts: list[str], to: int | None = None) -> dict[str, object]:
        for text in texts:
            target = None if to is None else csid(to)
            self.ops.cluster_send_message(
                text.encode(), target, lambda position, error: self.sent.append([position, str(error or "")])
            )
        return {}

    def lock(self, resource: str, mode: int, flags: int = 0, lockid: int = 0, seconds: float = 10) -> dict[str, object]:
        return {"lockid": self.ops.sync_lock(resource, mode, flags, lockid, seconds)}

    def begin(self, resource: str, mode: int, seconds: float) -> dict[str, object]:
        def told(lockid: int, error: LockError | None, token: int) -> None:
            self.locks.append([lockid, str(error or ""), token])

        return {"lockid": self.ops.begin_lock(resource, mode, told, seconds=seconds)}

    def unlock(self, lockid: int) -> dict[str, object]:
        self.ops.sync_unlock("", lockid)
        return {}

    def close(self) -> dict[str, object]:
        self.ops.cluster_closedown()
        return {}

    def run(self) -> None:
        """Answer until there is nobody to answer."""
        left = b""
        while True:
            found = select.select([0, self.ops.get_main_fd()], [], [], self.ops.timeout())[0]
            self.ops.cluster_fd_callback()
            if 0 not in found:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, left = (left + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                op = request.pop("op")
                try:
                    answer = getattr(self, op)(**request)
                except LockError as error:
                    answer = {"errno": error.errno, "error": str(error)}
                except O2cbError as error:
                    answer = {"error": str(error)}
                print(json.dumps(answer), flush=True)
                if op == "close":
                    return


Operator(sys.argv[1]).run()
