# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages are cut into entries and come out whole, whatever comes between."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import pieces
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.pieces import Joiner, Message

MOST = 64


sizes = st.sampled_from([0, 1, 40, 50, 51, 100, 153, 400])


@given(
    st.lists(
        st.tuples(st.integers(0, 2), sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size))), max_size=6
    ),
    st.randoms(use_true_random=False),
)
def test_messages_come_out_whole_in_the_order_of_their_last_pieces(messages, dice):
    queues: dict[int, list[tuple[int, list[bytes]]]] = {}
    for number, (node, data) in enumerate(messages):
        whole = pieces.encode({"to": [number]}, data)
        queues.setdefault(node, []).append((number, list(pieces.cut(whole, number, MOST))))
    joiner, found, finished = Joiner(), [], []
    position = 0
    while any(queues.values()):
        node = dice.choice([node for node, queue in queues.items() if queue])
        number, parts = dice.choice(queues[node])
        piece = parts.pop(0)
        assert 0 < len(piece) <= MOST
        position += 1
        message = joiner.add("c", node, position, piece)
        if not parts:
            queues[node] = [entry for entry in queues[node] if entry[1]]
            finished.append(Message("c", node, position, {"to": [number]}, messages[number][1]))
        if message:
            found.append(message)
    assert found == finished


def test_who_comes_in_the_middle_of_a_message_does_not_get_it():
    first, second, third = pieces.cut(pieces.encode({}, b"x" * 120), 1, MOST)
    joiner = Joiner()
    assert [joiner.add("c", 1, position, piece) for position, piece in ((2, second), (3, third))] == [None, None]
    assert Joiner().add("c", 1, 1, first) is None


def test_what_a_sender_had_begun_ends_with_it():
    first, second = pieces.cut(pieces.encode({}, b"x" * 90), 1, MOST)
    joiner = Joiner()
    assert joiner.add("c", 1, 1, first) is None
    joiner.ended(1)
    assert joiner.add("c", 1, 2, second) is None


WHOLE = "00 0c00 7b22746f223a5b312c325d7d 64617461"
"""Kind, bytes of the head, {"to":[1,2]}, data."""

PIECES = [
    "01 07000000 1300000000000000 000c00",
    "02 07000000 1300000000000000 7b2274",
    "02 07000000 1300000000000000 6f223a",
    "02 07000000 1300000000000000 5b312c",
    "02 07000000 1300000000000000 325d7d",
    "02 07000000 1300000000000000 646174",
    "02 07000000 1300000000000000 61",
]
"""Kind, number of the message, bytes of the whole, and three of them."""


def test_every_version_sends_a_message_in_the_same_form_and_reads_it():
    head, whole = {"to": [1, 2]}, bytes.fromhex(WHOLE)
    assert pieces.encode(head, b"data") == whole
    assert list(pieces.cut(whole, 7, 16)) == [bytes.fromhex(piece) for piece in PIECES]
    message = Message("c", 3, 9, head, b"data")
    assert Joiner().add("c", 3, 9, whole) == message
    joiner = Joiner()
    assert [joiner.add("c", 3, 9, bytes.fromhex(piece)) for piece in PIECES] == [None] * 6 + [message]
    assert pieces.encode({}, b"data") == bytes.fromhex("00 0000 64617461")
    assert Joiner().add("c", 3, 9, bytes.fromhex("00 0000")) == Message("c", 3, 9, {}, b"")


@pytest.mark.parametrize(("most", "count"), [(19, 1), (18, 4), (14, 19)])
def test_a_message_is_cut_only_when_it_does_not_fit(most, count):
    assert len(list(pieces.cut(bytes.fromhex(WHOLE), 7, most))) == count


def test_a_message_is_delivered_once():
    first, *others = [bytes.fromhex(piece) for piece in PIECES]
    joiner = Joiner()
    joiner.add("c", 3, 9, first)
    assert [joiner.add("c", 3, 9, piece) is None for piece in others] == [True] * 5 + [False]
    assert joiner.add("c", 3, 9, others[-1]) is None


def test_a_message_begins_anew_with_its_first_piece():
    """As of a sender that has crashed in the middle and counts from the beginning."""
    first, *others = [bytes.fromhex(piece) for piece in PIECES]
    joiner = Joiner()
    for piece in (first, others[0], first, *others[:-1]):
        assert joiner.add("c", 3, 9, piece) is None
    found = joiner.add("c", 3, 9, others[-1])
    assert found is not None
    assert found.data == b"data"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "a piece of 0 bytes"),
        (b"\x01", "a piece of 1 bytes"),
        (b"\x01" + bytes(11), "a piece of 12 bytes"),
        (b"\x00", "a message of 1 bytes"),
        (b"\x00\x00", "a message of 2 bytes"),
        (b"\x00\xff\xff{", None),
        (b"\x00\x02\x00[]x", "a message with a broken head"),
        (b"\x00\x03\x00{}", "a message with a broken head"),
        (struct.pack("<BIQ", 1, 1, (64 << 20) + 4096 + 3 + 1), "a message of 67112964 bytes"),
    ],
)
def test_what_no_agent_sends_is_refused(payload, words):
    with pytest.raises(ValueError, match=words):
        Joiner().add("c", 1, 1, payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x07" + bytes(20),
        struct.pack("<BIQ", 2, 1, 10),
        struct.pack("<BIQ", 1, 1, 10),
        struct.pack("<BIQ", 1, 1, (64 << 20) + 4096 + 3),
    ],
    ids=["a later kind", "a piece of an unknown message", "a first piece without a byte", "one of the largest message"],
)
def test_what_completes_no_message_is_none(payload):
    assert Joiner().add("c", 1, 1, payload) is None


def test_a_message_that_is_too_large_is_refused_before_it_is_sent():
    with pytest.raises(O2cbError, match="67108864 is the most"):
        pieces.encode({}, bytes(pieces.LARGEST + 1))
    assert len(pieces.encode({}, bytes(64 << 20))) == (64 << 20) + 3
    with pytest.raises(O2cbError, match="the head of a message is 4097 bytes: 4096 is the most"):
        pieces.encode({"x": "y" * 4089}, b"")
    assert len(pieces.encode({"x": "y" * 4088}, b"")) == 4096 + 3
