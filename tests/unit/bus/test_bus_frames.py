# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames on the wire: what is sent is read, and what nobody sends is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import frames
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.frames import FrameError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.view import AGENT_DOWN, JOIN, MESSAGE, NODE_DOWN, Entry

nodes = st.integers(0, frames.MAX_NODE)
numbers = st.integers(0, 2**64 - 1)
idents = st.tuples(nodes, numbers)
epochs = st.tuples(numbers, nodes, numbers)
channels = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
payloads = st.binary(max_size=200)
entries = st.one_of(
    st.builds(Entry, st.just(MESSAGE), nodes, numbers, numbers, channels, payloads),
    st.builds(
        Entry, st.sampled_from([JOIN, AGENT_DOWN, NODE_DOWN]), nodes, numbers, st.just(0), st.just(""), st.just(b"")
    ),
)
members = st.lists(st.tuples(nodes, numbers, numbers), max_size=5).map(tuple)

FIELDS = {
    "u64": numbers,
    "incarnation": st.integers(0, frames.MAX_INCARNATION),
    "node": nodes,
    "bool": st.booleans(),
    "ident": idents,
    "epoch": epochs,
    "entry": entries,
    "members": members,
    "idents": st.lists(idents, max_size=5).map(tuple),
    "channel": channels,
    "payload": payloads,
}
any_frame = st.one_of([st.builds(frame, *[FIELDS[word] for word in form.split()]) for frame, form in frames._FORMS])


GOLDEN: list[tuple[frames.Frame, str]] = [
    (
        frames.Hello(1_800_000_000_000, (2, 1_700_000_000_000)),
        "0100 00505c18a3010000 020068e5cf8b010000",
    ),
    (
        frames.Join((5, 2, 1_800_000_000_000)),
        "0101 05000000000000000200505c18a3010000",
    ),
    (
        frames.Welcome(3, (2, 17), (5, 2, 18), 300, ((1, 16, 4), (254, 18, 0)), ((3, 15),)),
        (
            "0102 0300000000000000 021100000000000000 0500000000000000021200000000000000 2c01000000000000"
            "02000110000000000000000400000000000000fe12000000000000000000000000000000 0100030f00000000000000"
        ),
    ),
    (
        frames.Welcomed((5, 2, 18), 3),
        "0103 0500000000000000021200000000000000 0300000000000000",
    ),
    (
        frames.Submit(7, "vm", b"hello"),
        "0104 0700000000000000 02766d 0500000068656c6c6f",
    ),
    (
        frames.Ordered((5, 2, 18), 301, 300, 299, Entry(MESSAGE, 1, 16, 7, "ü", b"hello")),
        (
            "0105 0500000000000000021200000000000000 2d01000000000000 2c01000000000000 2b01000000000000"
            "0001100000000000000007000000000000000205000000c3bc68656c6c6f"
        ),
    ),
    (
        frames.Ordered((5, 2, 18), 302, 301, 300, Entry(JOIN, 3, 19)),
        (
            "0105 0500000000000000021200000000000000 2e01000000000000 2d01000000000000 2c01000000000000"
            "0103130000000000000000000000000000000000000000"
        ),
    ),
    (
        frames.Ordered((5, 2, 18), 303, 302, 301, Entry(AGENT_DOWN, 3, 19)),
        (
            "0105 0500000000000000021200000000000000 2f01000000000000 2e01000000000000 2d01000000000000"
            "0203130000000000000000000000000000000000000000"
        ),
    ),
    (
        frames.Ordered((5, 2, 18), 304, 303, 302, Entry(NODE_DOWN, 3, 19)),
        (
            "0105 0500000000000000021200000000000000 3001000000000000 2f01000000000000 2e01000000000000"
            "0303130000000000000000000000000000000000000000"
        ),
    ),
    (
        frames.Ack((5, 2, 18), 301, 300),
        "0106 0500000000000000021200000000000000 2d01000000000000 2c01000000000000",
    ),
    (
        frames.Sync((5, 2, 18), 301, 300, True),
        "0107 0500000000000000021200000000000000 2d01000000000000 2c01000000000000 01",
    ),
    (
        frames.Collect((2, 17), (6, 1, 16), (5, 2, 18), 301, 300),
        (
            "0108 021100000000000000 0600000000000000011000000000000000 0500000000000000021200000000000000"
            "2d01000000000000 2c01000000000000"
        ),
    ),
    (
        frames.Tail((6, 1, 16), 301, Entry(MESSAGE, 1, 16, 7, "vm", b"")),
        ("0109 0600000000000000011000000000000000 2d010000000000000001100000000000000007000000000000000200000000766d"),
    ),
    (
        frames.Promise((6, 1, 16), (5, 2, 18), 301, 300),
        ("010a 0600000000000000011000000000000000 0500000000000000021200000000000000 2d010000000000002c01000000000000"),
    ),
    (
        frames.Refused((7, 3, 19)),
        "010b 0700000000000000031300000000000000",
    ),
    (
        frames.Start((6, 1, 16), 300, 301),
        "010c 0600000000000000011000000000000000 2c01000000000000 2d01000000000000",
    ),
    (
        frames.Newer(2, 1_800_000_000_000),
        "010d 02 00505c18a3010000",
    ),
    (
        frames.Go((6, 1, 16), 2, 18),
        "010e 0600000000000000011000000000000000 02 1200000000000000",
    ),
    (
        frames.Dead(18, 20, True),
        "010f 1200000000000000 1400000000000000 01",
    ),
    (
        frames.Echo(2**64 - 1),
        "0110 ffffffffffffffff",
    ),
]
"""Version, kind, and each field, as agents of version 1 send and read them."""


@pytest.mark.parametrize(("frame", "body"), GOLDEN, ids=[type(frame).__name__ for frame, _body in GOLDEN])
def test_every_agent_of_this_version_sends_the_same_bytes_and_reads_them(frame, body):
    assert frames.encode(frame) == bytes.fromhex(body)
    assert frames.decode(bytes.fromhex(body)) == frame


def test_the_bytes_of_every_kind_of_frame_and_of_entry_are_known():
    assert {type(frame) for frame, _body in GOLDEN} == {frame for frame, _form in frames._FORMS}
    kinds = {frame.entry.kind for frame, _body in GOLDEN if isinstance(frame, frames.Ordered)}
    assert kinds == {MESSAGE, JOIN, AGENT_DOWN, NODE_DOWN} == {0, 1, 2, 3}


def test_a_frame_follows_its_length_in_a_stream():
    assert frames.pack(frames.Echo(7)) == bytes.fromhex("0a000000 0110 0700000000000000")
    assert frames.VERSION == 1


@given(any_frame)
def test_a_frame_is_read_as_it_was_sent(frame):
    assert frames.decode(frames.encode(frame)) == frame


@given(st.lists(any_frame, max_size=6), st.integers(1, 40))
def test_a_stream_is_cut_into_its_frames_however_it_comes(sent, step):
    stream = b"".join(map(frames.pack, sent))
    unpacker = frames.Unpacker()
    found = [frame for start in range(0, len(stream), step) for frame in unpacker.feed(stream[start : start + step])]
    assert found == sent


@given(st.binary(max_size=300))
def test_bytes_are_a_frame_or_refused(body):
    try:
        frame = frames.decode(body)
    except FrameError:
        return
    assert frames.encode(frame) == body


@given(any_frame, st.data())
def test_a_damaged_frame_is_another_one_or_refused(frame, data):
    body = bytearray(frames.encode(frame))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    try:
        found = frames.decode(bytes(body))
    except FrameError:
        return
    assert found != frame


@given(any_frame, st.data())
def test_a_frame_that_is_cut_or_too_long_is_refused(frame, data):
    body = frames.encode(frame)
    with pytest.raises(FrameError):
        frames.decode(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(FrameError, match="too many"):
        frames.decode(body + b"\0")


@given(st.binary(max_size=400), st.integers(1, 40))
def test_a_stream_of_anything_is_read_or_refused(stream, step):
    unpacker = frames.Unpacker()
    try:
        for start in range(0, len(stream), step):
            unpacker.feed(stream[start : start + step])
    except FrameError:
        with pytest.raises(FrameError):
            frames.Unpacker().feed(stream)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no frame"),
        (b"\2\0", "version 2, and this agent knows 1: update"),
        (b"\1\xff", "255 is no kind of frame"),
        (b"\1\0\1", "ends in the middle of a field"),
        (b"\1\x0d\xff" + bytes(8), "255 is no node number"),
        (bytes([1, 9]) + bytes(17 + 8) + b"\7" + bytes(22), "7 is no kind of entry"),
        (b"\1" * (frames.MAX_BODY + 1), "longer than"),
    ],
)
def test_a_refusal_says_why(body, reason):
    with pytest.raises(FrameError, match=reason):
        frames.decode(body)


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come():
    with pytest.raises(FrameError, match="longer than"):
        frames.Unpacker().feed((frames.MAX_BODY + 1).to_bytes(4, "little"))


@pytest.mark.parametrize(
    "frame",
    [
        frames.Hello(2**64, (1, 1)),
        frames.Submit(1, "c" * 256, b""),
        frames.Submit(1, "c", bytes(frames.MAX_BODY)),
        frames.Newer(256, 1),
    ],
)
def test_what_does_not_fit_is_not_sent(frame):
    with pytest.raises(FrameError):
        frames.encode(frame)


def test_every_kind_of_frame_has_a_form_and_its_number_stays():
    names = [frame.__name__ for frame, form in frames._FORMS]
    assert names == [
        "Hello",
        "Join",
        "Welcome",
        "Welcomed",
        "Submit",
        "Ordered",
        "Ack",
        "Sync",
        "Collect",
        "Tail",
        "Promise",
        "Refused",
        "Start",
        "Newer",
        "Go",
        "Dead",
        "Echo",
    ]


def test_an_incarnation_after_which_none_can_come_is_no_frame():
    body = frames.encode(frames.Hello(frames.MAX_INCARNATION + 1, (0, 0)))
    with pytest.raises(frames.FrameError, match="is no incarnation"):
        frames.decode(body)


def test_a_message_of_100_bytes_has_less_than_80_of_its_own():
    entry = Entry(MESSAGE, 3, 1_800_000_000, 7, "vm", bytes(100))
    assert len(frames.pack(frames.Ordered((1, 1, 1), 10, 9, 8, entry))) < 180
