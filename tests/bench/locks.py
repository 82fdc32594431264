# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What locks cost, each figure against a named peer in the same run, on a lab of its own.

task      one call of the module lock against one of ansible.builtin.ping, on three hosts
keeper    lock and unlock through o2keep's socket against the bare cycle on a detached mount
cluster   lock and unlock on three nodes at once against a three-member etcd on the same nodes, a name for each node
growth    the rate of one node in clusters of one, three and five nodes
many      10, 100, 1,000 and 10,000 locks on one node: taken, listed, released; memory of o2keep
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import Lab, Node

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
import provision  # noqa: E402
import task  # noqa: E402

NAME = "benchlocks"
SECONDS = 10
COUNTS = (10, 100, 1000, 10000)
SIZES = (1, 3, 5)
PROGRAMS = ("on_node.py", "etcd.py")
ETCD_SECONDS = 300


def provisioned(nodes: int) -> Lab:
    """A fresh lab of so many nodes, with o2keep and the bench's programs on each."""
    lab = Lab(NAME)
    lab.up(nodes=nodes, fresh=True)
    provision.play(NAME, "ansible-playbook", "ocfs2.o2cb.site", "--extra-vars", "o2cb_locks=true")
    lab.each(lambda node: install_programs(node, PROGRAMS))
    return lab


def install_programs(node: Node, names: Sequence[str]) -> None:
    """What runs on the nodes."""
    for name in names:
        text = (Path(__file__).parent / name).read_text(encoding="utf-8")
        node.put(f"/root/{name}", text)


def ask(node: Node, words: str, seconds: float = 120) -> float:
    return float(node.run(f"python3 /root/on_node.py {words}", timeout=seconds, check=True).stdout)


def bench_task(_lab: Lab) -> None:
    """Locks are taken and released in turn, so that each call changes something."""
    taken = task.measure_pair(
        "ocfs2.o2cb.lock",
        [{"name": "bench-{{ inventory_hostname }}", "state": state} for state in ("held", "released")],
        times=10,
        command=[str(ROOT / "bin/lab"), "exec", "--name", NAME, "--"],
    )
    pairs = zip(taken["ocfs2.o2cb.lock"], taken[task.PING], strict=True)
    ratio = statistics.median(mine / ping for mine, ping in pairs)
    print(f"module lock against ping: {ratio:.2f} x (target 1.15)", flush=True)


def bench_keeper(lab: Lab) -> None:
    node = lab.nodes()[0]
    kept, bare = ask(node, f"keeper {SECONDS} bench"), ask(node, f"bare {SECONDS} bench")
    print(f"o2keep {kept:.0f}/s, bare cycle {bare:.0f}/s: {kept / bare:.2f} x (target 0.3)", flush=True)
    many = ask(node, f"batches {SECONDS} bench")
    print(f"by 100 names {many:.0f} locks/s, bare cycle {bare:.0f}/s: {many / bare:.2f} x (target 3)", flush=True)


def bench_cluster(lab: Lab) -> None:
    lab.each(install_etcd)
    names = {node.number: f"bench{node.number}" for node in lab.nodes()}
    ours = sum(lab.each(lambda node: ask(node, f"keeper {SECONDS} {names[node.number]}")))
    theirs = sum(lab.each(lambda node: ask(node, f"etcd {SECONDS} {names[node.number]}")))
    print(f"three nodes: o2keep {ours:.0f}/s, etcd {theirs:.0f}/s: {ours / theirs:.1f} x (target 5)", flush=True)


def install_etcd(node: Node) -> None:
    """Debian's etcd, with its data on the node's disk as it comes. It is back after a boot."""
    node.run("apt-get -qq install --yes etcd-server", timeout=ETCD_SECONDS, check=True)
    members = ",".join(f"{other.name}=http://{other.address}:2380" for other in Lab(node.lab).nodes())
    peer, client = f"http://{node.address}:2380", "http://127.0.0.1:2379"
    settings = {
        "NAME": node.name,
        "DATA_DIR": "/var/lib/etcd/bench",
        "LISTEN_PEER_URLS": peer,
        "INITIAL_ADVERTISE_PEER_URLS": peer,
        "LISTEN_CLIENT_URLS": client,
        "ADVERTISE_CLIENT_URLS": client,
        "INITIAL_CLUSTER": members,
    }
    text = "".join(f"ETCD_{key}={value}\n" for key, value in settings.items())
    node.put("/etc/default/etcd", text)
    node.run("systemctl enable etcd && systemctl restart etcd", timeout=120, check=True)


def bench_growth() -> None:
    rates = []
    for size in SIZES:
        lab = provisioned(size)
        try:
            rates.append(f"{size} node(s) {ask(lab.nodes()[0], f'keeper {SECONDS} growth'):.0f}/s")
        finally:
            lab.down()
    print(f"lock and unlock on one node of a cluster of {', '.join(rates)}", flush=True)


def bench_many(lab: Lab) -> None:
    node = lab.nodes()[0]
    for count in COUNTS:
        taken, listed = ask(node, f"take {count}", 900), ask(node, f"list {count}", 60)
        size = ask(node, "memory")
        released = ask(node, f"release {count}", 900)
        print(
            f"{count} locks: taken in {taken:.1f} s, listed in {listed:.2f} s, released in {released:.1f} s, "
            f"o2keep and its processes {size:.0f} MiB",
            flush=True,
        )
    print("targets: 10,000 in 3 s, 1 s and 3 s; 40 MiB with 1,000")


def main() -> int:
    benches = {"task": bench_task, "keeper": bench_keeper, "cluster": bench_cluster, "many": bench_many}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benches", nargs="*", choices=[*benches, "growth", []], help="which (default: all)")
    chosen = parser.parse_args().benches or [*benches, "growth"]
    if set(chosen) & set(benches):
        lab = provisioned(3)
        try:
            for name in benches:
                if name in chosen:
                    benches[name](lab)
        finally:
            lab.down()
    if "growth" in chosen:
        bench_growth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
