# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual machines on real nodes: never two of one, whatever happens to nodes, to o2keep and to libvirt.

Most tests call the installed hook in libvirt's own order, with a stand-in for QEMU, since QEMU takes a minute to start
on these kernels. The last ones use libvirt and QEMU themselves.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.controller import Controller, wait_until
from faults.referee.remote import TAKES_A_LOCK, wait_for
from lab import Lab
from lab.node import Node

ROUNDS = int(os.environ.get("O2_VM_ROUNDS", "200"))
PERIOD = float(os.environ.get("O2_VM_PERIOD", "8"))
"""Seconds for a round: three starts of Python at once, a start, an end."""

TOGETHER = 0.010
RESTARTS = int(os.environ.get("O2_VM_RESTARTS", "20"))
MIGRATIONS = int(os.environ.get("O2_VM_MIGRATIONS", "20"))
RECOVERED = 120.0
QEMU_SECONDS = 900.0
PACKAGES = ["libvirt-daemon-system", "libvirt-clients", "qemu-system-x86"]
PROGRAM = Path(__file__).parent / "referee/hypervisor.py"


@pytest.fixture(scope="module")
def hosts(provisioned: list[Node], controller: Controller) -> list[Node]:
    """The nodes, with libvirt, its guard, and the program that calls its hook as libvirt does."""
    run = controller.play("ocfs2.o2cb.virtual_machines", seconds=1200, o2cb_locks=True, o2cb_libvirt_packages=PACKAGES)
    assert run.rc == 0, run.output
    for node in provisioned:
        node.put("/root/hypervisor.py", PROGRAM.read_text(encoding="utf-8"))
    return provisioned


def ask(node: Node, *words: object, seconds: float = 60.0) -> Any:
    done = node.run(f"python3 /root/hypervisor.py {' '.join(map(str, words))}", timeout=seconds)
    assert done.ok, f"{node.name}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def states(node: Node) -> dict[str, str]:
    done = node.run("o2ctl vm list --json", timeout=60, check=True)
    return {row["uuid"]: row["state"] for row in json.loads(done.stdout)["machines"]}


@contextmanager
def machine(lab: Lab) -> Iterator[str]:
    """A UUID, and an end of all that has become of it."""
    found = str(uuid.uuid4())
    try:
        yield found
    finally:
        lab.each(lambda node: ask(node, "end", found, "web"))


def assert_refused(node: Node, found: str, holder: Node) -> None:
    answer = ask(node, "start", found, "web")
    assert answer["rc"] != 0
    assert f"node {holder.number}, {holder.name} (since " in answer["err"], answer["err"]


def keep_trying(node: Node, found: str) -> list[dict[str, Any]]:
    return [ask(node, "start", found, "web") for _try in range(4)]


def wait_for_lock(node: Node, found: str) -> None:
    """It is handed over soon after the machine is gone at the source."""
    wait_until(lambda: states(node) == {found: "running here"}, 20, lambda: f"{node.name} did not get the lock")


def test_three_nodes_start_one_machine_at_once_and_two_are_told_who_has_it(lab: Lab, hosts: list[Node]) -> None:
    prefix = str(uuid.uuid4())[:24]
    begin = time.time() + 10
    words = ("race", prefix, ROUNDS, begin, PERIOD)
    results = lab.each(lambda node: ask(node, *words, seconds=60 + ROUNDS * (PERIOD + 1)))
    together = 0
    for number in range(ROUNDS):
        answers = [result[number] for result in results]
        begun = [answer["begun"] for answer in answers]
        together += max(begun) - min(begun) <= TOGETHER
        winners = [node for node, answer in zip(hosts, answers, strict=True) if answer["rc"] == 0]
        assert len(winners) == 1, answers
        for answer in answers:
            assert answer["rc"] == 0 or f"node {winners[0].number}, {winners[0].name} (since " in answer["err"], answers
    print(f"{together} of {ROUNDS} rounds began within {TOGETHER * 1000:.0f} ms on all nodes")
    assert together >= ROUNDS / 2
    assert all(states(node) == {} for node in hosts)


def test_a_machine_of_a_killed_node_starts_elsewhere_when_its_lock_is_recovered(lab: Lab, hosts: list[Node]) -> None:
    one, two, _three = hosts
    with machine(lab) as found:
        assert ask(one, "start", found, "web")["rc"] == 0
        assert_refused(two, found, one)
        killed = time.monotonic()
        one.kill()
        refusals = []
        while (answer := ask(two, "start", found, "web"))["rc"]:
            refusals.append(answer)
            assert time.monotonic() - killed < RECOVERED, answer
            assert answer["seconds"] < 14, "libvirt is not kept waiting"
        print(f"started elsewhere {time.monotonic() - killed:.1f} s after the kill, {len(refusals)} refusals before")
        one.boot()
        wait_for(one, TAKES_A_LOCK, 240)
        assert_refused(one, found, two)


def test_the_lock_outlives_the_upgrades_and_kills_of_its_keeper(lab: Lab, hosts: list[Node]) -> None:
    one, two, _three = hosts
    with machine(lab) as found:
        assert ask(one, "start", found, "web")["rc"] == 0
        for number in range(RESTARTS):
            signal = "KILL" if number % 2 else "TERM"
            one.run(f"systemctl kill --kill-who=main --signal={signal} o2keep", timeout=60, check=True)
            assert_refused(two, found, one)
        assert states(one) == {found: "running here"}


def main_process(node: Node, unit: str) -> str:
    return node.run(f"systemctl show {unit} -p MainPID --value", timeout=60, check=True).stdout.strip()


def test_the_lock_outlives_the_restarts_and_kills_of_the_agent(
    lab: Lab, hosts: list[Node], controller: Controller
) -> None:
    run = controller.play("ocfs2.o2cb.resources", o2cb_locks=True)
    assert run.rc == 0, run.output
    one, two, _three = hosts
    with machine(lab) as found:
        assert ask(one, "start", found, "web")["rc"] == 0
        for number in range(RESTARTS):
            before = main_process(one, "o2agent")
            kill = "systemctl kill --kill-who=main --signal=KILL o2agent"
            one.run(kill if number % 2 else "systemctl restart o2agent", timeout=120, check=True)
            assert_refused(two, found, one)
            wait_for(one, "o2ctl agent status", 60)
            assert main_process(one, "o2agent") != before
            one.run("systemctl reset-failed o2agent", timeout=60, check=True)
        with one.changed("systemctl stop o2agent", "systemctl start o2agent"):
            assert_refused(two, found, one)
        assert states(one) == {found: "running here"}


def test_a_live_migration_hands_the_lock_over_while_a_third_node_tries_to_get_in(lab: Lab, hosts: list[Node]) -> None:
    with machine(lab) as found, ThreadPoolExecutor(1) as pool:
        assert ask(hosts[0], "start", found, "web")["rc"] == 0
        for number in range(MIGRATIONS):
            source, target, third = (hosts[(number + step) % 3] for step in range(3))
            tries = pool.submit(keep_trying, third, found)
            assert ask(target, "receive", found, "web")["rc"] == 0
            assert states(target) == {found: "coming in"}
            ask(source, "end", found, "web")
            wait_for_lock(target, found)
            assert all(answer["rc"] for answer in tries.result())
            assert states(source) == states(third) == {}


def test_a_migration_that_fails_changes_nothing(lab: Lab, hosts: list[Node]) -> None:
    one, two, three = hosts
    with machine(lab) as found:
        assert ask(one, "start", found, "web")["rc"] == 0
        assert ask(two, "receive", found, "web")["rc"] == 0
        ask(two, "end", found, "web")
        assert (states(one), states(two)) == ({found: "running here"}, {})
        assert_refused(three, found, one)


def test_a_start_does_not_pass_for_a_migration_that_has_failed(lab: Lab, hosts: list[Node]) -> None:
    one, two, _three = hosts
    with machine(lab) as found:
        assert ask(one, "start", found, "web")["rc"] == 0
        assert ask(two, "hook", found, "web", "migrate", "begin")["rc"] == 0
        assert ask(two, "start", found, "web")["rc"] != 0


def test_a_machine_that_outlives_its_end_keeps_its_lock_until_it_is_gone(lab: Lab, hosts: list[Node]) -> None:
    one, two, _three = hosts
    with machine(lab) as found:
        started = ask(one, "start", found, "web")
        assert ask(one, "hook", found, "web", "release", "end")["rc"] == 0
        assert_refused(two, found, one)
        assert "of it lives" in one.run("journalctl -t o2vm -p err -n 5 -o cat", timeout=30).stdout
        one.run(f"kill -KILL {started['pid']}", check=True)
        wait_until(lambda: ask(two, "start", found, "web")["rc"] == 0, 20, lambda: "the lock was not released")


def test_machines_that_run_twice_are_told_and_left_alone(lab: Lab, hosts: list[Node]) -> None:
    one, two, _three = hosts
    with machine(lab) as found:
        assert ask(one, "start", found, "web")["rc"] == 0
        pid = ask(two, "launch", found, "web")
        assert ask(two, "hook", found, "web", "reconnect", "begin")["rc"] == 0
        assert states(two) == {found: "RUNS TWICE"}
        done = two.run("o2ctl vm check", timeout=60)
        assert (done.rc, "RUNS TWICE" in done.stdout) == (1, True)
        assert ask(two, "living", found) == [pid]


def test_a_start_is_refused_in_time_while_the_keeper_stands_still_and_an_end_is_not(
    lab: Lab, hosts: list[Node]
) -> None:
    one = hosts[0]
    signal = "systemctl kill --kill-who=main o2keep --signal"
    with machine(lab) as found, one.changed(f"{signal}=STOP", f"{signal}=CONT"):
        for operation, sub in (("prepare", "begin"), ("release", "end"), ("reconnect", "begin")):
            answer = ask(one, "hook", found, "web", operation, sub)
            assert bool(answer["rc"]) == (operation == "prepare")
            assert answer["seconds"] < 14
    wait_for(one, TAKES_A_LOCK, 60)


# libvirt and QEMU themselves


@contextmanager
def defined(lab: Lab, found: str) -> Iterator[None]:
    """The machine defined on all nodes: 16 MB, without a disk, emulated."""
    description = (
        f"<domain type='qemu'><name>real</name><uuid>{found}</uuid><memory unit='MiB'>16</memory>"
        "<os><type>hvm</type></os><devices><controller type='usb' model='none'/><memballoon model='none'/></devices>"
        "</domain>"
    )
    define = f"virsh define /dev/stdin <<'EOF'\n{description}\nEOF"
    lab.each(lambda node: node.run(define, timeout=QEMU_SECONDS, check=True))
    try:
        yield
    finally:
        lab.each(lambda node: node.run("virsh destroy real; virsh undefine real", timeout=120))


def assert_libvirt_is_refused(node: Node, holder: Node) -> None:
    done = node.run("virsh start real", timeout=QEMU_SECONDS)
    assert done.rc != 0
    assert f"node {holder.number}, {holder.name} (since " in done.stderr, done.stderr


def test_libvirt_itself_starts_a_machine_once_through_its_own_restarts_and_kills(lab: Lab, hosts: list[Node]) -> None:
    one, two, _three = hosts
    found = str(uuid.uuid4())
    with defined(lab, found):
        one.run("virsh start real", timeout=QEMU_SECONDS, check=True)
        assert states(one) == {found: "running here"}
        assert_libvirt_is_refused(two, one)
        for command in ("systemctl restart libvirtd", "systemctl kill --kill-who=main --signal=KILL libvirtd"):
            one.run(command, timeout=120, check=True)
            wait_for(one, "virsh domstate real | grep running", QEMU_SECONDS)
            assert states(one) == {found: "running here"}
            assert_libvirt_is_refused(two, one)
        for command in ("virsh suspend real", "virsh resume real"):
            one.run(command, timeout=120, check=True)
            assert_libvirt_is_refused(two, one)
        one.run("virsh destroy real", timeout=120, check=True)
        assert states(one) == {}


def test_a_machine_that_ended_while_libvirt_was_dead_is_free_when_libvirt_is_back(lab: Lab, hosts: list[Node]) -> None:
    one = hosts[0]
    found = str(uuid.uuid4())
    with defined(lab, found):
        one.run("virsh start real", timeout=QEMU_SECONDS, check=True)
        one.run("systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd", check=True)
        for pid in ask(one, "living", found):
            one.run(f"kill -KILL {pid}", check=True)
        assert found in states(one)
        one.run("systemctl start libvirtd.socket libvirtd", timeout=120, check=True)
        wait_until(lambda: states(one) == {}, 120, lambda: "its lock is still held")


@pytest.mark.skipif("O2_VM_LIVE" not in os.environ, reason="takes minutes of QEMU: set O2_VM_LIVE=1")
def test_libvirt_itself_migrates_a_machine_and_the_lock_goes_with_it(lab: Lab, hosts: list[Node]) -> None:
    one, two, three = hosts
    found = str(uuid.uuid4())
    listen = (
        "sed -i '/^auth_tcp/d' /etc/libvirt/libvirtd.conf; echo 'auth_tcp = \"none\"' >> /etc/libvirt/libvirtd.conf"
    )
    sockets = "systemctl stop libvirtd; systemctl start libvirtd-tcp.socket libvirtd"
    lab.each(lambda node: node.run(f"{listen}; {sockets}", timeout=120, check=True))
    with defined(lab, found):
        one.run("virsh start real", timeout=QEMU_SECONDS, check=True)
        migrate = f"virsh migrate --live real qemu+tcp://{two.address}/system tcp://{two.address}"
        one.run(migrate, timeout=2 * QEMU_SECONDS, check=True)
        wait_for_lock(two, found)
        assert states(one) == {}
        assert_libvirt_is_refused(three, two)
