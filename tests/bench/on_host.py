# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2keep on this machine's own kernel, with a tmpfs in dlmfs' place: what its processes cost without User-Mode Linux.

Files exclude nobody there, so nothing is proved but the cost. `on_host.py keeper` and `worker FD` are its processes.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
from pathlib import Path
from typing import Any

PLUGINS = "ansible_collections.ocfs2.o2cb.plugins.module_utils"
HERE = Path(os.environ.get("O2_BENCH_HOST", "/dev/shm/o2cb-bench"))
_numbers = itertools.count()


def patch() -> None:
    """dlmfs' mounts are directories, and there is no cluster."""
    from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import mount, worker
    from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import asking, local, page
    from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.refusals import NoRecordError

    def create() -> mount.Mount:
        path = HERE / f"mount-{os.getpid()}-{next(_numbers)}"
        path.mkdir(parents=True)
        return mount.Mount(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    class Clocks:
        def newest(self) -> float:
            return 0.0

        newest_of_others = newest

    class Asker:
        """There is no record on disk."""

        def before(self) -> page.Page:
            return page.Page(state=page.NONE)

        look = before

        def ask(self, _request: Any) -> Any:
            return {}

        def tokens(self, _locks: Any, _seen: Any) -> Any:
            raise NoRecordError("none")

    def join(self: Any, job: Any) -> Any:
        return self._new_lane(job.domain, job.lane, job.slot, 1)

    mount.create = create
    asking.Asker = Asker  # type: ignore[misc,assignment]
    local.PATH = str(HERE / "token")
    worker.Worker._join = join  # type: ignore[method-assign]
    worker.Worker._clocks = lambda _self: Clocks()  # type: ignore[method-assign,assignment,return-value]


def main() -> int:
    HERE.mkdir(parents=True, exist_ok=True)
    patch()
    from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import keeper, nursery, worker

    if sys.argv[1] == "nursery":
        kinds = {"worker": lambda sock: worker.Worker(sock).serve(), "record": lambda sock: sock.recv(1)}
        nursery.serve(socket.socket(fileno=int(sys.argv[2])), kinds)
        return 0
    keeper.Keeper(os.environ, [sys.executable, __file__, "nursery"], str(HERE / "socket")).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
