# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that shares locks with other nodes by dlmfs, and goes on asking for them: claimant.py MOUNT DOMAIN NAME…

It holds each name shared. With MOUNT `/dlm` that is all. Another MOUNT is an instance of dlmfs of its own; then it also
tries, all the time and in children that may sleep, to get each name exclusively through /dlm. So its kernel knows each
lock resource, and sends a new request for it to whoever is its master. The only answer that it expects is that another
holds the name: any other error ends it. SLEPT says for how many seconds a request has slept at least, of each name.
"""

from __future__ import annotations

import errno
import os
import sys
import time

SLEPT = "/run/claimant.slept"
BETWEEN = 0.5
"""Seconds between two requests for a name that was refused."""


def main() -> None:
    mount, domain, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    os.makedirs(f"{mount}/{domain}", exist_ok=True)
    held = [os.open(f"{mount}/{domain}/{name}", os.O_RDONLY | os.O_CREAT, 0o600) for name in names]
    if mount != "/dlm":
        os.makedirs(f"/dlm/{domain}", exist_ok=True)
    with open(f"/run/claimant{os.path.basename(mount)}", "w") as file:
        file.write(f"{len(held)}\n")
    asking: dict[str, int] = {}
    since: dict[str, float] = {}
    slept = dict.fromkeys(names, 0.0)
    while True:
        for name in names if mount != "/dlm" else ():
            if name in asking:
                slept[name] = max(slept[name], time.monotonic() - since[name])
            if name not in asking or ended(asking[name]):
                since[name] = time.monotonic()
                asking[name] = os.fork()
                if asking[name] == 0:
                    os._exit(ask(f"/dlm/{domain}/{name}"))
        with open(f"{SLEPT}.new", "w") as file:
            file.write(f"{min(slept.values())}\n")
        os.rename(f"{SLEPT}.new", SLEPT)
        time.sleep(BETWEEN)


def ended(pid: int) -> bool:
    """Whether this child has ended, as it should."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if status:
        sys.exit(f"a request ended with {errno.errorcode.get(os.waitstatus_to_exitcode(status), status)}")
    return found != 0


def ask(path: str) -> int:
    """Ask once, and give back what is got. Returns the errno of an answer that is not expected."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600))
        os.unlink(path)
    except OSError as error:
        return 0 if error.errno == errno.ETXTBSY else error.errno or 255
    return 0


if __name__ == "__main__":
    main()
