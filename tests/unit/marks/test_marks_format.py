# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bytes of the record on disk: what is ours and whole, and what else there can be."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import format
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.format import Header, Slot, View

UUID, OTHER = "0A" * 16, "0B" * 16
HEADER = Header(UUID, "lab", 3, 1_795_879_532_000_000)
SLOT = Slot(UUID, 7, "5e" * 16, 12, 2**60, 4, "ab" * 16)


def later(sector: bytes) -> bytes:
    """The same of a later version, with other fields behind it."""
    body = sector[:8] + struct.pack("<H", format.VERSION + 1) + b"other fields".ljust(len(sector) - 14, b"\1")
    return body + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize("sector", [512, 1024, 2048])
def test_what_is_written_is_read(sector):
    assert format.decode_header(format.encode_header(HEADER, sector), UUID) == (format.VALID, HEADER)
    assert format.decode_slot(format.encode_slot(SLOT, sector), UUID, 7) == (format.VALID, SLOT)
    assert len(format.encode_slot(SLOT, sector)) == sector


@given(
    st.integers(0, 254),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16),
)
def test_any_slot_survives(node, sequence, mark, generation, digest):
    slot = Slot(UUID, node, "00" * 16, sequence, mark, generation, digest.hex() if any(digest) else "")
    assert format.decode_slot(format.encode_slot(slot, 512), UUID, node) == (format.VALID, slot)


@given(st.integers(0, 511), st.integers(1, 255))
def test_one_wrong_byte_is_never_taken_for_ours(place, change):
    for data, decode in (
        (format.encode_header(HEADER, 512), lambda data: format.decode_header(data, UUID)),
        (format.encode_slot(SLOT, 512), lambda data: format.decode_slot(data, UUID, 7)),
    ):
        wrong = bytearray(data)
        wrong[place] ^= change
        kind, found = decode(bytes(wrong))
        assert found is None
        assert kind == (format.FOREIGN if place < 8 else format.TORN)


def test_zeros_are_blank_and_no_zero():
    assert format.decode_header(bytes(512), UUID) == (format.BLANK, None)
    assert format.decode_slot(bytes(512), UUID, 0) == (format.BLANK, None)


def test_another_region_or_node_is_foreign():
    assert format.decode_header(format.encode_header(HEADER, 512), OTHER) == (format.FOREIGN, None)
    assert format.decode_slot(format.encode_slot(SLOT, 512), OTHER, 7) == (format.FOREIGN, None)
    assert format.decode_slot(format.encode_slot(SLOT, 512), UUID, 8) == (format.FOREIGN, None)
    assert format.decode_slot(format.encode_header(HEADER, 512), UUID, 7) == (format.FOREIGN, None)


def test_a_later_version_is_told_from_damage():
    assert format.decode_header(later(format.encode_header(HEADER, 512)), UUID) == (format.LATER, None)
    assert format.decode_slot(later(format.encode_slot(SLOT, 512)), UUID, 7) == (format.LATER, None)


def test_a_half_of_one_write_and_a_half_of_another_is_torn():
    one, other = (format.encode_slot(SLOT._replace(mark=mark), 512) for mark in (5, 6))
    assert format.decode_slot(one[:256] + other[256:], UUID, 7) == (format.TORN, None)


@pytest.mark.parametrize(
    ("view", "answers"),
    [
        (View(format.VALID, HEADER, {7: SLOT}, {}), True),
        (View(format.BLANK, None, {7: SLOT}, {}), False),
        (View(format.FOREIGN, None, {}, {}), False),
        (View(format.VALID, HEADER, {7: SLOT}, {3: format.TORN}), False),
        (View(format.VALID, HEADER, {}, {3: format.LATER}), False),
    ],
)
def test_a_region_answers_whole_or_not_at_all(view, answers):
    assert view.answers is answers
    assert bool(view.trouble()) is not answers


def test_the_floor_counts_like_a_mark():
    assert View(format.VALID, HEADER, {}, {}).top() == HEADER.floor
    assert View(format.VALID, HEADER, {7: SLOT}, {}).top() == SLOT.mark


@pytest.mark.parametrize(("regions", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (32, 17)])
def test_a_majority_is_more_than_half(regions, needed):
    assert format.majority([str(number) for number in range(regions)]) == needed
