# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resources on real nodes: on exactly one, whatever dies, and moved as they should."""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from faults.conftest import REFEREE, SETTINGS
from faults.controller import Controller, wait_until
from faults.referee.remote import Remote, remotes, wait_for
from lab import Lab, disks
from lab.node import Node

AGENT_KILLS = int(os.environ.get("O2_AGENT_KILLS", "100"))
NODE_KILLS = int(os.environ.get("O2_NODE_KILLS", "20"))
CUTS = int(os.environ.get("O2_CUTS", "20"))
MOVES = int(os.environ.get("O2_MOVES", "100"))
FUZZ = int(os.environ.get("O2_FUZZ", "1000000"))

DEAD_SECONDS = SETTINGS["o2cb_heartbeat_dead_threshold"] * 2
"""The dead time: after so long without a beat the others count a node as dead (o2hb's threshold, a beat each 2 s; each
node writes it into its block as `hb_dead_ms`). A node that cannot write resets itself two seconds before that."""

RECOVERY_SECONDS = 10.0
"""o2dlm's recovery thread looks every 5 s, and then waits for 5 s until it looks whether the other nodes have sent what
they know (DLM_RECO_THREAD_TIMEOUT_MS in fs/ocfs2/dlm/dlmrecovery.c). Nothing outside of the kernel can hurry it."""

BEAT_SECONDS = 2.0
OURS_SECONDS = 3.0
"""From the end of the recovery until the service runs: the lock, the address with its probes, the start of Python."""

UNIT = """[Service]
ExecStart=/usr/bin/python3 /root/witness.py serve {number}
ExecStop=/bin/sleep {stop}
"""
ADDRESS = "10.22.0.99"
BACK_SECONDS = 150.0
BACK = "o2ctl agent status && o2ctl keep status | grep -q 'joined:.*o2agent'"
"""Succeeds on a node that takes part again. Its agent answers sooner, while others are still being recovered."""


@pytest.fixture(scope="session")
def agents(lab: Lab, controller: Controller, provisioned: list[Node]) -> list[Node]:
    """The nodes, with o2agent and a service to run."""
    text = (REFEREE / "witness.py").read_text(encoding="utf-8")
    for node in provisioned:
        node.put("/root/witness.py", text)
        node.put("/etc/systemd/system/witness.service", UNIT.format(number=node.number, stop=0))
        node.run("systemctl daemon-reload", check=True)
    controller.play("ocfs2.o2cb.resources", o2cb_locks=True, o2cb_agent_purge=True)
    return provisioned


@pytest.fixture
def hosts(agents: list[Node], controller: Controller) -> Iterator[list[Node]]:
    """The nodes, without any resource before and after; and the service was never on two of them.

    What a test that failed has left behind is mended: a node that is off, a cut, an agent that was given up.
    """
    for node in agents:
        node.heal()
        node.boot()
        node.run("systemctl reset-failed o2agent; systemctl start o2agent", timeout=60)
    for node in agents:
        wait_for(node, BACK, BACK_SECONDS)
        node.run("o2ctl node resume; python3 /root/witness.py clear", timeout=60, check=True)
    yield agents
    for node in agents:
        wait_for(node, BACK, BACK_SECONDS)
        node.run("rm -f /etc/o2agent/resources.d/*; o2ctl agent reload", timeout=60, check=True)
    wait_until(lambda: not any(holders(agents)), 60, lambda: f"resources are left: {holders(agents)}")
    assert_never_two(agents[0])


def resources(node: Node) -> dict[str, Any]:
    done = node.run("o2ctl resource list --json", timeout=30)
    return {one["name"]: one for one in json.loads(done.stdout)["resources"]} if done.ok else {}


def holders(nodes: list[Node]) -> list[list[str]]:
    return [[name for name, one in resources(node).items() if one["held"]] for node in nodes]


def runs_on(nodes: list[Node], name: str = "web") -> list[Node]:
    """All are asked at the same time."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        found = list(pool.map(resources, nodes))
    return [node for node, known in zip(nodes, found, strict=True) if known.get(name, {}).get("runs")]


def wait_until_it_runs(nodes: list[Node], seconds: float = 60, name: str = "web") -> Node:
    found: list[Node] = []

    def on_one() -> bool:
        found[:] = runs_on(nodes, name)
        return len(found) == 1

    def complaint() -> str:
        return f"{name} runs on {[node.name for node in found]}: {[resources(node) for node in nodes]}"

    wait_until(on_one, seconds, complaint)
    return found[0]


def witness(node: Node, words: str, seconds: float = 60) -> Any:
    done = node.run(f"python3 /root/witness.py {words}", timeout=seconds, check=True)
    return json.loads(done.stdout)


def assert_never_two(node: Node) -> None:
    found = witness(node, "verdict")
    assert found["overlaps"] == [], found


def test_the_witness_would_see_two(hosts: list[Node]) -> None:
    for node in hosts[:2]:
        node.run(f"systemd-run --collect --unit second python3 /root/witness.py serve {node.number}", check=True)
    wait_until(lambda: witness(hosts[2], "verdict")["overlaps"] != [], 20, lambda: "it is blind")
    for node in hosts[:2]:
        node.run("systemctl stop second", check=True)
    hosts[2].run("python3 /root/witness.py clear", check=True)


def define(nodes: list[Node], name: str = "web", **more: Any) -> None:
    """The same resource on all nodes."""
    parts = [{"address": f"{ADDRESS}/24", "device": "vec0"}, {"unit": "witness.service"}]
    text = json.dumps({"name": name, "parts": parts, "check_interval": 2, **more})
    for node in nodes:
        node.run("mkdir -p /etc/o2agent/resources.d", check=True)
        node.put(f"/etc/o2agent/resources.d/{name}.json", text)
    for node in nodes:
        node.run("o2ctl agent reload", check=True)


@contextmanager
def tried_for(nodes: list[Node], lock: str) -> Iterator[list[Remote]]:
    """One of these nodes tries for the agent's lock all the time, the other waits for it with a blocking open."""
    with remotes(nodes) as (trying, waiting):
        waiting.ask(op="block", name=f"o2agent/{lock}")
        with ThreadPoolExecutor(1) as pool:
            ends = time.monotonic() + 3600
            won: list[dict[str, Any]] = []
            stop: list[bool] = []

            def race() -> None:
                while not stop and time.monotonic() < ends:
                    answer = trying.ask(op="take", name=lock, domain="o2agent", kind="process", wait=0.25)
                    if answer.get("held"):
                        won.append(answer)
                        return

            racing = pool.submit(race)
            try:
                yield [trying, waiting]
                assert won == [], "another node got the lock"
                assert waiting.ask(op="blocks")["blocks"], "another node got the lock"
            finally:
                stop.append(True)
                racing.result(30)


def test_an_agent_that_is_killed_interrupts_nothing(hosts: list[Node]) -> None:
    """Killed at random moments, also while it starts, while another node wants the lock in both ways."""
    define(hosts, prefer=hosts[0].name)
    assert wait_until_it_runs(hosts) is hosts[0]
    chance = random.Random(AGENT_KILLS)
    runs = witness(hosts[1], "verdict")["runs"]
    pauses = " ".join(f"{chance.uniform(0.0, 3.0):.2f}" for _kill in range(AGENT_KILLS))
    kills = f"for pause in {pauses}; do systemctl kill -s KILL --kill-who=main o2agent; sleep $pause; "
    kills += "systemctl reset-failed o2agent; done"
    seconds = AGENT_KILLS * 2.5 + 10
    with tried_for(hosts[1:], "resource:web"), ThreadPoolExecutor(1) as pool:
        polling = pool.submit(witness, hosts[2], f"poll {ADDRESS} {seconds}", seconds + 60)
        hosts[0].run(kills, timeout=seconds + 120, check=True)
        polled = polling.result(seconds + 120)
    print(f"{AGENT_KILLS} kills, {polled}", flush=True)
    assert polled["missed"] == 0, polled
    assert wait_until_it_runs(hosts) is hosts[0]
    after = witness(hosts[1], "verdict")["runs"]
    assert [run[:2] for run in after] == [run[:2] for run in runs], "it was never started anew"


PROGRAM = "/usr/local/lib/ocfs2.o2cb/o2cb.pyz"
UNTIL_LIMIT = """for kill in $(seq 200); do
  systemctl is-failed --quiet o2agent && exit 0
  systemctl kill -s KILL --kill-who=main o2agent; sleep 0.2
done
exit 1
"""
"""Kill the agent until systemd gives up: ten starts within a minute."""


@pytest.mark.parametrize("how", ["broken configuration", "deleted program", "start limit"])
def test_an_agent_that_cannot_come_back_hands_over_in_order(hosts: list[Node], how: str) -> None:
    """Its service needs 5 s to stop. Another node waits with a blocking open, and gets it only after that."""
    holder, waiter = hosts[:2]
    unit = "/etc/systemd/system/witness.service"
    change, back = {
        "broken configuration": (
            "echo '{' > /etc/o2agent/resources.d/bad.json",
            "rm /etc/o2agent/resources.d/bad.json",
        ),
        "deleted program": (f"mv {PROGRAM} {PROGRAM}.away", f"mv {PROGRAM}.away {PROGRAM}"),
        "start limit": ("true", "true"),
    }[how]
    back += "; systemctl reset-failed o2agent; systemctl start o2agent"
    slow = f"sed -i 's/sleep .*/sleep 5/' {unit} && systemctl daemon-reload"
    with (
        holder.changed(slow, f"sed -i 's/sleep .*/sleep 0/' {unit} && systemctl daemon-reload"),
        remotes([waiter, holder]) as (waiting, other_clock),
    ):
        ahead = waiting.clock() - other_clock.clock()
        define(hosts, prefer=holder.name)
        assert wait_until_it_runs(hosts) is holder
        waiting.ask(op="block", name="o2agent/resource:web")
        wait_for(waiter, "pgrep -f 'foreign.py wait'", 10)
        began = time.time()
        with holder.changed(change, back):
            holder.run(UNTIL_LIMIT, timeout=120, check=True)
            other = wait_until_it_runs(hosts[1:], 120)
            assert other is not holder
            assert not waiting.ask(op="blocks")["blocks"]
        granted = float(waiter.run("stat -c %.6Y /run/resource:web", check=True).stdout) - ahead
        stops, stopped, released = (
            agent_said(holder, words, began) for words in ("stops: witness", "is stopped: witness", "is released")
        )
        print(
            f"{how}: stops at {stops:.2f}, is stopped +{stopped - stops:.2f}, is released +{released - stops:.2f}, "
            f"granted to who waited +{granted - stops:.2f}, runs elsewhere "
            f"+{first_start_after(other, began) - stops:.2f}",
            flush=True,
        )
        assert stopped - stops > 4.5, "it needs 5 s to stop"
        assert granted > stopped


def test_a_boot_at_which_no_agent_comes_up_leaves_nothing_to_stop(hosts: list[Node]) -> None:
    """The others run what is to run, and the safe stop is not tried again for ever."""
    define(hosts)
    victim = hosts[0]
    bad = "/etc/o2agent/resources.d/bad.json"
    victim.put(bad, "{")
    victim.kill()
    victim.boot()
    try:
        wait_for(victim, "systemctl is-failed --quiet o2agent", BACK_SECONDS)
        assert wait_until_it_runs(hosts[1:]) is not victim
        said = victim.run("journalctl -b -t o2agent --no-pager", check=True).stdout
        assert f"the agent does not start: {bad} is not JSON" in said
        assert not victim.run("systemctl is-failed o2agent-stop").ok, "it had nothing to do"
        assert victim.run("systemctl show --property ConditionResult --value o2agent-stop").stdout == "no\n"
    finally:
        victim.run(f"rm {bad}; systemctl reset-failed o2agent; systemctl start o2agent", check=True)
    wait_for(victim, BACK, BACK_SECONDS)


def test_a_stop_of_the_agent_hands_over_where_that_is_configured(hosts: list[Node]) -> None:
    path = "/etc/o2agent/agent.json"
    change = f'cp {path} {path}.before && echo \'{{"on_stop": "hand_over"}}\' > {path} && o2ctl agent reload'
    define(hosts, prefer=hosts[0].name)
    assert wait_until_it_runs(hosts) is hosts[0]
    with hosts[0].changed(change, f"mv {path}.before {path}; systemctl start o2agent; o2ctl agent reload"):
        began = time.time()
        hosts[0].run("systemctl stop o2agent", timeout=60, check=True)
        other = wait_until_it_runs(hosts[1:], 60)
        stopped = agent_said(hosts[0], "is stopped: witness", began)
        print(f"stop of the agent, handed over: gap {first_start_after(other, began) - stopped:.2f} s", flush=True)


LOAD_SECONDS = 90


def test_upgrades_of_both_daemons_under_load_interrupt_nothing(hosts: list[Node], controller: Controller) -> None:
    """By the playbook, from a program that is another one, twice, while all nodes take locks and release them."""
    define(hosts, prefer=hosts[0].name)
    assert wait_until_it_runs(hosts) is hosts[0]
    runs = len(witness(hosts[1], "verdict")["runs"])
    offset = 4096 * 1000
    hosts[0].run("dd if=/dev/zero of=/dev/mapper/data bs=4096 count=1 seek=1000 oflag=direct", check=True)
    count = f"timeout {LOAD_SECONDS + 120} python3 /root/player.py load {LOAD_SECONDS} {offset}"
    with ThreadPoolExecutor(4) as pool:
        polling = pool.submit(witness, hosts[2], f"poll {ADDRESS} {LOAD_SECONDS}", LOAD_SECONDS + 60)
        loads = [pool.submit(node.run, count, LOAD_SECONDS + 150) for node in hosts]
        upgrades = 0
        while not polling.done():
            for node in hosts:
                node.run(f"printf x >> {PROGRAM}; systemctl kill --kill-who=main o2keep o2agent", check=True)
            run = controller.play("ocfs2.o2cb.resources", o2cb_locks=True, o2cb_agent_purge=False)
            assert run.rc == 0, run.output
            done = [action for outcome in run.outcomes for action in outcome.values.get("actions", [])]
            upgrades += sum(action == "upgrade o2keep" for action in done)
        polled = polling.result()
        counted = [json.loads(load.result().stdout) for load in loads]
    verdict = json.loads(hosts[0].run(f"python3 /root/player.py verdict {offset}", check=True).stdout)
    print(
        f"{upgrades} upgrades, {verdict['value']} locks taken meanwhile, {counted}, longest {polled['longest']:.2f} s"
    )
    assert upgrades >= 3
    assert verdict == {"value": sum(each["done"] for each in counted), "falls": 0}
    assert polled["missed"] == 0, polled
    assert wait_until_it_runs(hosts) is hosts[0]
    assert len(witness(hosts[1], "verdict")["runs"]) == runs


def test_stop_of_the_agent_and_upgrades_interrupt_nothing(hosts: list[Node]) -> None:
    define(hosts, prefer=hosts[0].name)
    assert wait_until_it_runs(hosts) is hosts[0]
    runs = len(witness(hosts[1], "verdict")["runs"])
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(witness, hosts[2], f"poll {ADDRESS} 30", 90)
        hosts[0].run("systemctl stop o2agent; sleep 3; systemctl start o2agent; sleep 3", timeout=60, check=True)
        hosts[0].run(
            "systemctl restart o2agent; sleep 2; systemctl kill --kill-who=main o2keep", timeout=60, check=True
        )
        polled = polling.result(120)
    assert polled["missed"] == 0, polled
    assert wait_until_it_runs(hosts) is hosts[0]
    assert len(witness(hosts[1], "verdict")["runs"]) == runs


def first_start_after(node: Node, since: float) -> float:
    """When the service began on this node, by its own word: seconds of the epoch."""
    runs = witness(node, "verdict")["runs"]
    return float(min(first for number, first, _last in runs if number == node.number and first > since))


def kernel_said(node: Node, words: str, since: float) -> float:
    """When the kernel first said so, by the journal: it may have it a little late, and never early."""
    done = node.run(f"journalctl -k -o short-unix --no-pager --since=@{since - 1:.0f}", timeout=30, check=True)
    times = [float(line.split()[0]) for line in done.stdout.splitlines() if words in line]
    return min((at for at in times if at > since), default=0.0)


def evicted(victim: Node, by: Node, since: float) -> float:
    """When o2dlm has evicted a node from the agent's domain, by the kernel of another one: seconds of the epoch."""
    words = f"o2dlm has evicted node {victim.number} from domain o2agent"
    at = kernel_said(by, words, since)
    assert at, f"the kernel of {by.name} has not said since {since:.0f}: {words}"
    return at


def agent_said(node: Node, words: str, since: float) -> float:
    """When the agent first said so of the resource `web`."""
    done = node.run(f"journalctl -t o2agent -o short-unix --no-pager --since=@{since - 1:.0f}", timeout=30, check=True)
    times = [float(line.split()[0]) for line in done.stdout.splitlines() if f"web {words}" in line]
    return min((at for at in times if at > since), default=0.0)


def longest_outage(node: Node, since: float) -> float:
    """The longest time since then at which the service did not run on any node, by its own traces."""
    last, longest = since, 0.0
    for _number, began, ended in sorted(witness(node, "verdict")["runs"], key=lambda run: float(run[1])):
        if ended > since:
            longest = max(longest, began - last)
            last = max(last, ended)
    return longest


def spread(seconds: list[float]) -> str:
    return f"min {min(seconds):.1f}, median {statistics.median(seconds):.1f}, max {max(seconds):.1f} s"


def test_when_a_node_dies_its_resource_runs_elsewhere_in_time(hosts: list[Node]) -> None:
    """And never before the kernel of the node that runs it then has evicted the dead one."""
    define(hosts)
    taken, waited, ours = [], [], []
    for turn in range(NODE_KILLS):
        victim = wait_until_it_runs(hosts)
        others = [node for node in hosts if node is not victim]
        died = time.time()
        victim.kill()
        taking = wait_until_it_runs(others, 120)
        started = first_start_after(taking, died)
        gone = evicted(victim, taking, died)
        recovered = max(kernel_said(node, "End recovery on domain o2agent", died) for node in others)
        locked = agent_said(taking, "is ours", died)
        taken.append(started - died)
        waited.append(started - gone)
        ours.append(started - max(gone, recovered))
        print(
            f"turn {turn}: {victim.name} died at {died:.2f}, {taking.name} evicted it at {gone:.2f}"
            f" (+{gone - died:.2f}), recovered +{recovered - died:.2f}, has the lock +{locked - died:.2f}, runs it at"
            f" {started:.2f} (+{taken[-1]:.2f})",
            flush=True,
        )
        assert started > gone, f"turn {turn}: it ran {gone - started:.2f} s before the dead node was evicted"
        victim.boot()
        wait_for(victim, BACK, BACK_SECONDS)
    print(
        f"node killed, runs elsewhere after: {spread(taken)}; since the eviction: {spread(waited)}; since the end of "
        f"the recovery: {spread(ours)}",
        flush=True,
    )
    assert max(ours) <= OURS_SECONDS, ours
    assert max(taken) <= DEAD_SECONDS + BEAT_SECONDS + RECOVERY_SECONDS + OURS_SECONDS, taken


@pytest.mark.parametrize("seconds", [5, 30])
def test_a_node_that_is_frozen_is_never_one_of_two(hosts: list[Node], seconds: int) -> None:
    define(hosts)
    victim = wait_until_it_runs(hosts)
    others = [node for node in hosts if node is not victim]
    boots = victim.boots()
    victim.freeze()
    time.sleep(seconds)
    victim.thaw()
    if seconds > 2 * DEAD_SECONDS:
        wait_until_it_runs(others, 120)
        victim.wait_for_boot(boots)
        wait_for(victim, BACK, BACK_SECONDS)
    else:
        assert wait_until_it_runs(hosts) is victim
        assert victim.boots() == boots


CUT_KINDS = ("both", "in", "out", "loss")
LOSS_SECONDS = 90.0
"""Longer than o2net takes to find a connection idle and o2quo to decide."""


@pytest.mark.parametrize("kind", CUT_KINDS)
def test_a_node_that_is_cut_off_does_not_go_on_beside_another(hosts: list[Node], kind: str) -> None:
    """Off the network, in one direction only, or half of its packets lost: which need not fence anybody."""
    define(hosts)
    outages = []
    for turn in range(-(-CUTS // len(CUT_KINDS))):
        victim = wait_until_it_runs(hosts, 180)
        others = [node for node in hosts if node is not victim]
        boots = {node.name: node.boots() for node in hosts}
        began = time.time()
        if kind == "loss":
            victim.lose(50)
            time.sleep(LOSS_SECONDS)
        else:
            victim.cut(kind)
            wait_until_it_runs(others, 180)
        victim.heal()
        if kind != "loss":
            victim.wait_for_boot(boots[victim.name])
        for node in hosts:
            wait_for(node, BACK, BACK_SECONDS)
        runs_here = wait_until_it_runs(hosts, 180)
        outages.append(longest_outage(runs_here, began))
        reset = [node.name for node in hosts if node.boots() > boots[node.name]]
        assert kind == "loss" or reset == [victim.name]
        assert_never_two(runs_here)
        print(
            f"cut {kind}, turn {turn}: of {victim.name}, reset: {reset}, runs on {runs_here.name}, "
            f"away for {outages[-1]:.1f} s",
            flush=True,
        )
    print(f"cut {kind}: the service was away for {spread(outages)}", flush=True)


@pytest.mark.parametrize("share", [0.5, 0.9, 1.1, 2.0])
def test_a_node_whose_heartbeat_disks_hang_does_not_go_on_beside_another(hosts: list[Node], share: float) -> None:
    """For this share of the dead time. It resets itself two seconds before the others count it dead."""
    define(hosts)
    victim = wait_until_it_runs(hosts)
    boots = victim.boots()
    hang, back = (disks.script(list(disks.HEARTBEAT), mode) for mode in ("hang", "ok"))
    victim.put("/root/hang.sh", f"{hang}\nsleep {share * DEAD_SECONDS}\n{back}\n")
    began = time.time()
    victim.run("systemd-run --collect --no-block sh /root/hang.sh", check=True)
    if share * DEAD_SECONDS < DEAD_SECONDS - 2:
        time.sleep(2 * DEAD_SECONDS)
        assert victim.boots() == boots
        assert wait_until_it_runs(hosts) is victim
    else:
        victim.wait_for_boot(boots)
        wait_for(victim, BACK, BACK_SECONDS)
        assert wait_until_it_runs(hosts, 120) is not victim
    outage = longest_outage(victim, began)
    assert_never_two(victim)
    print(f"disks hung for {share} x dead time: reset: {victim.boots() > boots}, away for {outage:.1f} s", flush=True)


class Clocks:
    """By how many seconds the nodes' clocks are ahead of this machine's. That changes, so it is measured twice."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._began, self._before = time.time(), self._ahead()

    def _ahead(self) -> list[float]:
        with remotes(self._nodes) as clocks:
            return [clock.clock() for clock in clocks]

    def end(self) -> None:
        self._ended, self._after = time.time(), self._ahead()

    def true(self, node: Node, at: float) -> float:
        """When it was by this machine's clock."""
        number = self._nodes.index(node)
        share = (at - self._began) / (self._ended - self._began)
        return at - self._before[number] - share * (self._after[number] - self._before[number])


def moves_since(nodes: list[Node], since: float, clocks: Clocks) -> list[dict[str, float]]:
    """Of each move, by the agents' journals: seconds from the last stop on the one node to the lock, and the start.

    They are seconds apart, so the first stop belongs to the first start, whatever is left of the clocks' differences.
    """
    gave: list[float] = []
    got: list[tuple[float, float]] = []
    for node in nodes:
        done = node.run(f"journalctl -t o2agent -o short-unix --no-pager --since=@{since:.0f}", timeout=60, check=True)
        lines = [line.split(maxsplit=3) for line in done.stdout.splitlines() if " resource web " in line]
        stopped = ours = 0.0
        for told, _host, _agent, words in lines:
            at, what = clocks.true(node, float(told)), words.partition(" web ")[2]
            if what.startswith("is stopped"):
                stopped = at
            elif what.startswith("is released"):
                gave.append(stopped)
            elif what.startswith("is ours"):
                ours = at
            elif what.startswith("starts") and ours:
                got.append((ours, at))
                ours = 0.0
    pairs = zip(sorted(gave), sorted(got), strict=True)
    return [{"stopped": stopped, "ours": ours - stopped, "gap": start - stopped} for stopped, (ours, start) in pairs]


def test_a_planned_move_has_a_short_gap(hosts: list[Node]) -> None:
    """From the end of the last stop on the one node to the beginning of the first start on the other."""
    define(hosts)
    giving = wait_until_it_runs(hosts)
    since, clocks = time.time(), Clocks(hosts)
    chance = random.Random(MOVES)
    for _turn in range(MOVES):
        taking = chance.choice([node for node in hosts if node is not giving])
        giving.run(f"o2ctl resource move web {taking.name}", timeout=30, check=True)
        assert wait_until_it_runs([taking], 60) is taking
        giving = taking
    clocks.end()
    moves = moves_since(hosts, since, clocks)
    gaps = sorted(move["gap"] for move in moves)
    for move in sorted(moves, key=lambda move: move["gap"])[-5:]:
        lock, start = move["ours"] * 1000, move["gap"] * 1000
        print(f"at {move['stopped']:.2f}: {lock:.0f} ms to the lock, {start:.0f} ms to the start")
    print(
        f"{len(moves)} moves: gap min {gaps[0] * 1000:.0f}, median {statistics.median(gaps) * 1000:.0f}, "
        f"95 % {gaps[-(len(gaps) // 20) - 1] * 1000:.0f}, max {gaps[-1] * 1000:.0f} ms",
        flush=True,
    )
    assert len(moves) == MOVES
    assert statistics.median(gaps) <= 0.1


def test_a_drained_node_gives_up_all_and_gets_back_what_prefers_it(hosts: list[Node]) -> None:
    for number in range(10):
        unit = f"[Service]\nExecStart=/bin/sleep {1000000 + number}\n"
        for node in hosts:
            node.put(f"/etc/systemd/system/drain{number}.service", unit)
    for node in hosts:
        node.run("systemctl daemon-reload", check=True)
    for number in range(10):
        parts = [{"unit": f"drain{number}.service"}]
        sticky = number >= 5
        define(hosts, f"drain{number}", parts=parts, prefer=hosts[0].name, sticky=sticky)
    names = {f"drain{number}" for number in range(10)}
    wait_until(lambda: set(holders(hosts)[0]) == names, 120, lambda: f"{holders(hosts)}")
    hosts[0].run("o2ctl node drain", check=True)
    wait_until(lambda: not holders(hosts)[0], 120, lambda: f"{holders(hosts)}")
    wait_until(
        lambda: {name for held in holders(hosts)[1:] for name in held} == names, 120, lambda: f"{holders(hosts)}"
    )
    hosts[0].run("o2ctl node resume", check=True)
    loose = {f"drain{number}" for number in range(5)}
    wait_until(lambda: set(holders(hosts)[0]) == loose, 120, lambda: f"{holders(hosts)}")


def unit(nodes: list[Node], name: str, text: str) -> None:
    for node in nodes:
        node.put(f"/etc/systemd/system/{name}", text)
        node.run("systemctl daemon-reload", check=True)


def test_what_fails_everywhere_backs_off_and_says_why(hosts: list[Node]) -> None:
    unit(hosts, "broken.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    since = f"--since=@{time.time():.0f}"
    define(hosts, "broken", parts=[{"unit": "broken.service"}], backoff=600)
    wait_until(
        lambda: all(resources(node)["broken"]["retry_in"] for node in hosts),
        90,
        lambda: f"{[resources(node) for node in hosts]}",
    )
    assert all("broken.service" in resources(node)["broken"]["error"] for node in hosts)
    starts = [int(node.run(f"journalctl -u broken {since} | grep -c Starting", timeout=30).stdout) for node in hosts]
    assert starts == [2, 2, 2], "each tries as often as configured, and then leaves it"


def test_a_unit_that_does_not_exist_is_told(hosts: list[Node]) -> None:
    define(hosts, "none", parts=[{"unit": "no-such.service"}], backoff=600)
    wait_until(
        lambda: any("not found" in (resources(node)["none"]["error"] or "") for node in hosts),
        60,
        lambda: f"{[resources(node) for node in hosts]}",
    )


FLAPPING = """#!/bin/sh
case $1 in
  start) echo >> /run/flaps/starts; echo 0 > /run/flaps/checks ;;
  stop) rm -f /run/flaps/checks ;;
  check) [ -e /run/flaps/checks ] || exit 3
         checks=$(($(cat /run/flaps/checks) + 1)); echo $checks > /run/flaps/checks
         [ $((checks % 3)) != 0 ] || exit {code} ;;
esac
"""


@pytest.mark.parametrize("code", [3, 1])
def test_a_check_that_flaps_ends_in_back_off_everywhere(hosts: list[Node], code: int) -> None:
    """Each third check says that it does not run (3), or that it does not know (1)."""
    for node in hosts:
        node.put("/root/flapping", FLAPPING.format(code=code))
        node.run("chmod 755 /root/flapping; rm -rf /run/flaps; mkdir /run/flaps", check=True)
    parts = [{verb: ["/root/flapping", verb] for verb in ("start", "stop", "check")}]
    define(hosts, "flaps", parts=parts, backoff=600, check_interval=1)
    wait_until(
        lambda: all(resources(node)["flaps"]["retry_in"] for node in hosts),
        180,
        lambda: f"{[resources(node) for node in hosts]}",
    )
    assert [resources(node)["flaps"]["state"] for node in hosts] == ["failed here"] * 3
    starts = [int(node.run("wc -l < /run/flaps/starts", check=True).stdout) for node in hosts]
    assert starts == [2, 2, 2], "each tries as often as configured, and then leaves it"


def test_two_resources_on_one_address_are_refused_and_the_first_goes_on(hosts: list[Node]) -> None:
    define(hosts, prefer=hosts[0].name)
    assert wait_until_it_runs(hosts) is hosts[0]
    parts = [{"address": f"{ADDRESS}/16", "device": "vec0"}]
    second = json.dumps({"name": "second", "parts": parts})
    path = "/etc/o2agent/resources.d/second.json"
    with hosts[0].changed(f"echo '{second}' > {path}", f"rm {path}"):
        done = hosts[0].run("o2ctl agent reload", timeout=30)
        assert done.rc != 0
        assert f"{ADDRESS} is part of second and of web" in done.stderr
        assert set(resources(hosts[0])) == {"web"}
        assert runs_on(hosts) == [hosts[0]]
    hosts[0].run("o2ctl agent reload", check=True)


def test_the_module_refuses_two_resources_on_one_address(hosts: list[Node], controller: Controller) -> None:
    parts = [{"address": f"{ADDRESS}/24", "device": "vec0"}]
    assert controller.module("resource", {"name": "first", "parts": parts}).rc == 0
    refused = controller.module("resource", {"name": "second", "parts": parts})
    assert len(refused.failures) == len(hosts)
    assert all(f"{ADDRESS} is part of first and of second" in text for text in refused.failures.values())
    assert all(set(resources(node)) == {"first"} for node in hosts)


def test_a_stop_that_hangs_keeps_the_lock_and_raises_an_alarm(hosts: list[Node]) -> None:
    holder = hosts[0]
    stop = "/usr/bin/test ! -e /run/hang"
    check = "test -e /run/hanging || exit 3"
    parts = [
        {
            "start": ["/bin/touch", "/run/hanging"],
            "stop": ["/bin/sh", "-c", f"{stop} && rm -f /run/hanging"],
            "check": ["/bin/sh", "-c", check],
        }
    ]
    define(hosts, "hangs", parts=parts, prefer=holder.name)
    assert wait_until_it_runs(hosts, name="hangs") is holder
    with holder.changed("touch /run/hang && o2ctl node drain", "rm /run/hang"):
        wait_until(
            lambda: "so the lock stays here" in (resources(holder)["hangs"]["error"] or ""),
            60,
            lambda: f"{resources(holder)}",
        )
        alarm = holder.run("journalctl -t o2agent -p alert O2_RESOURCE=hangs --no-pager", timeout=30).stdout
        assert "cannot be stopped" in alarm
        assert runs_on(hosts[1:], "hangs") == []
    assert wait_until_it_runs(hosts[1:], 60, "hangs")


def test_an_address_that_another_machine_has_is_refused(hosts: list[Node]) -> None:
    foreign = hosts[2]
    with foreign.changed("ip address add 10.22.0.98/24 dev vec0", "ip address delete 10.22.0.98/24 dev vec0"):
        parts = [{"address": "10.22.0.98/24", "device": "vec0"}]
        define(hosts[:2], "taken", parts=parts, backoff=600)
        wait_until(
            lambda: all("is in use by" in (resources(node)["taken"]["error"] or "") for node in hosts[:2]),
            60,
            lambda: f"{[resources(node) for node in hosts]}",
        )
        for node in hosts[:2]:
            assert "10.22.0.98" not in node.run("ip address", timeout=30).stdout


def test_no_nonsense_on_its_socket_disturbs_the_agent(hosts: list[Node]) -> None:
    define(hosts, prefer=hosts[0].name)
    assert wait_until_it_runs(hosts) is hosts[0]
    text = (REFEREE / "fuzz.py").read_text(encoding="utf-8")
    hosts[0].put("/root/fuzz.py", text)
    done = hosts[0].run(f"python3 /root/fuzz.py {FUZZ} {FUZZ}", timeout=60 + FUZZ / 100, check=True)
    found = json.loads(done.stdout)
    assert found["same"], "the agent was started anew"
    assert found["answered"] > 0.9 * found["asked"], found
    assert found["after"] < found["before"] + 4096, f"KiB: {found}"
    assert wait_until_it_runs(hosts) is hosts[0]


SLOW = """
import socket, time
slow = [socket.socket(socket.AF_UNIX) for number in range(150)]
for sock in slow:
    sock.connect("/run/o2agent/socket")
print("connected", flush=True)
for at in range(30):
    for sock in slow:
        sock.sendall(b"{"[at:at + 1] or b" ")
    time.sleep(1)
"""
"""Clients that need half a minute for a request, and never end it."""


ASK = """
import time
from ocfs2_o2cb.client.agent import Client
client, slowest = Client(), 0.0
for number in range(100):
    before = time.monotonic()
    client.ask("resources")
    slowest = max(slowest, time.monotonic() - before)
print(slowest)
"""


def test_slow_clients_hold_up_nobody(hosts: list[Node]) -> None:
    define(hosts, prefer=hosts[0].name)
    assert wait_until_it_runs(hosts) is hosts[0]
    hosts[0].put("/root/slow.py", SLOW)
    hosts[0].run("systemd-run --collect --unit slow python3 /root/slow.py", check=True)
    wait_for(hosts[0], "journalctl -u slow | grep -q connected", 30)
    done = hosts[0].run(f"PYTHONPATH={PROGRAM} python3 -", stdin=ASK, timeout=60, check=True)
    slowest = float(done.stdout)
    print(f"beside 150 slow clients: {slowest * 1000:.0f} ms for the slowest of 100 answers", flush=True)
    assert slowest < 2.0
    assert hosts[0].run("systemctl is-active slow", timeout=30).ok, "the slow ones are still there"
    hosts[0].run("systemctl stop slow", check=True)


def test_nobody_without_rights_gets_an_answer(hosts: list[Node]) -> None:
    done = hosts[0].run("runuser -u nobody -- o2ctl resource list", timeout=30)
    assert (done.rc, "you may not ask o2agent" in done.stderr) == (1, True), done.stderr
