# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that is back before the others have evicted it would panic them. It is evicted first, and nobody panics.

The survivors share locks with the node that dies, of which it is the master, and go on asking for them: a request that
reaches a node which is just joining the domain again is a BUG() in the kernel that asked. O2CB_RETURNS is the number of
rounds of each case (1), O2CB_THRESHOLDS the dead thresholds (7,10,31), and `-k` chooses, as in `-k "kill and 31"`.

A return is early when the node could beat again before the dead time of its earlier life is over: (threshold - 1) * 2 s
after its last beat, when it would have fenced itself at the latest, so that the others need a beat more. Each test says
whether it was; with a dead time from SURELY_EARLY on it has to be, which takes a machine that is not too busy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.earlier_life import WATCH_SECONDS
from faults import kernel
from faults.conftest import REFEREE
from faults.controller import Controller, wait_until
from faults.slots import Slots
from lab import Lab
from lab.node import Node

THRESHOLDS = [int(text) for text in os.environ.get("O2CB_THRESHOLDS", "7,10,31").split(",")]
ROUNDS = range(int(os.environ.get("O2CB_RETURNS", "1")))
DOMAIN = "returned"
OWN_MOUNT = "/dlm-claimant"
LOCKS = 6
CONNECTIONS = 2
"""A survivor's connections to the domain: its own mount, and /dlm."""

SILENCE = 10.0
"""Seconds for which nobody panics after the return; the kernel asks again every 0.1 s."""

ASLEEP = 5.0
"""Seconds for which a request slept that was sent to the dead node; it takes longer to evict one."""

CALM = 4.0
"""Seconds in which the kernels of all nodes know of each other's locks."""

SURELY_EARLY = 50.0
"""Dead time in seconds, within which each node of a lab boots."""


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
def sharers(lab: Lab, threshold: int, request: pytest.FixtureRequest) -> list[Node]:
    """The nodes, of which the last is master of locks in a domain of all, and the others ask for them all the time."""
    *survivors, victim = lab.nodes()
    if any(kernel.regions(node) == [] for node in lab.nodes()):
        pytest.fail("a node is not online: the case before has left the lab in disorder")
    names = " ".join(f"{int(time.time())}-{number}" for number in range(LOCKS))
    claim(victim, "/dlm", names)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: claim(node, OWN_MOUNT, names), survivors))
    time.sleep(CALM)
    return [*survivors, victim]


@pytest.fixture
def victim(sharers: list[Node]) -> Iterator[Node]:
    """The node that dies. None of the others may panic."""
    *survivors, victim = sharers
    resets = [node.resets() for node in survivors]
    for node in survivors:
        node.run(f"echo {victim.name} dies now > /dev/kmsg", check=True)
    yield victim
    assert [node.resets() for node in survivors] == resets, "a survivor panicked"
    for node in survivors:
        assert node.run("systemctl is-active claimant").stdout.strip() == "active", claimant_log(node)
        node.run("systemctl stop claimant", timeout=120)


def claim(node: Node, mount: str, names: str) -> None:
    """Start the claimant on a node, and return when it has all names."""
    done = node.run(
        f"""systemctl stop claimant; rm -f /run/claimant*
        mkdir -p {mount} && {{ mountpoint -q {mount} || mount -t ocfs2_dlmfs none {mount}; }} &&
        systemd-run --collect --unit claimant python3 /root/claimant.py {mount} {DOMAIN} {names} &&
        timeout 90 sh -c 'until ls /run/claimant*; do sleep 0.2; done'""",
        timeout=180,
    )
    assert done.ok, f"{done.stderr}\n{claimant_log(node)}"


def claimant_log(node: Node) -> str:
    return node.run("journalctl --no-pager -u claimant | tail -5").stdout


def unit_log(node: Node) -> str:
    """What o2cb.service said since the boot."""
    return node.run("journalctl --boot --no-pager --output cat -u o2cb").stdout


def start_log(node: Node) -> str:
    """What the last start of o2cb.service said."""
    invocation = "$(systemctl show --property InvocationID --value o2cb)"
    return node.run(f"journalctl --no-pager --output cat _SYSTEMD_INVOCATION_ID={invocation}").stdout


def active(node: Node) -> bool:
    return node.run("systemctl is-active o2cb dlm.mount").stdout.split() == ["active", "active"]


def slept(node: Node) -> float:
    """For how many seconds each of its requests has slept in this node's kernel, which sends it again and again."""
    return float(node.run("cat /run/claimant.slept", check=True).stdout)


def evictions(survivors: list[Node], victim: Node) -> dict[str, int]:
    """How often each has evicted the victim since it died. One recovery has to have been all that followed.

    The kernel says it for each connection to the domain: when its heartbeat finds the node dead, and again when the
    master of the recovery announces it, which does not tell itself (dlm_begin_reco_handler).
    """
    found = {}
    masters = []
    for node in survivors:
        said = kernel.kernel_log(node).rpartition(f"{victim.name} dies now")[2]
        times, odd = divmod(said.count(f"o2dlm has evicted node {victim.number} from domain {DOMAIN}"), CONNECTIONS)
        assert not odd, said
        master = f"(me) is the Recovery Master for the dead node {victim.number} in domain {DOMAIN}"
        masters += [node.name] * said.count(master)
        # Another's announcement says it once more, and is all there is when it comes first.
        found[node.name] = times if master in said or times != 2 else 1
    assert len(masters) == 1, f"recovery masters: {masters}"
    return found


def kill(node: Node, threshold: int) -> None:
    node.kill()
    node.start()


def fence(node: Node, threshold: int) -> None:
    """Cut it off: it fences itself for want of a quorum, having beaten until then, and finds the network mended."""
    boots = node.boots()
    node.cut()
    try:
        wait_until(lambda: node.boots() > boots, 2 * threshold + 90, lambda: f"{node.name} did not fence itself")
    finally:
        node.heal()


def lose_disks(node: Node, threshold: int) -> None:
    """It fences itself when it has not beaten for its dead time, so it cannot be early."""
    boots = node.boots()
    node.disk("fail")
    wait_until(lambda: node.boots() > boots, 2 * threshold + 60, lambda: f"{node.name} did not reset itself")


def rejoin(victim: Node, survivors: list[Node]) -> None:
    """Join the domain again, while the others ask for what they think it has; nobody panics."""
    before = [node.resets() for node in survivors]
    victim.run(f"systemd-run --collect --unit rejoin mkdir /dlm/{DOMAIN}", check=True)
    until = time.monotonic() + SILENCE
    while time.monotonic() < until:
        assert [node.resets() for node in survivors] == before, survivors[0].console.read_text(errors="replace")[-3000:]
        time.sleep(1)
    wait_until(
        lambda: victim.run("systemctl is-active rejoin").stdout.strip() == "inactive", 60, lambda: "it could not join"
    )


@pytest.mark.parametrize("end", [kill, fence, lose_disks])
@pytest.mark.parametrize("attempt", ROUNDS)
def test_a_node_that_boots_at_once_is_evicted_by_each_survivor_before_it_is_back(
    lab: Lab, threshold: int, victim: Node, attempt: int, end: Any
) -> None:
    survivors = lab.nodes()[:2]
    slots = Slots(victim, survivors[0])
    with slots.watched():
        end(victim, threshold)
        began = time.monotonic()
        victim.wait()
        wait_until(lambda: active(victim), 2 * threshold + 120, lambda: unit_log(victim))
        online = time.monotonic() - began
    seen = slots.returned()
    dead_time = 2.0 * (threshold - 1)
    ready = seen.ended - WATCH_SECONDS
    early = dead_time - ready
    said = unit_log(victim)
    print(
        f"\nthreshold {threshold}, {end.__name__}, seconds after the last beat: could beat after {ready:.1f} s, dead "
        f"time {dead_time:.0f} s: {'EARLY' if early > 0 else 'late'} by {abs(early):.1f} s; generation 0 after "
        f"{seen.ended:.1f} s, first beat after {seen.beat:.1f} s; online {online:.1f} s after its end",
        flush=True,
    )
    assert "node3 wrote generation 0 into its slot on 3 of 3 region(s)" in said, said
    assert "node1, node2 evicted the earlier life of node3" in said, said
    rejoin(victim, survivors)
    for node in survivors:
        assert slept(node) > ASLEEP, "nobody asked for a lock of the node that died"
    assert evictions(survivors, victim) == {"node1": 1, "node2": 1}
    if end is not lose_disks and dead_time >= SURELY_EARLY:
        assert early > 0, "the return was not early, so it proves nothing: is this machine too busy?"


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
    assert evictions(survivors, victim) == {"node1": 1, "node2": 1}


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
    began = time.monotonic()
    node.run("systemctl start o2cb", timeout=120, check=True)
    print(f"\nthreshold {threshold}: a start after a stop took {time.monotonic() - began:.1f} s", flush=True)
    node.run("systemctl start dlm.mount", timeout=120, check=True)
    orderly(start_log(node))


def test_an_orderly_reboot_is_not_delayed(lab: Lab, threshold: int, victim: Node) -> None:
    boots = victim.boots()
    victim.run("systemctl stop claimant; systemd-run --on-active 1 systemctl reboot", check=True)
    victim.wait_for_boot(boots)
    wait_until(lambda: active(victim), 120, lambda: unit_log(victim))
    times = victim.run("systemctl show o2cb --property InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic")
    start, end = (int(line.partition("=")[2]) / 1e6 for line in sorted(times.stdout.split(), reverse=True))
    print(f"\nthreshold {threshold}: a start after a reboot took {end - start:.1f} s", flush=True)
    orderly(unit_log(victim))
    rejoin(victim, lab.nodes()[:2])


def orderly(said: str) -> None:
    assert "online with 3 heartbeat region(s)" in said
    assert "good order" not in said
    assert "wrote generation 0" not in said


@pytest.mark.skipif("O2CB_UNPROTECTED" not in os.environ, reason="panics two nodes: set O2CB_UNPROTECTED=1")
def test_the_distribution_s_own_start_panics_the_others(lab: Lab, threshold: int, sharers: list[Node]) -> None:
    """What the others prove is worth something: the same return, by o2cb.service as the distribution ships it."""
    *survivors, victim = sharers
    resets = [node.resets() for node in survivors]
    with kernel.distribution_unit(victim):
        victim.run("sync", check=True)
        kill(victim, threshold)
        victim.wait()
        wait_until(lambda: len(kernel.regions(victim)) > 0, 2 * threshold + 120, lambda: unit_log(victim))
        victim.run("mountpoint -q /dlm || mount -t ocfs2_dlmfs none /dlm", check=True)
        victim.run(f"systemd-run --collect --unit rejoin mkdir /dlm/{DOMAIN}", check=True)
        until = time.monotonic() + 2 * SILENCE
        while [node.resets() for node in survivors] == resets and time.monotonic() < until:
            time.sleep(1)
    panics = [node.resets() - before for node, before in zip(survivors, resets, strict=True)]
    print(f"\nthreshold {threshold}: panics {panics}", flush=True)
    victim.run("sync", check=True)
    kill(victim, threshold)
    lab.up()
    for node in lab.nodes():
        wait_until(lambda node=node: active(node), 240, lambda node=node: unit_log(node))  # type: ignore[misc]
    assert sum(panics) > 0
