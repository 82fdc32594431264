# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What o2agent costs, and how it fails over beside keepalived (VRRP) and a lock of etcd, on the same nodes.

usage     memory and processor time of each, and of o2agent and o2keep with 1,000 held locks, too
kill      the node that runs the service loses its power
freeze    it stands still for longer than any lease, and goes on
cut       it is off the network for longer than any lease, and back

Each of the three runs the same service, which writes to the shared disk 20 times a second as long as it lives. When it
began elsewhere, and whether two nodes were it at once, the machine that runs the lab sees from that disk, by its own
clock: those of the nodes differ.

First come the peers, on nodes without o2cb, whose self-fencing would help them, then o2agent. keepalived sends its
advertisements each second, as it does by default. Candidates for etcd's lock have a lease of 10 s, as `etcdctl lock`
takes it, and step down by themselves when they could not renew it; the dead time of o2cb is the shortest there is.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.controller import wait_until
from faults.referee import witness
from lab import Lab, Node

sys.path.insert(0, str(Path(__file__).parent))
import locks
import provision

NAME = "benchagent"
OURS, VRRP, ETCD = "o2agent", "keepalived", "etcd"
SYSTEMS = (VRRP, ETCD, OURS)
PROGRAMS = ("agent_on_node.py", "on_node.py", "etcd.py")
WITNESS = Path(witness.__file__)

LEASE_SECONDS = 10
THRESHOLD = 7
DEAD_SECONDS = THRESHOLD * 2
LOOK_SECONDS = 0.01
ALIVE_SECONDS = 1.0
"""Who has not written for so long is not the service any more."""

STEADY_SECONDS = 5.0
SETTLE_SECONDS = 240.0
ELSEWHERE_SECONDS = 180.0
AWAY_SECONDS = 30.0
"""A frozen node or one that is cut off stays so at least this long."""

AFTER_SECONDS = 10.0
"""When it is back it gets so long to do harm."""

LOCKS = 1000

SERVICE = """[Service]
ExecStart=/usr/bin/python3 /root/agent_on_node.py serve {first} {port} {node}
"""
CANDIDATE = """[Unit]
After=etcd.service
[Service]
ExecStart=/usr/bin/python3 /root/agent_on_node.py contend {unit} {seconds}
ExecStopPost=/bin/systemctl stop {unit}
Restart=always
RestartSec=500ms
StartLimitIntervalSec=0
[Install]
WantedBy=multi-user.target
"""
KEEPALIVED = """global_defs {{
    router_id {name}
    script_user root
    vrrp_notify_fifo /run/keepalived-bench
    vrrp_notify_fifo_script "/usr/bin/python3 /root/agent_on_node.py follow {unit}"
}}
vrrp_instance bench {{
    state BACKUP
    interface vec0
    virtual_router_id 51
    priority {priority}
    advert_int 1
    virtual_ipaddress {{
        {address}/24
    }}
}}
"""
ADDRESSES = {VRRP: "10.22.0.98", OURS: "10.22.0.99"}


def unit(system: str) -> str:
    return f"witness-{system}.service"


def first(system: str) -> int:
    """Where the traces of a system's service begin on the shared disk."""
    return witness.FIRST + SYSTEMS.index(system) * witness.NODES * (witness.RUNS + 1) * witness.SECTOR


@dataclass
class Run:
    """A node was seen to be the service from the first to the last moment, in seconds since the epoch."""

    node: int
    first: float
    last: float


class Watch(threading.Thread):
    """Looks at the traces on the shared disk, which is a file of this machine, a hundred times a second."""

    def __init__(self, lab: Lab, systems: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.runs: dict[str, list[Run]] = {system: [] for system in systems}
        self._disk = (lab.paths.disks / "data").open("rb", buffering=0)
        self._nodes = [node.number for node in lab.nodes()]
        self._seen: dict[tuple[str, int, int], tuple[bytes, Run | None]] = {}
        self._count: dict[tuple[str, int], int] = defaultdict(int)
        self._look(old=True)

    def run(self) -> None:
        while True:
            self._look()
            time.sleep(LOOK_SECONDS)

    def _look(self, old: bool = False) -> None:
        """What has changed since the last look. What is there at the first one may be of long ago."""
        for system, node in itertools.product(self.runs, self._nodes):
            while self._look_at(system, node, self._count[system, node], old):
                self._count[system, node] += 1
            if self._count[system, node]:
                self._look_at(system, node, self._count[system, node] - 1, old)

    def _look_at(self, system: str, node: int, number: int, old: bool) -> bool:
        """Whether there is such a run."""
        self._disk.seek(first(system) + witness.offset(node, number) - witness.FIRST)
        data = self._disk.read(witness.RECORD.size)
        if witness.RECORD.unpack(data)[:2] != (witness.MAGIC, number):
            return False
        now = time.time()
        before, run = self._seen.get((system, node, number), (b"", None))
        if old:
            self._seen[system, node, number] = data, None
        elif data != before:
            if run is None:
                run = Run(node, now, now)
                self.runs[system].append(run)
            run.last = now
            self._seen[system, node, number] = data, run
        return True

    def holders(self, system: str) -> set[int]:
        now = time.time()
        return {run.node for run in list(self.runs[system]) if now - run.last < ALIVE_SECONDS}


def twice(found: Sequence[Run], since: float) -> list[float]:
    """Each time since then that two nodes were the service at once, in seconds: 0.0 where one beat was seen of one."""
    pairs = ((one, other) for one, other in itertools.combinations(found, 2) if one.node != other.node)
    spans = (min(one.last, other.last) - max(one.first, other.first, since) for one, other in pairs)
    return [span for span in spans if span >= 0]


@dataclass
class Tally:
    """What came of one kind of fault: seconds until the service began elsewhere, and for each fault the times at which
    two nodes were it."""

    elsewhere: list[float] = field(default_factory=list)
    twice: list[list[float]] = field(default_factory=list)

    @property
    def worst(self) -> str:
        harmed = [sum(spans) for spans in self.twice if spans]
        longest = f", up to {max(harmed):.2f} s" if harmed else ""
        return f"{len(harmed)} of {len(self.twice)}{longest}"


class Contest:
    """Faults of one node, on which all these systems run their service. `resets`: it resets itself after a pause."""

    def __init__(self, lab: Lab, systems: Sequence[str], resets: bool) -> None:
        self.lab, self.systems, self.resets = lab, systems, resets
        self.victim, *self.others = lab.nodes()
        self.tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
        self.watch = Watch(lab, systems)
        self.watch.start()

    def settle(self) -> None:
        """Have the service run on the victim again, and nowhere else, for some seconds."""
        home = {self.victim.number}
        if ETCD in self.systems and self.watch.holders(ETCD) != home:
            wait_until(lambda: self.victim.run("systemctl is-active bench-candidate").ok, 120, lambda: "no candidate")
            self.each("systemctl stop bench-candidate")
            self._wait(lambda: self.watch.holders(ETCD) == home, SETTLE_SECONDS)
            self.each("systemctl start bench-candidate")
        steady = time.monotonic()

        def settled() -> bool:
            nonlocal steady
            if any(self.watch.holders(system) != home for system in self.systems):
                steady = time.monotonic()
            return time.monotonic() - steady > STEADY_SECONDS

        self._wait(settled, SETTLE_SECONDS)

    def each(self, command: str) -> None:
        self.lab.each(lambda node: node.run(command, check=True), self.others)

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        def complaint() -> str:
            places = {system: sorted(self.watch.holders(system)) for system in self.systems}
            return f"not within {seconds:g} s; the services run on {places}"

        wait_until(condition, seconds, complaint)

    def wait_until_elsewhere(self, kind: str, since: float) -> None:
        """Note when each system's service has begun on another node."""
        left = set(self.systems)

        def begun() -> bool:
            for system in list(left):
                found = list(self.watch.runs[system])
                starts = [run.first for run in found if run.first > since and run.node != self.victim.number]
                if starts:
                    self.tallies[kind, system].elsewhere.append(min(starts) - since)
                    left.remove(system)
            return not left

        self._wait(begun, ELSEWHERE_SECONDS)

    def count(self, kind: str, since: float) -> None:
        for system in self.systems:
            self.tallies[kind, system].twice.append(twice(list(self.watch.runs[system]), since))

    def kill(self) -> None:
        began = time.time()
        self.victim.kill()
        self.wait_until_elsewhere("kill", began)
        self.count("kill", began)
        self.victim.boot()

    def freeze(self) -> None:
        """What is written while the node stands still is written by nobody: only what comes after it counts."""
        boots, began = self.victim.boots(), time.time()
        self.victim.freeze()
        self.wait_until_elsewhere("freeze", began)
        time.sleep(max(0.0, began + AWAY_SECONDS - time.time()))
        thawed = time.time()
        self.victim.thaw()
        time.sleep(AFTER_SECONDS)
        self.count("freeze", thawed)
        if self.resets:
            self.victim.wait_for_boot(boots)

    def cut(self) -> None:
        boots, began = self.victim.boots(), time.time()
        self.victim.cut()
        self.wait_until_elsewhere("cut", began)
        time.sleep(max(0.0, began + AWAY_SECONDS - time.time()))
        self.victim.heal()
        time.sleep(AFTER_SECONDS)
        self.count("cut", began)
        if self.resets:
            self.victim.wait_for_boot(boots)

    def hold(self, kinds: Sequence[str], times: int) -> None:
        """So many faults of each kind; the way back counts for itself."""
        self.settle()
        for kind in kinds:
            for turn in range(times):
                {"kill": self.kill, "freeze": self.freeze, "cut": self.cut}[kind]()
                back = time.time()
                self.settle()
                self.count("back", back)
                told = [self.told(kind, system) for system in self.systems]
                print(f"  {kind} {turn + 1} of {times}: {', '.join(told)}", flush=True)

    def told(self, kind: str, system: str) -> str:
        """What came of the last fault."""
        tally = self.tallies[kind, system]
        harm = [f"two {when} for {sum(spans):.2f} s" for when, spans in self._last(kind, system) if spans]
        return ", ".join([f"{system} {tally.elsewhere[-1]:.1f} s", *harm])

    def _last(self, kind: str, system: str) -> list[tuple[str, list[float]]]:
        back = self.tallies["back", system].twice[-1]
        return [("in the fault", self.tallies[kind, system].twice[-1]), ("at the return", back)]


def install_service(lab: Lab) -> None:
    def install(node: Node) -> None:
        locks.install_programs(node, PROGRAMS)
        node.put("/root/witness.py", WITNESS.read_text(encoding="utf-8"))
        for number, system in enumerate(SYSTEMS):
            text = SERVICE.format(first=first(system), port=witness.PORT + number, node=node.number)
            node.put(f"/etc/systemd/system/{unit(system)}", text)
        node.run("systemctl daemon-reload", check=True)

    lab.each(install)


def install_peers(lab: Lab) -> None:
    def install(node: Node) -> None:
        node.run("apt-get -qq install --yes keepalived", timeout=300, check=True)
        priority = 250 - 50 * node.number
        text = KEEPALIVED.format(name=node.name, priority=priority, address=ADDRESSES[VRRP], unit=unit(VRRP))
        node.put("/etc/keepalived/keepalived.conf", text)
        node.run("systemctl enable keepalived && systemctl restart keepalived", timeout=60, check=True)
        locks.install_etcd(node)
        candidate = "/etc/systemd/system/bench-candidate.service"
        node.put(candidate, CANDIDATE.format(unit=unit(ETCD), seconds=LEASE_SECONDS))
        node.run("systemctl daemon-reload && systemctl enable --now bench-candidate", timeout=60, check=True)

    lab.each(install)


def remove_peers(lab: Lab) -> None:
    stop = "systemctl disable --now keepalived bench-candidate && systemctl disable --now etcd"
    lab.each(lambda node: node.run(stop, timeout=300, check=True))


def install_ours(lab: Lab) -> None:
    """The cluster, and a resource that comes back to the first node, as keepalived's does."""
    resource = {
        "name": "bench",
        "parts": [{"address": f"{ADDRESSES[OURS]}/24", "device": "vec0"}, {"unit": unit(OURS)}],
        "prefer": lab.nodes()[0].name,
        "sticky": False,
    }
    variables = {
        "o2cb_locks": True,
        "o2cb_heartbeat_dead_threshold": THRESHOLD,
        "o2cb_idle_timeout_ms": 10000,
        "o2cb_agent_resources": [resource],
    }
    provision.play(lab.name, "ansible-playbook", "ocfs2.o2cb.resources", "--extra-vars", json.dumps(variables))


def print_usage(node: Node, label: str, names: Sequence[str], seconds: float) -> None:
    words = " ".join(f"{name}.service" for name in names)
    command = f"python3 /root/agent_on_node.py usage {seconds} {words}"
    found = json.loads(node.run(command, timeout=seconds + 60, check=True).stdout)
    for name in names:
        used = found[f"{name}.service"]
        print(
            f"{name:11} {label:32} {used['pss'] / 1024:6.1f} MiB in {used['processes']} process(es), of it "
            f"{used['main'] / 1024:.1f} in the first; {used['cpu']:.2f} processor seconds a minute",
            flush=True,
        )


def print_usage_of_ours(node: Node, seconds: float) -> None:
    daemons = (OURS, "o2keep")
    print_usage(node, "with one resource", daemons, seconds)
    locks.ask(node, f"take {LOCKS}", 900)
    print_usage(node, f"and with {LOCKS:,} locks besides", daemons, seconds)
    locks.ask(node, f"release {LOCKS}", 900)


def print_tallies(tallies: dict[tuple[str, str], Tally], kinds: Sequence[str]) -> None:
    print(f"dead time of o2cb {DEAD_SECONDS} s, keepalived's advertisements 1 s, etcd's lease {LEASE_SECONDS} s")
    print(f"{'fault':7} {'peer':11} {'elsewhere after: min, median, max':34} {'of o2agent':>11}  two at once")
    for kind in [*kinds, "back"]:
        ours = tallies.get((kind, OURS), Tally()).elsewhere
        for system in (OURS, VRRP, ETCD):
            tally = tallies.get((kind, system))
            if tally is None:
                continue
            times, ratio = tally.elsewhere, ""
            if times and ours:
                ratio = f"{statistics.median(times) / statistics.median(ours):.2f} x"
            text = f"{min(times):6.1f} {statistics.median(times):6.1f} {max(times):6.1f} s" if times else ""
            print(f"{kind:7} {system:11} {text:34} {ratio:>11}  {tally.worst}", flush=True)


def main() -> int:
    kinds = ("kill", "freeze", "cut")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=["usage", *kinds, []], help="which (default: all)")
    parser.add_argument("--times", type=int, default=5, help="faults of each kind (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of each look at usage (default: %(default)s)")
    parser.add_argument("--name", default=NAME, help="of the lab, which is made anew (default: %(default)s)")
    options = parser.parse_args()
    chosen = options.parts or ["usage", *kinds]
    faults = [kind for kind in kinds if kind in chosen]
    lab = Lab(options.name)
    lab.up(nodes=3, fresh=True)
    try:
        node = lab.nodes()[0]
        install_service(lab)
        install_peers(lab)
        peers = Contest(lab, (VRRP, ETCD), resets=False)
        peers.settle()
        if "usage" in chosen:
            print_usage(node, "with one address", [VRRP], options.seconds)
            print_usage(node, "with one lock", [ETCD], options.seconds)
        peers.hold(faults, options.times)
        remove_peers(lab)
        install_ours(lab)
        ours = Contest(lab, (OURS,), resets=True)
        ours.settle()
        if "usage" in chosen:
            print_usage_of_ours(node, options.seconds)
        ours.hold(faults, options.times)
        print_tallies({**peers.tallies, **ours.tallies}, faults)
    finally:
        lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
