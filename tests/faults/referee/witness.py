# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service that leaves its traces on the shared disk, so that nobody has to be believed. Runs on the nodes.

serve NODE      be the service: write when it began and when it was last alive, 20 times a second, and answer pings
clear           forget all traces
verdict         print all runs of all nodes, and those that saw another node run at the same time
poll ADDRESS S  ping the service for S seconds, every 50 ms, and print for how long at most pings went unanswered, and
                the longest time between two answers, in which this program or the service may only have been slow

Each run has a sector of the node's own: magic, number of the run, first and last time in microseconds of the node's
clock, and who ran beside it. No clock tells that, since the nodes' differ by up to half a second: each node has a pulse
on the disk, which its service counts up. Whoever runs reads the pulses of all others each time, and one that has
changed between two looks of one run was beside it.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import socket
import struct
import sys
import time

DISK = "/dev/mapper/data"
SECTOR = 512
RUNS = 400
FIRST = 8 << 20
"""Where the traces begin on the disk; what is before belongs to other tests."""

NODES = 8
PORT = 7070
PERIOD = 0.05
LATE = 10.0
"""Seconds for the last answers."""

MAGIC = b"o2wit002"
RECORD = struct.Struct("<8sIQQQ")
PULSES = FIRST + NODES * RUNS * SECTOR
PULSE = struct.Struct("<Q")


def offset(node: int, run: int) -> int:
    return FIRST + (node * RUNS + run) * SECTOR


def pulse(node: int) -> int:
    return PULSES + node * SECTOR


class Disk:
    """The shared disk, without any cache."""

    def __init__(self) -> None:
        self._descriptor = os.open(DISK, os.O_RDWR | os.O_DIRECT)
        self._page = mmap.mmap(-1, RUNS * SECTOR)

    def write(self, place: int, data: bytes) -> None:
        self._page[:SECTOR] = data.ljust(SECTOR, b"\0")
        os.pwritev(self._descriptor, [memoryview(self._page)[:SECTOR]], place)

    def pulses(self) -> list[int]:
        """Of all nodes."""
        os.preadv(self._descriptor, [memoryview(self._page)[: NODES * SECTOR]], PULSES)
        return [PULSE.unpack_from(self._page, node * SECTOR)[0] for node in range(NODES)]

    def read(self, node: int) -> list[tuple[int, int, int]]:
        """First and last time of each run of a node, and a bit for each node that ran beside it."""
        os.preadv(self._descriptor, [self._page], offset(node, 0))
        found = []
        for run in range(RUNS):
            magic, number, first, last, beside = RECORD.unpack_from(self._page, run * SECTOR)
            if (magic, number) != (MAGIC, run):
                break
            found.append((first, last, beside))
        return found

    def clear(self) -> None:
        for node in range(NODES):
            self._page[:] = bytes(RUNS * SECTOR)
            os.pwritev(self._descriptor, [self._page], offset(node, 0))


def now() -> int:
    return time.time_ns() // 1000


def serve(node: int) -> None:
    disk = Disk()
    run = len(disk.read(node))
    first = now()
    before = disk.pulses()
    beside, count = 0, before[node]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", PORT))
    while True:
        count += 1
        disk.write(pulse(node), PULSE.pack(count))
        pulses = disk.pulses()
        beside |= sum(1 << other for other in range(NODES) if other != node and pulses[other] != before[other])
        before = pulses
        disk.write(offset(node, run), RECORD.pack(MAGIC, run, first, now(), beside))
        until = time.monotonic() + PERIOD
        while select.select([sock], [], [], max(0.0, until - time.monotonic()))[0]:
            data, sender = sock.recvfrom(100)
            sock.sendto(data, sender)


def verdict() -> dict[str, object]:
    disk = Disk()
    runs = sorted(
        (first / 1e6, last / 1e6, node, beside) for node in range(NODES) for first, last, beside in disk.read(node)
    )
    overlaps = [run for run in runs if run[3]]
    return {"runs": [(node, first, last) for first, last, node, _beside in runs], "overlaps": overlaps}


def poll(address: str, seconds: float) -> dict[str, object]:
    """Pings are sent at their times whether answers come or not."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    started = last = time.monotonic()
    longest, number = 0.0, 0
    answered: set[int] = set()

    def receive(until: float) -> None:
        nonlocal longest, last
        while select.select([sock], [], [], max(0.0, until - time.monotonic()))[0]:
            try:
                answered.add(int(sock.recv(100)))
            except OSError:
                continue
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    while time.monotonic() - started < seconds:
        sock.sendto(str(number).encode(), (address, PORT))
        number += 1
        receive(started + number * PERIOD)
    receive(time.monotonic() + LATE)
    missed = most = 0
    for ping in range(number):
        missed = 0 if ping in answered else missed + 1
        most = max(most, missed)
    return {"missed": most * PERIOD, "longest": longest, "answers": len(answered), "asked": number}


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        serve(int(rest[0]))
    elif verb == "clear":
        Disk().clear()
    else:
        print(json.dumps(verdict() if verb == "verdict" else poll(rest[0], float(rest[1]))))
