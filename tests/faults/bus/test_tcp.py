# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bus over TCP: its certificates, strangers at its port, and a link that is blocked while o2cb sees all nodes."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from faults.bus.traffic import (
    PLAYBOOK,
    PORTS,
    TCP,
    members,
    read,
    sequencer,
    talking,
    variables,
    wait_for_progress,
    wait_until_all_are_up,
)
from faults.conftest import REFEREE
from faults.controller import Controller, wait_until
from lab.node import Node

BLOCKED_SECONDS = 54.0 + 8.0 + 25.0
"""o2cb's verdict over a cut with these timeouts (Timeouts.verdict_seconds), the agents' grace, and time to go on."""

MORE_SECONDS = 30.0

MORE_KIB = 16 << 10
"""What an agent may have grown by."""

FRAMES = int(os.environ.get("O2_BUS_FRAMES", "1000000"))


def test_a_new_authority_under_load_loses_nothing(hosts: list[Node], controller: Controller) -> None:
    incarnations = [members(node)["incarnation"] for node in hosts]
    old = hosts[0].run("sha256sum < /etc/o2agent/tls/trusted.crt", check=True).stdout
    with talking(hosts):
        controller.play(PLAYBOOK, **variables(TCP), o2cb_agent_renew_authority=True)
        controller.play(PLAYBOOK, **variables(TCP))
        wait_for_progress(hosts, 60)
    assert [members(node)["incarnation"] for node in hosts] == incarnations
    new = {node.run("sha256sum < /etc/o2agent/tls/trusted.crt", check=True).stdout for node in hosts}
    assert len(new) == 1
    assert old not in new
    unknown = [name for node in hosts for name in read(node).unknown]
    assert unknown == []


def test_a_sick_agent_does_not_stop_the_others(hosts: list[Node]) -> None:
    """Its certificate has expired: the others refuse it, and it can be heard by nobody."""
    sick = sequencer(hosts)
    others = [node for node in hosts if node is not sick]
    expire = (
        "cd /etc/o2agent/tls && cp -p node.pem /root/node.pem && python3 - <<'EOF'\n"
        "import sys; sys.path.insert(0, '/usr/local/lib/ocfs2.o2cb/o2cb.pyz')\n"
        "from ocfs2_o2cb.transport import authority\n"
        f"open('/etc/o2agent/tls/node.pem', 'w').write(authority.issue({sick.number}, authority.have(), -1))\n"
        "authority.AUTHORITY\nEOF\n"
        "mv authority.pem /root/; systemctl kill -s KILL --kill-who=main o2agent"
    )
    back = "cd /etc/o2agent/tls && mv /root/node.pem node.pem && mv /root/authority.pem . && systemctl restart o2agent"
    with talking(hosts), sick.changed(expire, back):
        print(f"the others went on after {wait_for_progress(others, 90):.1f} s", flush=True)
        wait_until(
            lambda: (
                "expired" in sick.run("journalctl -t o2agent -n 50", timeout=30).stdout
                or "expired" in others[0].run("journalctl -t o2agent -n 50", timeout=30).stdout
            ),
            60,
            lambda: "nobody says that the certificate has expired",
        )
        wait_for_progress(others, 60)
        assert members(sick)["on_bus"] is False
    wait_until_all_are_up(hosts)


def blocked(peer: Node) -> tuple[str, str]:
    """Commands that keep all packets of the agents' port from passing to and from that peer, and let them pass again.

    What o2cb itself says to it passes all the time.
    """
    rules = [
        f"tc filter add dev vec0 {way} protocol ip u32 match ip {end} {peer.address} "
        f"match ip {port} {PORTS[TCP]} 0xffff action gact drop"
        for way, end in (("egress", "dst"), ("ingress", "src"))
        for port in ("sport", "dport")
    ]
    modules = "modprobe -a sch_ingress cls_u32 act_gact"
    return " && ".join([modules, "tc qdisc add dev vec0 clsact", *rules]), "tc qdisc delete dev vec0 clsact"


@pytest.mark.parametrize("whose", ["the sequencer's", "another"])
def test_a_link_that_is_blocked_while_o2cb_sees_both_nodes(hosts: list[Node], whose: str) -> None:
    """All but one go on within the times of link and watchdog, and say what they wait for. Nobody is reset.

    On a link that is not the sequencer's no message passes, so nobody even waits.
    """
    leads = sequencer(hosts)
    others = [node for node in hosts if node is not leads]
    one, other = (leads, others[0]) if whose == "the sequencer's" else others
    going_on = [node for node in hosts if node is not other] if one is leads else hosts
    boots = [node.boots() for node in hosts]
    with talking(hosts), ThreadPoolExecutor(1) as pool:
        wait_for_progress(hosts, 30)
        with one.changed(*blocked(other)):
            waiting = pool.submit(wait_for_progress, going_on, BLOCKED_SECONDS)
            said: set[str] = set()
            while not waiting.done():
                said.update(sentence for node in hosts for sentence in members(node).get("waits") or [])
            pause = waiting.result()
            print(f"link blocked, {whose}: they go on after {pause:.1f} s; they said: {sorted(said)}", flush=True)
            assert one is not leads or said, "they say what they wait for"
            time.sleep(MORE_SECONDS)
            wait_for_progress(going_on, BLOCKED_SECONDS)
        wait_until_all_are_up(hosts)
        wait_for_progress(hosts, 60)
    assert [node.boots() for node in hosts] == boots


def test_a_million_frames_of_nonsense_and_strangers_disturb_nobody(hosts: list[Node]) -> None:
    """From a node whose agent is off, with its certificate, without any, and without TLS."""
    leads = sequencer(hosts)
    foe = max((node for node in hosts if node is not leads), key=lambda node: node.number)
    others = [node for node in hosts if node is not foe]
    target = min(others, key=lambda node: node.number)
    text = (REFEREE / "fuzz_frames.py").read_text(encoding="utf-8")
    foe.put("/root/fuzz_frames.py", text)
    before = [incarnation_and_memory(node) for node in others]
    resets = foe.resets()
    words = f"{foe.address} {target.number} {target.address} {PORTS[TCP]} {FRAMES} {FRAMES}"
    with talking(others, pace=0.2), foe.changed("systemctl stop o2agent", "systemctl start o2agent"):
        wait_for_progress(others, 60)
        done = foe.run(f"python3 /root/fuzz_frames.py {words}", timeout=120 + FRAMES / 200, check=True)
        print(f"{done.stdout.strip()}; {before}, {[incarnation_and_memory(node) for node in others]}", flush=True)
        wait_for_progress(others, 30)
        said = target.run("journalctl -t o2agent --no-pager -n 200", timeout=60, check=True).stdout
        assert "what it sent is no message of an agent" in said
    after = [incarnation_and_memory(node) for node in others]
    assert [one for one, _memory in after] == [one for one, _memory in before], "no agent began anew"
    assert all(now[1] - then[1] < MORE_KIB for now, then in zip(after, before, strict=True))
    wait_until_all_are_up(hosts)
    assert members(foe)["incarnation"] > json.loads(done.stdout)["claimed"], "it has begun anew beyond what was claimed"
    assert foe.resets() == resets


def incarnation_and_memory(node: Node) -> tuple[int, int]:
    """Of the agent; the memory in KiB."""
    memory = node.run("ps -o rss= -p $(systemctl show -p MainPID --value o2agent)", timeout=60, check=True)
    return members(node)["incarnation"], int(memory.stdout)
