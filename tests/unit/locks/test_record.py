# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import record
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.record import Record

records = st.builds(
    Record,
    node=st.integers(0, 254),
    boot=st.binary(min_size=8, max_size=8).map(bytes.hex),
    since=st.integers(0, 2**64 - 1),
    token=st.integers(0, 2**64 - 1),
    owner=st.text(st.characters(exclude_categories=["Cs"]), max_size=7),
)


GOLDEN = {
    Record(2, "0123456789abcdef", 1_800_000_000_000_000, 1_800_000_000_000_007, "web on node2"): (
        "4f324b3101020c00 0123456789abcdef 0080982817650600 0780982817650600"
        "776562206f6e206e 6f64653200000000 0000000000000000 00000000951579eb"
    ),
    Record(254, "ffffffffffffffff", 2**64 - 1, 2**64 - 1, "ä" * 14): (
        "4f324b3101fe1c00 ffffffffffffffff ffffffffffffffff ffffffffffffffff"
        "c3a4c3a4c3a4c3a4 c3a4c3a4c3a4c3a4 c3a4c3a4c3a4c3a4 c3a4c3a473a4da2a"
    ),
}
"""As versions that are in use read and write them."""


@pytest.mark.parametrize("wanted", GOLDEN)
def test_every_version_writes_the_same_bytes_and_reads_them(wanted):
    assert record.encode(wanted) == bytes.fromhex(GOLDEN[wanted])
    assert record.decode(bytes.fromhex(GOLDEN[wanted])) == wanted


def sealed(head: bytes) -> bytes:
    return head + zlib.crc32(head).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, b"O2K2"), (4, b"\x02"), (4, b"\x00"), (6, b"\x1d\x00"), (6, b"\xff\xff")],
    ids=["another magic", "a later version", "an earlier version", "a text that is too long", "far too long"],
)
def test_a_record_that_only_another_version_knows_means_unknown_though_its_checksum_is_right(place, value):
    head = bytearray(record.encode(next(iter(GOLDEN)))[:60])
    head[place : place + len(value)] = value
    assert record.decode(sealed(bytes(head))) is None


def test_a_text_that_is_not_utf_8_is_shown_as_well_as_may_be():
    head = bytearray(record.encode(next(iter(GOLDEN)))[:60])
    head[32:44] = b"\xff" * 12
    found = record.decode(sealed(bytes(head)))
    assert found is not None
    assert found.owner == "\N{REPLACEMENT CHARACTER}" * 12


@pytest.mark.parametrize("size", [0, 60, 63, 65, 128])
def test_anything_but_64_bytes_means_unknown(size):
    data = record.encode(next(iter(GOLDEN)))
    assert record.decode((data + data)[:size]) is None


@given(records)
def test_a_record_is_64_bytes_and_is_read_back(wanted):
    data = record.encode(wanted)
    assert len(data) == record.SIZE
    assert record.decode(data) == wanted


@given(records, st.text(st.characters(exclude_categories=["Cs"]), min_size=29))
def test_a_long_owner_is_cut_at_a_character(wanted, owner):
    found = record.decode(record.encode(Record(wanted.node, wanted.boot, wanted.since, wanted.token, owner)))
    assert found is not None
    assert owner.startswith(found.owner)
    assert len(found.owner.encode()) > record.TEXT_BYTES - 4


def test_zeros_mean_unknown():
    assert record.decode(bytes(record.SIZE)) is None


@given(records, st.integers(0, record.SIZE * 8 - 1))
def test_a_record_with_one_bit_flipped_means_unknown(wanted, bit):
    data = bytearray(record.encode(wanted))
    data[bit // 8] ^= 1 << bit % 8
    assert record.decode(bytes(data)) is None


@given(st.binary(max_size=record.SIZE))
def test_bytes_of_a_foreign_program_mean_unknown(data):
    assert record.decode(data.ljust(record.SIZE, b"\0")) is None
