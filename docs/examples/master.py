# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Am I the master? Run it on every node: on one of them it is, until it ends or its node dies."""

from __future__ import annotations

import subprocess
import sys

MASTER = ["o2ctl", "lock", "run", sys.argv[1], "--wait", "30", "--", *sys.argv[2:]]

while True:
    print("not the master: waiting", flush=True)
    code = subprocess.run(MASTER, check=False).returncode  # the program runs here, with O2_LOCK_TOKEN, while it is
    if code != 75:  # 75: another node was the master all the time
        print(f"the master no more: the program ended with {code}", flush=True)
