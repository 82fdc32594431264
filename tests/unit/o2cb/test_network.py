# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections of o2net in /proc/net/tcp."""

from __future__ import annotations

import socket

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import network, reach
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Node

OWN = Node("n2", 2, "10.0.0.2")
NODES = [Node("n1", 1, "10.0.0.1"), OWN, Node("n3", 3, "10.0.0.3", 7778)]
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def line(local: str, remote: str, state: str = "01") -> str:
    def encode(end: str) -> str:
        address, port = end.split(":")
        return f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{int(port):04X}"

    return f"   0: {encode(local)} {encode(remote)} {state} 00000000:00000000 00:00000000 00000000     0        0 1\n"


@pytest.mark.parametrize(
    ("lines", "numbers"),
    [
        ([line("10.0.0.2:40000", "10.0.0.1:7777")], {1}),
        ([line("10.0.0.2:7777", "10.0.0.3:40000")], {3}),
        ([line("10.0.0.2:40000", "10.0.0.1:7777"), line("10.0.0.2:7777", "10.0.0.3:40000")], {1, 3}),
        ([line("10.0.0.2:40000", "10.0.0.1:22")], set()),
        ([line("10.0.0.2:22", "10.0.0.1:40000")], set()),
        ([line("10.0.0.2:40000", "10.0.0.3:7777")], set()),
        ([line("10.0.0.2:40000", "10.0.0.1:7777", "02")], set()),
        ([line("10.0.0.2:40000", "10.0.0.1:7777", "06")], set()),
        ([line("10.9.9.9:40000", "10.0.0.1:7777")], set()),
        ([line("10.0.0.2:7777", "10.0.0.9:40000")], set()),
        ([line("10.0.0.2:7777", "10.0.0.2:40000")], set()),
        (["\n", "nonsense\n"], set()),
    ],
    ids="to-lower from-higher both ssh-out ssh-in other-port syn-sent time-wait other-end stranger itself junk".split(),
)
def test_only_an_established_connection_of_o2net_to_a_node_counts(lines, numbers):
    assert network.connected(HEAD + "".join(lines), OWN, NODES) == numbers


def test_a_listener_is_found_on_its_address_or_on_all():
    table = HEAD + line("10.0.0.2:7777", "0.0.0.0:0", "0A") + line("0.0.0.0:22", "0.0.0.0:0", "0A")
    assert network.listens(table, "10.0.0.2", 7777)
    assert network.listens(table, "10.0.0.2", 22)
    assert not network.listens(table, "10.0.0.1", 7777)
    assert not network.listens(HEAD + line("10.0.0.2:7777", "10.0.0.1:40000"), "10.0.0.2", 7777)


def test_a_real_connection_of_this_machine_is_read_from_the_kernel():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)), open("/proc/net/tcp") as f:
            table = f.read()
    own, peer = Node("own", 0, "127.0.0.1", port), Node("peer", 1, "127.0.0.2")
    assert network.connected(table, own, [own, peer]) == {1}
    assert network.connected(table, peer, [own, peer]) == {0}
    assert network.listens(table, "127.0.0.1", port)


def test_a_peer_is_within_reach_when_its_port_takes_a_connection():
    own = Node("n1", 1, "127.0.0.1")
    with socket.create_server(("127.0.0.2", 0)) as listening, socket.create_server(("127.0.0.3", 0)) as gone:
        ports = listening.getsockname()[1], gone.getsockname()[1]
        gone.close()
        peers = [Node("n2", 2, "127.0.0.2", ports[0]), Node("n3", 3, "127.0.0.3", ports[1])]
        assert reach.unreachable(own, peers) == {3}
    assert reach.unreachable(own, []) == frozenset()
