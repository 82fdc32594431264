# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that shares locks with other nodes by dlmfs, and goes on asking for them: claimant.py MOUNT DOMAIN NAME…

It holds each name shared. With MOUNT `/dlm` that is all. Another MOUNT is an instance of dlmfs of its own; then it also
tries, all the time and in children that may sleep, to get each name exclusively through /dlm. So its kernel knows each
lock resource, and sends a new request for it to whoever is its master.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    mount, domain, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    os.makedirs(f"{mount}/{domain}", exist_ok=True)
    held = [os.open(f"{mount}/{domain}/{name}", os.O_RDONLY | os.O_CREAT, 0o600) for name in names]
    with open(f"/run/claimant{os.path.basename(mount)}", "w") as file:
        file.write(f"{len(held)}\n")
    asking: dict[str, int] = {}
    while True:
        for name in names if mount != "/dlm" else ():
            if name not in asking or os.waitpid(asking[name], os.WNOHANG)[0]:
                asking[name] = os.fork()
                if asking[name] == 0:
                    ask(f"/dlm/{domain}/{name}")
        time.sleep(0.1)


def ask(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)
        os.close(descriptor)
        os.unlink(path)
    except OSError:
        pass
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
