# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster's locks in one thread: keepers, their workers, clients and the lock manager, driven by one seed.

A keeper dies between any two effects, a worker between any two steps; a node dies with all that runs on it. What the
dead leave behind is what the kernel keeps: slots, files, cached levels.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import effects, holding
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.core import Core
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.effects import Effect
from simulator.locks import workers
from simulator.locks.checks import Checks
from simulator.locks.kernel import Descriptor, File, LaneMount, LockManager, Pipe, Slot

RACK = 32
DEAD_SECONDS = 6.0
RECOVERY_SECONDS = 3.0
MESSAGE_SECONDS = 0.001


class Worker:
    """A process that does one job. Killed while it sleeps in the kernel, it dies when the call returns."""

    def __init__(self, keeper: Keeper, number: int, job: Any) -> None:
        self.keeper, self.number, self.job = keeper, number, job
        self.machine = keeper.machine
        self.node, self.world = keeper.machine.node, keeper.machine.world
        self.descriptors: list[Descriptor] = []
        self.pipe: Pipe | None = None
        self.steps = workers.JOBS[type(job).__name__](self, job)
        self.alive = True
        self.asleep = False
        self.killed = False
        self.machine.workers.add(self)
        self._slots = {slot: keeper.slots[slot] for slot in _slots_of(job)}
        self._lanes = {number: keeper.machine.lanes[number] for number in _lanes_of(job)}

    def slot(self, number: int) -> Slot:
        return self._slots[number]

    def lane(self, number: int) -> LaneMount:
        return self._lanes[number]

    def has(self) -> list[LaneMount]:
        """The mounts that it keeps from going."""
        return list(self._lanes.values())

    def go_on(self) -> None:
        """The next step, after whatever the last one has waited for."""
        self.asleep = False
        if not self.alive:
            return
        if self.killed:
            self.die()
            return
        try:
            pause = next(self.steps)
        except StopIteration as end:
            self.alive = False
            self.machine.workers.discard(self)
            if end.value is not None:
                self.keeper.message(self, *end.value)
            return
        seconds = pause
        if pause is workers.STEP or pause is workers.SLEEP:
            seconds = self.world.step_seconds(self.node, pause is workers.SLEEP)
            self.asleep = seconds > 0.2
        self.world.after(seconds, self.go_on)

    def kill(self) -> None:
        self.killed = True
        if not self.asleep:
            self.die()

    def die(self) -> None:
        if not self.alive:
            return
        self.alive = False
        self.machine.workers.discard(self)
        self.steps.close()
        for descriptor in self.descriptors:
            descriptor.close()
        self.descriptors = []
        self.end_pipe()
        self.keeper.worker_died(self)

    def end_pipe(self) -> None:
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None


def _slots_of(job: Any) -> list[int]:
    if isinstance(job, effects.Take):
        return [slot for slot, _what in job.locks]
    return [getattr(job, key) for key in ("slot", "old") if hasattr(job, key)]


def _lanes_of(job: Any) -> list[int]:
    if isinstance(job, (effects.Join, effects.MakeLane)):
        return []
    return [getattr(job, key) for key in ("lane", "second") if hasattr(job, key)]


class Keeper:
    """One life of o2keep on a machine: the core, and a shell that may die between any two effects."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.world = machine, machine.world
        self.alive = True
        self.slots: dict[int, Slot] = dict(machine.kept)
        self.workers: dict[int, Worker] = {}
        self.gifts: dict[int, list[Any]] = {}
        self.clients: set[Any] = set()
        self.listens = True
        self.started = self.world.now
        self.timer = 0
        self.watched: set[int] = set()
        dice = self.world.dice
        mark = self.world.marks.get(machine.node, 0)
        self.core: Core = self.world.core(lambda: f"{dice.getrandbits(64):016x}", random.Random(dice.random()), mark)
        for slot in self.slots.values():
            slot.sealed = True
        found = [
            (number, slot.message, slot.confirmed) for number, slot in self.slots.items() if slot.message is not None
        ]
        for number, slot in list(self.slots.items()):
            if slot.message is None:
                del self.slots[number]
        machine.kept = dict(self.slots)
        self.do(self.core.adopt(self.world.now, found))

    def do(self, found: list[Effect]) -> None:
        """Carry effects out."""
        for effect in found:
            if not self.alive:
                return
            if self.world.unlucky():
                self.die()
                return
            self.world.note("%s %s", self.machine.node, effect)
            getattr(self, f"_{type(effect).__name__.lower()}")(effect)
        if not self.alive:
            return
        due = self.core.due()
        if due is not None:
            self.timer += 1
            self.world.after(max(0.0, due - self.world.now), self._tick, self.timer)

    def _tick(self, number: int) -> None:
        if self.alive and number == self.timer:
            self.do(self.core.tick(self.world.now))

    def event(self, name: str, *arguments: Any) -> None:
        if self.alive:
            self.world.note("%s <- %s %s", self.machine.node, name, arguments)
            self.do(getattr(self.core, name)(self.world.now, *arguments))

    def _run(self, effect: effects.Run) -> None:
        for number in _lanes_of(effect.job):
            self.world.checks.lane_is_kept(self, number)
        worker = Worker(self, effect.number, effect.job)
        self.workers[effect.number] = worker
        self.world.after(self.world.queue_seconds(), self._begin, worker)

    def _begin(self, worker: Worker) -> None:
        if worker.alive and not worker.killed:
            self.event("begun", worker.number)
            worker.go_on()

    def message(self, worker: Worker, answer: dict[str, Any], gift: list[Any]) -> None:
        """A worker's answer is on its way. What it brings dies with an unread message."""
        for one in gift:
            if isinstance(one, Descriptor):
                worker.descriptors.remove(one)
        self.machine.mail.append((self, gift))
        self.world.after(MESSAGE_SECONDS, self._read, worker, answer, gift)

    def _read(self, worker: Worker, answer: dict[str, Any], gift: list[Any]) -> None:
        if (self, gift) not in self.machine.mail:
            return
        self.machine.mail.remove((self, gift))
        if not self.alive:
            for one in gift:
                one.close()
            return
        self.workers.pop(worker.number, None)
        if gift:
            self.gifts[worker.number] = gift
        self.event("answered", worker.number, answer)

    def worker_died(self, worker: Worker) -> None:
        if self.alive and self.workers.pop(worker.number, None) is not None:
            own = _slots_of(worker.job) if not isinstance(worker.job, effects.Convert) else [worker.job.slot]
            found = {slot: self.slots[slot].message for slot in own if self.slots[slot].message is not None}
            self.event("died", worker.number, found)

    def _drop(self, effect: effects.Drop) -> None:
        slot = self.slots[effect.slot]
        self.world.checks.emptied(self, effect.slot, slot)
        slot.empty()
        self.watched.discard(effect.slot)
        if slot.sealed:
            del self.slots[effect.slot], self.machine.kept[effect.slot]

    def _confirm(self, effect: effects.Confirm) -> None:
        self.slots[effect.slot].confirmed = True

    def _answer(self, effect: effects.Answer) -> None:
        gift = self.gifts.pop(effect.gift, []) if effect.gift else []
        if not _client(effect.asker).answered(self, effect.message, gift):
            for one in gift:
                one.close()
            self.event("unheard", effect)

    def _discard(self, effect: effects.Discard) -> None:
        for one in self.gifts.pop(effect.gift):
            one.close()

    def _watch(self, effect: effects.Watch) -> None:
        if effect.cgroup:
            self.watched.add(effect.slot)
            self.world.after(MESSAGE_SECONDS, self._look_at_group, effect.slot, effect.cgroup)
            return
        pipe = self.slots[effect.slot].pipe
        if pipe is not None:
            self.watched.add(effect.slot)
            if pipe.refs == 0:
                self.world.after(MESSAGE_SECONDS, self._ended, effect.slot)
            else:
                pipe.watchers.append(lambda: self.world.after(MESSAGE_SECONDS, self._ended, effect.slot))

    def _look_at_group(self, slot: int, group: str) -> None:
        if self.alive and slot in self.watched:
            if group in self.machine.groups:
                self.world.after(0.25, self._look_at_group, slot, group)
            else:
                self._ended(slot)

    def _ended(self, slot: int) -> None:
        if slot in self.watched:
            self.watched.discard(slot)
            self.event("ended", slot)

    def _grow(self, _effect: effects.Grow) -> None:
        self.world.after(0.002 + 0.02 * self.world.dice.random(), self._grown)

    def _grown(self) -> None:
        if self.alive:
            new = {next(self.world.numbers): Slot() for _number in range(RACK)}
            self.slots.update(new)
            self.machine.kept.update(new)
            self.event("slots_added", list(new))

    def _closelanes(self, effect: effects.CloseLanes) -> None:
        self.world.after(0.1 + self.world.dice.random(), self._closed, effect)

    def _closed(self, effect: effects.CloseLanes) -> None:
        if self.alive:
            self.machine.unmount()
            self.event("closed")
            _client(effect.asker).answered(self, {"left": True}, [])

    def _audit(self, effect: effects.Audit) -> None:
        self.world.checks.audited(self, effect)

    def _say(self, effect: effects.Say) -> None:
        pass

    def terminate(self) -> None:
        """SIGTERM: nothing more is read, and what is under way is brought to its end, for two seconds at most."""
        if self.alive and self.listens:
            self.world.note("%s keeper is stopped", self.machine.node)
            self.listens = False
            self.event("drain")
            self._drain(self.world.now + 2.0)

    def _drain(self, until: float) -> None:
        if self.alive:
            if self.workers and self.world.now < until:
                self.world.after(0.05, self._drain, until)
            else:
                self.die()

    def die(self) -> None:
        """kill -9. Its workers see the end of their channel when they next look."""
        if not self.alive:
            return
        self.world.note("%s keeper dies", self.machine.node)
        self.alive = self.listens = False
        self.world.checks.keeper_died(self)
        for gift in self.gifts.values():
            for one in gift:
                one.close()
        self.gifts.clear()
        for keeper, gift in [entry for entry in self.machine.mail if entry[0] is self]:
            self.machine.mail.remove((keeper, gift))
            for one in gift:
                one.close()
        for worker in list(self.workers.values()):
            if self.world.dice.random() < 0.3:
                worker.kill()
        self.machine.unmount()
        if self.world.damage and self.world.dice.random() < self.world.damage:
            jobs = [worker.job for worker in self.workers.values()]
            self.machine.spoil({job.old for job in jobs if isinstance(job, effects.Convert)})
        self.world.after(0.05 + 0.3 * self.world.dice.random(), self.machine.start)
        for client in list(self.clients):
            self.world.after(MESSAGE_SECONDS, client.lost, self)


class Machine:
    """A node: what outlives its keeper."""

    def __init__(self, world: World, node: int) -> None:
        self.world, self.node = world, node
        self.kept: dict[int, Slot] = {}
        self.lanes: dict[int, LaneMount] = {}
        self.mail: list[tuple[Keeper, list[Any]]] = []
        self.keeper: Keeper | None = None
        self.down = False
        self.clients: set[Any] = set()
        self.workers: set[Worker] = set()
        """Those who live, also those of dead keepers."""

        self.groups: set[str] = set()
        """Control groups with a process in them."""

    def unmount(self) -> None:
        """A mount goes with the last who has it, and all that it caches with it."""
        used = {number for worker in self.workers for number in _lanes_of(worker.job)}
        for number, lane in list(self.lanes.items()):
            if lane.refs == 0 and number not in used:
                del self.lanes[number]
                for file in list(lane.files.values()):
                    self.world.manager.drop(file)
                    self.world.manager.stir(file.key)

    def spoil(self, converted: set[int]) -> None:
        """A lock's message becomes one that nobody can read, as those of a later version are.

        Not that of one that is just being converted: of such a lock there may be a second copy in a moment.
        """
        locks = [(slot.message or {}).get("lock", {}).get("id") for slot in self.kept.values()]
        found = [
            (number, slot)
            for number, slot in self.kept.items()
            if slot.message is not None
            and slot.confirmed
            and number not in converted
            and slot.message.get("lock", {}).get("kind") == holding.NODE
            and locks.count(slot.message["lock"]["id"]) == 1
        ]
        if found:
            number, slot = self.world.dice.choice(found)
            self.world.note("%s slot %s is spoilt: %s", self.node, number, slot.message)
            self.world.checks.spoilt(self.node, slot)
            unreadable: list[dict[str, Any]] = [{"v": 99, "lock": slot.message}, {}, {"v": 1, "lock": {"id": 7}}]
            slot.message = self.world.dice.choice(unreadable)

    def start(self) -> None:
        if not self.down and (self.keeper is None or not self.keeper.alive):
            self.keeper = Keeper(self)
            for client in list(self.world.clients):
                if client.machine is self:
                    client.connect()


class World:
    """Everything. Events are run in the order of their times."""

    def __init__(self, seed: int, size: int, core: type[Core] = Core, trace: bool = False) -> None:
        self.dice = random.Random(seed)
        self.core = core
        self.now = 0.0
        self.trace: list[str] | None = [] if trace else None
        self.numbers = itertools.count(1)
        self.manager = LockManager()
        self.manager.closed = self._closed  # type: ignore[method-assign]
        self.marks: dict[int, int] = {}
        self.machines = {node: Machine(self, node) for node in range(1, size + 1)}
        self.clients: list[Any] = []
        self.checks = Checks(self)
        self.crashes = 0.0
        self.sleeps = 0.0
        self.slow_disk = 0.0
        self.slow_join = 0.0
        self.damage = 0.0
        self.many = False
        """Somebody has asked for a long list of names."""

        self.recovering = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._counter = itertools.count()

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._counter), call, arguments))

    def run(self, until: float) -> None:
        events = self._events
        while events and events[0][0] <= until:
            when, _number, call, arguments = heapq.heappop(events)
            self.now = when
            call(*arguments)
        self.now = until

    def note(self, text: str, *arguments: Any) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:8.3f} " + text % arguments)

    # chance

    def unlucky(self) -> bool:
        return self.crashes > 0 and self.dice.random() < self.crashes

    def queue_seconds(self) -> float:
        return 0.0005 * self.dice.random()

    def step_seconds(self, _node: int, may_sleep: bool) -> float:
        if may_sleep and self.now < self.recovering and self.dice.random() < 0.8:
            return self.recovering - self.now + self.dice.random()
        if self.sleeps and self.dice.random() < self.sleeps:
            return 0.3 + 5 * self.dice.random()
        return 0.0003 + 0.001 * self.dice.random()

    def join_seconds(self) -> float:
        return 25 * self.dice.random() if self.slow_join and self.dice.random() < self.slow_join else 0.01

    def join_fails(self) -> bool:
        return bool(self.slow_join) and self.dice.random() < self.slow_join / 4

    def disk_seconds(self) -> float:
        return 7 * self.dice.random() if self.slow_disk and self.dice.random() < self.slow_disk else 0.001

    def disk_fails(self) -> bool:
        return bool(self.slow_disk) and self.dice.random() < self.slow_disk / 3

    # the lock manager

    def _closed(self, file: File) -> None:
        self.checks.closed(file)
        self.manager.stir(file.key)

    def sign(self, node: int, domain: str, stored: str, exclusive: bool) -> int:
        """The fencing token of a grant, as the record on disk gives it."""
        key = (domain, stored)
        known = self.manager.values.get(key)
        if not exclusive:
            return known or 0
        keeper = self.machines[node].keeper
        token = (known if known is not None else max([0, *self.marks.values()])) + 1
        token = max(token, keeper.core.seen + 1 if known is None and keeper is not None else 0)
        self.manager.values[key] = token
        return token

    # faults

    def kill_worker(self, node: int) -> None:
        keeper = self.machines[node].keeper
        if keeper is not None and keeper.workers:
            self.dice.choice(list(keeper.workers.values())).kill()

    def kill_keeper(self, node: int) -> None:
        keeper = self.machines[node].keeper
        if keeper is not None and keeper.alive:
            keeper.die()

    def kill_node(self, node: int) -> None:
        """A power cut. Its locks go with its eviction; until then calls of others sleep."""
        machine = self.machines[node]
        if machine.down:
            return
        self.note("%s power cut", node)
        machine.down = True
        keeper = machine.keeper
        self.checks.node_died(node)
        if keeper is not None:
            keeper.alive = False
        for worker in machine.workers:
            worker.alive = False
        machine.workers.clear()
        for worker_keeper, gift in list(machine.mail):
            machine.mail.remove((worker_keeper, gift))
        machine.kept = {}
        for lane in machine.lanes.values():
            lane.dead = True
        machine.lanes = {}
        for client in list(machine.clients):
            client.power_cut()
        machine.groups.clear()
        self.recovering = max(self.recovering, self.now + DEAD_SECONDS + RECOVERY_SECONDS)
        self.after(DEAD_SECONDS, self.manager.evict, node)
        self.after(DEAD_SECONDS + 1 + 3 * self.dice.random(), self._boot, machine)

    def _boot(self, machine: Machine) -> None:
        machine.down = False
        machine.keeper = None
        machine.start()


def _client(asker: Any) -> Any:
    """Who asked, as what it is here."""
    return asker
