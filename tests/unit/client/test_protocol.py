# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's protocol without its socket: bytes in, and what they were, however they are cut."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.client import protocol
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.protocol import Broken, Conversation, encoded

TOLD = st.tuples(st.dictionaries(st.sampled_from("abc"), st.text(max_size=5)), st.binary(max_size=40))


def all_of(talk: Conversation[Any]) -> list[tuple[Any, dict[str, Any], bytes]]:
    found = []
    come = talk.next()
    while come is not None:
        who, told = come
        found.append((who, {key: value for key, value in told.facts.items() if key != "length"}, told.data))
        come = talk.next()
    return found


def fed(talk: Conversation[Any], whole: bytes, cuts: list[int]) -> list[tuple[Any, dict[str, Any], bytes]]:
    """What comes of bytes that come in pieces of these sizes, again and again."""
    found, turn = [], 0
    while whole:
        cut = cuts[turn % len(cuts)]
        talk.receive(whole[:cut])
        whole, turn = whole[cut:], turn + 1
        found += all_of(talk)
    return found


@given(st.lists(TOLD, max_size=6), st.lists(TOLD, max_size=6), st.lists(st.integers(1, 50), min_size=1))
def test_answers_find_who_asked_and_events_follow_however_all_is_cut(answers, events, cuts):
    talk: Conversation[int] = Conversation()
    for number, _told in enumerate(answers):
        talk.ask(protocol.plain("x"), number)
    talk.ask(protocol.listen(None, True), len(answers))
    told = [*answers, ({}, b""), *events]
    found = fed(talk, b"".join(encoded(facts, data) for facts, data in told), cuts)
    whose = [*range(len(answers) + 1), *(None for _event in events)]
    assert found == [(who, facts, data) for who, (facts, data) in zip(whose, told, strict=True)]
    assert talk.listens
    assert len(talk) == 0


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(0, 60), st.lists(st.integers(1, 50), min_size=1))
def test_data_that_are_too_many_are_left_out_and_what_follows_is_whole(data, keep, cuts):
    talk: Conversation[None] = Conversation(keep)
    talk.ask(protocol.listen(None, True), None)
    found = fed(talk, encoded({}) + b"".join(encoded({"n": n}, one) for n, one in enumerate(data)), cuts)
    kept = [one if len(one) <= keep else b"" for one in data]
    assert found[1:] == [(None, {"n": number}, one) for number, one in enumerate(kept)]


def test_data_that_are_left_out_are_not_gathered():
    talk: Conversation[None] = Conversation(10)
    talk.ask(protocol.plain("x"), None)
    talk.receive(json.dumps({"length": 1 << 40}).encode() + b"\n")
    for _turn in range(100):
        talk.receive(bytes(1000))
        assert talk.next() is None
        assert len(talk._received) == 0


def test_a_refusal_to_listen_leaves_a_connection_on_which_one_can_ask():
    talk: Conversation[str] = Conversation()
    talk.ask(protocol.listen([], False), "listens")
    talk.receive(encoded({"error": "nothing is asked for"}))
    assert all_of(talk) == [("listens", {"error": "nothing is asked for"}, b"")]
    assert not talk.listens
    assert json.loads(talk.ask(protocol.plain("members"), "asks")) == {"op": "members"}


def test_where_events_come_nothing_can_be_asked():
    talk: Conversation[None] = Conversation()
    talk.ask(protocol.listen(None, True), None)
    talk.receive(encoded({"listening": True}))
    talk.next()
    with pytest.raises(ValueError, match="listens"):
        talk.ask(protocol.plain("members"), None)


def test_those_without_an_answer_are_told_at_the_end_in_their_order():
    talk: Conversation[int] = Conversation()
    for number in range(3):
        talk.ask(protocol.plain("x"), number)
    talk.receive(encoded({}))
    talk.next()
    assert (talk.first(), len(talk)) == (1, 2)
    assert talk.end() == [1, 2]
    assert talk.first() is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"nonsense\n", "no JSON object"),
        (b"[1]\n", "no JSON object"),
        (b"[" * 100000 + b"\n", "no JSON object"),
        (b'{"length": -1}\n', "a length of -1"),
        (b'{"length": true}\n', "a length of True"),
        (b'{"length": "4"}\n', "a length of '4'"),
        (b"{}\n{}\n", "not asked for"),
        (b" " * (protocol.LONGEST_LINE + 1), "a line of more than"),
    ],
)
def test_what_is_no_answer_is_refused(said, why):
    talk: Conversation[None] = Conversation()
    talk.ask(protocol.plain("x"), None)
    talk.receive(said)
    with pytest.raises(Broken, match=why):
        all_of(talk)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_harm_than_that(said):
    talk: Conversation[None] = Conversation()
    talk.ask(protocol.plain("x"), None)
    talk.receive(said)
    try:
        all_of(talk)
    except Broken:
        return


def test_the_answers_to_a_question_come_in_one_piece():
    facts = {"position": 5, "answers": [[1, 2], [3, 0], [4, 3]], "down": [2], "missing": [6]}
    found = protocol.answers_of(protocol.Event(facts, b"abcde"))
    assert found == protocol.Answers(5, {1: b"ab", 3: b"", 4: b"cde"}, (2,), (6,))


def test_a_request_is_waited_for_longer_than_its_message():
    assert protocol.send("c", b"", None, 40).within == 40 + protocol.SECONDS
    assert json.loads(Conversation[None]().ask(protocol.send("c", b"", [2], 40), None)) == {
        "op": "send",
        "channel": "c",
        "seconds": 40,
        "to": [2],
    }


def test_the_file_can_be_loaded_by_itself():
    """The event source for ansible-rulebook does."""
    tree = ast.parse(Path(protocol.__file__).read_text(encoding="utf-8"))
    assert [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level] == []
