# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three libvirts start, end and migrate one machine at once, in any order and cut off anywhere: it never runs twice.

Every request of a call is a step, and between two steps anything can happen on any node: its death, that of o2keep or
of libvirt, a process that does not end, minutes that pass.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import guard, machine
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.guard import STARTING_SECONDS, Verdict
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.machine import Machine
from ansible_collections.ocfs2.o2cb.tests.unit.vm.world import Node, World, xml

WEB = machine.parse(xml().encode())
FAILURES = ["before prepare", "while it is copied", "to end at the source"]
WEIGHTS = {"step": 20, "start": 8, "migrate": 8, "boot": 4, "end": 2}
"""So much more often than other things do these happen."""

Steps = Iterator[Any]


@dataclass(eq=False)
class Job:
    """Something under way on these nodes, the last of them a migration's destination. libvirt does one at a time."""

    steps: Steps
    nodes: tuple[Node, ...]
    libvirt: bool = True


class Cluster(World):
    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []
        self.sources: dict[int, tuple[Node, int]] = {}
        """By the process of a destination: the source of its migration, and the process there."""

        self.seen: Counter[str] = Counter()

    def answer(self, node: Node, ask: guard.Ask) -> Any:
        if isinstance(ask, guard.Settle):
            self.jobs.append(Job(self.unit(node, ask.ending), (node,), libvirt=False))
            return None
        return super().answer(node, ask)

    # what is under way

    def judged(self, node: Node, call: guard.Call[Verdict]) -> Generator[None, None, Verdict]:
        """A call of the hook, step by step."""
        verdict = Verdict(False)
        for event in self.steps(node, call):
            verdict = verdict if event is None else event[1]
            yield
        return verdict

    def start(self, node: Node, found: Machine = WEB, source: Node | None = None) -> Steps:
        verdict = yield from self.judged(node, guard.prepare(found))
        # libvirt launches QEMU right after this call, sooner than STARTING_SECONDS - LAUNCH_SECONDS.
        if verdict.allowed and self.run(node, guard.start(found)).allowed:
            self.launch(node)
            if source is not None and source.pid:
                self.sources[node.pid] = (source, source.pid)
            self.seen["starts"] += 1
            return
        self.seen["refusals"] += 1
        yield from self.judged(node, guard.release(found))

    def end(self, node: Node, lingers: bool = False) -> Steps:
        """The process may outlive what libvirt does."""
        if not lingers:
            node.pid = 0
        yield from self.judged(node, guard.release(WEB))
        yield
        node.pid = 0

    def migrate(self, source: Node, target: Node, fails: str) -> Steps:
        verdict = yield from self.judged(target, guard.migrate(WEB))
        if not verdict.allowed or fails == "before prepare":
            return
        found = machine.parse(verdict.output.encode()) if verdict.output else WEB
        yield from self.start(target, found, source)
        if not target.pid:
            return
        yield
        if fails == "while it is copied":
            yield from self.end(target)
            return
        self.seen["migrations"] += 1
        if fails != "to end at the source":
            yield from self.end(source)

    def reconnect(self, node: Node) -> Steps:
        return self.judged(node, guard.reconnect(WEB))

    def unit(self, node: Node, ending: int) -> Steps:
        """It looks again and again, until it is settled."""
        settled = False
        while not settled:
            for event in self.steps(node, guard.settle(WEB, ending)):
                settled = event is not None and event[1] == guard.SETTLED
                yield

    def check(self, node: Node) -> Steps:
        return self.steps(node, guard.settle(WEB))

    # what can happen

    def choices(self) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = [("step", job) for job in self.jobs]
        found += [("drop", job) for job in self.jobs if job.libvirt]
        found.append(("time", None))
        idle = [node for node in self.nodes if node.alive and not self._is_busy(node)]
        for node in self.nodes:
            found += [(what, node) for what in (("die", "keeper", "check") if node.alive else ("boot",))]
        for node in idle:
            found += [(what, node) for what in (("end", "linger", "reconnect") if node.pid else ("start",))]
            targets = [target for target in idle if node.pid and not target.pid]
            found += [("migrate", (node, target, fails)) for target in targets for fails in ("", *FAILURES)]
        return [event for event in found for _time in range(WEIGHTS.get(event[0], 1))]

    def _is_busy(self, node: Node) -> bool:
        return any(job.libvirt and node in job.nodes for job in self.jobs)

    def happen(self, what: str, which: Any) -> None:
        if what == "step":
            if next(which.steps, "over") == "over":
                self.jobs.remove(which)
        elif what == "drop":
            self.jobs.remove(which)
        elif what == "time":
            self.now += STARTING_SECONDS / 2
        elif what == "die":
            self._die(which)
        elif what == "boot":
            which.alive = which.keeper = True
        elif what == "keeper":
            which.keeper = not which.keeper
        elif what == "migrate":
            self.jobs.append(Job(self.migrate(*which), which[:2]))
        else:
            steps = self.end(which, lingers=True) if what == "linger" else getattr(self, what)(which)
            self.jobs.append(Job(steps, (which,), libvirt=what != "check"))

    def _die(self, node: Node) -> None:
        """Where the source of a migration dies, libvirt ends what has come of it."""
        for job in [job for job in self.jobs if node in job.nodes]:
            self.jobs.remove(job)
            if job.nodes[0] is node and len(job.nodes) == 2:
                self.jobs.append(Job(self.end(job.nodes[1]), job.nodes[1:]))
        self.die(node)

    # what must be

    def living(self) -> list[Node]:
        return [node for node in self.nodes if node.pid]

    def assert_safe(self) -> None:
        """The machine lives once, or at both ends of one migration."""
        found = self.living()
        assert len(found) <= 2
        if len(found) == 2:
            one, two = found
            pair = [(one, one.pid), (two, two.pid)]
            assert self.sources.get(one.pid) == pair[1] or self.sources.get(two.pid) == pair[0]
            assert self.holder() in (0, one.number, two.number)

    def calm_down(self) -> None:
        """Nothing new happens, o2keep runs everywhere, and libvirt restarts once."""
        for node in self.nodes:
            node.keeper = True
        for _turn in range(3):
            for _step in range(300):
                for job in list(self.jobs):
                    if job in self.jobs:
                        self.happen("step", job)
                self.assert_safe()
            self.now += STARTING_SECONDS
            for node in self.living():
                self.run(node, guard.reconnect(WEB))
            for node in self.nodes:
                if node.alive:
                    self.run(node, guard.settle(WEB))


def play(choices: list[int]) -> Cluster:
    cluster = Cluster()
    for number in choices:
        possible = cluster.choices()
        cluster.happen(*possible[number % len(possible)])
        cluster.assert_safe()
    return cluster


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(st.lists(st.integers(0, 9999), min_size=1, max_size=200))
def test_a_machine_never_runs_twice_and_no_lock_is_left_in_the_end(choices):
    cluster = play(choices)
    cluster.calm_down()
    living = cluster.living()
    held = {name: node for name, (node, _token, _since) in cluster.locks.items()}
    if len(living) == 2:
        # A migration whose source could not be ended: the source keeps the lock, and nobody else gets in.
        assert held.keys() == {WEB.run, WEB.incoming}
    else:
        assert list(held.items()) == [(WEB.run, node) for node in living]
        for node in living:
            cluster.happen("die", node)
        free = next(node for node in cluster.nodes if node.alive or not cluster.happen("boot", node))
        for _event in cluster.start(free):
            pass
        assert free.pid


def play_many(plays: int) -> Counter[str]:
    """Plays of 600 steps each, the same at each run, and what was seen in them."""
    seen: Counter[str] = Counter()
    for seed in range(plays):
        chance = random.Random(seed)
        seen += play([chance.randrange(10**6) for _number in range(600)]).seen
    return seen


def test_many_long_plays_are_safe_and_see_all_that_can_happen():
    seen = play_many(100)
    assert seen["starts"] > 100
    assert seen["refusals"] > 100
    assert seen["migrations"] > 30


def careless(machine: Machine) -> guard.Call[Verdict]:
    yield guard.Pause(0)
    return guard.ALLOWED


def takes_any_lock_for_a_permit(machine: Machine) -> guard.Call[Verdict]:
    view = yield guard.Look(machine)
    if view.incoming:
        return guard.ALLOWED
    taken = yield from guard._take_run(machine)
    return Verdict(taken.held)


def believes_that_it_has_ended(machine: Machine) -> guard.Call[Verdict]:
    yield from guard._let_go(machine, (yield guard.Look(machine)))
    return guard.ALLOWED


def takes_without_entering(machine: Machine) -> guard.Call[guard.Taken]:
    taken: guard.Taken = yield guard.Take(machine, machine.run)
    return taken


BROKEN = {
    "who does not look": {"prepare": careless, "start": careless},
    "who takes any start for a migration": {"prepare": takes_any_lock_for_a_permit, "start": careless},
    "who believes libvirt that a machine has ended": {"release": believes_that_it_has_ended},
    "who does not check before QEMU is launched": {"start": careless},
    "who comes in between": {"_take_run": takes_without_entering},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_guard_that_is_broken_would_be_found(monkeypatch, broken):
    for name, call in broken.items():
        monkeypatch.setattr(guard, name, call)
    with pytest.raises(AssertionError):
        play_many(400)
