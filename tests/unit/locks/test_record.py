# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

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
