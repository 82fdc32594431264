# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages are cut into entries and come out whole, whatever comes between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import pieces
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.pieces import Joiner, Message

MOST = 64


@given(
    st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=400)), max_size=6),
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
        assert len(piece) <= MOST
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
    assert first


def test_what_a_sender_had_begun_ends_with_it():
    first, second = pieces.cut(pieces.encode({}, b"x" * 90), 1, MOST)
    joiner = Joiner()
    assert joiner.add("c", 1, 1, first) is None
    joiner.ended(1)
    assert joiner.add("c", 1, 2, second) is None


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x07" + bytes(20), b"\x00\xff\xff{", b"\x00\x02\x00[]x"])
def test_what_no_agent_sends_is_refused(payload):
    joiner = Joiner()
    if payload[:1] == b"\x07":
        assert joiner.add("c", 1, 1, payload) is None
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - json's own, too
            joiner.add("c", 1, 1, payload)


def test_a_message_that_is_too_large_is_refused_before_it_is_sent():
    with pytest.raises(O2cbError, match="67108864 is the most"):
        pieces.encode({}, bytes(pieces.LARGEST + 1))
    with pytest.raises(O2cbError, match="head of a message"):
        pieces.encode({"x": "y" * 5000}, b"")
