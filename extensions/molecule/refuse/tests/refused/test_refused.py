# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cannot become a sound cluster is refused in words, and no host is changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from faults import kernel
from faults.controller import SITE, Controller
from lab import Lab, Node

DATA = "/dev/mapper/data"
WITH_DATA = {"o2cb_regions": [{"device": "/dev/mapper/hb1"}, {"device": DATA}]}
KERNEL = "/lib/modules/$(uname -r)"

Untouched = Callable[[], AbstractContextManager[None]]
Refuses = Callable[..., None]


@pytest.fixture
def refuses(lab: Lab, untouched: Untouched, tmp_path: Path) -> Refuses:
    """The site playbook with these variables of all hosts, and of single ones, fails with all of these words."""

    def run(*words: str, hosts: Mapping[str, Mapping[str, Any]] | None = None, **variables: Any) -> None:
        inventory = tmp_path / "hosts.json"
        inventory.write_text(json.dumps({"nodes": {"hosts": hosts or {}}}))
        with untouched():
            outcome = Controller(lab, [inventory]).play(SITE, **variables)
        assert outcome.rc != 0
        assert outcome.changes == []
        said = "\n".join(f"{host}: {message}" for host, message in outcome.failures.items())
        missing = [word for word in words if word not in said]
        assert missing == [], said

    return run


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"o2cb_node_number": 1}, ["node2", "number 1", "give each node its own"], id="number twice"),
        pytest.param({"o2cb_node_address": "10.22.0.11"}, ["node2", "10.22.0.11", "its own"], id="address twice"),
        pytest.param({"o2cb_node_name": "node1"}, ["node2", "name node1", "its own"], id="name twice"),
        pytest.param({"o2cb_node_number": 255}, ["node2", "255", "use 0 to 254"], id="number 255"),
        pytest.param({"o2cb_node_name": "other"}, ["uname -n", "'node2'", "other", "rename"], id="name not uname -n"),
        pytest.param({"o2cb_node_address": "fd00::2"}, ["node2", "fd00::2", "IPv4"], id="IPv6"),
        pytest.param({"o2cb_node_address": "10.22.0.99"}, ["node2", "10.22.0.99", "correct it"], id="address nowhere"),
        pytest.param(
            {"o2cb_idle_timeout_ms": 40000}, ["node2", "40000", "30000", "set it once"], id="idle timeouts differ"
        ),
        pytest.param(
            {"o2cb_heartbeat_dead_threshold": 61}, ["node2", "61", "31", "set it once"], id="dead thresholds differ"
        ),
    ],
)
def test_one_host_in_the_inventory_is_wrong(refuses: Refuses, values: dict[str, Any], words: list[str]) -> None:
    refuses(*words, hosts={"node2": values})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"o2cb_heartbeat_dead_threshold": 6}, ["6", "7"], id="dead threshold below 7"),
        pytest.param(
            {"o2cb_idle_timeout_ms": 5000, "o2cb_keepalive_delay_ms": 5000},
            ["5000", "keepalive"],
            id="keepalive = idle",
        ),
        pytest.param({"o2cb_cluster_name": "a2345678901234567"}, ["17 characters", "1 to 16"], id="name too long"),
        pytest.param({"o2cb_cluster_name": "my-cluster"}, ["'my-cluster'", "no dash"], id="name with a dash"),
        pytest.param(
            {"o2cb_regions": [{"device": "/dev/ubdb"}]}, ["/dev/ubdb", "NVMe", "dmsetup create"], id="NVMe-style name"
        ),
        pytest.param({"o2cb_regions": []}, ["region", "at least one"], id="no region"),
    ],
)
def test_the_cluster_is_unsound(refuses: Refuses, values: dict[str, Any], words: list[str]) -> None:
    refuses("node1", *words, **values)


def test_a_region_is_missing_on_one_host(refuses: Refuses, nodes: list[Node]) -> None:
    with kernel.disk_gone(nodes[1], "data"):
        refuses("node2", DATA, "check the path", **WITH_DATA)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        pytest.param(f"mkfs.ext4 -q -L books {DATA}", ["ext4 'books'", "wipefs"], id="ext4"),
        pytest.param(
            f"head -c 4096 /dev/urandom | dd of={DATA} bs=4096 seek=100 oflag=direct conv=notrunc status=none",
            ["unknown kind", "wipe"],
            id="data without signature",
        ),
    ],
)
def test_a_device_holds_something(refuses: Refuses, nodes: list[Node], write: str, words: list[str]) -> None:
    nodes[0].run(write, check=True)
    try:
        refuses("node1", "node2", "node3", DATA, *words, **WITH_DATA)
    finally:
        kernel.blank(nodes[0], DATA)


def test_the_running_kernel_has_no_modules(refuses: Refuses, nodes: list[Node]) -> None:
    hide = f"mv {KERNEL}/kernel/fs/ocfs2 /root/ && depmod"
    with nodes[1].changed(hide, f"mv /root/ocfs2 {KERNEL}/kernel/fs/ && depmod"):
        refuses("node2", "the running kernel 6.", "ocfs2_dlmfs", "linux-image-")


def test_the_next_kernel_has_no_modules(refuses: Refuses, nodes: list[Node]) -> None:
    new = "6.99.0-cloud-amd64"
    install = f"mkdir /lib/modules/{new} && touch /lib/modules/{new}/modules.dep /boot/vmlinuz-{new}"
    back = f"rm -r /lib/modules/{new} /boot/vmlinuz-{new}; ln -sfn boot/vmlinuz-$(uname -r) /vmlinuz"
    with nodes[1].changed(f"{install} && ln -sfn boot/vmlinuz-{new} /vmlinuz", back):
        refuses("node2", f"the next kernel {new}", "ocfs2_dlmfs", "linux-image-amd64")


def test_cluster_conf_has_carriage_returns(refuses: Refuses, nodes: list[Node]) -> None:
    conf = r"cluster:\r\n\tname = lab\r\n\tnode_count = 0\r\n\theartbeat_mode = global\r\n\r\n"
    with nodes[1].changed(f"mkdir /etc/ocfs2 && printf '{conf}' > /etc/ocfs2/cluster.conf", "rm -r /etc/ocfs2"):
        refuses("node2", "cluster.conf", "line 1", "carriage return", "sed -i")


def test_cluster_conf_of_one_host_has_a_further_node(refuses: Refuses, nodes: list[Node]) -> None:
    conf = r"cluster:\n\tname = lab\n\tnode_count = 1\n\nnode:\n\tname = node9\n\tnumber = 9\n\tip_address = 10.22.0.19"
    conf += r"\n\tip_port = 7777\n\tcluster = lab\n"
    with nodes[2].changed(f"mkdir /etc/ocfs2 && printf '{conf}' > /etc/ocfs2/cluster.conf", "rm -r /etc/ocfs2"):
        refuses("node3 would have node node9", "node1, node2 not", "o2cb_purge=true")
