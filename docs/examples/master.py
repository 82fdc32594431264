# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Am I the master? Run it on every node, with a name and a program: on one of them the program runs."""

from __future__ import annotations

import os
import subprocess
import sys

sys.path.insert(0, "/usr/local/lib/ocfs2.o2cb/o2cb.pyz")
from ocfs2_o2cb.api import Master


def gained(token: int) -> None:
    global program
    print(f"the master, with token {token}", flush=True)
    program = subprocess.Popen(
        sys.argv[2:], env={**os.environ, "O2_LOCK_TOKEN": str(token)}, pass_fds=master.descriptors
    )


def lost(why: str) -> None:
    print(f"the master no more: {why}", flush=True)
    program.terminate()
    program.wait()


master = Master(sys.argv[1], gained, lost, works=lambda: program.poll() is None)
master.run()
