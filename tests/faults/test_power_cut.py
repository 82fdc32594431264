# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's own power cut, on which the other tests here rely: a node ends in one moment, and nothing of it goes on."""

from __future__ import annotations

import secrets
import struct
import time
from pathlib import Path

from lab import Lab
from lab.node import Node

ROUNDS = 2
"""Each is a power cut of every node. With processes that died one by one, about one cut in three let some loose."""

OPENERS = 4
OPENER = """
import os, sys
while True:
    try:
        os.close(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError:
        pass
"""
"""Makes system calls as fast as it can. On this machine, let loose by its kernel, it would make the file here."""

PLACE = 1 << 29
"""Where on the disk `data` the writers write: node N at 2 * N blocks from here."""
BLOCK = 4096
WORDS = (0, 512, 1024, BLOCK - 8)
"""Where in a block its number stands."""
WRITER = f"""
import mmap, os, struct, sys
disk = os.open("/dev/mapper/data", os.O_RDWR | os.O_DIRECT)
blocks = [mmap.mmap(-1, {BLOCK}), mmap.mmap(-1, {BLOCK})]
place = {PLACE} + 2 * {BLOCK} * int(sys.argv[1])
number = 0
while True:
    block = blocks[number % 2]
    for word in {WORDS}:
        struct.pack_into("<Q", block, word, number)
    os.pwrite(disk, block, place + {BLOCK} * (number % 2))
    number += 1
"""
"""Numbers two blocks in turn, each write after the one before has returned."""


def run_flat_out(node: Node, path: str) -> None:
    """Programs that write to a shared disk, and make system calls, until the node's end."""
    node.put("/run/opener.py", OPENER)
    node.put("/run/writer.py", WRITER)
    node.run(f"systemd-run -q python3 /run/writer.py {node.number}", check=True)
    for _number in range(OPENERS):
        node.run(f"systemd-run -q python3 /run/opener.py {path}", check=True)
    place = PLACE + 2 * BLOCK * node.number
    begun = numbers(node, place)
    deadline = time.monotonic() + 60
    while numbers(node, place) == begun or node.run(f"test -e {path}").rc != 0:
        assert time.monotonic() < deadline, f"{node.name} does not write"
        time.sleep(0.2)


def numbers(node: Node, place: int) -> list[set[int]]:
    """The numbers that stand in each of a writer's two blocks on the disk."""
    with (node.machine.disks / "data").open("rb") as disk:
        disk.seek(place)
        content = disk.read(2 * BLOCK)
    return [{struct.unpack_from("<Q", content, block + word)[0] for word in WORDS} for block in (0, BLOCK)]


def test_nothing_of_a_node_goes_on_after_its_power_cut(lab: Lab, nodes: list[Node]) -> None:
    path = f"/dev/shm/o2cb-lab-{secrets.token_hex(8)}"
    here = Path(path)
    for _round in range(ROUNDS):
        for node in nodes:
            node.boot()
            run_flat_out(node, path)
        for node in nodes:
            place = PLACE + 2 * BLOCK * node.number
            node.kill()
            even, odd = numbers(node, place)
            assert [len(even), len(odd)] == [1, 1], f"a block of {node.name} was written while it changed"
            assert {number % 2 for number in even} == {0}
            assert abs(max(even) - max(odd)) == 1, f"{node.name} wrote what it had not come to"
            time.sleep(0.3)
            assert numbers(node, place) == [even, odd]
            loose = here.exists()
            here.unlink(missing_ok=True)
            assert not loose, f"a program of {node.name} made {path} on this machine, after the node's end"
    lab.up()
