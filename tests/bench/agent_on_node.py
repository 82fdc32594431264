# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node does in tests/bench/agent.

serve FIRST PORT NODE   be the service, and leave traces on the shared disk from byte FIRST on (see witness)
contend UNIT SECONDS    be a candidate for a lock of etcd, with a lease of so long, and run the unit while it is ours
follow UNIT FIFO        run the unit while keepalived says by its pipe that this node is the master
usage SECONDS UNIT ...  print memory and processor time of units, as JSON
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import witness  # type: ignore[import-not-found]
from etcd import Etcd, encoded

LOCK = "bench"
ANSWER_SECONDS = 2.0
VERBS = {"MASTER": "start", "BACKUP": "stop", "FAULT": "stop", "STOP": "stop"}
"""What is due in a state of VRRP; keepalived tells of more, such as MASTER_RX_LOWER_PRI."""

TICKS = os.sysconf("SC_CLK_TCK")


def serve(first: int, port: int, node: int) -> None:
    witness.FIRST, witness.PORT = first, port
    witness.PULSES = first + witness.NODES * witness.RUNS * witness.SECTOR
    witness.serve(node)


class Candidate:
    """One lease. It is renewed three times in its life; who could not renew it in time steps down by himself.

    That is the most that a client can do: `etcdctl lock` lets its command run on when the lease is gone.
    """

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.renewed = time.monotonic()
        self.lease = Etcd(ANSWER_SECONDS).call("/v3/lease/grant", {"TTL": seconds})["ID"]
        self.won = threading.Event()

    def wait_for_lock(self) -> None:
        """The server queues the candidates, as it does for `etcdctl lock`."""
        try:
            answer = Etcd(None).call("/v3/lock/lock", {"name": encoded(LOCK), "lease": self.lease})
        except (OSError, ValueError) as error:
            answer = {"error": str(error)}
        if "key" not in answer:
            print(f"no lock: {answer}", flush=True)
            os._exit(1)
        self.won.set()

    def left(self) -> float:
        return self.renewed + self.seconds - time.monotonic()

    def renew(self) -> None:
        asked = time.monotonic()
        with contextlib.suppress(OSError, ValueError, KeyError):
            server = Etcd(max(0.1, min(ANSWER_SECONDS, self.left())))
            result = server.call("/v3/lease/keepalive", {"ID": self.lease})["result"]
            if int(result.get("TTL", 0)) <= 0:
                self.renewed = asked - self.seconds
                return
            self.renewed = asked

    def give_back(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            Etcd(ANSWER_SECONDS).call("/v3/lease/revoke", {"ID": self.lease})


def contend(unit: str, seconds: int) -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    candidate = Candidate(seconds)
    threading.Thread(target=candidate.wait_for_lock, daemon=True).start()
    started = False
    try:
        while candidate.left() > 0:
            if candidate.won.is_set() and not started:
                started = True
                subprocess.run(["systemctl", "start", unit], check=True)
            if candidate.left() < seconds * 2 / 3:
                candidate.renew()
            time.sleep(0.1)
        print("the lease is gone", flush=True)
    finally:
        subprocess.run(["systemctl", "stop", unit], check=True)
        candidate.give_back()


def follow(unit: str, fifo: str) -> None:
    """Its notifications in their order, which is not sure of scripts that it starts for each."""
    with open(fifo, encoding="ascii") as lines:
        for line in lines:
            kind, _name, state = line.replace('"', "").split()[:3]
            if kind == "INSTANCE" and state in VERBS:
                subprocess.run(["systemctl", VERBS[state], unit], check=True)


def usage(seconds: float, units: list[str]) -> dict[str, Any]:
    """Of each unit: processor seconds a minute over so many seconds, and then KiB of memory (PSS), in all and in the
    first process, and the number of processes."""
    groups = {unit: f"/sys/fs/cgroup/system.slice/{unit}/cgroup.procs" for unit in units}
    before = {unit: _processor_seconds(path) for unit, path in groups.items()}
    time.sleep(seconds)
    found = {}
    for unit, path in groups.items():
        used = (_processor_seconds(path) - before[unit]) * 60 / seconds
        pids = _pids(path)
        found[unit] = {
            "cpu": used,
            "pss": sum(map(_memory, pids)),
            "main": _memory(_main(unit)),
            "processes": len(pids),
        }
    return found


def _pids(path: str) -> list[int]:
    with open(path, encoding="ascii") as file:
        return [int(line) for line in file]


def _processor_seconds(path: str) -> float:
    """Of all processes of the unit, with the children that have ended."""
    ticks = 0
    for pid in _pids(path):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
    return ticks / TICKS


def _main(unit: str) -> int:
    show = ["systemctl", "show", unit, "--property=MainPID", "--value"]
    return int(subprocess.run(show, check=True, capture_output=True, text=True).stdout)


def _memory(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        serve(*map(int, rest))
    elif verb == "contend":
        contend(rest[0], int(rest[1]))
    elif verb == "follow":
        follow(*rest)
    else:
        print(json.dumps(usage(float(rest[0]), rest[1:])))
