# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that gives out fencing tokens by the record on disk, driven by one seed.

What is true of the real parts and matters to the record: a write to a region lands when it lands, also after its node
died, and is whole unless the power fails in it; a node that stands still for the dead time is evicted, its locks go to
others without their value blocks, and it may do some more I/O when it goes on; a lock that nobody uses loses its value
block; two workers of a node share one process that reads and writes the record.

A region is set back to what it held before only when all others have all marks: that is what the record promises to
survive. It fails, is blanked or overwritten at any time, and so are slots torn.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import rules
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.format import (
    BLANK,
    FOREIGN,
    TORN,
    VALID,
    Header,
    Slot,
    View,
    majority,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.refusals import RefusedError, RetakeError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.rules import (
    Asked,
    Lane,
    Ledger,
    Read,
    Reading,
    Write,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat

DEAD_TIME = 14.0
STEP_SECONDS = 0.06
"""Mean time between two steps of anything."""

AGE_SECONDS = 0.2
"""Beats, thaws and evictions are looked at so often."""

SELF_FENCE = 12.0
NEVER = float("inf")
LOCKS = 2
WORKERS = 2
ZOMBIE_STEPS = 14
"""At most so much I/O of single regions does an evicted node do before it resets itself."""

BOOT = "00" * 16


Outcome = TypeVar("Outcome")
Steps = Generator[None, None, Outcome]


class Violation(Exception):
    """An invariant does not hold. `name` is that of the invariant."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


@dataclass(eq=False)
class Region:
    """One heartbeat region: what its sectors hold."""

    uuid: str
    header: Header | None = None
    kind: str = BLANK
    slots: dict[int, Slot] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)
    beats: dict[int, int] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    """The nodes that cannot reach it."""
    past: list[tuple[Header | None, dict[int, Slot]]] = field(default_factory=list)

    def view(self) -> View:
        return View(self.kind, self.header, dict(self.slots), dict(self.bad))

    def keep(self) -> None:
        self.past.append((self.header, dict(self.slots)))


@dataclass(eq=False)
class Flight:
    """A write that was issued and has not landed."""

    region: Region
    slot: Slot
    node: Node
    life: int
    lands: float
    fails: bool = False


@dataclass
class Lock:
    holder: tuple[int, int] | None = None
    """Node and its life."""
    value: int | None = None
    acquired: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    """The tokens that were answered, by the number of the acquisition."""


class Node:
    """A machine, with the process that keeps its record."""

    def __init__(self, number: int, world: World) -> None:
        self.number = number
        self.world = world
        self.regions = [region.uuid for region in world.regions]
        self.up = True
        self.life = 0
        self.stopped: float | None = None
        """Since when it stands still, or is dead."""
        self.until = 0.0
        self.evicted = False
        self.evicted_at = 0.0
        self.budget = 0
        self.runs_since = 0.0
        self.whole_since = NEVER
        """Since when it beats on a majority of its regions; without, it resets itself after a while."""
        self.lost = 0.0
        self.stalls: list[tuple[float, float]] = []
        self.granted = 0
        self.answers = 0
        self.tick = 0
        self.local = world.floor()
        self.next_reading = itertools.count(1).__next__
        self.tasks: list[Iterator[None]] = []
        self.flying: set[str] = set()
        """Regions with a write of a process before, which does not return."""
        self.start()

    def start(self) -> None:
        """A new process: it knows what the disks say."""
        self.life += 1
        self.ledger = self.world.ledger(
            self.number, BOOT, self.regions, int(DEAD_TIME * 1000), local=self.local, seen=self.world.created
        )
        self.ledger.step = self.world.mark_step
        self.lanes = {uuid: self.world.lane() for uuid in self.regions}
        self.page = (0, 0)
        self.granted = 0
        self.busy = False
        self.due = True
        self.tasks = [self.world.worker(self) for _number in range(WORKERS)]

    def runs(self) -> bool:
        return self.up and self.stopped is None


def sign(node: Node, ask: Asked) -> Any:
    return node.ledger.sign([ask])


class World:
    ledger: type[Ledger] = Ledger
    lane: type[Lane] = Lane
    shared = False
    """All nodes write one slot."""

    def __init__(self, seed: int, nodes: int, regions: int, mutant: type[World] | None = None, trace: bool = False):
        self.dice = random.Random(seed)
        self.trace: list[str] | None = [] if trace else None
        self.now = 100.0
        self.ages = 0.0
        self.pace = 1 / STEP_SECONDS
        self.created = False
        self.mark_step = (rules.STEP, 2)[seed % 2]
        """Marks that are hardly ahead of the tokens find more."""
        self.incoming: Region | None = None
        self.named: dict[str, Region] = {}
        self.regions = [self.region(number) for number in range(1, regions + 1)]
        self.flights: list[Flight] = []
        self.locks = [Lock() for _number in range(LOCKS)]
        self.committed = 0
        self.marks: dict[int, int] = {}
        """By node."""
        """The largest mark that any node had on a majority and knew of."""
        self.generation = 0
        self.damaged: set[str] = set()
        """Regions whose contents were changed by a fault, until all is whole again."""
        self.answered = 0
        self.refused = 0
        self.retaken = 0
        self.spare = regions
        self.setbacks = 0
        self.late = 0.1
        """Share of the writes that land late."""
        self.exchange: Iterator[None] | None = None
        self.nodes = [Node(number, self) for number in range(1, nodes + 1)]
        for region in self.regions:
            region.header, region.kind = Header(region.uuid, "lab", 1, self.floor()), VALID
            region.keep()
        self.created = True
        for node in self.nodes:
            node.start()

    def region(self, number: int) -> Region:
        made = Region(f"{number:032X}")
        self.named[made.uuid] = made
        return made

    def floor(self) -> int:
        return 5000

    def note(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:9.2f} {text}")

    def by_uuid(self, uuid: str) -> Region:
        return self.named[uuid]

    # Time

    def step(self) -> None:
        self.now += self.dice.expovariate(self.pace)
        if self.flights:
            for flight in [flight for flight in self.flights if flight.lands <= self.now]:
                if flight in self.flights:
                    self.land(flight)
        if self.now >= self.ages:
            self.ages = self.now + AGE_SECONDS
            for node in self.nodes:
                self._age(node)
            if self.damaged and self.whole():
                self.damaged.clear()
        runnable = [node for node in self.nodes if node.runs()]
        if runnable:
            node = self.dice.choice(runnable)
            task = self.dice.choice(node.tasks)
            next(task)

    def _age(self, node: Node) -> None:
        """Beats, thaws and evictions."""
        if node.runs():
            tick = int(self.now)
            if tick == node.tick:
                return
            node.tick = tick
            for index, region in enumerate(self.regions):
                if node.number not in region.gone and (tick + index) % 2 == 0:
                    region.beats[node.number] = tick + 1000 * node.number
            reached = sum(node.number not in self.by_uuid(uuid).gone for uuid in node.regions)
            if reached >= majority(node.regions):
                node.whole_since = min(node.whole_since, self.now)
            elif node.whole_since <= self.now:
                node.whole_since, node.lost = NEVER, self.now
            elif self.now - node.lost >= SELF_FENCE:
                self.crash(node)
            return
        if node.stopped is not None and node.up and self.now >= node.until:
            node.stalls.append((node.stopped, self.now))
            node.stopped, node.runs_since = None, self.now
            self.note(f"node {node.number} goes on{', evicted' if node.evicted else ''}")
            return
        if not node.evicted and node.stopped is not None:
            since = max(node.stopped, self.now - 10 * DEAD_TIME)
            witnesses = [other for other in self.nodes if other.runs() and not other.evicted and other is not node]
            if any(self.now - max(since, other.runs_since, other.whole_since) >= DEAD_TIME for other in witnesses):
                self.evict(node)
        if not node.up and not any(other.up for other in self.nodes) and self.dice.random() < 0.01:
            self.evict(node)
        if node.evicted and not node.up and self.dice.random() < 0.02:
            self.boot(node)

    def evict(self, node: Node) -> None:
        node.evicted, node.evicted_at = True, self.now
        self.note(f"node {node.number} is evicted")
        for lock in self.locks:
            if lock.holder is not None and lock.holder[0] == node.number:
                lock.holder, lock.value = None, None
            elif self.dice.random() < 0.5:
                lock.value = None

    def boot(self, node: Node) -> None:
        for flight in [flight for flight in self.flights if flight.node is node]:
            self.land(flight)
        node.up, node.evicted, node.stopped, node.runs_since = True, False, None, self.now
        node.whole_since, node.lost = NEVER, self.now
        node.stalls = []
        node.flying.clear()
        node.start()
        self.note(f"node {node.number} boots")

    # I/O

    def land(self, flight: Flight) -> None:
        self.flights.remove(flight)
        region, slot, node = flight.region, flight.slot, flight.node
        ok = not flight.fails
        if ok:
            before = region.slots.get(slot.node)
            if self.shared:
                before = None
            elif slot.node != node.number:
                raise Violation("I3 one writer", f"node {node.number} writes the slot of {slot.node}")
            if before is not None and before.mark > slot.mark:
                raise Violation("I3 no mark falls", f"{before.mark} to {slot.mark} on {region.uuid[-1]}")
            region.slots[slot.node] = slot
            region.bad.pop(slot.node, None)
            self.note(f"node {node.number} has written {slot.mark} on {region.uuid[-1]}")
            if self.dice.random() < 0.2:
                region.keep()
        if node.life != flight.life:
            if not any((f.node, f.region) == (node, region) and f.life != node.life for f in self.flights):
                node.flying.discard(region.uuid)
            return
        if node.up:
            lane = node.lanes.get(region.uuid)
            following = lane.returned(ok) if lane else None
            if following is not None:
                self.fly(node, region, following)

    def fly(self, node: Node, region: Region, slot: Slot) -> None:
        """Issue a write. It lands soon, or late."""
        busy = self.is_locked(node, region)  # A process before has one under way, and its lock on the region says so.
        late = self.dice.random() < self.late and not busy
        seconds = self.dice.expovariate(1 / (12.0 if late else STEP_SECONDS))
        fails = busy or node.number in region.gone
        self.flights.append(Flight(region, slot, node, node.life, self.now + seconds, fails))

    def is_locked(self, node: Node, region: Region) -> bool:
        return region.uuid in node.flying

    def pause(self, node: Node) -> Iterator[None]:
        """One I/O of one region: anything may happen before it."""
        yield
        if node.evicted:
            node.budget -= 1
            if node.budget < 0:
                self.crash(node)
                while True:
                    yield

    def read(self, node: Node, wish: Read) -> Steps[tuple[Reading, int]]:
        """All regions, in any order, each at its own moment."""
        number = node.next_reading()
        views: dict[str, View] = {}
        beats: dict[str, dict[int, Beat]] = {}
        problems: dict[str, str] = {}
        committed, setbacks = self.committed, self.setbacks
        order = list(node.regions)
        self.dice.shuffle(order)
        for uuid in order:
            region = self.by_uuid(uuid)
            yield from self.pause(node)
            if node.number in region.gone or self.is_locked(node, region):
                problems[uuid] = "Input/output error"
                continue
            views[uuid] = region.view()
            beats[uuid] = {
                other: Beat(other, sequence, 1, int(DEAD_TIME * 1000), True) for other, sequence in region.beats.items()
            }
            have = [name for name in views if name in wish.among and node.ledger.counts(views[name])]
            if not wish.everyone and len(have) >= node.ledger.needed():
                break
        own_clock = self.now - sum(end - start for start, end in node.stalls)
        if setbacks != self.setbacks:
            committed = 0  # What it read before may be as old as what it read after.
        return Reading(number, own_clock, views, beats, problems), committed

    def write(self, node: Node, wish: Write) -> Steps[frozenset[str]]:
        asked = {}
        for uuid, slot in wish.slots.items():
            yield from self.pause(node)
            region = self.by_uuid(uuid)
            lane = node.lanes[uuid]
            following = lane.want(slot)
            asked[uuid] = slot.sequence
            if following is not None:
                self.fly(node, region, following)
        for _patience in range(12):
            done = frozenset(uuid for uuid, sequence in asked.items() if node.lanes[uuid].written >= sequence)
            if len(done) >= node.ledger.needed() and self.dice.random() < 0.7:
                break
            yield
        return frozenset(uuid for uuid, sequence in asked.items() if node.lanes[uuid].written >= sequence)

    def carry_out(self, node: Node, steps: Any) -> Steps[tuple[Any, float]]:
        """Drive a generator of the ledger, and show its page to the workers. Returns (outcome, last reading's end)."""
        fact: Any = None
        last = self.now
        while True:
            try:
                wish = steps.send(fact)
            except StopIteration as end:
                self._publish(node)
                return end.value, last
            self._publish(node)
            if isinstance(wish, Read):
                fact, committed = yield from self.read(node, wish)
                last = self.now
                self._check_reading(node, fact, committed)
                if fact.number and self._enough(node, fact):
                    node.page = (fact.number, node.ledger.mark)
            else:
                fact = yield from self.write(node, wish)

    def _enough(self, node: Node, reading: Reading) -> bool:
        return sum(node.ledger.counts(view) for view in reading.views.values()) >= node.ledger.needed()

    def _publish(self, node: Node) -> None:
        self.committed = max(self.committed, node.ledger.mark)
        self.marks[node.number] = max(self.marks.get(node.number, 0), node.ledger.mark)
        node.local = max(node.local, node.ledger.mark)
        node.page = (node.page[0], node.ledger.mark)

    def _check_reading(self, node: Node, reading: Reading, committed: int) -> None:
        answering = [view for view in reading.views.values() if view.answers]
        if len(answering) >= majority(node.regions):
            top = max(view.top() for view in answering)
            if top < committed:
                raise Violation("I4 a commit is read", f"node {node.number} reads {top} after {committed}")

    # What the workers do

    def worker(self, node: Node) -> Iterator[None]:
        """One worker: a take, or what the process does for itself, again and again."""
        while True:
            yield
            if node.evicted:
                yield from self.pause(node)
                continue
            if self.dice.random() < (0.3 if node.due else 0.02):
                yield from self.operate(node, node.ledger.catch_up)
                continue
            if self.dice.random() < 0.05:
                yield from self.operate(node, lambda: node.ledger.reach(node.granted))
                continue
            yield from self.take(node, self.dice.randrange(LOCKS))

    def operate(self, node: Node, steps: Callable[[], Any]) -> Steps[tuple[Any, float]]:
        """One at a time. Returns what came of it, or the error."""
        while node.busy:
            yield
        node.busy = True
        life = node.life
        try:
            outcome, last = yield from self.carry_out(node, steps())
        except O2cbError as error:
            outcome, last = error, self.now
        if node.life == life:
            node.busy = False
            node.due = False
        return outcome, last

    def take(self, node: Node, index: int) -> Iterator[None]:
        lock = self.locks[index]
        for _attempt in range(4):
            since, mark = node.page
            yield
            if lock.holder is not None or node.evicted:
                return
            lock.holder = me = (node.number, node.life)
            lock.acquired += 1
            order, granted = lock.acquired, self.now
            if self.dice.random() < 0.6:
                lock.value = None
            previous, largest = lock.value, node.granted
            self.note(f"node {node.number} has lock {index} as number {order}, previous {previous}")
            yield from self.pause(node)
            if self.without_disk(node, previous, mark):
                outcome: Any = (previous or 0) + 1
                last = granted
            else:
                outcome, last = yield from self.operate(node, partial(sign, node, Asked(previous, largest, since)))
                if isinstance(outcome, list):
                    outcome = outcome[0]
            if isinstance(outcome, int):
                if lock.holder == me:
                    lock.value = outcome
                yield
                self._check_answer(node, index, order, outcome, granted, last)
                node.granted = max(node.granted, outcome)
                for _hold in range(self.dice.randrange(4)):
                    yield
            if lock.holder == me:
                lock.holder = None
            if isinstance(outcome, RetakeError):
                self.retaken += 1
                continue
            if isinstance(outcome, RefusedError):
                self.refused += 1
                self.note(f"node {node.number} is refused: {outcome}")
            elif isinstance(outcome, O2cbError):
                raise Violation("no clocks", str(outcome))
            return

    def without_disk(self, node: Node, previous: int | None, mark: int) -> bool:
        return previous is not None and previous < mark

    def _check_answer(self, node: Node, index: int, order: int, token: int, granted: float, last: float) -> None:
        lock = self.locks[index]
        self.note(f"node {node.number} answers {token} for lock {index}, number {order}")
        for other, answered in lock.answers.items():
            if (other < order and answered >= token) or (other > order and answered <= token):
                raise Violation(
                    "I1 tokens rise",
                    f"lock {index}: {answered} for acquisition {other}, {token} for {order} of node {node.number}",
                )
        lock.answers[order] = token
        self.answered += 1
        node.answers += 1
        have = [uuid for uuid in node.regions if self._covers(uuid, token)]
        if len(have) < majority(node.regions):
            raise Violation("I2 below the mark", f"token {token} of node {node.number}: on {len(have)} regions")
        if node.evicted and granted < node.evicted_at < last:
            raise Violation("I8 no pause", f"node {node.number} was evicted at {node.evicted_at:.1f}")

    def _covers(self, uuid: str, token: int) -> bool:
        """Nobody who reads this region gives out that token again, as far as it was not changed by a fault since."""
        view = self.by_uuid(uuid).view()
        return uuid in self.damaged or not view.answers or view.top() >= token

    # Faults

    def whole(self) -> bool:
        """Every region answers, and has every mark, as far as a node that does not read its own does not know it."""
        marks = dict(self.marks)
        for region in self.regions:
            for number, slot in region.slots.items():
                marks[number] = max(marks.get(number, 0), slot.mark)
        return self.exchange is None and all(
            region.view().answers and all(self._tells(region, node, marks) for node in self.nodes)
            for region in self.regions
        )

    def _tells(self, region: Region, reader: Node, marks: dict[int, int]) -> bool:
        others = max((mark for number, mark in marks.items() if number != reader.number), default=0)
        known = reader.ledger.lower if reader.up and reader.ledger.started else 0
        said = [slot.mark for number, slot in region.slots.items() if number != reader.number or not known]
        floor = region.header.floor if region.header else 0
        return max([known, floor, *said]) >= others and region.view().top() >= max(marks.values(), default=0)

    def crash(self, node: Node) -> None:
        """Power cut. A write under way lands, or does not, or is torn."""
        self.note(f"node {node.number} dies")
        for flight in [flight for flight in self.flights if flight.node is node]:
            flight.life = -1
            if self.dice.random() < 0.5:
                self.flights.remove(flight)
                if self.dice.random() < 0.5:
                    flight.region.slots.pop(node.number, None)
                    flight.region.bad[node.number] = TORN
                    self.note(f"torn: its slot on {flight.region.uuid[-1]}")
        node.up, node.stopped = False, self.now if node.stopped is None else node.stopped

    def end_process(self, node: Node) -> None:
        """The process that keeps the record dies, with the one that holds the locks. Writes under way go on."""
        self.note(f"the process of node {node.number} dies")
        for lock in self.locks:
            if lock.holder == (node.number, node.life):
                lock.holder = None
        self.forget(node)
        node.start()

    def forget(self, node: Node) -> None:
        for flight in self.flights:
            if flight.node is node and not flight.fails:
                node.flying.add(flight.region.uuid)

    def may_damage(self, region: Region) -> bool:
        return len(self.regions) > 1 and not self.damaged and self.whole() and region in self.regions

    def fault(self) -> None:
        dice = self.dice
        node = dice.choice(self.nodes)
        region = dice.choice(self.regions)
        kind = dice.random()
        if kind < 0.12 and node.runs():
            self.crash(node)
        elif kind < 0.2 and node.runs():
            self.end_process(node)
        elif kind < 0.45 and node.runs():
            node.stopped = self.now
            node.until = self.now + dice.choice((1.0, 6.0, 10.0, 15.0, 20.0, 20.0))
            node.budget = dice.randrange(ZOMBIE_STEPS + 1)
            self.note(f"node {node.number} stands still until {node.until:.1f}")
        elif kind < 0.6:
            who = {node.number} if dice.random() < 0.6 else {other.number for other in self.nodes}
            region.gone |= who
            self.note(f"region {region.uuid[-1]} is gone for {sorted(who)}")
        elif kind < 0.75:
            region.gone.clear()
        elif kind < 0.85 and region.past and self.may_damage(region):
            self.damaged.add(region.uuid)
            region.header, region.slots = dice.choice(region.past)
            region.slots = dict(region.slots)
            self.setbacks += 1
            self.note(f"region {region.uuid[-1]} is set back")
        elif kind < 0.95:
            self.spoil(region if dice.random() < 0.4 else max(self.regions, key=lambda one: one.view().top()))
        elif self.exchange is None and self.may_damage(region) and len(self.regions) >= 3:
            self.exchange = self.replace(region)

    def spoil(self, region: Region) -> None:
        """It holds nothing any more, or something else: then it does not answer, and that may happen at any time."""
        if self.dice.random() < 0.6:
            region.header, region.kind, region.slots, region.bad = None, BLANK, {}, {}
            self.note(f"region {region.uuid[-1]} is blanked")
        else:
            region.header, region.kind = None, FOREIGN
            self.note(f"region {region.uuid[-1]} has a foreign header")

    def mend(self) -> bool:
        """What an administrator does: give every region that has no header one again."""
        for region in self.regions:
            if region is not self.incoming and (region.header is None or (region.bad and self.dice.random() < 0.02)):
                self.admit(region)
                return True
        return False

    def admit(self, region: Region) -> None:
        """A header with M as its floor; by hand from the nodes' own files where no majority is left to tell."""
        answering = [other.view() for other in self.regions if other is not region and other.view().answers]
        if len(answering) >= majority([other.uuid for other in self.regions]):
            floor = self.admitted(self.dice.sample(answering, majority([other.uuid for other in self.regions])))
        else:
            floor = max(node.local for node in self.nodes) + rules.STEP
        headers = [view.header for view in answering if view.header]
        if floor < self.committed:
            raise Violation("I6 no floor below M", f"floor {floor} on {region.uuid[-1]}, {self.committed} is committed")
        region.header, region.kind = rules.admission(region.uuid, "lab", floor, headers), VALID
        region.bad.clear()
        region.keep()
        self.note(f"region {region.uuid[-1]} gets a header with floor {floor}")

    def admitted(self, answering: list[View]) -> int:
        return max(view.top() for view in answering)

    def replace(self, old: Region) -> Iterator[None]:
        """R11: one region is added on every node, gets its header, and then the other is removed on every node."""
        self.spare += 1
        new = self.region(self.spare)
        self.note(f"region {new.uuid[-1]} is added, for {old.uuid[-1]}")
        self.regions.append(new)
        self.incoming = new
        yield from self.configure(lambda uuids: [*uuids, new.uuid])
        answering = [region.view() for region in self.regions if region.view().answers]
        while len(answering) < majority([region.uuid for region in self.regions]) or any(
            not node.runs() for node in self.nodes
        ):
            yield
            answering = [region.view() for region in self.regions if region.view().answers]
        floor = self.admitted(answering)
        if floor < self.committed:
            raise Violation("I6 no floor below M", f"floor {floor}, {self.committed} is committed")
        new.header, new.kind = rules.admission(new.uuid, "lab", floor, []), VALID
        new.keep()
        self.incoming = None
        self.note(f"region {new.uuid[-1]} gets a header with floor {floor}")
        yield
        yield from self.configure(lambda uuids: [uuid for uuid in uuids if uuid != old.uuid])
        self.regions.remove(old)
        self.exchange = None
        self.note(f"region {old.uuid[-1]} is removed")

    def configure(self, change: Callable[[list[str]], list[str]]) -> Iterator[None]:
        """Another list of regions, one node after the other. A node that is down learns it before it boots."""
        order = list(self.nodes)
        self.dice.shuffle(order)
        for node in order:
            for _pause in range(self.dice.randrange(12)):
                yield
            while node.up and not node.runs():
                yield
            node.regions = change(node.regions)
            if node.up:
                self.end_process(node)
