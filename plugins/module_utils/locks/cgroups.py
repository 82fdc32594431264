# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control groups (version 2) as the life of a lock: it lasts until no process is left in one (cgroups(7)).

A daemon that closes its descriptors still belongs to its group, and only root could move it out.
"""

from __future__ import annotations

from ..base import files
from ..base.errors import O2cbError

ROOT = "/sys/fs/cgroup"
SECONDS = 0.25
"""How often a group is looked at. The kernel would tell, but a removed group tells nobody."""


def of_process(pid: int) -> str:
    """The path of a process's group below ROOT. Raises O2cbError when it has none of its own."""
    path = next((line[3:] for line in (files.read(f"/proc/{pid}/cgroup") or "").splitlines() if line[:3] == "0::"), "")
    if path in ("", "/"):
        raise O2cbError(f"process {pid} is in no control group of its own (version 2): start it by systemd-run --scope")
    return path


def is_empty(path: str) -> bool:
    """Whether no process is left in the group and those below it, or it is not there any more."""
    return "populated 1" not in (files.read(f"{ROOT}{path}/cgroup.events") or "").splitlines()
