# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which clusters are sound, and which node this machine is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import model
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts

ONE, TWO = Node("n1", 1, "10.0.0.1"), Node("n2", 2, "10.0.0.2")
SOUND = Cluster("lab", (ONE, TWO), ("A" * 32, "B" * 32))


def test_a_sound_cluster_has_no_problems():
    assert model.problems(SOUND) == []
    largest = tuple(Node(f"n{number}", number, f"10.0.0.{number + 1}") for number in range(255))
    assert model.problems(Cluster("a" * 16, largest, tuple(f"{region:032X}" for region in range(32)))) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a" * 17}, "17 characters long"),
        ({"name": "my-lab"}, "no dash"),
        ({"name": ""}, "1 to 16"),
        ({"name": "lab\n"}, "1 to 16"),
        ({"nodes": (ONE, replace(TWO, number=1))}, "number 1 is also that of"),
        ({"nodes": (ONE, replace(TWO, name="N1"))}, "name N1 is also that of"),
        ({"nodes": (ONE, replace(TWO, address="10.0.0.1"))}, "address 10.0.0.1 is also that of"),
        ({"nodes": (replace(ONE, number=255),)}, "number 255 is out of range"),
        ({"nodes": (replace(ONE, number=-1),)}, "number -1 is out of range"),
        ({"nodes": (replace(ONE, name="a" * 65),)}, "not a host name"),
        ({"nodes": (replace(ONE, name="a/b"),)}, "not a host name"),
        ({"nodes": (replace(ONE, name=".."),)}, "not a host name"),
        ({"nodes": (replace(ONE, name="n1\n"),)}, "not a host name"),
        ({"nodes": (replace(ONE, address="fe80::1"),)}, "is IPv6"),
        ({"nodes": (replace(ONE, address="node1"),)}, "resolves no names"),
        ({"nodes": (replace(ONE, address="10.0.0.01"),)}, "not a dotted IPv4"),
        ({"nodes": (replace(ONE, address="0.0.0.0"),)}, "not the address of a host"),
        ({"nodes": (replace(ONE, address="224.0.0.1"),)}, "not the address of a host"),
        ({"nodes": (replace(ONE, port=0),)}, "port 0 is out of range"),
        ({"nodes": (replace(ONE, port=65535),)}, "port 65535 is out of range"),
        ({"timeouts": Timeouts(6)}, "at least 7"),
        ({"heartbeat_mode": "none"}, "use global or local"),
        ({"fence_method": "poweroff"}, "use reset or panic"),
        ({"regions": ("a" * 32,)}, "not the UUID"),
        ({"regions": ("A" * 31,)}, "not the UUID"),
        ({"regions": ("A" * 32, "A" * 32)}, "listed twice"),
        ({"regions": tuple(f"{number:032X}" for number in range(33))}, "at most 32"),
    ],
)
def test_an_unsound_cluster_is_told_what_is_wrong(change, words):
    (problem,) = model.problems(replace(SOUND, **change))
    assert words in problem


def test_all_problems_are_told_at_once():
    bad = replace(SOUND, name="my-lab", nodes=(ONE, replace(ONE, number=255)), timeouts=Timeouts(6, 4000))
    assert len(model.problems(bad)) == 6, model.problems(bad)


def test_order_makes_no_difference():
    assert Cluster("lab", (TWO, ONE), ("B" * 32, "A" * 32)) == SOUND


def test_merging_keeps_what_only_the_other_has_and_own_nodes_win():
    moved = replace(TWO, address="10.0.0.9")
    merged = Cluster("lab", (moved,), ("C" * 32,)).merged_with(SOUND)
    assert merged.nodes == (ONE, moved)
    assert merged.regions == ("A" * 32, "B" * 32, "C" * 32)


@pytest.mark.parametrize(
    ("name", "hostname", "matches"),
    [
        ("n1", "n1", True),
        ("n1", "N1.example.org", True),
        ("N1.Example.org", "n1.example.org", True),
        ("n1.example.org", "n1", False),
        ("n1.example", "n1.example.org", False),
        ("n", "n1", False),
        ("", "n1", False),
    ],
)
def test_a_node_is_this_machine_by_its_full_or_short_host_name(name, hostname, matches):
    assert model.matches_hostname(name, hostname) is matches
    assert (model.local_node([Node(name, 1, "10.0.0.1")], hostname) is not None) is matches


def test_a_node_without_a_port_gets_the_default():
    given = {"name": "n1", "number": "1", "address": "10.0.0.1", "port": None}
    assert Node.from_mapping(given) == ONE
    assert Node.from_mapping({**given, "port": 7778}).port == 7778
