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
from lab import Lab
from lab.node import Node

AGENT_KILLS = int(os.environ.get("O2_AGENT_KILLS", "100"))
NODE_KILLS = int(os.environ.get("O2_NODE_KILLS", "20"))
CUTS = int(os.environ.get("O2_CUTS", "20"))
MOVES = int(os.environ.get("O2_MOVES", "100"))
FUZZ = int(os.environ.get("O2_FUZZ", "1000000"))

DEAD_SECONDS = (SETTINGS["o2cb_heartbeat_dead_threshold"] - 1) * 2
"""After so long without a beat a node is dead, as o2hb counts."""

UNIT = """[Service]
ExecStart=/usr/bin/python3 /root/witness.py serve {number}
ExecStop=/bin/sleep {stop}
"""
ADDRESS = "10.22.0.99"
BACK_SECONDS = 150.0


@pytest.fixture(scope="session")
def agents(lab: Lab, controller: Controller, provisioned: list[Node]) -> list[Node]:
    """The nodes, with o2agent and a service to run."""
    text = (REFEREE / "witness.py").read_text(encoding="utf-8")
    for node in provisioned:
        node.run("cat > /root/witness.py", stdin=text, check=True)
        node.run("cat > /etc/systemd/system/witness.service", stdin=UNIT.format(number=node.number, stop=0), check=True)
        node.run("systemctl daemon-reload", check=True)
    controller.play("ocfs2.o2cb.resources", o2cb_locks=True, o2cb_agent_purge=True)
    return provisioned


@pytest.fixture
def hosts(agents: list[Node], controller: Controller) -> Iterator[list[Node]]:
    """The nodes, without any resource before and after; and the service was never on two of them."""
    for node in agents:
        node.run("o2ctl node resume; python3 /root/witness.py clear", timeout=60, check=True)
    yield agents
    for node in agents:
        wait_for(node, "o2ctl agent status", BACK_SECONDS)
        node.run("rm -f /etc/o2agent/resources.d/*; o2ctl agent reload", timeout=60, check=True)
    wait_until(lambda: not any(holders(agents)), 60, lambda: f"resources are left: {holders(agents)}")
    assert_never_two(agents[0])


def resources(node: Node) -> dict[str, Any]:
    done = node.run("o2ctl resource list --json", timeout=30)
    return {one["name"]: one for one in json.loads(done.stdout)["resources"]} if done.ok else {}


def holders(nodes: list[Node]) -> list[list[str]]:
    return [[name for name, one in resources(node).items() if one["held"]] for node in nodes]


def runs_on(nodes: list[Node], name: str = "web") -> list[Node]:
    return [node for node in nodes if resources(node).get(name, {}).get("state") == "runs here"]


def wait_until_it_runs(nodes: list[Node], seconds: float = 60, name: str = "web") -> Node:
    wait_until(
        lambda: len(runs_on(nodes, name)) == 1,
        seconds,
        lambda: f"{name} runs on {[node.name for node in runs_on(nodes, name)]}: {[resources(node) for node in nodes]}",
    )
    return runs_on(nodes, name)[0]


def witness(node: Node, words: str, seconds: float = 60) -> Any:
    done = node.run(f"python3 /root/witness.py {words}", timeout=seconds, check=True)
    return json.loads(done.stdout)


def assert_never_two(node: Node) -> None:
    found = witness(node, "verdict")
    assert found["overlaps"] == [], found


def define(nodes: list[Node], name: str = "web", **more: Any) -> None:
    """The same resource on all nodes."""
    parts = [{"address": f"{ADDRESS}/24", "device": "vec0"}, {"unit": "witness.service"}]
    text = json.dumps({"name": name, "parts": parts, "check_interval": 2, **more})
    for node in nodes:
        path = f"/etc/o2agent/resources.d/{name}.json"
        node.run(f"mkdir -p /etc/o2agent/resources.d && cat > {path}", stdin=text, check=True)
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
    assert polled["longest"] < 1.0, polled
    assert wait_until_it_runs(hosts) is hosts[0]
    after = witness(hosts[1], "verdict")["runs"]
    assert [run[:2] for run in after] == [run[:2] for run in runs], "it was never started anew"


@pytest.mark.parametrize("how", ["broken configuration", "deleted program"])
def test_an_agent_that_cannot_come_back_hands_over_in_order(hosts: list[Node], how: str) -> None:
    """Its service needs 5 s to stop. Another node waits with a blocking open, and gets it only after that."""
    holder = hosts[0]
    unit = "/etc/systemd/system/witness.service"
    program = "/usr/local/lib/ocfs2.o2cb/o2cb.pyz"
    change, back = {
        "broken configuration": (
            "echo '{' > /etc/o2agent/resources.d/bad.json",
            "rm /etc/o2agent/resources.d/bad.json",
        ),
        "deleted program": (f"mv {program} {program}.away", f"mv {program}.away {program}"),
    }[how]
    slow = f"sed -i 's/sleep .*/sleep 5/' {unit} && systemctl daemon-reload"
    with holder.changed(slow, f"sed -i 's/sleep .*/sleep 0/' {unit} && systemctl daemon-reload"):
        define(hosts, prefer=holder.name)
        assert wait_until_it_runs(hosts) is holder
        with holder.changed(change, back):
            for _kill in range(12):
                holder.run("systemctl kill -s KILL --kill-who=main o2agent; sleep 0.3", timeout=30)
            other = wait_until_it_runs(hosts[1:], 120)
            assert other is not holder
        stops = holder.run("journalctl -u witness -o short-unix --no-pager | grep -c Stopped", timeout=30)
        assert stops.stdout.strip() != "0"
        holder.run("systemctl reset-failed o2agent; systemctl start o2agent", timeout=60, check=True)


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
    assert polled["longest"] < 1.0, polled
    assert wait_until_it_runs(hosts) is hosts[0]
    assert len(witness(hosts[1], "verdict")["runs"]) == runs


def first_start_after(node: Node, since: float) -> float:
    """When the service began again, by its own word."""
    starts = [first for _number, first, _last in witness(node, "verdict")["runs"] if first > since]
    return min(starts, default=0.0)


def test_when_a_node_dies_its_resource_runs_elsewhere_in_time(hosts: list[Node]) -> None:
    define(hosts)
    taken = []
    for turn in range(NODE_KILLS):
        victim = wait_until_it_runs(hosts)
        others = [node for node in hosts if node is not victim]
        died = time.time()
        victim.kill()
        wait_until_it_runs(others, 120)
        taken.append(first_start_after(others[0], died) - died)
        assert taken[-1] > DEAD_SECONDS - 2, f"turn {turn}: before it was dead: {taken[-1]:.1f} s"
        victim.boot()
        wait_for(victim, "o2ctl agent status && o2ctl resource list | grep -q web", BACK_SECONDS)
    print(f"fail-over: min {min(taken):.1f}, median {statistics.median(taken):.1f}, max {max(taken):.1f} s", flush=True)
    assert statistics.median(taken) <= DEAD_SECONDS + 6, taken
    assert max(taken) <= DEAD_SECONDS + 10, taken


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
        wait_for(victim, "o2ctl agent status", BACK_SECONDS)
    else:
        assert wait_until_it_runs(hosts) is victim
        assert victim.boots() == boots


def test_a_node_that_is_cut_off_does_not_go_on_beside_another(hosts: list[Node]) -> None:
    define(hosts)
    for _turn in range(CUTS):
        victim = wait_until_it_runs(hosts, 120)
        others = [node for node in hosts if node is not victim]
        boots = victim.boots()
        victim.cut()
        wait_until_it_runs(others, 180)
        victim.heal()
        victim.wait_for_boot(boots)
        wait_for(victim, "o2ctl agent status", BACK_SECONDS)


def gap(giving: Node, taking: Node, since: float) -> float:
    """Seconds from the last stop on the one node to the first start on the other, by their journals."""
    told = {}
    for node, words in ((giving, "is stopped"), (taking, "starts")):
        done = node.run(f"journalctl -t o2agent -o short-unix --no-pager --since=@{since:.0f}", timeout=30)
        told[words] = [float(line.split()[0]) for line in done.stdout.splitlines() if f"web {words}" in line]
    stops = [at for at in told["is stopped"] if at > since]
    starts = [at for at in told["starts"] if at > since]
    return min(starts) - max(stops)


def test_a_planned_move_has_a_short_gap(hosts: list[Node]) -> None:
    define(hosts)
    gaps = []
    for turn in range(MOVES):
        giving = wait_until_it_runs(hosts)
        taking = hosts[(hosts.index(giving) + 1 + turn % 2) % 3]
        since = time.time()
        giving.run(f"o2ctl resource move web {taking.name}", timeout=30, check=True)
        assert wait_until_it_runs([taking], 60) is taking
        gaps.append(gap(giving, taking, since))
    print(f"moves: median gap {statistics.median(gaps) * 1000:.0f} ms, longest {max(gaps) * 1000:.0f} ms", flush=True)
    assert statistics.median(gaps) <= 0.1, sorted(gaps)


def test_a_drained_node_gives_up_all_and_gets_back_what_prefers_it(hosts: list[Node]) -> None:
    for number in range(10):
        unit = f"[Service]\nExecStart=/bin/sleep {1000000 + number}\n"
        for node in hosts:
            node.run(f"cat > /etc/systemd/system/drain{number}.service", stdin=unit, check=True)
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
        node.run(f"cat > /etc/systemd/system/{name} && systemctl daemon-reload", stdin=text, check=True)


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
    hosts[0].run("cat > /root/fuzz.py", stdin=text, check=True)
    done = hosts[0].run(f"python3 /root/fuzz.py {FUZZ} {FUZZ}", timeout=60 + FUZZ / 100, check=True)
    found = json.loads(done.stdout)
    assert found["same"], "the agent was started anew"
    assert found["answered"] > 0.9 * found["asked"], found
    assert found["after"] < found["before"] + 4096, f"KiB: {found}"
    assert wait_until_it_runs(hosts) is hosts[0]


def test_nobody_without_rights_gets_an_answer(hosts: list[Node]) -> None:
    done = hosts[0].run("runuser -u nobody -- o2ctl resource list", timeout=30)
    assert (done.rc, "you may not ask o2agent" in done.stderr) == (1, True), done.stderr
