# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that knows nothing of us and uses dlmfs as its manual says. Runs on a node.

try NAME [SECONDS]          an open that does not wait
wait NAME [SECONDS]         the open that blocks
cache NAME                  the same, and close it; the file, and so the lock, stays with the node
write NAME TEXT             write the value block, and close it; the file stays
read NAME                   print the value block in hex; the file stays

A name may be DOMAIN/NAME.
"""

from __future__ import annotations

import os
import sys
import time

verb, name, *rest = sys.argv[1:]
domain, _slash, name = name.rpartition("/")
directory = f"/dlm/{domain or 'o2cb'}"
os.makedirs(directory, exist_ok=True)
path = f"{directory}/{name}"
lock = os.open(path, os.O_RDWR | os.O_CREAT | (os.O_NONBLOCK if verb == "try" else 0))
if verb == "wait":
    open(f"/run/{name}", "w").close()
if verb == "write":
    os.pwrite(lock, rest.pop().encode().ljust(64, b"."), 0)
if verb == "read":
    print(os.pread(lock, 64, 0).hex())
time.sleep(float(rest[0]) if rest else 0)
os.close(lock)
if verb in ("try", "wait"):
    os.unlink(path)
    if domain:
        os.rmdir(directory)
