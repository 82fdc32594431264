# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What messages cost: tests/bench/bus [--nodes N ...] [--seconds S], on labs of its own.

Messages of 100 bytes, 4 KiB and 64 KiB, one at a time and pipelined, through the agents over TCP, and through bare
corosync groups between the same nodes in the same run. Ours count when every node has them; corosync's when they come
back to their sender, which is less. Then how ours grows with the number of nodes.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from faults.bus.traffic import wait_until_all_are_up
from lab import Lab, Node

sys.path.insert(0, str(Path(__file__).parent))
import provision

NAME = "benchbus"
SIZES = {"100 B": 100, "4 KiB": 4096, "64 KiB": 65000}
WINDOWS = {"one at a time": 1, "pipelined": 64}
PROGRAM = Path(__file__).parent / "bus_on_node.py"
GROUP = "bench"
GRACE = 240.0


def provisioned(nodes: int, corosync: bool) -> Lab:
    """A fresh lab, with agents over TCP, and corosync beside them where it is asked for."""
    lab = Lab(NAME)
    lab.up(nodes=nodes, fresh=True)
    play = ("ansible-playbook", "ocfs2.o2cb.resources", "--extra-vars", "o2cb_locks=true")
    if corosync:
        provision.play(NAME, *play, "--extra-vars", "o2cb_agent_transport=corosync")
    provision.play(NAME, *play)
    text = PROGRAM.read_text(encoding="utf-8")
    for node in lab.nodes():
        node.put("/root/bus_on_node.py", text)
    wait_until_all_are_up(lab.nodes(), GRACE)
    return lab


def ask(node: Node, words: str, seconds: float) -> dict[str, Any]:
    done = node.run(f"python3 /root/bus_on_node.py {words}", timeout=seconds + GRACE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def theirs(lab: Lab, size: int, seconds: float, window: int) -> dict[str, Any]:
    """Bare corosync: the others are members, too."""
    sender, *others = lab.nodes()
    with ThreadPoolExecutor(len(others)) as pool:
        members = [pool.submit(ask, node, f"member {seconds + 20} {GROUP}", seconds + 20) for node in others]
        found = ask(sender, f"cpg {size} {seconds} {window} {GROUP}", seconds)
        for member in members:
            member.result()
    return found


def words(found: dict[str, Any]) -> str:
    return f"{found['rate']:7.0f}/s, p50 {found['p50']:7.1f} ms, p99 {found['p99']:7.1f} ms"


def compare(lab: Lab, seconds: float) -> None:
    sender = lab.nodes()[0]
    leads = json.loads(sender.run("o2ctl members --json", check=True).stdout)["sequencer"]
    print(f"{len(lab.nodes())} nodes; node {sender.number} sends, the sequencer is node {leads}", flush=True)
    for how, window in WINDOWS.items():
        for name, size in SIZES.items():
            mine = ask(sender, f"ours {size} {seconds} {window}", seconds)
            peer = theirs(lab, size, seconds, window)
            print(
                f"{how:13} {name:>6}: ours {words(mine)}; CPG {words(peer)}: {mine['rate'] / peer['rate']:.2f} x",
                flush=True,
            )


def grow(nodes: int, seconds: float) -> None:
    lab = provisioned(nodes, False)
    try:
        for how, window in WINDOWS.items():
            found = ask(lab.nodes()[0], f"ours 100 {seconds} {window}", seconds)
            print(f"{nodes} nodes, {how}, 100 B: {words(found)}", flush=True)
    finally:
        lab.down()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nodes", type=int, nargs="*", default=[2, 5, 8], metavar="N", help="sizes besides three nodes"
    )
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each measurement")
    options = parser.parse_args()
    lab = provisioned(3, True)
    try:
        compare(lab, options.seconds)
    finally:
        lab.down()
    for nodes in options.nodes:
        grow(nodes, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
