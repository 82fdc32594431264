# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Heartbeat blocks: decoded as the kernel writes them, and what two readings prove."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import blocks
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat

BEAT = Beat(1, 1_700_000_000, 42, 62000, True)


def crc32_le(data: bytes) -> int:
    """lib/crc32.c with the seed 0, bit by bit: no inversion at either end."""
    value = 0
    for byte in data:
        value ^= byte
        for _bit in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value


def encode(beat: Beat, size: int = 512) -> bytes:
    """struct o2hb_disk_heartbeat_block, as o2hb_prepare_block fills it."""
    block = bytearray(size)
    struct.pack_into("<QBxxxIQI", block, 0, beat.sequence, beat.node, 0, beat.generation, beat.dead_ms)
    struct.pack_into("<I", block, 12, crc32_le(bytes(block)))
    return bytes(block)


U64 = st.integers(0, 2**64 - 1)


@given(beat=st.builds(Beat, st.integers(0, 254), U64, U64, st.integers(1, 2**32 - 1), st.just(True)))
def test_a_block_that_the_kernel_wrote_is_read_back(beat):
    assert blocks.decode(encode(beat), beat.node) == beat


@given(position=st.integers(0, 511), flip=st.integers(1, 255))
def test_one_damaged_byte_makes_a_block_invalid(position, flip):
    damaged = bytearray(encode(BEAT))
    damaged[position] ^= flip
    beat = blocks.decode(bytes(damaged), BEAT.node)
    assert beat is not None
    assert not beat.valid


def test_a_block_in_another_nodes_slot_is_invalid():
    beat = blocks.decode(encode(BEAT), 2)
    assert beat is not None
    assert not beat.valid


def test_a_slot_that_was_never_written_holds_no_beat():
    assert blocks.decode(bytes(512), 0) is None
    assert blocks.decode(b"", 0) is None


@pytest.mark.parametrize("size", [512, 4096])
def test_a_region_is_read_by_node_number(size):
    two = replace(BEAT, node=2)
    data = bytes(size) + encode(BEAT, size) + encode(two, size)
    assert blocks.decode_region(data, size, [0, 1, 2, 7]) == {1: BEAT, 2: two}


@pytest.mark.parametrize(
    ("before", "after", "lives"),
    [
        (BEAT, replace(BEAT, sequence=BEAT.sequence + 2), True),
        (BEAT, replace(BEAT, sequence=BEAT.sequence - 3600), True),
        (BEAT, replace(BEAT, generation=43), True),
        (replace(BEAT, generation=0), replace(BEAT, sequence=BEAT.sequence + 9), True),
        (BEAT, BEAT, False),
        (BEAT, replace(BEAT, sequence=BEAT.sequence + 2, generation=0), False),
        (BEAT, replace(BEAT, sequence=BEAT.sequence + 2, valid=False), False),
        (None, BEAT, True),
        (BEAT, None, False),
    ],
    ids=["beats", "beats on a clock set back", "restarted", "came back", "crashed", "left", "damaged", "new", "gone"],
)
def test_only_a_valid_change_between_two_readings_proves_life(before, after, lives):
    first = {} if before is None else {1: before}
    second = {} if after is None else {1: after}
    assert blocks.alive(first, second) == ([1] if lives else [])


def test_two_readings_are_more_than_two_beats_apart_and_less_than_three():
    """A live node beats every 2 s, and o2hb may be late by one."""
    assert 4.0 < blocks.PROBE_SECONDS < 4.5


def test_who_lives_is_told_in_order_of_the_numbers():
    beats = {number: replace(BEAT, node=number) for number in (8, 3, 200, 1)}
    assert blocks.alive({}, beats) == [1, 3, 8, 200]


def test_who_beats_on_any_region_that_both_readings_saw_lives():
    later = replace(BEAT, sequence=BEAT.sequence + 2)
    before = {"A": {1: BEAT, 2: BEAT, 3: BEAT}, "B": {1: BEAT, 2: BEAT}, "gone": {5: BEAT}}
    after = {"A": {1: later, 2: BEAT, 3: BEAT}, "B": {1: BEAT, 2: later}, "new": {4: BEAT}}
    assert blocks.alive_on_any(before, after) == {1, 2}
    assert blocks.alive_on_any({}, after) == set()


def test_a_quick_look_allows_for_a_clock_on_either_side_but_not_for_more_than_the_dead_time():
    now = float(BEAT.sequence)
    assert blocks.looks_alive(BEAT, now + 62)
    assert blocks.looks_alive(BEAT, now - 62)
    assert not blocks.looks_alive(BEAT, now + 62.01)
    assert not blocks.looks_alive(BEAT, now - 62.01)
    assert not blocks.looks_alive(replace(BEAT, generation=0), now)
    assert not blocks.looks_alive(replace(BEAT, valid=False), now)
    assert blocks.age(BEAT, now + 1.25) == 1.2
