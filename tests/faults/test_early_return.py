# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that is back before the others have evicted it would panic them. It is evicted first, and nobody panics.

The survivors share locks with the node that dies, of which it is the master, and go on asking for them: a request that
reaches a node which is just joining the domain again is a BUG() in the kernel that asked. O2CB_RETURNS is the number of
rounds of each case (1), O2CB_THRESHOLDS the dead thresholds (7,10,31), and `-k` chooses, as in `-k "kill and 31"`. A
return is early only where the node boots faster than its dead time, twice the threshold in seconds: on a busy machine
that takes a large one, such as 61.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from faults import kernel
from faults.conftest import REFEREE
from faults.controller import Controller, wait_until
from lab import Lab
from lab.node import Node

THRESHOLDS = [int(text) for text in os.environ.get("O2CB_THRESHOLDS", "7,10,31").split(",")]
ROUNDS = range(int(os.environ.get("O2CB_RETURNS", "1")))
DOMAIN = "returned"
OWN_MOUNT = "/dlm-claimant"
LOCKS = 6
SILENCE = 20.0
"""Seconds for which nobody panics after the return; the kernel asks again every 0.1 s."""

CALM = 4.0
"""Seconds in which the kernels of all nodes know of each other's locks."""


@pytest.fixture(scope="module", params=THRESHOLDS)
def threshold(request: pytest.FixtureRequest, lab: Lab, controller: Controller, health: list[str]) -> Iterator[int]:
    """A cluster with this dead threshold; the tests after these find none that they take for theirs."""
    lab.up()
    if [kernel.attribute(node, "heartbeat/dead_threshold") for node in lab.nodes()] != [str(request.param)] * 3:
        controller.teardown()
    controller.site(o2cb_heartbeat_dead_threshold=request.param)
    for node in lab.nodes():
        node.put("/root/claimant.py", (REFEREE / "claimant.py").read_text(encoding="utf-8"))
    yield request.param
    health.clear()


@pytest.fixture
def victim(lab: Lab, threshold: int, request: pytest.FixtureRequest) -> Iterator[Node]:
    """node3, with locks in a domain with node1 and node2, which ask for them all the time."""
    *survivors, victim = lab.nodes()
    if any(kernel.regions(node) == [] for node in lab.nodes()):
        pytest.fail("a node is not online: the case before has left the lab in disorder")
    names = " ".join(f"{int(time.time())}-{number}" for number in range(LOCKS))
    for node in [victim, *survivors]:
        node.run("systemctl stop claimant; rm -f /run/claimant*", timeout=60)
        mount = "/dlm" if node is victim else OWN_MOUNT
        node.run(f"mkdir -p {mount}; mountpoint -q {mount} || mount -t ocfs2_dlmfs none {mount}", check=True)
        start = f"systemd-run --collect --unit claimant python3 /root/claimant.py {mount} {DOMAIN} {names}"
        node.run(start, timeout=60, check=True)
        wait_until(
            lambda node=node: "1" in node.run("ls /run/claimant* 2>/dev/null | wc -l").stdout,  # type: ignore[misc]
            60,
            lambda node=node: node.run("journalctl --no-pager -u claimant | tail -5").stdout,  # type: ignore[misc]
        )
    time.sleep(CALM)
    resets = [node.resets() for node in survivors]
    yield victim
    assert [node.resets() for node in survivors] == resets, "a survivor panicked"
    for node in survivors:
        node.run("systemctl stop claimant", timeout=120)


def unit_log(node: Node) -> str:
    """What o2cb.service said since the boot."""
    return node.run("journalctl --boot --no-pager --output cat -u o2cb").stdout


def evictions(node: Node, victim: Node) -> int:
    """How often this node has evicted the other from the domain."""
    return kernel.kernel_log(node).count(f"o2dlm has evicted node {victim.number} from domain {DOMAIN}")


def active(node: Node) -> bool:
    return node.run("systemctl is-active o2cb dlm.mount").stdout.split() == ["active", "active"]


def fence_itself(node: Node, threshold: int) -> None:
    """Let it lose all its disks: it resets itself, and its supervisor boots it at once."""
    boots = node.boots()
    node.disk("fail")
    wait_until(lambda: node.boots() > boots, threshold * 2 + 60, lambda: f"{node.name} did not reset itself")


def kill(node: Node, threshold: int) -> None:
    node.kill()
    node.start()


def rejoin(victim: Node, survivors: list[Node]) -> None:
    """Join the domain again, while the others ask for what they think it has; nobody panics."""
    before = [node.resets() for node in survivors]
    victim.run(f"systemd-run --collect --unit rejoin mkdir /dlm/{DOMAIN}", check=True)
    until = time.monotonic() + SILENCE
    while time.monotonic() < until:
        assert [node.resets() for node in survivors] == before, survivors[0].console.read_text(errors="replace")[-3000:]
        time.sleep(1)
    assert victim.run("systemctl is-active rejoin").stdout.strip() == "inactive", "it could not join"


@pytest.mark.parametrize("end", [kill, fence_itself], ids=["kill", "fence"])
@pytest.mark.parametrize("attempt", ROUNDS)
def test_a_node_that_boots_at_once_is_evicted_by_each_survivor_before_it_is_back(
    lab: Lab, threshold: int, victim: Node, attempt: int, end: Any
) -> None:
    survivors = lab.nodes()[:2]
    before = [evictions(node, victim) for node in survivors]
    began = time.monotonic()
    end(victim, threshold)
    victim.wait()
    wait_until(lambda: active(victim), 2 * threshold + 120, lambda: unit_log(victim))
    taken = time.monotonic() - began
    said = unit_log(victim)
    print(f"\nthreshold {threshold}, {end.__name__}: online {taken:.1f} s after its end; {said}", flush=True)
    assert "node3 wrote generation 0 into its slot on 3 of 3 region(s)" in said
    assert "node1, node2 evicted the earlier life of node3" in said
    rejoin(victim, survivors)
    assert [evictions(node, victim) - count for node, count in zip(survivors, before, strict=True)] == [1, 1]


@pytest.mark.parametrize("attempt", ROUNDS)
def test_a_node_waits_for_a_survivor_that_has_lost_a_region(
    lab: Lab, threshold: int, victim: Node, attempt: int
) -> None:
    survivors = lab.nodes()[:2]
    blind = survivors[1]
    blind.disk("fail", ["hb1"])
    try:
        time.sleep(CALM)
        kill(victim, threshold)
        victim.wait()
        wait_until(lambda: "node2 beats, and not on region" in unit_log(victim), 240, lambda: unit_log(victim))
        wait_until(lambda: "mend the storage path of node2" in unit_log(victim), 240, lambda: unit_log(victim))
        assert kernel.regions(victim) == []
    finally:
        blind.disk("ok", ["hb1"])
    wait_until(lambda: active(victim), 240, lambda: unit_log(victim))
    print(f"\nthreshold {threshold}, blind: {unit_log(victim)}", flush=True)
    assert "node1, node2 evicted the earlier life of node3" in unit_log(victim)
    rejoin(victim, survivors)


def test_a_second_machine_with_the_same_number_is_refused_and_harms_nobody(
    lab: Lab, threshold: int, controller: Controller
) -> None:
    """node3 is told that it is node2, which lives."""
    node1, node2, clone = lab.nodes()
    resets = [node.resets() for node in (node1, node2)]
    clone.run("systemctl stop o2cb", timeout=60, check=True)
    with kernel.restored(clone, kernel.CONF):
        swap = "s/number = 2/number = 9/; s/number = 3/number = 2/"
        clone.run(f"sed -i '{swap}' {kernel.CONF}", check=True)
        done = clone.run(f"python3 {kernel.PROGRAM} online --wait 5", timeout=120)
    assert done.rc == 1
    print(done.stdout, done.stderr)
    assert "another machine heartbeats as node number 2 on region" in done.stderr
    assert "give node3 a number of its own, or stop the other machine" in done.stderr
    assert kernel.regions(clone) == []
    clone.run("systemctl reset-failed o2cb; systemctl start o2cb dlm.mount", timeout=200, check=True)
    assert [node.resets() for node in (node1, node2)] == resets
    for node in (node1, node2):
        assert "mismatch" not in kernel.kernel_log(node)


def test_a_node_that_left_in_good_order_is_not_delayed(lab: Lab, threshold: int) -> None:
    node = lab.nodes()[2]
    node.run("systemctl stop o2cb", timeout=60, check=True)
    node.run("systemctl start o2cb dlm.mount", timeout=120, check=True)
    invocation = "$(systemctl show --property InvocationID --value o2cb)"
    said = node.run(f"journalctl --no-pager --output cat _SYSTEMD_INVOCATION_ID={invocation}").stdout
    assert "online with 3 heartbeat region(s)" in said
    assert "good order" not in said
    assert "wrote generation 0" not in said
