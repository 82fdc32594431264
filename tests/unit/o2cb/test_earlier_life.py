# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that is back ends its earlier life, and only its own, and comes back only when all who live have noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import blocks, earlier_life
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.earlier_life import (
    Life,
    Look,
    Outcome,
    Pause,
    Say,
    Sight,
    Write,
    Written,
)

A, B, C = REGIONS = ("A" * 32, "B" * 32, "C" * 32)
OWN = 3
NAMES = {1: "n1", 2: "n2", 3: "n3"}
INSTANT = 0.001
SECTOR = 512


class Peer:
    """A node that lives: it reads each region at a phase of its own, and beats and judges node 3 by that `lag` later.

    Judged as in o2hb_check_slot(): a changed generation is a death on that region, two new sequences are a life, and
    a death on the last region evicts. `blind` are the regions that it cannot read, where it neither beats nor judges.
    """

    def __init__(
        self, number: int, phases: tuple[float, ...] = (0.3, 0.9, 1.5), threshold: int = 31, lag: float = 0.1
    ) -> None:
        self.number = number
        self.lag = lag
        self.read: dict[str, Beat | None] = {}
        self.threshold = threshold
        self.next = dict(zip(REGIONS, phases, strict=True))
        self.blind: set[str] = set()
        self.alive_on = set(REGIONS)
        self.known: dict[str, tuple[int, int]] = {}
        self.changed = dict.fromkeys(REGIONS, 0)
        self.equal = dict.fromkeys(REGIONS, 0)
        self.evictions = 0

    def pass_time(self, world: World) -> None:
        for uuid in REGIONS:
            if world.now < self.next[uuid]:
                continue
            if uuid in self.read:
                self.next[uuid] += 2.0 - self.lag
                world.beat(self.number, uuid, self.threshold)
                self._judge(uuid, self.read.pop(uuid))
            elif uuid in self.blind:
                self.next[uuid] += 2.0
            else:
                self.next[uuid] += self.lag
                self.read[uuid] = blocks.decode(world.slots[uuid][OWN], OWN)

    def _judge(self, uuid: str, read: Beat | None) -> None:
        now = (read.sequence, read.generation) if read else (0, 0)
        last = self.known.setdefault(uuid, now)
        self.known[uuid] = now
        self.changed[uuid] += now[0] != last[0]
        self.equal[uuid] = self.equal[uuid] + 1 if now == last else 0
        if uuid not in self.alive_on:
            if self.changed[uuid] >= 2:
                self.alive_on.add(uuid)
        elif now[1] != last[1] or self.equal[uuid] >= self.threshold:
            self.alive_on.discard(uuid)
            self.evictions += not self.alive_on
        else:
            self.changed[uuid] = 0


class World:
    """Three regions and their slots, those who beat there, what goes wrong with a write, and a clock."""

    def __init__(self, *peers: Peer, crashed: tuple[str, ...] = REGIONS, size: int = SECTOR) -> None:
        self.now = 0.0
        self.size = size
        self.peers = list(peers)
        self.slots = {uuid: {number: bytes(size) for number in NAMES} for uuid in REGIONS}
        self.written: list[tuple[float, str]] = []
        self.said: list[str] = []
        self.outcomes: dict[str, Written] = {}
        self.at: list[tuple[float, Callable[[], Any]]] = []
        self.before_write: Callable[[], Any] = lambda: None
        for uuid in REGIONS:
            self.put(uuid, Beat(OWN, 500, 77 if uuid in crashed else 0, 62000, True))
            for peer in peers:
                self.beat(peer.number, uuid, peer.threshold)

    def put(self, uuid: str, beat: Beat) -> None:
        self.slots[uuid][beat.node] = blocks.encode(beat, self.size)

    def beat(self, number: int, uuid: str, threshold: int = 31, generation: int = 0) -> None:
        self.put(uuid, Beat(number, 1000 + int(self.now), generation or number * 11, threshold * 2000, True))

    def own(self, uuid: str) -> Beat:
        beat = blocks.decode(self.slots[uuid][OWN], OWN)
        assert beat is not None
        return beat

    def sight(self) -> Sight:
        beats = {
            uuid: {number: beat for number, block in slots.items() if (beat := blocks.decode(block, number))}
            for uuid, slots in self.slots.items()
        }
        return Sight(self.now, beats, {uuid: slots[OWN] for uuid, slots in self.slots.items()})

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            events = [when for when, _action in self.at] + [when for peer in self.peers for when in peer.next.values()]
            self.now = min([until, *(max(when, self.now + INSTANT) for when in events)])
            for when, action in [due for due in self.at if due[0] <= self.now]:
                self.at.remove((when, action))
                action()
            for peer in self.peers:
                peer.pass_time(self)

    def write(self, new: dict[str, tuple[bytes, bytes]]) -> dict[str, Written]:
        self.before_write()
        results = {}
        for uuid, (expected, block) in new.items():
            result = self.outcomes.get(uuid, Written(Outcome.WRITTEN))
            if self.slots[uuid][OWN] != expected:
                result = Written(Outcome.CHANGED)
            elif result.outcome is Outcome.WRITTEN:
                self.slots[uuid][OWN] = block
                self.written.append((self.now, uuid))
            results[uuid] = result
        return results

    def come_back(self) -> float:
        """Carry out the steps. Returns the seconds they took."""
        began = self.now
        steps = earlier_life.end(Life("n3", OWN, 62000, NAMES), self.sight())
        answer: Any = None
        while True:
            try:
                ask = steps.send(answer)
            except StopIteration:
                return self.now - began
            answer = None
            if isinstance(ask, Look):
                answer = self.sight()
            elif isinstance(ask, Pause):
                self.pass_time(ask.seconds)
            elif isinstance(ask, Write):
                answer = self.write(dict(ask.blocks))
            else:
                assert isinstance(ask, Say)
                self.said.append(ask.text)


def healthy(**options: Any) -> World:
    world = World(Peer(1), Peer(2, (1.1, 0.2, 1.8)), **options)
    world.pass_time(10)
    return world


def clone(world: World, uuid: str) -> None:
    world.beat(OWN, uuid, generation=99)


# nothing to end


@pytest.mark.parametrize("blank", [True, False], ids=["blank slots", "an orderly leave"])
def test_a_node_that_left_in_good_order_is_not_delayed(blank):
    world = healthy(crashed=())
    if blank:
        for uuid in REGIONS:
            world.slots[uuid][OWN] = bytes(SECTOR)
    assert world.come_back() == 0
    assert (world.written, world.said) == ([], [])


# watch, write, confirm


@pytest.mark.parametrize("size", [512, 4096])
def test_a_node_that_crashed_is_evicted_by_all_before_it_is_back(size):
    world = healthy(size=size)
    seconds = world.come_back()
    assert [peer.evictions for peer in world.peers] == [1, 1]
    assert 12 < seconds < 16
    assert {uuid for _when, uuid in world.written} == set(REGIONS)
    assert world.said[0].startswith("n3 did not leave in good order: it watches its slots for 6 s")
    assert world.said[-1] == "n1, n2 evicted the earlier life of n3: three beats of each on each region since"


def test_what_is_written_is_the_block_of_an_orderly_leave_but_for_the_mark():
    world = healthy()
    world.come_back()
    block = world.slots[A][OWN]
    assert world.own(A) == Beat(OWN, 501, 0, 62000, True)
    assert blocks.is_marked(block)
    fields = blocks.encode(world.own(A), SECTOR)
    assert not blocks.is_marked(fields)
    assert block[:12] + block[16:28] == fields[:12] + fields[16:28]


def test_only_the_slots_that_were_not_left_are_written():
    world = healthy(crashed=(B,))
    world.come_back()
    assert [uuid for _when, uuid in world.written] == [B]


def test_a_damaged_slot_counts_as_one_that_was_not_left():
    world = healthy(crashed=())
    world.slots[C][OWN] = world.slots[C][OWN][:20] + b"rubbish" + world.slots[C][OWN][27:]
    world.come_back()
    assert [uuid for _when, uuid in world.written] == [C]
    assert world.own(C).valid


def test_nodes_that_are_down_are_not_waited_for():
    world = healthy()
    world.peers = world.peers[:1]
    world.pass_time(5)
    assert world.come_back() < 16
    assert world.said[-1].startswith("n1 evicted")


def test_a_node_that_is_alone_waits_for_three_beats_and_three_more():
    world = World()
    assert 12 <= world.come_back() < 14
    assert world.said[-1] == "nobody else beats: the earlier life of n3 is over"


def test_a_peer_that_dies_meanwhile_is_waited_for_until_the_others_hold_it_for_dead():
    world = healthy()
    world.at.append((17.0, world.peers.pop))
    assert 62 < world.come_back() < 75
    assert world.said[-1].startswith("n1 evicted")


def test_a_peer_that_leaves_meanwhile_is_not_waited_for():
    world = healthy()

    def leave() -> None:
        world.peers.pop()
        for uuid in REGIONS:
            world.put(uuid, Beat(2, 2000, 0, 62000, True))

    world.at.append((17.0, leave))
    assert world.come_back() < 16


# clones


@pytest.mark.parametrize("seconds", [0.1, 3.0, 6.0])
def test_a_slot_that_moves_is_never_written(seconds):
    world = healthy()
    world.at.append((world.now + seconds, lambda: clone(world, B)))
    with pytest.raises(O2cbError, match="another machine heartbeats as node number 3 on region B") as refusal:
        world.come_back()
    assert world.written == []
    assert "give n3 a number of its own, or stop the other machine" in str(refusal.value)


def test_a_clone_on_a_region_that_was_left_in_good_order_is_seen_too():
    world = healthy(crashed=(A,))
    world.at.append((world.now + 3, lambda: clone(world, C)))
    with pytest.raises(O2cbError, match="on region C"):
        world.come_back()
    assert world.written == []


def test_a_beat_between_the_watch_and_the_write_is_seen():
    world = healthy()
    world.before_write = lambda: clone(world, B)
    with pytest.raises(O2cbError, match="on region B"):
        world.come_back()
    assert B not in [uuid for _when, uuid in world.written]
    assert world.own(B).generation == 99


def test_a_clone_that_begins_after_the_write_is_refused_too():
    world = healthy()
    world.at.append((world.now + 9, lambda: clone(world, A)))
    with pytest.raises(O2cbError, match="on region A"):
        world.come_back()


# blind peers


def test_a_peer_that_has_lost_a_region_keeps_the_node_from_coming_back():
    world = healthy()
    world.peers[1].blind.add(C)
    world.pass_time(100)
    with pytest.raises(O2cbError, match=f"n2 beats, and not on region {C}") as refusal:
        world.come_back()
    assert "mend the storage path of n2, or reboot it" in str(refusal.value)
    assert [peer.evictions for peer in world.peers] == [1, 0]


def test_the_next_try_still_knows_that_a_blind_peer_was_not_told():
    world = healthy()
    world.peers[1].blind.add(C)
    world.pass_time(10)
    for _try in range(3):
        with pytest.raises(O2cbError, match="n2 beats, and not on region C"):
            world.come_back()
    assert len(world.written) == 3, "once on each region"
    world.peers[1].blind.clear()
    assert world.come_back() < 10
    assert [peer.evictions for peer in world.peers] == [1, 1]


def test_a_peer_that_gets_its_region_back_in_time_is_waited_for():
    world = healthy()
    world.peers[1].blind.add(C)
    world.pass_time(10)
    world.at.append((world.now + 25, world.peers[1].blind.clear))
    assert 25 < world.come_back() < 35
    assert [peer.evictions for peer in world.peers] == [1, 1]
    assert "waiting, up to 30 s: n2 beats, and not on region " + C in world.said


def test_a_broken_off_try_is_taken_up_where_it_was():
    world = healthy()
    for uuid in REGIONS:
        world.slots[uuid][OWN] = blocks.ended(world.slots[uuid][OWN], OWN)
    assert 6 <= world.come_back() < 10
    assert world.written == []
    assert [peer.evictions for peer in world.peers] == [1, 1]


# disks that fail


@pytest.mark.parametrize(("own_dead_ms", "seconds"), [(62000, 66), (122000, 126)])
def test_a_slot_that_cannot_be_written_has_to_stand_still_for_its_dead_time_and_two_beats(own_dead_ms, seconds):
    world = healthy()
    world.put(C, Beat(OWN, 500, 77, own_dead_ms, True))
    world.outcomes[C] = Written(Outcome.FAILED, "Input/output error")
    assert seconds <= world.come_back() < seconds + 2
    assert any("on region " + C + " cannot be written (Input/output error)" in text for text in world.said)
    assert [peer.evictions for peer in world.peers] == [1, 1]


def test_a_write_that_failed_and_landed_all_the_same_is_no_clone():
    world = healthy()
    world.outcomes[C] = Written(Outcome.FAILED, "Input/output error")
    ended = blocks.ended(world.slots[C][OWN], OWN)
    world.at.append((world.now + 8, lambda: world.slots[C].update({OWN: ended})))
    assert world.come_back() >= 66


def test_a_write_that_hangs_keeps_the_node_from_beating():
    world = healthy()
    world.outcomes[B] = Written(Outcome.HUNG, "/dev/mapper/hb2 did not come back within 5 s")
    with pytest.raises(O2cbError, match=f"region {B}: .* a write that has not returned may land when n3 lives again"):
        world.come_back()


# all of it at once

PHASES = st.tuples(*[st.floats(0, 1.99)] * 3)
MOMENT = st.floats(0, 40)


@settings(max_examples=200, deadline=None)
@given(
    phases=st.lists(PHASES, min_size=1, max_size=2),
    lag=st.floats(0, 1.9),
    crashed=st.sets(st.sampled_from(REGIONS), min_size=1),
    blind=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(REGIONS), MOMENT, MOMENT), max_size=2),
    failing=st.sets(st.sampled_from(REGIONS), max_size=1),
)
def test_whoever_lives_has_evicted_a_node_before_it_is_back_whatever_was_in_the_way(
    phases, lag, crashed, blind, failing
):
    """Of `crashed`, the regions on which it did not leave, every peer holds it for live when it comes back too soon."""
    world = World(*[Peer(number, phase, lag=lag) for number, phase in enumerate(phases, 1)], crashed=tuple(crashed))
    world.pass_time(4)
    for peer in world.peers:
        peer.alive_on = set(crashed)
    for index, uuid, begin, seconds in blind:
        peer = world.peers[index % len(world.peers)]
        world.at.append((world.now + begin, lambda peer=peer, uuid=uuid: peer.blind.add(uuid)))
        world.at.append((world.now + begin + seconds, lambda peer=peer, uuid=uuid: peer.blind.discard(uuid)))
    world.outcomes = {uuid: Written(Outcome.FAILED, "Input/output error") for uuid in failing}
    refused = ""
    try:
        world.come_back()
    except O2cbError as error:
        refused = str(error)
    assert "beats, and not on region" in refused or {peer.evictions for peer in world.peers} == {1}
