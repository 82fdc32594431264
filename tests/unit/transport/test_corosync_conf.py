# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""corosync.conf from cluster.conf, its timeouts against o2cb's, and what the module would do on a node."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import service
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.systemd import Systemd
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import corosync as corosync_install
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport import corosync
from ansible_collections.ocfs2.o2cb.plugins.plugin_utils.authority import ring_key

NODES = (Node("a", 0, "10.0.0.1"), Node("b", 1, "10.0.0.2"))
CLUSTER = Cluster("lab", NODES)

DEBIAN = """totem {
\tversion: 2
\tcluster_name: debian
}
nodelist {
\t# Change/uncomment/add node sections to match cluster configuration
\tnode {
\t\tname: node1
\t\tnodeid: 1
\t\tring0_addr: 127.0.0.1
\t}
}
"""

EXPECTED = """# Written by the Ansible collection ocfs2.o2cb from /etc/ocfs2/cluster.conf. Changes are overwritten.
totem {
\tversion: 2
\tcluster_name: lab
\ttransport: knet
\tcrypto_cipher: aes256
\tcrypto_hash: sha256
\ttoken: 3000
\ttoken_coefficient: 0
\tinterface {
\t\tlinknumber: 0
\t\tmcastport: 5405
\t}
}

nodelist {
\tnode {
\t\tname: a
\t\tnodeid: 255
\t\tring0_addr: 10.0.0.1
\t}
\tnode {
\t\tname: b
\t\tnodeid: 1
\t\tring0_addr: 10.0.0.2
\t}
}

logging {
\tto_syslog: yes
\tto_logfile: no
\tto_stderr: no
}
"""


def test_the_file_follows_from_the_cluster() -> None:
    assert corosync.render(CLUSTER) == EXPECTED


def test_quorum_is_written_only_when_it_is_wanted() -> None:
    assert "quorum {\n\tprovider: corosync_votequorum\n\ttwo_node: 1\n}\n" in corosync.render(
        CLUSTER, quorum="votequorum"
    )
    three = Cluster("lab", (*NODES, Node("c", 2, "10.0.0.3")))
    assert "two_node" not in corosync.render(three, quorum="votequorum")


@pytest.mark.parametrize(
    ("token", "timeouts", "words"),
    [
        (3000, Timeouts(), ""),
        (3000, Timeouts(7, 10000), ""),
        (13600, Timeouts(), ""),
        (2999, Timeouts(), "at least 3000"),
        (13700, Timeouts(), "less than 13636, or raise o2cb_idle_timeout_ms"),
        (5000, Timeouts(7, 30000), "less than 5000, or raise o2cb_heartbeat_dead_threshold"),
        (3000, Timeouts(7, 6500), "or raise o2cb_idle_timeout_ms"),
    ],
)
def test_corosync_has_to_know_before_o2cb(token: int, timeouts: Timeouts, words: str) -> None:
    found = corosync.problems(CLUSTER, token, timeouts)
    assert words in "; ".join(found) if words else found == []


def test_more_nodes_than_corosync_takes_are_refused() -> None:
    many = Cluster("lab", tuple(Node(f"n{number}", number, f"10.0.0.{number}") for number in range(129)))
    assert "use the transport tcp" in "; ".join(corosync.problems(many, 3000, Timeouts()))


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (EXPECTED, 3000),
        ("", 3000),
        ("totem {\n token: 5000\n}\nnodelist {\n node {\n }\n node {\n }\n}\n", 5000),
        ("totem {\n token: 5000\n}\nnodelist {\n node {\n }\n node {\n }\n node {\n }\n}\n", 5650),
    ],
)
def test_the_token_that_a_file_asks_for_grows_with_its_nodes(text: str, token: int) -> None:
    assert corosync.token_of(text) == token


def test_new_nodes_and_another_token_need_no_restart() -> None:
    more = Cluster("lab", (*NODES, Node("c", 2, "10.0.0.3")))
    assert not corosync.needs_restart(EXPECTED, corosync.render(more, 4000))
    assert corosync.needs_restart(EXPECTED, corosync.render(CLUSTER, port=5406))
    assert corosync.needs_restart(DEBIAN, EXPECTED)


class FakeSystemd(Systemd):
    """systemctl that remembers what it was told."""

    def __init__(self, state: str) -> None:
        self.told: list[str] = []
        self.state = state

    def tell(self, *arguments: str) -> None:
        self.told.append(" ".join(arguments))

    def active(self, unit: str) -> bool:
        return self.state == "runs"

    def enabled(self, unit: str) -> bool:
        return self.state == "runs"

    def disabled(self, units: Any) -> list[str]:
        return [] if self.state == "runs" else list(units)


KEY = bytes(range(256))
OPTIONS = {
    "name": "lab",
    "nodes": [vars(node) for node in NODES],
    "purge": False,
    "timeouts": {},
    "token": 3000,
    "port": 5405,
    "quorum": "none",
    "key": base64.b64encode(KEY).decode(),
    "create": False,
    "state": "present",
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Path]:
    """The files of a node, elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (corosync, corosync_install):
            for name, file in (("PATH", "corosync.conf"), ("AUTHKEY", "authkey"), ("DROP_IN", "unit.d/ours.conf")):
                patch.setattr(module, name, str(tmp_path / file))
        patch.setattr(corosync_install, "UNREAD", str(tmp_path / "unread"))
        patch.setattr(corosync_install, "_status", lambda: "")
        patch.setattr(conf, "PATH", str(tmp_path / "cluster.conf"))
        yield tmp_path


def apply(systemd: FakeSystemd, **changes: Any) -> list[str]:
    plan = corosync_install.plan({**OPTIONS, **changes}, systemd)
    plan.apply()
    return [action.rpartition("/")[2] for action in plan.actions]


def test_a_new_node_gets_all_and_the_second_run_has_nothing_to_do(node: Path) -> None:
    (node / "corosync.conf").write_text(DEBIAN)
    systemd = FakeSystemd("runs")
    assert apply(systemd) == ["ours.conf", "reload systemd", "authkey", "corosync.conf", "restart corosync.service"]
    assert systemd.told == ["daemon-reload", "restart corosync.service"]
    assert (node / "corosync.conf").read_text() == EXPECTED
    assert (node / "authkey").read_bytes() == KEY
    assert (node / "authkey").stat().st_mode & 0o777 == 0o400
    assert apply(systemd, key=None) == []


def test_a_corosync_that_is_not_there_yet_is_enabled_and_started(node: Path) -> None:
    assert apply(FakeSystemd("off"))[-2:] == ["enable corosync.service", "start corosync.service"]


def test_a_corosync_of_others_is_refused(node: Path) -> None:
    (node / "corosync.conf").write_text(DEBIAN.replace("127.0.0.1", "10.0.0.1"))
    with pytest.raises(O2cbError, match="o2cb_agent_corosync_manage to false"):
        apply(FakeSystemd("runs"))
    assert apply(FakeSystemd("runs"), state="absent") == []


def test_a_new_node_of_the_cluster_is_a_reload(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corosync_install, "_reload", lambda: None)
    apply(FakeSystemd("runs"))
    cluster = Cluster("lab", (*NODES, Node("c", 2, "10.0.0.3")))
    (node / "cluster.conf").write_text(conf.parse("").with_cluster(cluster).render())
    assert apply(FakeSystemd("runs")) == ["corosync.conf", "reload corosync"]
    assert "10.0.0.3" in (node / "corosync.conf").read_text()
    assert apply(FakeSystemd("runs"), purge=True) == ["corosync.conf", "reload corosync"]


def test_what_a_run_has_written_and_corosync_not_read_is_made_good_by_the_next(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise O2cbError("the run is broken off")

    apply(FakeSystemd("runs"))
    (node / "corosync.conf").write_text(EXPECTED.replace("token: 3000", "token: 3500"))
    monkeypatch.setattr(corosync_install, "_reload", broken)
    with pytest.raises(O2cbError, match="broken off"):
        apply(FakeSystemd("runs"))
    assert (node / "corosync.conf").read_text() == EXPECTED
    assert apply(FakeSystemd("runs")) == ["restart corosync.service"]
    assert apply(FakeSystemd("runs")) == []


def test_a_corosync_that_runs_by_another_number_is_restarted(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """corosync takes nodes over by a reload, but not its own number: it went on as 255 in a ring of its own."""
    me = Node(os.uname().nodename, 3, "10.0.0.3")
    nodes = [vars(node) for node in (*NODES, me)]
    apply(FakeSystemd("runs"), nodes=nodes)
    for status, done in (
        ("Local node ID 255, transport knet\nLINK ID 0 udp\n", ["restart corosync.service"]),
        ("Local node ID 3, transport knet\nLINK ID 0 udp\n", []),
        ("Cannot initialize the cfg service\n", []),
    ):
        monkeypatch.setattr(corosync_install, "_status", lambda status=status: status)
        assert apply(FakeSystemd("runs"), nodes=nodes) == done
    monkeypatch.setattr(corosync_install, "_status", lambda: "Local node ID 3, transport knet\n")
    nodes[-1]["number"] = 4
    assert apply(FakeSystemd("runs"), nodes=nodes) == ["corosync.conf", "restart corosync.service"]


def test_a_key_with_a_wrong_mode_is_mended_and_a_missing_one_is_named(node: Path) -> None:
    with pytest.raises(O2cbError, match="give the option key"):
        apply(FakeSystemd("runs"), key=None)
    with pytest.raises(O2cbError, match="128 to 4096 bytes"):
        apply(FakeSystemd("runs"), key="abcd")
    apply(FakeSystemd("runs"))
    (node / "authkey").chmod(0o644)
    assert apply(FakeSystemd("runs")) == ["authkey"]
    assert (node / "authkey").stat().st_mode & 0o777 == 0o400


def test_only_what_the_module_has_written_is_removed(node: Path) -> None:
    apply(FakeSystemd("runs"))
    assert apply(FakeSystemd("runs"), state="absent")[0] == "stop and disable corosync.service"
    assert [path.name for path in node.iterdir()] == []


def test_the_key_is_that_which_most_nodes_have(node: Path) -> None:
    assert corosync_install.key_facts(False) == {"key_mark": ""}
    made = corosync_install.key_facts(True)
    assert len(base64.b64decode(made["key"])) == 256
    assert not (node / "authkey").exists()
    marks = {"a": "", "b": "m", "c": "n", "d": "m"}
    hostvars = {host: {"__o2cb_ring": {"key_mark": mark}} for host, mark in marks.items()}
    assert ring_key(list(marks), hostvars) == {"host": "b", "agreed": False}
    assert ring_key(["b", "d"], hostvars) == {"host": "b", "agreed": True}
    assert ring_key(["a"], {"a": {}}) == {"host": "a", "agreed": False}


def test_the_agent_starts_after_corosync_where_it_needs_it() -> None:
    assert "o2agent-stop.service corosync.service\n" in service.service("corosync.service")
    assert "corosync" not in service.service()
