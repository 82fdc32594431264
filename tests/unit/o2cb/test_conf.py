# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""cluster.conf: what we change, what we keep, and what we say about a file that is no good."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, plan
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.conf import ConfError, Document
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have

UUID = "6617721D55364FF1B01FB7259C85410E"
LAB = Cluster("lab", (Node("n1", 1, "10.0.0.1"), Node("n2", 2, "10.0.0.2", 7778)), (UUID,))

RENDERED = f"""\
cluster:
\tname = lab
\theartbeat_mode = global
\tnode_count = 2

heartbeat:
\tcluster = lab
\tregion = {UUID}

node:
\tname = n1
\tcluster = lab
\tnumber = 1
\tip_address = 10.0.0.1
\tip_port = 7777

node:
\tname = n2
\tcluster = lab
\tnumber = 2
\tip_address = 10.0.0.2
\tip_port = 7778
"""

BY_HAND = f"""\
# Our cluster. Ask Ada before you change it.

# in rack 1
node:
  number=1
  name =  n1
# the dedicated network
  ip_address = 10.0.0.1
  ip_port = 7777
  cluster = lab
  rack = 1

cluster:
\tnode_count = 2
\theartbeat_mode = GLOBAL
\tname = lab
node:
\tname = n2
\tip_port = 7778
\tip_address = 10.0.0.2
\tnumber = 2
\tcluster = lab

heartbeat:
\tregion = {UUID}
\tcluster = lab

fencing:
\tmethod = cold \\
\twater

# the old one
cluster:
\tname = old
\tnode_count = 1

node:
\tname = n1
\tnumber = 7
\tip_address = 10.9.0.1
\tip_port = 7777
\tcluster = old
"""


def test_a_new_file_is_written_as_the_tool_writes_it():
    assert Document().with_cluster(LAB).render() == RENDERED


def test_a_file_by_hand_is_understood():
    document = conf.parse(BY_HAND)
    assert document.cluster_names() == ["lab", "old"]
    assert document.cluster("lab") == LAB
    assert document.cluster("old") == Cluster("old", (Node("n1", 7, "10.9.0.1"),), heartbeat_mode="local")
    assert document.cluster("new") is None
    assert document.stanzas[4].attributes == {"method": "cold \n\twater"}


@pytest.mark.parametrize("text", [RENDERED, BY_HAND, BY_HAND.rstrip("\n"), "", "\n", "# only this", "\n\n# two\n\n"])
def test_a_file_that_is_not_changed_is_the_same_to_the_byte(text):
    document = conf.parse(text)
    assert document.render() == text
    for name in document.cluster_names():
        assert document.with_cluster(document.cluster(name)).cluster(name) == document.cluster(name)


def test_a_cluster_that_says_the_same_in_other_words_is_left_as_it_is():
    sections = BY_HAND.replace("GLOBAL", "global").replace("number=1", "number = 1")
    assert conf.parse(sections).with_cluster(LAB).render() == sections


def test_a_change_touches_the_lines_of_its_own_stanza_only():
    moved = Cluster("lab", (Node("n1", 1, "10.0.1.1"), LAB.nodes[1]), (UUID,))
    old = BY_HAND.replace("GLOBAL", "global")
    new = conf.parse(old).with_cluster(moved).render()
    stanza = """\
# in rack 1
# the dedicated network
node:
\tname = n1
\tcluster = lab
\tnumber = 1
\tip_address = 10.0.1.1
\tip_port = 7777
\track = 1

"""
    start, end = old.index("# in rack 1"), old.index("cluster:\n")
    assert new == old[:start] + stanza + old[end:]


def test_a_node_that_goes_takes_its_stanza_with_it_and_nothing_else():
    document = conf.parse(BY_HAND).with_cluster(Cluster("lab", LAB.nodes[:1], (UUID,)))
    text = document.render()
    assert "n2" not in text
    assert "node_count = 1" in text
    for kept in ("Ask Ada", "rack = 1", "cold \\\n\twater", "# the old one", "number = 7"):
        assert kept in text


def test_removing_a_cluster_keeps_the_other_and_foreign_stanzas():
    document = conf.parse(conf.parse(BY_HAND).without_cluster("lab").render())
    assert document.cluster("lab") is None
    assert document.cluster("old") == conf.parse(BY_HAND).cluster("old")
    assert [stanza.kind for stanza in document.stanzas] == ["fencing", "cluster", "node"]
    assert document.head == conf.parse(BY_HAND).head


# any file and any cluster

NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True)
LINE = st.text(st.characters(codec="utf-8", exclude_characters="\n\0\r\\"), max_size=12)


@st.composite
def clusters(draw, name: str = "lab") -> Cluster:
    names = draw(st.sets(NAMES, max_size=4))
    numbers = draw(st.lists(st.integers(0, 254), unique=True, min_size=len(names), max_size=len(names)))
    return Cluster(
        name=name,
        nodes=tuple(Node(node, number, f"10.0.0.{number}") for node, number in zip(names, numbers, strict=True)),
        regions=tuple(draw(st.sets(st.integers(0, 99).map("{:032X}".format), max_size=4))),
        heartbeat_mode=draw(st.sampled_from(("global", "local"))),
    )


@st.composite
def files(draw) -> str:
    """The stanzas of two clusters and of strangers in any order, with comments and unknown keys between their lines."""
    document = Document().with_cluster(draw(clusters("lab"))).with_cluster(draw(clusters("other")))
    blocks = [stanza.lines[:-1] for stanza in document.stanzas]
    blocks += [["stranger:", f"\tkey = {text.strip()}"] for text in draw(st.lists(LINE, max_size=2))]
    lines: list[str] = []
    for block in draw(st.permutations(blocks)):
        lines += ["#" + text for text in draw(st.lists(LINE, max_size=2))]
        lines += block
        lines += [f" extra = {text.strip()}" for text in draw(st.lists(LINE, max_size=1))]
        lines += [""] * draw(st.integers(0, 2))
    return "\n".join(lines) + draw(st.sampled_from(("", "\n")))


few = settings(max_examples=40)
"""Whole files are slow to make up."""


def comments(text: str) -> list[str]:
    return sorted(line for line in text.split("\n") if line.startswith("#"))


def strangers(document: Document) -> list[dict[str, str]]:
    return [stanza.attributes for stanza in document.of_kind("stranger")]


@few
@given(text=files(), cluster=clusters())
def test_a_cluster_that_is_written_is_read_back(text, cluster):
    assert conf.parse(conf.parse(text).with_cluster(cluster).render()).cluster("lab") == cluster


@few
@given(text=files(), cluster=clusters())
def test_writing_a_second_time_changes_nothing(text, cluster):
    once = conf.parse(text).with_cluster(cluster).render()
    assert conf.parse(once).with_cluster(cluster).render() == once


@few
@given(text=files(), cluster=clusters())
def test_writing_one_cluster_keeps_the_other_and_strangers(text, cluster):
    old = conf.parse(text)
    new = conf.parse(old.with_cluster(cluster).render())
    assert new.cluster("other") == old.cluster("other")
    for kind in ("cluster", "node", "heartbeat"):
        others = [[stanza.attributes for stanza in document.of_kind(kind, "other")] for document in (old, new)]
        assert others[0] == others[1], "also in their unknown keys and their order"
    assert strangers(new) == strangers(old)


@few
@given(text=files())
def test_writing_what_is_there_keeps_every_byte_or_every_comment(text):
    document = conf.parse(text)
    assert document.render() == text
    same = document.cluster("lab")
    assert same is not None
    assert document.with_cluster(same).render() == text
    grown = Cluster("lab", (*same.nodes, Node("NEW", 255, "10.1.1.1")), same.regions, same.heartbeat_mode)
    assert comments(document.with_cluster(grown).render()) == comments(text)


@few
@given(text=files())
def test_a_cluster_that_is_removed_is_gone_and_the_other_is_not(text):
    old = conf.parse(text)
    new = conf.parse(old.without_cluster("lab").render())
    assert new.cluster("lab") is None
    assert not [stanza for stanza in new.stanzas if stanza.kind != "stranger" and stanza.belongs_to("lab")]
    assert new.cluster("other") == old.cluster("other")
    assert strangers(new) == strangers(old)


def test_255_nodes_and_32_regions_make_the_round_trip_and_a_plan():
    nodes = tuple(Node(f"node{number}", number, f"10.0.0.{number + 1}") for number in range(254))
    largest = Cluster("lab", (*nodes, Node("node254", 254, "10.0.1.1")), tuple(f"{uuid:032X}" for uuid in range(32)))
    text = Document().with_cluster(largest).render()
    assert conf.parse(text).cluster("lab") == largest
    made = plan.plan(Have("node7", conf=text), largest)
    assert made.target == largest
    assert len([step for step in made.steps if step.node]) == 255


# what we say

NODE = "node:\n\tname = n1\n\tnumber = 1\n\tip_address = 10.0.0.1\n\tip_port = 7777\n\tcluster = lab\n\n"
CLUSTER = "cluster:\n\tname = lab\n\tnode_count = 1\n\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("node:\r\n", 1, "convert it to Unix line ends"),
        ("node:\n\tname = n1\n \r\n", 3, "convert it to Unix line ends"),
        ("node: n1\n", 1, "nothing may follow the colon of 'node': remove 'n1'"),
        ("node\n", 1, "add a colon, or indent the line"),
        ("name = n1\n", 1, "add a colon, or indent the line"),
        ("= n1\n", 1, "'=' cannot begin a line"),
        ("node:\n\n\tname = n1\n", 3, "an empty line has ended it"),
        ("node:\n # no\n", 2, "remove the blanks before the '#'"),
        ("node:\n\tname n1\n", 2, "has no '=' after its name"),
        ("node:\n\t= n1\n", 2, "cannot begin an attribute"),
        ("\n\nnode:\n\0", 4, "NUL"),
        ("cluster:\n\tnode_count = 1\n", 1, "has no name"),
        ("cluster:\n\tname = lab\n", 1, "node_count ''"),
        ("cluster:\n\tname = lab\n\tnode_count = 1 # one\n", 1, "node_count '1 # one'"),
        ("cluster:\n\tname = lab\n\tnode_count = 4294967296\n", 1, "out of range"),
        ("cluster:\n\tname = lab\n\tnode_count = -1\n", 1, "out of range"),
        (CLUSTER + CLUSTER, 5, "cluster 'lab' is there twice"),
        (CLUSTER.replace("node_count", "heartbeat_mode = none\n\tnode_count"), 1, "use global or local"),
        (CLUSTER + NODE.replace("\tname = n1\n", ""), 5, "this node has no name"),
        (CLUSTER + NODE + NODE, 12, "node 'n1' is there twice"),
        (CLUSTER + NODE.replace("number = 1", "number = one"), 5, "number 'one'"),
        (CLUSTER + NODE.replace("10.0.0.1", "n1.example"), 5, "give a dotted IPv4 address"),
        (CLUSTER + NODE.replace("10.0.0.1", "fe80::1"), 5, "give a dotted IPv4 address"),
        (CLUSTER + NODE.replace("\tip_port = 7777\n", ""), 5, "ip_port ''"),
        (CLUSTER + "heartbeat:\n\tcluster = lab\n", 5, "has no region"),
        (CLUSTER + f"heartbeat:\n\tcluster = lab\n\tregion = {UUID}\n\n" * 2, 9, "is there twice"),
    ],
)
def test_a_file_that_the_tool_rejects_is_rejected_with_line_and_remedy(text, line, words):
    with pytest.raises(ConfError) as caught:
        conf.parse(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"/etc/ocfs2/cluster.conf line {line}: ")
    assert words in str(caught.value)
    assert caught.value.facts == {"line": line}
