# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links by way of a process group: their generations in all orders, and the transport on a group that is imitated.

What corosync itself does is not imitated here to prove it: see tests/faults/bus/test_corosync.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import journal
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import frames
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.frames import (
    Ack,
    Echo,
    Frame,
    FrameError,
    Join,
    Refused,
    Submit,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport import cpg, group, libcpg
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport.cpg import Cpg
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport.group import (
    Address,
    Down,
    Greeting,
    Group,
    Message,
    Received,
    Up,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport.libcpg import (
    Changed,
    CpgError,
    Delivered,
    Departure,
    Happening,
    Process,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.transport.links import Peer

# The pure part


def test_number_zero_is_node_255_for_corosync() -> None:
    assert [group.node_id(number) for number in (0, 1, 254)] == [255, 1, 254]
    assert [group.number_of(group.node_id(number)) for number in range(255)] == list(range(255))
    assert [group.number_of(identifier) for identifier in (0, 256, 1 << 31)] == [-1, -1, -1]


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.tuples(st.integers(0, 254), st.integers(1, 2**32 - 1)), max_size=8, unique_by=lambda one: one[0]),
    st.lists(st.binary(max_size=100), min_size=1, max_size=5),
)
def test_a_message_comes_out_as_it_went_in(number: int, addresses: list[tuple[int, int]], bodies: list[bytes]) -> None:
    data = group.encode(Message(number, (), [Address(*one) for one in addresses], bodies))
    for node, generation in addresses:
        assert group.decode(data, node) == Message(number, (), [Address(node, generation)], bodies)
    other = next(node for node in range(255) if node not in dict(addresses))
    assert group.decode(data, other) == Message(number)


def test_a_greeting_is_for_the_one_that_it_names() -> None:
    data = group.encode(Message(7, [Greeting(1, 10, 0), Greeting(2, 20, 5)]))
    assert group.decode(data, 2) == Message(7, [Greeting(2, 20, 5)])
    assert group.decode(data, 3) == Message(7, [])


@given(st.binary(max_size=60))
def test_nonsense_is_refused_in_words(data: bytes) -> None:
    """Or it happens to be a message: nothing else is raised."""
    for prefix in (b"", b"o2\1\0", b"o2\1\1"):
        with contextlib.suppress(FrameError):
            group.decode(prefix + data, 1)


def test_another_version_is_named() -> None:
    data = bytearray(group.encode(Message(1)))
    data[2] = 9
    with pytest.raises(FrameError, match="version 9"):
        group.decode(bytes(data), 1)


def acks(*numbers: int) -> list[Frame]:
    return [Ack((1, 1, 1), number, 0) for number in numbers]


def unpacked(found: list[group.Parcel]) -> list[tuple[tuple[int, ...], list[Frame]]]:
    return [(parcel.nodes, [frames.decode(body) for body in parcel.bodies]) for parcel in found]


def test_what_several_are_to_get_is_sent_once() -> None:
    assert unpacked(group.parcels({1: acks(1, 2), 2: acks(1, 2)})) == [((1, 2), acks(1, 2))]


def test_a_node_that_is_to_get_more_gets_that_first() -> None:
    found = unpacked(group.parcels({1: acks(1, 2), 2: acks(9, 1, 2), 3: acks(1, 2, 8)}))
    assert found == [((2,), acks(9)), ((1, 2, 3), acks(1, 2)), ((3,), acks(8))]


def test_frames_of_two_kinds_with_the_same_fields_are_two() -> None:
    epoch = (1, 1, 1)
    found = unpacked(group.parcels({1: [Join(epoch)], 2: [Refused(epoch)]}))
    assert sorted(found) == [((1,), [Join(epoch)]), ((2,), [Refused(epoch)])]


@given(st.dictionaries(st.integers(0, 4), st.lists(st.integers(0, 3), max_size=8), max_size=4))
def test_each_node_gets_its_frames_in_their_order(wanted: dict[int, list[int]]) -> None:
    got: dict[int, list[Frame]] = {node: [] for node in wanted}
    for nodes, given_ in unpacked(group.parcels({node: acks(*numbers) for node, numbers in wanted.items()})):
        for node in nodes:
            got[node] += given_
    assert got == {node: acks(*numbers) for node, numbers in wanted.items()}


def test_long_frames_are_not_put_into_one_message() -> None:
    long: list[Frame] = [Submit(number, "c", bytes(40000)) for number in range(3)]
    assert [len(parcel.bodies) for parcel in group.parcels({1: long})] == [1, 1, 1]


def test_two_that_meet_hold_the_link_for_up_before_anything_comes_over_it() -> None:
    world = World(2)
    world.heal([[1, 2]])
    world.settle()
    assert [world.told[node] for node in (1, 2)] == [[Up(2)], [Up(1)]]


def test_a_message_of_before_the_partition_is_dropped_after_it() -> None:
    """It waited in corosync, and the same process is a member again."""
    world = World(2)
    world.heal([[1, 2]])
    world.settle()
    world.send(1, 2, 5)
    world.heal([[1], [2]])
    world.heal([[1, 2]])
    world.settle()
    assert world.told[2][1:] == [Down(1, "corosync has lost its node"), Up(1)]
    world.send(1, 2, 6)
    world.settle()
    assert world.told[2][-1] == Received(1, acks(6))


def test_a_gap_ends_the_link() -> None:
    world = World(2)
    world.heal([[1, 2]])
    world.settle()
    world.send(1, 2, 5)
    world.waiting[1].clear()
    world.send(1, 2, 6)
    world.settle()
    assert [type(event) for event in world.told[2]] == [Up, Down, Up]
    assert "is missing" in world.told[2][1].why


def test_who_sends_what_cannot_be_understood_is_left_alone_for_a_while() -> None:
    world = World(2)
    world.heal([[1, 2]])
    world.settle()
    world.waiting[1].append(b"nonsense")
    world.settle()
    assert "no message of an agent" in world.told[2][-1].why
    world.now += group.PENALTY_SECONDS + 1
    world.settle()
    assert world.told[2][-1] == Up(1)


def test_a_silent_peer_is_given_up_and_comes_back_when_it_speaks() -> None:
    world = World(2)
    world.heal([[1, 2]])
    world.settle()
    world.now += 20
    world.tell(2, world.groups[2].silent(world.now, 10))
    assert world.told[2][-1] == Down(1, "nothing came from it for 10 s")
    world.settle()
    assert world.told[2][-1] == Up(1)
    assert [type(event) for event in world.told[1]] == [Up, Down, Up]


def test_a_node_that_is_not_in_the_cluster_gets_no_link() -> None:
    world = World(3)
    world.groups[1].allow([1, 2])
    world.heal([[1, 2, 3]])
    world.settle()
    assert world.told[1] == [Up(2)]
    assert world.told[3] == [Up(2)]
    world.tell(1, world.groups[1].allow([1, 3]))
    world.settle()
    assert world.told[1][1:] == [Down(2, "its node is not in the cluster any more"), Up(3)]


class World:
    """A group that keeps its word, as virtual synchrony goes: messages that were sent wait with their sender for the
    next place in the order, and a change of the members can come before it."""

    def __init__(self, count: int) -> None:
        nodes = range(1, count + 1)
        self.groups = {node: Group(node, 1000 * node, nodes) for node in nodes}
        self.waiting: dict[int, deque[bytes]] = {node: deque() for node in nodes}
        self.sides: list[list[int]] = [[node] for node in nodes]
        self.numbers = dict.fromkeys(nodes, 0)
        self.told: dict[int, list[Any]] = {node: [] for node in nodes}
        self.now = 0.0
        for node in nodes:
            self.groups[node].changed(Changed([Process(node, node)], [], [Process(node, node)]), self.now)

    def heal(self, sides: list[list[int]]) -> None:
        """From now on these are together."""
        before = {node: side for side in self.sides for node in side}
        self.sides = sides
        for side in sides:
            for node in side:
                left = [Departure(Process(one, one), libcpg.NODEDOWN) for one in before[node] if one not in side]
                joined = [Process(one, one) for one in side if one not in before[node]]
                change = Changed([Process(one, one) for one in side], left, joined)
                self.tell(node, self.groups[node].changed(change, self.now))

    def put(self, node: int, **message: Any) -> None:
        self.numbers[node] += 1
        self.waiting[node].append(group.encode(Message(self.numbers[node], **message)))

    def greet(self, node: int) -> None:
        greetings = self.groups[node].greetings(self.now)
        if greetings:
            self.put(node, greetings=greetings)

    def send(self, node: int, peer: int, number: int) -> None:
        """As the transport does it: greetings come first."""
        self.greet(node)
        addresses = self.groups[node].addresses([peer])
        if addresses:
            self.put(node, addresses=addresses, bodies=[frames.encode(frame) for frame in acks(number)])

    def deliver(self, node: int) -> None:
        """The next message of a node, to all on its side."""
        data = self.waiting[node].popleft()
        side = next(side for side in self.sides if node in side)
        for peer in side:
            if peer != node:
                self.tell(peer, self.groups[peer].delivered(Delivered(Process(node, node), data), self.now))

    def tell(self, node: int, events: list[Any]) -> None:
        self.told[node] += events

    def settle(self) -> None:
        for _round in range(20):
            for node in self.groups:
                self.greet(node)
                while self.waiting[node]:
                    self.deliver(node)
        self.now += group.RETRY_SECONDS


@pytest.mark.parametrize("seed", range(300))
def test_links_are_ordered_and_lose_only_their_end(seed: int) -> None:
    """Whatever comes when: what is received between an Up and a Down was sent by the peer in one go, from the start of
    a link of its own and without a gap."""
    chance = random.Random(seed)
    world = World(3)
    number = 0
    links: dict[tuple[int, ...], list[int]] = {}
    for _step in range(200):
        node = chance.choice([1, 2, 3])
        peer = chance.choice([one for one in (1, 2, 3) if one != node])
        what = chance.random()
        if what < 0.05:
            sides = (
                [[1, 2, 3]] if chance.random() < 0.5 else chance.choice([[[1], [2, 3]], [[1, 2], [3]], [[1], [2], [3]]])
            )
            world.heal(sides)
        elif what < 0.07:
            world.tell(node, world.groups[node].end(peer, "test") if peer in world.groups[node].members else [])
        elif what < 0.3:
            world.greet(node)
        elif what < 0.6 and world.groups[node].addresses([peer]):
            number += 1
            link = world.groups[node].members[peer]
            links.setdefault((node, peer, link.mine, link.theirs), []).append(number)
            world.send(node, peer, number)
        elif world.waiting[node]:
            world.deliver(node)
        world.now += chance.choice([0.0, 0.0, 0.5])
    world.heal([[1, 2, 3]])
    world.settle()
    for node, told in world.told.items():
        for peer in (1, 2, 3):
            spans: list[list[int]] = []
            up = False
            for event in told:
                if event.node != peer:
                    continue
                if isinstance(event, Up):
                    assert not up
                    up = True
                    spans.append([])
                elif isinstance(event, Down):
                    assert up
                    up = False
                else:
                    assert up, "received without a link"
                    spans[-1] += [frame.have for frame in event.frames]  # type: ignore[union-attr]
            assert up == (peer != node)
            for span in spans:
                assert not span or any(sent[: len(span)] == span for sent in links.values()), (seed, span)


# The transport


class FakeGroup:
    """All processes of one imitated group, in one event loop."""

    def __init__(self) -> None:
        self.members: dict[int, FakeConnection] = {}
        self.lock = threading.Lock()
        self.refuse = 0
        self.hang = threading.Event()
        self.hang.set()

    def connect(self, node: int) -> FakeConnection:
        if self.refuse > 0:
            self.refuse -= 1
            raise CpgError("corosync on this node: it has ended, or does not run")
        connection = FakeConnection(self, node)
        with self.lock:
            self.members[node] = connection
            self.change([], [connection.me])
        return connection

    def change(self, left: list[Departure], joined: list[Process]) -> None:
        members = [member.me for member in self.members.values()]
        for member in self.members.values():
            member.put(Changed(members, left, joined))

    def lose(self, node: int) -> None:
        with self.lock:
            connection = self.members.pop(node)
            connection.broken = True
            connection.put(Changed([], [], []))
            self.change([Departure(connection.me, libcpg.PROCDOWN)], [])


class FakeConnection:
    """One of them."""

    def __init__(self, owner: FakeGroup, node: int) -> None:
        self.me = Process(group.node_id(node), 100 + node)
        self.owner, self.node = owner, node
        self.happened: deque[Happening] = deque()
        self.reading, self.writing = os.pipe()
        self.broken = False
        self.busy = 0

    def put(self, happening: Happening) -> None:
        self.happened.append(happening)
        os.write(self.writing, b"x")

    def fileno(self) -> int:
        return self.reading

    def dispatch(self, most: int) -> list[Happening]:
        if self.broken:
            raise CpgError("corosync on this node: it has ended, or does not run")
        found = []
        while self.happened and len(found) < most:
            os.read(self.reading, 1)
            found.append(self.happened.popleft())
        return found

    def multicast(self, data: bytes) -> bool:
        self.owner.hang.wait(10)
        with self.owner.lock:
            if self.busy > 0:
                self.busy -= 1
                return False
            for member in list(self.owner.members.values()):
                member.put(Delivered(self.me, data))
        return True

    def close(self) -> None:
        with self.owner.lock:
            if self.owner.members.get(self.node) is self:
                del self.owner.members[self.node]
                self.owner.change([Departure(self.me, libcpg.LEAVE)], [])


class Told:
    """What a transport has told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.frames: list[tuple[int, Frame]] = []

    def link_up(self, node: int) -> None:
        self.events.append(("up", node))

    def link_down(self, node: int) -> None:
        self.events.append(("down", node))

    def received(self, node: int, given_: Any) -> None:
        self.frames += [(node, frame) for frame in given_]


PEERS = {number: Peer(number, f"node{number}", f"10.0.0.{number}") for number in (0, 1, 2)}


class Three:
    """Three agents."""

    def __init__(self) -> None:
        self.group = FakeGroup()
        self.told = {number: Told() for number in PEERS}
        self.agents = {
            number: Cpg(peer, PEERS, "test", connect=lambda _name, number=number: self.group.connect(number))  # type: ignore[misc]
            for number, peer in PEERS.items()
        }

    async def open(self) -> None:
        for number, agent in self.agents.items():
            await agent.open(self.told[number])
        await until(lambda: all(len(told.events) >= 2 for told in self.told.values()))

    async def close(self) -> None:
        for agent in self.agents.values():
            await agent.close()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), seconds)


def run(test: Callable[[Three], Awaitable[None]]) -> None:
    async def main() -> None:
        three = Three()
        await three.open()
        try:
            await test(three)
        finally:
            await three.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "write", lambda *_words, **_fields: None)
        asyncio.run(main())


def test_frames_come_in_order_and_only_to_whom_they_are_sent() -> None:
    async def test(three: Three) -> None:
        for number in range(500):
            three.agents[0].send(1, acks(number))
            three.agents[0].send(2, acks(number) if number % 2 else [])
            if number % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(three.told[1].frames) == 500 and len(three.told[2].frames) == 250)
        assert three.told[1].frames == [(0, frame) for frame in acks(*range(500))]
        assert three.told[2].frames == [(0, frame) for frame in acks(*range(1, 500, 2))]
        assert three.told[0].frames == []
        assert [agent.troubles() for agent in three.agents.values()] == [{}, {}, {}]

    run(test)


def test_a_corosync_that_is_busy_is_asked_again() -> None:
    async def test(three: Three) -> None:
        three.group.members[0].busy = 7
        three.agents[0].send(1, acks(1))
        three.agents[0].send(1, acks(2))
        await until(lambda: len(three.told[1].frames) == 2)
        assert three.told[1].frames == [(0, frame) for frame in acks(1, 2)]

    run(test)


def test_when_corosync_ends_all_links_are_down_and_come_back_with_it() -> None:
    async def test(three: Three) -> None:
        three.group.refuse = 2
        three.group.lose(0)
        await until(lambda: three.told[0].events[2:] != [])
        assert sorted(three.told[0].events[2:4]) == [("down", 1), ("down", 2)]
        assert "has ended" in three.agents[0].troubles()[1]
        assert three.agents[1].troubles() == {0: "its agent has ended"}
        three.agents[0].send(1, acks(1))
        await until(lambda: len(three.told[0].events) == 6 and len(three.told[1].events) == 4)
        assert sorted(three.told[0].events[4:]) == [("up", 1), ("up", 2)]
        three.agents[0].send(1, acks(2))
        await until(lambda: three.told[1].frames != [])
        assert three.told[1].frames == [(0, acks(2)[0])], "what was sent without a link is lost"

    run(test)


def test_a_corosync_that_stands_still_does_not_stop_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpg, "SILENCE_SECONDS", 1.5)
    monkeypatch.setattr(cpg, "detection_seconds", lambda _token: 0.0)
    monkeypatch.setattr(cpg, "PULSE_SECONDS", 0.4)

    async def test(three: Three) -> None:
        three.group.hang.clear()
        three.agents[0].send(1, acks(1))
        await until(lambda: ("down", 1) in three.told[0].events)
        assert "nothing came from it" in three.agents[0].troubles()[1]
        three.group.hang.set()
        await until(
            lambda: three.told[0].events[-2:].count(("up", 1)) + three.told[0].events[-2:].count(("up", 2)) == 2
        )

    run(test)


def test_who_leaves_is_told_of_by_the_others_and_tells_nothing_more() -> None:
    async def test(three: Three) -> None:
        await three.agents[2].close()
        before = list(three.told[2].events)
        await until(lambda: ("down", 2) in three.told[0].events)
        three.agents[2].send(0, [Echo(1)])
        await asyncio.sleep(0.1)
        assert three.told[2].events == before
        assert three.agents[0].troubles() == {2: "its agent has left corosync's group"}

    run(test)


def test_a_corosync_that_runs_as_another_node_is_not_used() -> None:
    async def main() -> None:
        owner = FakeGroup()
        agent = Cpg(PEERS[0], PEERS, "test", connect=lambda _name: owner.connect(1))
        await agent.open(Told())
        await until(lambda: "runs as node 1" in agent.troubles()[1])
        await agent.close()
        await until(lambda: owner.members == {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "write", lambda *_words, **_fields: None)
        asyncio.run(main())


def test_the_bus_is_patient_while_corosync_looks_for_a_node() -> None:
    found = cpg.bus_settings(3000)
    assert (found.suspect_after, found.release_after) == (pytest.approx(7.6), pytest.approx(7.6))
    assert found._replace(suspect_after=3.0, release_after=6.0) == type(found)()
