# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster is taken down, unless somebody uses it, and nothing of it stays but the disks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from faults.controller import TEARDOWN, Controller, wait_until
from lab import Node, ssh

DOMAIN = "/dlm/app"
OURS = [
    "/etc/systemd/system/dlm.mount",
    "/etc/systemd/system/o2cb.service.d",
    "/etc/modules-load.d/ocfs2.o2cb.conf",
    "/etc/sysctl.d/90-ocfs2.o2cb.conf",
    "/usr/local/lib/ocfs2.o2cb",
    "/etc/systemd/system/o2keep.service",
    "/etc/systemd/system/o2agent.service",
    "/etc/systemd/system/o2agent-stop.service",
    "/etc/o2agent",
    "/run/o2agent/socket",
    "/var/lib/o2agent/drained",
]

Untouched = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def refused(controller: Controller, untouched: Untouched) -> Callable[..., None]:
    """The teardown playbook fails with these words and changes no host."""

    def run(*words: str) -> None:
        with untouched(disks=False):
            outcome = controller.play(TEARDOWN)
        assert outcome.rc != 0
        assert outcome.changes == []
        said = "\n".join(f"{host}: {message}" for host, message in outcome.failures.items())
        missing = [word for word in words if word not in said]
        assert missing == [], said

    return run


@contextmanager
def program_with_a_lock(node: Node) -> Iterator[None]:
    """A program that has a lock file open; the lock stays cached when it ends."""
    hold = f"import os; os.open('{DOMAIN}/lock', os.O_CREAT | os.O_RDWR); print('held', flush=True); input()"
    node.run(f"mkdir {DOMAIN}", check=True)
    call = ssh.command(node.lab, node.number, [f'python3 -c "{hold}"'])
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("\n", timeout=20)


@contextmanager
def mounted_volume(node: Node) -> Iterator[None]:
    """A mounted OCFS2 file system of this cluster."""
    make = "yes | mkfs.ocfs2 -q -N 4 -J size=8M --cluster-stack=o2cb --cluster-name=lab --global-heartbeat"
    node.run(f"{make} /dev/mapper/data && mount -t ocfs2 /dev/mapper/data /mnt", check=True)
    yield
    node.run("umount /mnt && wipefs -qa /dev/mapper/data", check=True)


def gone(node: Node) -> None:
    """Nothing of ours is left but the disks."""
    left = node.run(f"ls -d {' '.join(OURS)} 2>/dev/null; ls /sys/kernel/config/cluster").stdout
    assert left == ""
    conf = "/etc/ocfs2/cluster.conf"
    assert node.run(f"[ ! -e {conf} ] || {{ [ -s {conf} ] && ! grep -w lab {conf}; }}").ok
    assert not node.run("grep ocfs2_dlmfs /proc/mounts").ok
    assert not node.run("systemctl is-enabled --quiet dlm.mount").ok
    assert "O2CB_ENABLED=false" in node.run("cat /etc/default/o2cb").stdout
    assert node.run("ss --tcp --all --no-header exclude time-wait '( sport = 7777 or dport = 7777 )'").stdout == ""
    assert "G" in node.run("mounted.ocfs2 -d /dev/mapper/hb1").stdout


def test_a_node_in_use_keeps_the_cluster_up(
    controller: Controller, nodes: list[Node], refused: Callable[..., None]
) -> None:
    with mounted_volume(nodes[2]):
        refused("node3", "/mnt", "unmount")
    with program_with_a_lock(nodes[1]):
        refused("node2", "domain app", "force")
    refused("node2", "domain app", "force")


def test_force_drops_locks_that_nobody_holds(controller: Controller, nodes: list[Node]) -> None:
    controller.teardown()
    for node in nodes:
        gone(node)
    assert controller.play(TEARDOWN).changes == []


def test_the_cluster_can_be_made_again_and_taken_down(controller: Controller, nodes: list[Node]) -> None:
    controller.site()
    assert all(node.run("o2cb cluster-status lab").ok for node in nodes)
    outcome = controller.play(TEARDOWN)
    assert outcome.rc == 0, outcome.output
    for node in nodes:
        gone(node)
    assert controller.play(TEARDOWN).changes == []


@pytest.mark.skipif("O2CB_LOCKS" not in os.environ, reason="resources are experimental: set O2CB_LOCKS=1")
def test_a_node_that_runs_a_resource_keeps_the_cluster_up_and_without_one_the_agent_goes(
    controller: Controller, nodes: list[Node], refused: Callable[..., None]
) -> None:
    for node in nodes:
        unit = "[Service]\nExecStart=/bin/sleep infinity\n"
        node.run("cat > /etc/systemd/system/lonely.service && systemctl daemon-reload", stdin=unit, check=True)
    lonely = {"name": "lonely", "prefer": nodes[1].name, "parts": [{"unit": "lonely.service"}]}
    made = controller.play("ocfs2.o2cb.resources", o2cb_locks=True, o2cb_agent_resources=[lonely])
    assert made.rc == 0, made.output
    runs = "systemctl is-active --quiet lonely"
    wait_until(lambda: nodes[1].run(runs).ok, 60, lambda: nodes[1].run("o2ctl resource list").stdout)
    refused(nodes[1].name, "lonely", "o2ctl node drain")
    assert nodes[1].run(runs).ok
    stopped = controller.module("resource", {"name": "lonely", "state": "stopped"})
    assert stopped.rc == 0, stopped.output
    outcome = controller.play(TEARDOWN)
    assert outcome.rc == 0, outcome.output
    for node in nodes:
        gone(node)
        node.run("rm /etc/systemd/system/lonely.service; systemctl daemon-reload", check=True)
    assert controller.play(TEARDOWN).changes == []
