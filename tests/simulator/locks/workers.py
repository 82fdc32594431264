# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers do, step by step: between any two steps one may sleep or die.

The real ones are locks/worker.py. A step that is a system call yields; what follows it happens at once.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import effects, holding, modes, names
from simulator.locks.kernel import EX, PR, Descriptor, LaneMount, Pipe, Slot

if TYPE_CHECKING:
    from simulator.locks.world import Worker

STEP = "step"
SLEEP = "sleep"
"""A call into the lock manager: it sleeps while a node is being recovered."""

Steps = Generator[Any, None, Any]


def resources(stored: str, mode: str) -> list[tuple[str, int]]:
    return [(name, EX if exclusive else PR) for name, exclusive in holding.resources(stored, modes.Mode(mode))]


def close(worker: Worker, descriptors: list[Descriptor]) -> None:
    for descriptor in descriptors:
        worker.descriptors.remove(descriptor)
        descriptor.close()


def opened(worker: Worker, lane: LaneMount, name: str, level: int) -> Descriptor | None:
    manager = worker.world.manager
    before = lane.files[name].level if name in lane.files else 0
    file = manager.attempt(lane, name, level)
    if file is None:
        return None
    if file.level > before:
        file.raised = (worker.keeper, worker.world.now)
    file.opener = worker.keeper
    descriptor = Descriptor(file, level, manager.closed)
    worker.descriptors.append(descriptor)
    return descriptor


def unlink(worker: Worker, lane: LaneMount, file_names: list[str]) -> Steps:
    """Whether all could be unlinked."""
    done = True
    for name in file_names:
        yield SLEEP
        if name in lane.files:
            lane.touched, lane.toucher = worker.world.now, worker.keeper
        done = worker.world.manager.unlink(lane, name) and done
    return done


def put(slot: Slot, message: dict[str, Any], descriptors: list[Descriptor]) -> bool:
    """False where the keeper that gave the slot away is dead."""
    if slot.sealed:
        return False
    assert slot.message is None, "a slot is written twice"
    slot.message = message
    slot.descriptors = [descriptor.dup() for descriptor in descriptors]
    return True


def take(worker: Worker, job: effects.Take) -> Steps:
    lane = worker.lane(job.lane)
    world = worker.world
    while True:
        got: list[list[Descriptor]] = []
        busy = ""
        files = [resources(names.stored(what["name"]), job.mode) for _slot, what in job.locks]
        for wanted in files:
            own: list[Descriptor] = []
            got.append(own)
            for name, level in wanted:
                yield SLEEP
                descriptor = opened(worker, lane, name, level)
                if descriptor is None:
                    busy = names.stored(job.locks[len(got) - 1][1]["name"])
                    break
                own.append(descriptor)
            if busy:
                break
        if not busy:
            break
        close(worker, [descriptor for own in got for descriptor in own])
        yield from unlink(worker, lane, [name for wanted in files[: len(got)] for name, _level in wanted])
        if world.now + 0.01 > job.until:
            return {"busy": busy}, []
        yield 0.01 + 0.05 * world.dice.random()
    won = []
    pipe: Pipe | None = None
    gift: list[Any] = []
    for number, (slot_number, what) in enumerate(job.locks):
        yield STEP
        token = world.sign(worker.node, job.domain, names.stored(what["name"]), job.mode == "EX")
        since = int(world.now * 1e6)
        slot = worker.slot(slot_number)
        what = {**what, "token": token, "since": since}
        process = what["kind"] == holding.PROCESS
        if process:
            pipe = worker.pipe = Pipe()
        if not put(slot, {"v": 1, "lock": what}, [] if process else got[number]):
            close(worker, [descriptor for own in got for descriptor in own])
            worker.end_pipe()
            yield from unlink(worker, lane, [name for wanted in files for name, _level in wanted])
            return None
        if process:
            slot.pipe = pipe
            gift = list(got[number])
        won.append([token, since])
    yield STEP
    worker.pipe = None
    if not gift:
        close(worker, [descriptor for own in got for descriptor in own])
    return {"won": won}, [*gift, *([pipe] if pipe else [])]


def convert(worker: Worker, job: effects.Convert) -> Steps:
    lane = worker.lane(job.lane)
    stored = names.stored(job.what["name"])
    yield STEP
    old = worker.slot(job.old)
    if old.message is None:
        return {"error": "not held any more"}, []
    have = [descriptor.dup() for descriptor in old.descriptors]
    worker.descriptors += have
    before = dict(zip(modes.LEVELS[modes.Mode(job.mode)], have, strict=False))
    conversion = modes.conversion(modes.Mode(job.mode), modes.Mode(job.what["mode"]))
    new: dict[str, Descriptor] = {}
    for which, level in conversion.opened:
        yield SLEEP
        descriptor = opened(worker, lane, holding.file_name(stored, which), int(level))
        if descriptor is None:
            close(worker, [*have, *new.values()])
            yield from undo(worker, job, lane, stored, before, [*new, which])
            return {"busy": stored}, []
        new[which] = descriptor
    yield STEP
    token = job.what["token"]
    if ("own", modes.Level.EX) in conversion.opened:
        token = worker.world.sign(worker.node, job.domain, stored, True)
    since = int(worker.world.now * 1e6)
    want = modes.LEVELS[modes.Mode(job.what["mode"])]
    all_of_them = {**before, **new}
    message = {"v": 1, "lock": {**job.what, "token": token, "since": since}}
    if not put(worker.slot(job.slot), message, [all_of_them[which] for which in want]):
        close(worker, [*have, *new.values()])
        yield from undo(worker, job, lane, stored, before, list(new))
        return None
    yield STEP
    close(worker, [*have, *new.values()])
    return {"won": [token, since]}, []


def undo(
    worker: Worker, job: effects.Convert, lane: LaneMount, stored: str, before: dict[str, Any], tried: list[str]
) -> Steps:
    """What was opened falls again."""
    for which in tried:
        name = holding.file_name(stored, which)
        if which in before:
            yield from lower(worker, job.second, name)
        else:
            yield from unlink(worker, lane, [name])


def lower(worker: Worker, second: int, name: str) -> Steps:
    """Whether nothing of it stays in the second lane."""
    lane = worker.lane(second)
    yield SLEEP
    for _turn in range(200):
        if worker.world.manager.recall((lane.domain, name), PR):
            break
        yield 0.1
    descriptor = opened(worker, lane, name, PR)
    if descriptor is not None:
        yield STEP
        close(worker, [descriptor])
    return (yield from unlink(worker, lane, [name]))


def settle(worker: Worker, job: effects.Settle) -> Steps:
    done = yield from unlink(worker, worker.lane(job.lane), job.dropped)
    for name in job.lowered:
        done = (yield from lower(worker, job.second, name)) and done
    return ({} if done else {"error": "busy"}), []


def publish(worker: Worker, job: effects.Publish) -> Steps:
    lane = worker.lane(job.lane)
    yield SLEEP
    descriptor = opened(worker, lane, job.name, EX)
    if descriptor is None:
        yield from unlink(worker, lane, [job.name])
        return {"busy": job.name}, []
    worker.world.manager.values[job.domain, job.name] = {"node": job.node, "id": job.id}
    yield STEP
    close(worker, [descriptor])
    yield from unlink(worker, lane, [job.name])
    yield SLEEP
    descriptor = opened(worker, lane, job.name, PR)
    if descriptor is None:
        yield from unlink(worker, lane, [job.name])
        return {"busy": job.name}, []
    if not put(worker.slot(job.slot), {"v": 1, "info": job.id}, [descriptor]):
        close(worker, [descriptor])
        yield from unlink(worker, lane, [job.name])
        return None
    yield STEP
    close(worker, [descriptor])
    return {}, []


def look(worker: Worker, job: effects.Look) -> Steps:
    lane = worker.lane(job.lane)
    yield SLEEP
    descriptor = opened(worker, lane, job.name, EX)
    answer: dict[str, Any] = {"held": False}
    if descriptor is None:
        answer = {"held": True, "holder": None}
        yield SLEEP
        descriptor = opened(worker, lane, job.name, PR)
        if descriptor is not None:
            answer["holder"] = worker.world.manager.values.get((job.domain, job.name))
    if descriptor is not None:
        yield STEP
        close(worker, [descriptor])
    yield from unlink(worker, lane, [job.name])
    return answer, []


def forget(worker: Worker, job: effects.Forget) -> Steps:
    busy = []
    for name in job.names:
        if not (yield from unlink(worker, worker.lane(job.lane), [name])):
            busy.append(name)
    return ({"busy": busy} if busy else {}), []


def sweep(worker: Worker, job: effects.Sweep) -> Steps:
    lane = worker.lane(job.lane)
    yield STEP
    stray = [name for name in lane.files if name not in job.claimed]
    done = yield from unlink(worker, lane, stray)
    return ({} if done else {"error": "busy"}), []


def recall(worker: Worker, job: effects.Recall) -> Steps:
    lane = worker.lane(job.lane)
    name, exclusive = job.resources[0]
    level = EX if exclusive else PR
    yield SLEEP
    for _turn in range(300):
        if worker.world.manager.recall((job.domain, name), level):
            break
        yield 0.1
    descriptor = opened(worker, lane, name, level)
    if descriptor is not None:
        yield STEP
        close(worker, [descriptor])
    yield from unlink(worker, lane, [name])
    return {}, []


def join(worker: Worker, job: effects.Join) -> Steps:
    """The first lane: all who live have to be known before."""
    yield STEP
    yield worker.world.join_seconds()
    if worker.world.join_fails():
        return {"error": "this node is not online"}, []
    return (yield from make_lane(worker, job))


def make_lane(worker: Worker, job: Any) -> Steps:
    yield SLEEP
    node = worker.node
    lane = LaneMount(node, job.domain, job.lane)
    slot = worker.slot(job.slot)
    if not put(slot, {"v": 1, "lane": {"domain": job.domain, "lane": job.lane, "node": node}}, []):
        return None
    slot.lane = lane
    lane.refs += 1
    worker.machine.lanes[job.lane] = lane
    yield STEP
    return {"node": node}, []


def mark(worker: Worker, job: effects.Mark) -> Steps:
    yield STEP
    yield worker.world.disk_seconds()
    if worker.world.disk_fails():
        return {"error": "no space left on device"}, []
    marks = worker.world.marks
    marks[worker.node] = max(marks.get(worker.node, 0), job.token)
    yield STEP
    return {"mark": marks[worker.node]}, []


JOBS: dict[str, Any] = {
    "Take": take,
    "Convert": convert,
    "Settle": settle,
    "Publish": publish,
    "Look": look,
    "Forget": forget,
    "Sweep": sweep,
    "Recall": recall,
    "Join": join,
    "MakeLane": make_lane,
    "Mark": mark,
}
