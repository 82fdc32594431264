# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""That a virtual machine runs on one node at a time: what each call of libvirt's hook asks and answers. Pure.

Theory of operation. A machine has two node locks, named by its UUID, which o2keep holds:

    run       is held by the node on which the machine is, from before its start until it is proven gone.
    incoming  must be held by whoever takes `run`. So whoever holds `incoming` is the only one who can get `run` next.

libvirt calls the hook, in this order (docs/hooks.rst and src/qemu of libvirt 9.0.0 and 11.3.0):

    start      [restore begin] -> prepare begin -> start begin -> QEMU -> started begin
    end        QEMU is killed -> stopped end -> release end. Also after any of the calls above was refused.
    migration  destination: migrate begin -> prepare begin -> start begin -> QEMU, paused -> started begin -> memory is
               copied -> the guest runs; only then on the source: QEMU is killed -> stopped end -> release end.
               A failure ends with stopped end, release end at the destination; before prepare begin with no call.
               Offline migration, of a machine that does not run: migrate begin, and nothing else.
    restart    reconnect begin for each machine that runs; for one that has ended meanwhile stopped end, release end.

    prepare    takes `incoming`, takes `run`, releases `incoming`; anything else than both is a refusal. A lock that
               this node holds already is as busy as any other, unless it was left behind: old, and without a process.
    migrate    takes `incoming` and keeps it, if somebody holds `run`. If nobody does, the migration is an offline one,
               or one from a node without the guard: nothing is kept, and `prepare` will take `run` like any start.
    permit     `prepare` cannot tell a migration from a start by what libvirt gives it. So `migrate` writes the token of
               its lock into the metadata of the description, which libvirt hands on to `prepare` of this migration and
               of no other start. A start that comes after a migration has failed is not taken for one.
    start      checks that what `prepare` has taken is still held: nobody waits for a hook that is late.
    release    proves that no process of this machine lives, and releases both. Else it leaves that to `settle`.
    reconnect  takes `run` where it is missing, and alarms when another node has it. libvirt kills the machine of which
               this call fails, so it never fails; nor may any call that only looks on.
    settle     runs beside libvirt as long as a machine is in a state that does not last: at the destination until it
               has `run`, which the source releases when its own machine is gone. Then it releases `incoming`, so no
               third node could come in between. After an end until no process is left. It repeats an alarm until then.

A call is a generator: it yields what it asks of the world, and is sent the answer. So a test can interleave the calls
of several nodes in every way. Where asking fails, O2cbError is thrown in; what was taken is released on the way out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generator, TypeVar, Union

from ..base.errors import O2cbError
from .machine import Machine

STARTING_SECONDS = 300.0
"""So long after `prepare` or `migrate` a lock without a process may belong to a machine that is just being started."""

LAUNCH_SECONDS = 240.0
"""QEMU is not launched later than this after them: somebody may soon take the lock for left behind."""

ENTER_SECONDS = 3.0
"""Wait for `incoming`: others hold it for a moment only, when they start the machine too. Or for a whole migration."""

GONE_SECONDS = 2.0
PAUSE_SECONDS = 0.1
ATTEMPTS = 3
BUSY = "busy"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, in words such as `node 2, vmhost2 (since …)`, and whether that is this node."""

    text: str
    here: bool = False


@dataclass(frozen=True)
class Taken:
    """The outcome of a try. `reason` is that of o2keep, and `text` says it in words."""

    held: bool
    token: int = 0
    reason: str = ""
    text: str = ""
    holder: Holder | None = None


@dataclass(frozen=True)
class Held:
    """A lock that this node holds, and for how many seconds."""

    token: int
    age: float


@dataclass(frozen=True)
class View:
    """What is on this node of a machine: its locks, and its processes, by their ids."""

    run: Held | None = None
    incoming: Held | None = None
    pids: tuple[int, ...] = ()


# What is asked of the world.


@dataclass(frozen=True)
class Look:
    """Answer: a View."""

    machine: Machine


@dataclass(frozen=True)
class Take:
    """Answer: a Taken. A lock that this node holds already is busy."""

    machine: Machine
    lock: str
    wait: float = 0.0


@dataclass(frozen=True)
class Release:
    """No answer. Only the lock of this token: one that was taken since somebody looked stays as it is."""

    machine: Machine
    lock: str
    token: int


@dataclass(frozen=True)
class Who:
    """Answer: the Holder, or None when nobody says that he holds it."""

    machine: Machine
    lock: str


@dataclass(frozen=True)
class Settle:
    """Have `settle` run from now on, until it has released the lock `ending`, where that is not 0. No answer."""

    machine: Machine
    ending: int = 0


@dataclass(frozen=True)
class Pause:
    """No answer."""

    seconds: float


Ask = Union[Look, Take, Release, Who, Settle, Pause]
T = TypeVar("T")
Call = Generator[Ask, Any, T]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a call: whether libvirt may go on, what is said, loudly when it is an alarm, and the output."""

    allowed: bool
    text: str = ""
    alarm: bool = False
    output: str = ""


ALLOWED = Verdict(True)


@dataclass(frozen=True)
class Step:
    """What `settle` has come to: whether the state lasts, and else what is waited for or wrong."""

    settled: bool
    text: str = ""


SETTLED = Step(True)


def prepare(machine: Machine) -> Call[Verdict]:
    """Before a start, whoever asked for it, and before a machine comes in."""
    view: View = yield Look(machine)
    if view.pids:
        return _refusal(machine, f"process {view.pids[0]} of this node runs it already")
    if view.incoming and machine.permit == view.incoming.token:
        return ALLOWED
    taken = yield from _take_run(machine)
    return ALLOWED if taken.held else _refusal(machine, taken.text)


def start(machine: Machine) -> Call[Verdict]:
    """Before QEMU is launched."""
    view: View = yield Look(machine)
    received = view.incoming if view.incoming and machine.permit == view.incoming.token else None
    held = view.run or received
    if held and held.age <= LAUNCH_SECONDS:
        return ALLOWED
    late = f"its start took longer than {LAUNCH_SECONDS:g} s" if held else "its lock was released meanwhile"
    return _refusal(machine, f"{late}: start it again")


def migrate(machine: Machine) -> Call[Verdict]:
    """At the destination, before anything else."""
    view: View = yield Look(machine)
    if view.pids:
        return _refusal(machine, f"process {view.pids[0]} of this node runs it already")
    if view.run and view.run.age < STARTING_SECONDS:
        return _refusal(machine, "it is just being started on this node")
    # What is left over, also of an attempt that came to nothing: libvirt brings in one machine of a UUID at a time.
    yield from _let_go(machine, view)
    entered = yield from _enter(machine)
    if not entered.held:
        return _refusal(machine, entered.text)
    try:
        verdict = yield from _receive(machine, entered.token)
    except O2cbError:
        yield Release(machine, machine.incoming, entered.token)
        raise
    if not verdict.output:
        yield Release(machine, machine.incoming, entered.token)
    return verdict


def _receive(machine: Machine, permit: int) -> Call[Verdict]:
    """Whether somebody is there from whom the machine can come; without output it is not received under the permit."""
    probe: Taken = yield Take(machine, machine.run)
    if probe.held:
        yield Release(machine, machine.run, probe.token)
        return ALLOWED
    if probe.reason != BUSY:
        return _refusal(machine, probe.text)
    output = machine.with_permit(permit)
    yield Settle(machine)
    return Verdict(True, output=output)


def release(machine: Machine) -> Call[Verdict]:
    """After libvirt is done with a machine, or with a start that was refused."""
    view: View = yield Look(machine)
    waited = 0.0
    while view.pids and (view.run or view.incoming) and waited < GONE_SECONDS:
        yield Pause(PAUSE_SECONDS)
        waited += PAUSE_SECONDS
        view = yield Look(machine)
    if view.pids:
        if not (view.run or view.incoming):
            return ALLOWED
        yield Settle(machine, ending=(view.run or view.incoming or Held(0, 0)).token)
        text = f"{machine}: libvirt says that it has ended, and process {view.pids[0]} of it lives: its lock stays held"
        return Verdict(True, text, alarm=True)
    yield from _let_go(machine, view)
    return ALLOWED


def reconnect(machine: Machine) -> Call[Verdict]:
    """For a machine that runs, when libvirt starts again. It is not hindered, whatever comes out."""
    text = ""
    for attempt in range(ATTEMPTS):
        view: View = yield Look(machine)
        if view.run:
            return ALLOWED
        if view.incoming:
            break
        taken = yield from _take_run(machine)
        if taken.held:
            return Verdict(True, f"{machine} runs on this node and is guarded from now on")
        text = _unguarded(machine, taken)
        if attempt < ATTEMPTS - 1:
            yield Pause(PAUSE_SECONDS)
    yield Settle(machine)
    return Verdict(True, text, alarm=bool(text))


def settle(machine: Machine, ending: int = 0) -> Call[Step]:
    """One step towards a state that lasts.

    With the token of a lock `ending`, whose machine is said to have ended, that is a state without this lock.
    """
    view: View = yield Look(machine)
    if ending and ending not in [held.token for held in (view.run, view.incoming) if held]:
        return SETTLED
    if not view.pids:
        if not ending and may_be_starting(view):
            return Step(False, f"{machine} is awaited on this node")
        yield from _let_go(machine, view)
        return SETTLED
    if ending:
        return Step(False, f"{machine}: libvirt says that it has ended, and process {view.pids[0]} of it lives")
    if not view.run:
        elsewhere: Holder | None = yield Who(machine, machine.run)
        taken = Taken(False, reason=BUSY, holder=elsewhere)
        if elsewhere:
            taken = replace(taken, text=_reason(taken))
        elif view.incoming:
            taken = yield Take(machine, machine.run)
        else:
            taken = yield from _take_run(machine)
        if not taken.held and view.incoming:
            return Step(False, f"{machine} is being migrated to this node, or has been, and {_reason(taken)}")
        if not taken.held:
            return Step(False, _unguarded(machine, taken))
    if view.incoming:
        yield Release(machine, machine.incoming, view.incoming.token)
    return SETTLED


def may_be_starting(view: View) -> bool:
    """Whether locks without a process are young enough for a machine that is still to come."""
    return any(held is not None and held.age < STARTING_SECONDS for held in (view.run, view.incoming))


def _take_run(machine: Machine) -> Call[Taken]:
    """Take `run`, and hold `incoming` meanwhile."""
    entered = yield from _enter(machine)
    if not entered.held:
        return entered
    try:
        taken: Taken = yield Take(machine, machine.run)
        if not taken.held and taken.holder and taken.holder.here:
            view: View = yield Look(machine)
            if view.run and not view.pids and view.run.age >= STARTING_SECONDS:
                yield Release(machine, machine.run, view.run.token)
                taken = yield Take(machine, machine.run)
    except O2cbError:
        yield Release(machine, machine.incoming, entered.token)
        raise
    yield Release(machine, machine.incoming, entered.token)
    return taken if taken.held else replace(taken, text=_reason(taken))


def _enter(machine: Machine) -> Call[Taken]:
    """Take `incoming`. One of this node's own without a process is left behind, when it is old."""
    taken: Taken = yield Take(machine, machine.incoming, ENTER_SECONDS)
    if not taken.held and taken.holder and taken.holder.here:
        view: View = yield Look(machine)
        if view.incoming and not view.pids and view.incoming.age >= 2 * ENTER_SECONDS:
            yield Release(machine, machine.incoming, view.incoming.token)
            taken = yield Take(machine, machine.incoming)
    if taken.held or taken.reason != BUSY:
        return taken
    running: Holder | None = yield Who(machine, machine.run)
    if running:
        return replace(taken, holder=running, text=f"{running.text} holds its lock")
    where = taken.holder.text if taken.holder else "another node"
    return replace(taken, text=f"{where} is just starting or receiving it: try again")


def _let_go(machine: Machine, view: View) -> Call[None]:
    if view.incoming:
        yield Release(machine, machine.incoming, view.incoming.token)
    if view.run:
        yield Release(machine, machine.run, view.run.token)


def _reason(taken: Taken) -> str:
    """Why `run` was not had."""
    if taken.reason != BUSY:
        return taken.text
    if not taken.holder:
        return "another node holds its lock, which has not said yet who it is"
    if taken.holder.here:
        return f"{taken.holder.text}, this one, holds its lock: `o2ctl vm list` tells why"
    return f"{taken.holder.text} holds its lock"


def _unguarded(machine: Machine, taken: Taken) -> str:
    if taken.reason == BUSY:
        return f"{machine} RUNS TWICE, or is about to: it runs on this node, and {taken.text}: end one of them"
    return f"{machine} runs on this node without its lock: {taken.text}"


def _refusal(machine: Machine, why: str) -> Verdict:
    return Verdict(False, f"{machine} is not started here: {why}")
