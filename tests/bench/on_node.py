# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node does in tests/bench/locks. Runs there, with the installed program as its library; prints one number.

keeper SECONDS NAME         cycles per second of taking and releasing a node lock by o2keep's socket
bare SECONDS NAME           the same without o2keep: a detached mount, an open, a close, an unlink
etcd SECONDS NAME           the same with a key in etcd on this node: made where there is none, and deleted
take N, list N, release N   seconds for so many locks
memory                      resident MiB of o2keep
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable

sys.path.insert(0, "/usr/local/lib/ocfs2.o2cb/o2cb.pyz")
from etcd import Etcd, encoded
from ocfs2_o2cb.client.keep import Client  # type: ignore[import-not-found]
from ocfs2_o2cb.locks import mount  # type: ignore[import-not-found]

DOMAIN = "o2cb"
BATCH = 100


def rate(seconds: float, cycle: Callable[[], bool]) -> float:
    """Cycles per second; one that returns False, since somebody else was in, does not count."""
    done = 0
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        done += cycle()
    return done / (time.monotonic() - started)


def keeper(seconds: float, name: str) -> float:
    client = Client()

    def cycle() -> bool:
        held = bool(client.ask({"op": "take", "name": name})[0]["held"])
        if held:
            client.ask({"op": "release", "name": name})
        return held

    return rate(seconds, cycle)


def batches(seconds: float, name: str) -> float:
    """Locks a second, by requests of BATCH names."""
    client = Client()
    names = [f"{name}{number}" for number in range(BATCH)]

    def cycle() -> bool:
        held = bool(client.ask({"op": "take", "names": names, "wait": 5}, 5)[0]["held"])
        if held:
            client.ask({"op": "release", "names": names})
        return held

    return BATCH * rate(seconds, cycle)


def bare(seconds: float, name: str) -> float:
    kept = mount.create()
    kept.join(DOMAIN)

    def cycle() -> bool:
        own = mount.create()
        own.join(DOMAIN)
        os.close(own.open(DOMAIN, name, exclusive=True))
        own.unlink(DOMAIN, name)
        os.close(own.directory)
        return True

    return rate(seconds, cycle)


def etcd(seconds: float, name: str) -> float:
    server, key = Etcd(), encoded(name)

    def cycle() -> bool:
        free = {"key": key, "target": "CREATE", "create_revision": "0"}
        make = {"requestPut": {"key": key, "value": key}}
        held = bool(server.call("/v3/kv/txn", {"compare": [free], "success": [make]}).get("succeeded"))
        if held:
            server.call("/v3/kv/deleterange", {"key": key})
        return held

    return rate(seconds, cycle)


def many(verb: str, count: int) -> float:
    client = Client()
    started = time.monotonic()
    if verb == "list":
        found = sum(lock["name"].startswith("many") for lock in client.locks())
        if found != count:
            raise SystemExit(f"{found} locks are held, not {count}")
    else:
        for first in range(0, count, BATCH):
            names = [f"many{number}" for number in range(first, min(count, first + BATCH))]
            answer, _descriptors = client.ask({"op": verb, "names": names, "wait": 5}, 5)
            if len(answer["locks"]) != len(names):
                raise SystemExit(f"{verb} many{first}: {answer}")
    return time.monotonic() - started


def memory() -> float:
    """MiB of o2keep, its workers and the record's processes, what they share counted once (proc(5), Pss)."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                ours = b"o2cb.pyz\0o2keep" in file.read()
            if ours:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
                    total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    if not total:
        raise SystemExit("o2keep does not run")
    return total / 1024


RATES = {"keeper": keeper, "batches": batches, "bare": bare, "etcd": etcd}

if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "memory":
        print(memory())
    elif verb in RATES:
        print(RATES[verb](float(rest[0]), rest[1]))
    else:
        print(many(verb, int(rest[0])))
