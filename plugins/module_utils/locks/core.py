# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every decision of o2keep: events in, effects out. Pure: no I/O, no clock, no chance but the one that is passed in.

Theory of operation. A lock is a descriptor, so whoever holds the descriptor holds the lock. Descriptors live in *slots*
that outlive the daemon, and their mounts are *lanes* that outlive the locks. What is here is told of both by number.

1. A worker opens a lock in a lane and puts it into a slot *before* it answers. Between "opened" and "in its slot" all
   hangs on that one process, and after it on nobody: there is no message whose loss loses a lock. A slot belongs to its
   job until the worker has answered or is dead, and so does a name to its lane.
2. What came back is held (GRANTING) from then on. Nobody is told of it before the mark on disk covers its token.
3. What nobody waits for any more is released: slot emptied, file unlinked, in this order.
4. A release empties the slot first, and answers when the file is unlinked: then any other node's try succeeds.
5. A slot is *confirmed* before anybody is told of what is in it, and that is kept beside the slots. A keeper that finds
   a lock that was not confirmed waits until its request comes again, by its id, and else gives it back.
6. A conversion puts all that the new mode has into a second slot, confirms that, and then empties the first. It has one
   moment: before it is confirmed the old mode counts, after it the new one, also for a keeper that finds both.
7. A file of a lane that nobody claims is unlinked by a sweep, with nothing else under way in that lane.
8. Every request is answered once, at its deadline or a known time after it; a call that sleeps is left to itself, and
   what it wins late goes by rule 3.

A request is one object with one state:

    JOINING    its domain is being joined; that has a deadline of its own, and its wait begins after it
    PARKED     another of this node stands in the way: it is tried again when that one is gone
    STARVED    no lane or slot is to be had now
    TRYING     a worker has it
    PAUSED     between two tries
    MARKING    won, and the mark does not cover its token yet
    SETTLING   converted, and others are being let in
    LOOKING    refused, and the holder is being looked for
    DONE       answered
"""

from __future__ import annotations

import enum
import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from . import effects, holding, modes, names
from .effects import Answer, Asker, Audit, CloseLanes, Confirm, Discard, Drop, Effect, Grow, Job, Run, Say, Watch
from .holding import NODE, PROCESS, Holding, Holdings, Identity, KeptInfo, KeptLane
from .lanes import MOST, USUAL, Domain, Lane, Stage
from .modes import LEVELS, Conversion, Level, Mode
from .requests import Names, Want
from .rules import MOUNT_SECONDS

SHORTEST_WAIT = 0.25
"""Seconds for which each request is tried, also one that does not want to wait."""

OVERTIME = 0.7
FIRST_ANSWER = 2.0
"""A try that is under way at the deadline may still come back: mostly with an answer that is worth more than none. It
has OVERTIME seconds for that, and at least FIRST_ANSWER since it was asked for."""

JOIN_SECONDS = 10.0
"""Deadline of a request whose domain is not joined yet. The joining goes on."""

LOOK_SECONDS = 0.7
WHO_SECONDS = 5.0
SHOW_SECONDS = 0.2
"""A lock shows its holder when it is held for longer than this: to show it takes longer than to take it."""

POLL_SECONDS = 1.0
"""Seconds that a worker tries for one request; then others of this node have their turn."""

SLOW_SECONDS = 0.5
"""After this a call counts as asleep, counted from where it should have come back."""

RECOVERING_SECONDS = 2.0
"""A call that sleeps longer than this sleeps because a node is being recovered or is cut off."""

SETTLE_SECONDS = 2.0
"""Longer is not waited for others to be let in beside a lock that was lowered."""

MARK_SECONDS = 5.0
"""Deadline of the mark on disk, from the grant that needs it."""

RELEASE_SECONDS = 10.0
"""Longer is not waited until a released lock's files are unlinked. After a restart, workers have to start first."""
PAUSE = (0.005, 0.05)
"""Seconds between two tries, at random, so that those who wait for a lock do not step on one another."""

MARK_AHEAD = 5_000_000
"""The mark is written ahead of the tokens by this, and so rarely."""

UNLINKS = 100
"""Locks whose files one job unlinks."""

SPARE_SLOTS = 16
"""With fewer free slots than this, more are asked for."""

SWEEP_SECONDS = 30.0
"""Each lane is swept this often: a call that slept through the death of an earlier keeper leaves its file behind."""

SWEEP_AGAIN_SECONDS = 1.0
SHOW_AGAIN_SECONDS = 5.0

FIRST_SWEEP_SECONDS = 2.0
"""After a restart, requests wait for the lanes to be swept this long."""

AGAIN_SECONDS = 0.1
UNCLAIMED_SECONDS = 20.0
"""A lock that an earlier keeper won, and told nobody of, is kept this long for a client that asks again."""

DEATHS = 3
"""Workers that may die over one request before it is refused."""

MANY_TIMERS = 4096
"""With more timers than this, those that are over are thrown away."""

PAGE = 100
"""Locks in one answer to `list`."""


class State(enum.Enum):
    JOINING = "joining"
    PARKED = "parked"
    STARVED = "starved"
    TRYING = "trying"
    PAUSED = "paused"
    MARKING = "marking"
    SETTLING = "settling"
    LOOKING = "looking"
    DONE = "done"


@dataclass(eq=False)
class _Unlink:
    """What is to be unlinked in a lane, and who wants to know. `claims` are names that it keeps from other jobs."""

    files: list[str]
    then: Callable[[bool], None]
    stored: tuple[str, ...]
    claims: list[str]
    deaths: int


@dataclass(eq=False)
class Request:
    """One who waits for locks, or for the end of a conversion where `base` is the lock that is converted."""

    asker: Asker
    want: Want
    asked: float
    state: State = State.PARKED
    deadline: float = 0.0
    """0 until its domain is joined."""

    base: Holding | None = None
    won: list[Holding] = field(default_factory=list)
    ours: list[Holding] = field(default_factory=list)
    """Locks that an earlier keeper has won for this very request, and may have told of."""

    gift: int = 0
    """The job whose answer brought the descriptors of a process lock."""

    had: list[Identity] = field(default_factory=list)
    """Locks that this node held already when it was last considered."""

    call: int = 0
    """The job that is under way for it."""

    busy: str = ""
    """The lock that was refused, by its stored name."""

    recall: bool = False
    gone: bool = False
    """Nobody is there any more to be answered."""

    overtime: bool = False
    deaths: int = 0
    timers: int = 0
    """Counts up so that a timer of an earlier state does nothing."""


@dataclass(eq=False)
class Release:
    """One who waits until locks are released."""

    asker: Asker
    wanted: Names
    facts: list[dict[str, Any]]
    open: set[str]
    """Ids of locks whose files are not unlinked yet."""

    done: bool = False


@dataclass
class Call:
    """A job that a worker has. `then` and `died` are told its answer, or what was found in its slots."""

    job: Job
    then: Callable[[dict[str, Any], int], None]
    died: Callable[[dict[int, Any], int], None]
    lanes: tuple[Lane, ...] = ()
    slots: tuple[int, ...] = ()
    names: frozenset[str] = frozenset()
    due: float = 0.0
    """When it should be back, 0 before a worker has begun with it."""


class Timer(NamedTuple):
    """`of` is whom it is for: when that one is over it does nothing."""

    when: float
    number: int
    call: Callable[[], None]
    of: Request | Release | Holding | None


class Core:
    """The decisions. Each event returns what is to be done, in order."""

    def __init__(self, new_id: Callable[[], str], dice: random.Random, mark: int = 0) -> None:
        self.now = 0.0
        self.node = 0
        """This node's number, 0 before it has joined a domain."""

        self.domains: dict[str, Domain] = {}
        self.holdings = Holdings()
        self.quarantine: dict[int, str] = {}
        """Slots whose message cannot be read, with the reason."""

        self.free: list[int] = []
        self.calls: dict[int, Call] = {}
        self.mark = mark
        """Tokens up to this may be given out: it is on disk."""

        self.seen = mark
        self.counters = {"granted": 0, "released": 0, "refused": 0, "converted": 0, "workers died": 0}
        self.leaver: Asker | None = None
        self.draining = self.left = False
        self._new_id, self._dice = new_id, dice
        self._out: list[Effect] = []
        self._timers: list[Timer] = []
        self._many_timers = MANY_TIMERS
        self._count = 0
        self._requests: dict[Request, None] = {}
        self._releases: dict[Release, None] = {}
        self._parked: dict[tuple[str, str], list[Request]] = {}
        self._starved: list[Request] = []
        self._trying: dict[tuple[str, str, str], Request] = {}
        self._marking: list[tuple[int, Callable[[str], None], float]] = []
        self._mark_call = 0
        self._growing = False
        self._recalling: set[tuple[str, str]] = set()
        self._last_work = 0.0
        self._unlinks: dict[tuple[str, int], tuple[Domain, Lane, list[_Unlink]]] = {}
        self._slots: dict[int, str] = {}
        """Slots with a lock in them, with its id."""

        self._old: set[int] = set()
        """Slots of earlier keepers. A worker of theirs may still be asleep over one, so none is used again."""

    # events

    def adopt(
        self,
        now: float,
        found: Iterable[tuple[int, Mapping[str, Any] | None, bool]],
        lane_there: Callable[[int, int], bool] = lambda _slot, _lane: True,
    ) -> list[Effect]:
        """Begin with what an earlier keeper has left in slots. Never raises: what it cannot read it leaves alone.

        `found` are the slots that have something in them, their messages, and whether they were confirmed.
        `lane_there` takes over the mount in a slot as a lane of this number, and tells whether it has one.
        """
        self.now = now
        infos: dict[str, int] = {}
        locks: dict[str, list[tuple[bool, int, int, Identity]]] = {}
        for slot, message, confirmed in found:
            self._old.add(slot)
            what = holding.kept(message)
            if what is None:
                self._isolate(slot, message)
            elif isinstance(what, KeptLane):
                domain = self.domains.setdefault(what.domain, Domain(what.domain, Stage.SWEEPING, since=now))
                if what.lane in domain.lanes or not lane_there(slot, what.lane):
                    self._isolate(slot, message)
                    continue
                domain.lanes[what.lane] = Lane(what.lane, slot)
                self.node = what.node
            elif isinstance(what, KeptInfo):
                if what.id in infos:
                    self._out.append(Drop(infos[what.id]))
                infos[what.id] = slot
            else:
                locks.setdefault(what.id, []).append((confirmed, what.serial, slot, what))
        for copies in locks.values():
            # All copies have the levels that their modes share. What else there is falls when the lock is settled.
            *dropped, (confirmed, _serial, slot, what) = sorted(copies, key=lambda copy: copy[:3])
            self._out.extend(Drop(copy[2]) for copy in dropped)
            self._adopt_lock(slot, what, infos, confirmed)
        for slot in infos.values():
            self._out.append(Drop(slot))
        self._last_work = now
        for domain in self.domains.values():
            for lane in domain:
                lane.shut = bool(self.quarantine)
            self._count = max([self._count, *domain.lanes])
            self._fill(domain)
            self._sweep(domain)
            self._after(FIRST_SWEEP_SECONDS, _bound(self._swept_enough, domain))
        for held in self.holdings:
            self._settle_adopted(held)
        self._after(SWEEP_SECONDS, self._sweep_all)
        self._cover_adopted()
        return self._drain()

    def begin(self, now: float, domain: str) -> list[Effect]:
        """Join the usual domain before anybody asks for it: that takes seconds, and a lock should not."""
        self.now = now
        self._domain(domain)
        return self._drain()

    def drain(self, now: float) -> list[Effect]:
        """This keeper ends soon: no more tries are begun, and what is under way is brought to its end."""
        self.now = now
        self.draining = True
        return self._drain()

    def closed(self, now: float) -> list[Effect]:
        """The kernel has left all domains."""
        self.now = now
        self.left = True
        return self._drain()

    def slots_added(self, now: float, slots: Iterable[int]) -> list[Effect]:
        """There are more free slots; none, where no more can be had now."""
        self.now, self._growing = now, False
        self.free.extend(slots)
        self._feed()
        for domain in self.domains.values():
            if domain.stage in (Stage.JOINED, Stage.SWEEPING):
                self._fill(domain)
        if len(self.free) < SPARE_SLOTS:
            self._after(AGAIN_SECONDS, self._grow)
        return self._drain()

    def take(self, now: float, asker: Asker, want: Want) -> list[Effect]:
        """Somebody asks for locks."""
        self.now = now
        request = Request(asker, want, now, recall=want.recall)
        self._requests[request] = None
        if not self._refused_as_leaving(request):
            self._consider(request)
        return self._drain()

    def release(self, now: float, asker: Asker, wanted: Names) -> list[Effect]:
        """Somebody wants node locks released, whoever took them."""
        self.now = now
        found: list[Holding] = []
        for key in wanted.keys:
            held = self.holdings.node_lock(key)
            if held is not None and wanted.token in (None, held.what.token):
                found.append(held)
        if not found and not wanted.many and self._release_isolated(asker, wanted):
            return self._drain()
        request = Release(asker, wanted, [holding.facts(held.what) for held in found], {held.what.id for held in found})
        self._releases[request] = None
        for held in found:
            self._let_go(held)
        self._after(RELEASE_SECONDS, lambda: self._release_late(request), request)
        self._release_done(request)
        return self._drain()

    def held(self, now: float, asker: Asker, wanted: Names) -> list[Effect]:
        """The node locks of these names that this node holds, without a question to anybody."""
        self.now = now
        found = [self.holdings.node_lock(key) for key in wanted.keys]
        locks = [holding.facts(held.what) for held in found if held is not None and held.state is _HELD]
        self._out.append(Answer(asker, {"locks": locks} if wanted.many else {"lock": locks[0] if locks else None}))
        return self._drain()

    def listing(self, now: float, asker: Asker, after: int, count: int = PAGE) -> list[Effect]:
        """`count` locks behind that of the number `after`, and the number to go on from, where there may be more."""
        self.now = now
        found = self.holdings.following(after, count)
        more = found[-1].number if len(found) == count else 0
        self._out.append(Answer(asker, {"locks": [holding.facts(held.what) for held in found], "more": more}))
        return self._drain()

    def who(self, now: float, asker: Asker, wanted: Names) -> list[Effect]:
        """Who holds a lock: from here when it is this node, else from its `.info`."""
        self.now = now
        want = Want(wanted.names, wanted.domain, Mode.EX, wait=WHO_SECONDS)
        request = Request(asker, want, now, busy=names.stored(wanted.names[0]))
        self._requests[request] = None
        if not self._refused_as_leaving(request):
            self._find(request, WHO_SECONDS)
        return self._drain()

    def label(self, now: float, asker: Asker, wanted: Names, owner: str) -> list[Effect]:
        """Change the owner text that a node lock shows, for as long as this keeper runs."""
        self.now = now
        held = self.holdings.node_lock(wanted.keys[0])
        if held is None:
            text = f"lock {wanted.names[0]!r} is not held by this node: take it first"
            self._out.append(Answer(asker, {"error": text}))
            return self._drain()
        changed = held.what.owner != owner
        if changed:
            held.what = replace(held.what, owner=owner)
            if held.info >= 0 or held.jobs:
                held.show_again = True
                self._idle(held)
        self._out.append(Answer(asker, {"changed": changed, **holding.facts(held.what)}))
        return self._drain()

    def status(self, now: float, asker: Asker, more: Mapping[str, Any]) -> list[Effect]:
        """What people ask of this daemon; `more` is what the shell adds."""
        self.now = now
        shown = [held.what.name for held in self.holdings if not names.is_liveness(held.what.domain, held.what.name)]
        answer = {
            "node": self.node,
            "locks": len(self.holdings),
            "named": len(shown),
            "names": shown[:20],
            "domains": sorted(domain.name for domain in self.domains.values() if domain.lanes),
            "lanes": {domain.name: len(domain.lanes) for domain in self.domains.values()},
            "asleep": self._asleep(),
            "unreadable": [{"slot": slot, "why": why} for slot, why in sorted(self.quarantine.items())],
            "waiting": len(self._requests),
            "counters": dict(self.counters),
            "mark": self.mark,
        }
        self._out.append(Answer(asker, {**answer, **more}))
        return self._drain()

    def leave(self, now: float, asker: Asker) -> list[Effect]:
        """Leave all domains, so that the node can leave the cluster. Refused while a lock is held.

        The node's own locks, by which others see that it is there, go with it. Until the asker is gone nothing joins a
        domain again, and who waits for a lock is told so.
        """
        self.now = now
        if self.leaver is not None:
            self._out.append(Answer(asker, {"error": "this node is leaving the cluster already"}))
            return self._drain()
        self.left = False
        held = [
            lock.what.name
            for lock in self.holdings
            if lock.state in (holding.State.GRANTING, _HELD)
            and not (names.is_liveness(lock.what.domain, lock.what.name) and lock.what.kind == NODE)
        ]
        held += [f"{SLOT_PREFIX}{slot}" for slot in sorted(self.quarantine)]
        if held:
            text = f"{len(held)} lock(s) are held: {', '.join(held[:5])}"
            self._out.append(Answer(asker, {"error": text}))
            return self._drain()
        self.leaver = asker
        for request in list(self._requests):
            self._refused_as_leaving(request)
        for lock in list(self.holdings):
            self._let_go(lock)
        self._leave_when_empty(asker)
        return self._drain()

    def shut_down(self, now: float) -> list[Effect]:
        """The machine goes down: release everything in the order that the kernel tolerates, and leave the domains."""
        self.now = now
        self.leaver = _SHUTDOWN
        for request in list(self._requests):
            self._refused_as_leaving(request)
        for lock in list(self.holdings):
            self._let_go(lock)
        self._leave_when_empty(_SHUTDOWN)
        return self._drain()

    def gone(self, now: float, asker: Asker) -> list[Effect]:
        """A client has closed its connection: what it waits for is not wanted any more."""
        self.now = now
        for request in [request for request in self._requests if request.asker == asker]:
            request.gone = True
            if request.state in _WITHOUT_CALL:
                self._end(request)
        for release in self._releases:
            release.done = release.done or release.asker == asker
        if self.leaver == asker:
            self.leaver = None
        return self._drain()

    def unheard(self, now: float, answer: Answer) -> list[Effect]:
        """An answer could not be delivered. A node lock that nobody knows of is released."""
        self.now = now
        for lock in answer.undo:
            held = self.holdings.by_id(lock)
            if held is not None:
                self._let_go(held)
        return self._drain()

    def begun(self, now: float, number: int) -> list[Effect]:
        """A worker has begun with this job."""
        self.now = now
        call = self.calls.get(number)
        if call is not None:
            call.due = max(now, getattr(call.job, "until", 0.0))
            for lane in call.lanes:
                lane.calls[number] = call.due + SLOW_SECONDS
        return []

    def answered(self, now: float, number: int, answer: dict[str, Any]) -> list[Effect]:
        """A worker has done its job, or says why not."""
        self.now = now
        call = self._ended(number)
        call.then(answer, number)
        self._feed()
        return self._drain()

    def died(self, now: float, number: int, found: Mapping[int, Mapping[str, Any] | None]) -> list[Effect]:
        """A worker died over its job. `found` are the slots of the job that have something in them."""
        self.now = now
        self.counters["workers died"] += 1
        call = self._ended(number)
        call.died({slot: holding.kept(message) for slot, message in found.items()}, number)
        self._feed()
        return self._drain()

    def ended(self, now: float, slot: int) -> list[Effect]:
        """The life that the lock in this slot is bound to has ended."""
        self.now = now
        held = self.holdings.by_id(self._slots.get(slot, ""))
        if held is not None:
            self._let_go(held)
        return self._drain()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: do what is due."""
        self.now = now
        while self._timers and self._timers[0].when <= now:
            heapq.heappop(self._timers).call()
        return self._drain()

    def due(self) -> float | None:
        """When `tick` is to be called at the latest."""
        return self._timers[0].when if self._timers else None

    def _drain(self) -> list[Effect]:
        while self._unlinks:
            _key, (domain, lane, together) = self._unlinks.popitem()
            together.sort(key=lambda one: one.deaths)
            for first in range(0, len(together), UNLINKS):
                self._unlink_together(domain, lane, together[first : first + UNLINKS])
        out, self._out = self._out, []
        return out

    def _after(self, seconds: float, call: Callable[[], None], of: Request | Release | Holding | None = None) -> None:
        self._count += 1
        heapq.heappush(self._timers, Timer(self.now + seconds, self._count, call, of))
        if len(self._timers) > self._many_timers:
            self._timers = [timer for timer in self._timers if timer.of is None or not _is_over(timer.of)]
            heapq.heapify(self._timers)
            self._many_timers = max(MANY_TIMERS, 2 * len(self._timers))

    # jobs

    def _run(
        self,
        job: Job,
        then: Callable[[dict[str, Any], int], None],
        died: Callable[[dict[int, Any], int], None],
        lanes: tuple[Lane, ...] = (),
        slots: tuple[int, ...] = (),
        claims: Iterable[str] = (),
    ) -> int:
        """Give a job to a worker. Its slots, and its names in the last of its lanes, are its own until it ends."""
        self._count += 1
        number = self._count
        call = self.calls[number] = Call(job, then, died, lanes, slots, frozenset(claims))
        for lane in lanes:
            lane.calls[number] = float("inf")
        if call.names:
            lanes[-1].names |= call.names
        self._out.append(Run(number, job))
        return number

    def _ended(self, number: int) -> Call:
        call = self.calls.pop(number)
        for lane in call.lanes:
            lane.calls.pop(number, None)
            self._last_work = self.now
        if call.names:
            call.lanes[-1].names -= call.names
        return call

    def _slot(self) -> int:
        """A free slot: the one that was used last, which a worker is likely to know."""
        slot = self.free.pop()
        if len(self.free) < SPARE_SLOTS:
            self._grow()
        return slot

    def _grow(self, needed: int = SPARE_SLOTS) -> None:
        if not self._growing and len(self.free) < max(needed, SPARE_SLOTS):
            self._growing = True
            self._out.append(Grow())

    def _empty(self, slot: int) -> None:
        """What is in a slot is closed, and the slot is free."""
        self._out.append(Drop(slot))
        self._slots.pop(slot, None)
        if slot not in self._old:
            self.free.append(slot)

    def _unused(self, slots: Iterable[int]) -> None:
        self.free.extend(slots)

    def _feed(self) -> None:
        """Something has become free: those who starved try again, first come first served."""
        waiting, self._starved = self._starved, []
        for request in waiting:
            if request.state is State.STARVED:
                self._consider(request)
        for domain in self.domains.values():
            if domain.stage is Stage.WANTED and self.free:
                self._join(domain)

    def _asleep(self) -> list[tuple[str, float]]:
        found = []
        for call in self.calls.values():
            if call.due and self.now - call.due > SLOW_SECONDS:
                some = sorted(call.names)[:3] + ["…"] * (len(call.names) > 3)
                text = " ".join([type(call.job).__name__.lower(), *some])
                found.append((text, round(self.now - call.due, 1)))
        return found

    # domains and lanes

    def _domain(self, name: str) -> Domain:
        """The domain, joined or on its way there.

        Nothing else joins one: only this first makes sure that it is the domain in which all others are.
        """
        domain = self.domains.get(name)
        if domain is None:
            domain = self.domains[name] = Domain(name, since=self.now)
            self._join(domain)
        return domain

    def _join(self, domain: Domain) -> None:
        if not self.free:
            self._grow()
            return
        slot = self._slot()
        self._count += 1
        lane = self._count
        domain.stage = Stage.JOINING

        def joined(answer: dict[str, Any], _number: int) -> None:
            if "error" in answer:
                self._unused((slot,))
                self._not_joined(domain, answer)
            else:
                self.node = int(answer["node"])
                self._joined(domain, Lane(lane, slot, dirty=False))

        def died(found: dict[int, Any], _number: int) -> None:
            for _one in found:
                self._out.append(Drop(slot))
            joined({"error": "a worker of o2keep died while it joined the domain: see the journal"}, 0)

        self._run(effects.Join(domain.name, lane, slot), joined, died, slots=(slot,))

    def _joined(self, domain: Domain, lane: Lane) -> None:
        domain.lanes[lane.number] = lane
        domain.stage = Stage.JOINED
        self._fill(domain)
        self._rejoin(domain)

    def _rejoin(self, domain: Domain) -> None:
        """Those who waited for the domain go on, and their wait begins."""
        for request in [one for one in self._requests if one.state is State.JOINING]:
            if request.want.domain == domain.name:
                self._consider(request)

    def _not_joined(self, domain: Domain, answer: dict[str, Any]) -> None:
        del self.domains[domain.name]
        for request in [one for one in self._requests if one.state is State.JOINING]:
            if request.want.domain == domain.name:
                self._finish(request, answer)

    def _fill(self, domain: Domain) -> None:
        while len(domain.lanes) + domain.making < USUAL and self._make_lane(domain):
            pass

    def _make_lane(self, domain: Domain) -> bool:
        """Begin to make one more lane; False where that cannot be now."""
        if len(domain.lanes) + domain.making >= MOST or self.leaver is not None:
            return False
        if not self.free:
            self._grow()
            return False
        slot = self._slot()
        self._count += 1
        lane = self._count
        domain.making += 1

        def made(answer: dict[str, Any], _number: int) -> None:
            domain.making -= 1
            if "error" in answer:
                self._unused((slot,))
                self._out.append(Say(f"no more lanes in domain {domain.name}: {answer['error']}"))
                self._after(AGAIN_SECONDS, self._feed)
            else:
                domain.lanes[lane] = Lane(lane, slot, dirty=False)

        def died(found: dict[int, Any], _number: int) -> None:
            for _one in found:
                self._out.append(Drop(slot))
            made({"error": "a worker died"}, 0)

        self._run(effects.MakeLane(domain.name, lane, slot, self.node), made, died, slots=(slot,))
        return True

    def _lane(self, domain: Domain, wanted: Iterable[str]) -> Lane | None:
        """A lane for these names; where none will do, one more is made."""
        found = domain.lane_for(frozenset(wanted), self.now)
        if found is None and not domain.making:
            self._make_lane(domain)
        return found

    def _sweep_all(self) -> None:
        for domain in self.domains.values():
            for lane in domain:
                lane.dirty = True
            self._sweep(domain)
        self._after(SWEEP_SECONDS, self._sweep_all)

    def _sweep(self, domain: Domain) -> None:
        for lane in domain:
            if lane.dirty and not lane.sweeping and not lane.calls:
                self._sweep_lane(domain, lane)

    def _sweep_lane(self, domain: Domain, lane: Lane) -> None:
        claimed = [
            name
            for held in self.holdings
            if held.what.lane == lane.number and held.what.domain == domain.name
            for name in held.files()
        ]
        lane.sweeping = True

        def swept(answer: dict[str, Any], _number: int) -> None:
            lane.sweeping = False
            lane.dirty = "error" in answer
            if not lane.dirty:
                lane.shut = False
                lane.stale.clear()
            if domain.stage is Stage.SWEEPING and not any(one.dirty for one in domain):
                self._swept_enough(domain)

        self._run(
            effects.Sweep(domain.name, lane.number, claimed),
            swept,
            lambda _found, number: swept({"error": "a worker died"}, number),
            lanes=(lane,),
        )

    def _swept_enough(self, domain: Domain) -> None:
        if domain.stage is Stage.SWEEPING:
            domain.stage = Stage.JOINED
            self._rejoin(domain)

    # what an earlier keeper has left

    def _isolate(self, slot: int, message: Mapping[str, Any] | None) -> None:
        version = message.get("v") if isinstance(message, Mapping) else None
        newer = isinstance(version, int) and version > holding.VERSION
        why = f"of version {version}, which is later than this one" if newer else "damaged"
        self.quarantine[slot] = why
        self._out.append(Say(f"slot {slot} holds what cannot be read: {why}; it stays held, see `o2ctl keep status`"))

    def _release_isolated(self, asker: Asker, wanted: Names) -> bool:
        """What nobody can read is released by the number of its slot, as `slot:7`."""
        name = wanted.names[0]
        if not name.startswith(SLOT_PREFIX) or not name[len(SLOT_PREFIX) :].isdigit():
            return False
        slot = int(name[len(SLOT_PREFIX) :])
        if slot not in self.quarantine:
            return False
        why = self.quarantine.pop(slot)
        self._empty(slot)
        for domain in self.domains.values():
            for lane in domain:
                lane.dirty = True
            self._sweep(domain)
        self._out.append(Answer(asker, {"released": True, "changed": True, "name": name, "owner": why}))
        return True

    def _adopt_lock(self, slot: int, what: Identity, infos: dict[str, int], confirmed: bool) -> None:
        held = Holding(what, slot, unclaimed=not confirmed and what.kind != PROCESS and not what.serial)
        if held.unclaimed:
            self._after(UNCLAIMED_SECONDS, lambda: self._give_up(held), held)
        if Mode(what.mode) in modes.SOLE:
            held.info = infos.pop(what.id, -1)
            held.touched = {names.info(what.stored)}
        self.holdings.add(held)
        self._slots[slot] = what.id
        lane = self._lane_of(held)
        if lane is not None:
            lane.names.add(what.stored)
        if what.kind != NODE:
            self._out.append(Watch(slot, what.cgroup))
        self.seen = max(self.seen, what.token)

    def _lane_of(self, held: Holding) -> Lane | None:
        domain = self.domains.get(held.what.domain)
        return domain.lanes.get(held.what.lane) if domain else None

    def _give_up(self, held: Holding) -> None:
        """Nobody was told of this lock, and nobody has come back to ask for it."""
        if held.unclaimed:
            self._let_go(held)

    def _cover_adopted(self) -> None:
        """A token that was never answered may be above the mark: until it is not, nobody is told of that lock."""
        for held in self.holdings:
            if held.what.token <= self.mark and not held.unclaimed:
                self._hold(held)
        granting = [held for held in self.holdings if held.state is holding.State.GRANTING and not held.unclaimed]
        if granting:
            self._reach(max(held.what.token for held in granting), lambda problem: self._covered(granting, problem))

    def _covered(self, granting: list[Holding], problem: str) -> None:
        if problem:
            self._out.append(Say(problem))
            self._after(1.0, self._cover_adopted)
            return
        for held in granting:
            self._hold(held)

    def _hold(self, held: Holding) -> None:
        if held.state is holding.State.GRANTING:
            held.state = _HELD
            self._wake(held.what.key)
            if Mode(held.what.mode) in modes.SOLE and held.info < 0:
                self._after(SHOW_SECONDS, lambda: self._show(held), held)

    def _settle_adopted(self, held: Holding) -> None:
        """A conversion may have been cut in the middle: after this the levels are what the record says."""
        mode, stored = Mode(held.what.mode), held.what.stored
        lowered = [holding.file_name(stored, which) for which, level in LEVELS[mode].items() if level is Level.PR]
        if held.what.kind == NODE:
            self._settle(held, lowered, [], lambda: None)

    # take

    def _consider(self, request: Request) -> None:
        """Find out what this request needs now, and do it, or say what it waits for."""
        if request.state is State.DONE:
            return
        if request.gone:
            self._end(request)
            return
        if self.draining:
            request.state = State.PARKED
            return
        domain = self._domain(request.want.domain)
        if domain.stage is not Stage.JOINED:
            if request.state is not State.JOINING:
                request.state = State.JOINING
                self._after(JOIN_SECONDS, lambda: self._join_late(request), request)
            return
        if not request.deadline:
            wait = max(request.want.wait, SHORTEST_WAIT)
            request.deadline = self.now + wait
            self._after(wait, lambda: self._deadline(request), request)
        if request.base is not None:
            self._rise(request)
            return
        wanted = self._wanted(request)
        if wanted is None:
            return
        if wanted:
            self._try(request, domain, wanted)
        elif request.won:
            self._cover(request)
        else:
            self._grant(request)

    def _wanted(self, request: Request) -> list[str] | None:
        """The names that are to be taken. None where the request goes another way, or has to wait."""
        want = request.want
        request.had, request.ours = [], []
        wanted = []
        for name in want.names:
            key = (want.domain, names.stored(name))
            held = self.holdings.node_lock(key) if want.kind == NODE else None
            ours = held is not None and want.id != "" and held.what.request == want.id
            if held is not None and held.state is holding.State.GRANTING:
                if ours and held.unclaimed:
                    held.unclaimed = False
                    request.won.append(held)
                if held not in request.won:
                    self._park(request, key)
                    return None
                continue
            if held is None or (want.fresh and not ours):
                if self._in_the_way(request, key):
                    self._park(request, key)
                    return None
                wanted.append(name)
            elif held.what.mode == want.mode.value:
                request.had.append(held.what)
                if ours:
                    request.ours.append(held)
            elif len(want.names) == 1:
                self._begin_conversion(request, held)
                return None
            else:
                text = f"lock {name!r} is held in mode {held.what.mode}: convert it by a request of its own"
                self._finish(request, {"error": text})
                return None
        return wanted

    def _in_the_way(self, request: Request, key: tuple[str, str]) -> bool:
        """Whether this very node tries for the lock or holds it in a way that excludes this request."""
        if (*key, request.want.mode.value) in self._trying:
            return True
        for held in self.holdings.of(key):
            if request.want.fresh and held.what.kind == NODE:
                return True
            if not modes.compatible(request.want.mode, Mode(held.what.mode)):
                return True
        return False

    def _park(self, request: Request, key: tuple[str, str]) -> None:
        request.state = State.PARKED
        request.busy = key[1]
        waiting = self._parked.setdefault(key, [])
        if request not in waiting:
            waiting.append(request)

    def _wake(self, key: tuple[str, str]) -> None:
        """Those of this node who wait for one another: something has changed."""
        for request in self._parked.pop(key, ()):
            if request.state is State.PARKED:
                self._consider(request)

    def _try(self, request: Request, domain: Domain, wanted: list[str]) -> None:
        want = request.want
        stored = [names.stored(name) for name in wanted]
        lane = self._lane(domain, stored)
        if lane is None or len(self.free) < len(wanted):
            self._starve(request, len(wanted))
            return
        slots = tuple(self._slot() for _name in wanted)
        identities = [
            Identity(
                id=self._new_id(),
                domain=want.domain,
                name=name,
                mode=want.mode.value,
                kind=want.kind,
                owner=want.owner,
                token=0,
                since=0,
                cgroup=want.cgroup,
                lane=lane.number,
                request=want.id,
            )
            for name in wanted
        ]
        if want.eager and self.seen + MARK_AHEAD // 2 > self.mark:
            self._write_mark()
        first = not request.call
        until = self.now if first else min(request.deadline, self.now + POLL_SECONDS)
        keys = [(want.domain, name, want.mode.value) for name in stored]
        for key in keys:
            self._trying[key] = request
        job = effects.Take(
            domain=want.domain,
            lane=lane.number,
            locks=[(slot, vars(what)) for slot, what in zip(slots, identities)],
            mode=want.mode.value,
            node=self.node,
            seen=self.seen,
            until=until,
            eager=want.eager,
        )
        request.state = State.TRYING

        def tried(answer: dict[str, Any], number: int) -> None:
            for key in keys:
                del self._trying[key]
            if "won" in answer:
                self._won(request, lane, slots, identities, answer, number)
            else:
                for slot in answer.get("filled", ()):
                    self._out.append(Drop(slot))
                self._unused(slots)
                if answer.get("dirty") or answer.get("filled"):
                    self._unlink(domain, lane, _files(stored, want.mode), stored=stored)
                self._lost(request, answer)
            for key in keys:
                self._wake(key[:2])

        def died(found: dict[int, Any], number: int) -> None:
            for slot in found:
                self._out.append(Drop(slot))
            self._unlink(domain, lane, _files(stored, want.mode), stored=stored)
            tried(self._death(request), number)

        request.call = self._run(job, tried, died, lanes=(lane,), slots=slots, claims=stored)

    def _death(self, request: Request) -> dict[str, Any]:
        """A worker that died is no answer; the third time it is."""
        request.deaths += 1
        if request.deaths < DEATHS:
            return {"busy": ""}
        return {"error": "workers of o2keep died over this request: see the journal"}

    def _starve(self, request: Request, slots: int = 1) -> None:
        """It tries again when something has become free. `slots` are so many as it needs at once."""
        request.state = State.STARVED
        self._starved.append(request)
        self._grow(slots)

    def _won(
        self,
        request: Request,
        lane: Lane,
        slots: tuple[int, ...],
        identities: list[Identity],
        answer: dict[str, Any],
        number: int,
    ) -> None:
        """They are in their slots: held from now on, whatever becomes of the request."""
        if answer.get("covered"):
            self.mark = max(self.mark, *(int(token) for token, _since in answer["won"]))
        for slot, what, (token, since) in zip(slots, identities, answer["won"]):
            held = Holding(replace(what, token=int(token), since=int(since)), slot)
            self.holdings.add(held)
            self._slots[slot] = what.id
            lane.names.add(what.stored)
            request.won.append(held)
            self.seen = max(self.seen, int(token))
        if request.want.kind == PROCESS:
            request.gift = number
        if request.state is State.DONE or request.gone:
            self._return(request)
            return
        self._cover(request)

    def _cover(self, request: Request) -> None:
        """What was won is told when the mark covers its tokens."""
        request.state = State.MARKING
        self._reach(max(held.what.token for held in request.won), lambda problem: self._marked(request, problem))

    def _return(self, request: Request) -> None:
        """Nobody waits for it any more."""
        self._drop_won(request)
        self._end(request)

    def _drop_won(self, request: Request) -> None:
        if request.gift:
            self._out.append(Discard(request.gift))
            request.gift = 0
        won, request.won, request.ours = [*request.won, *request.ours], [], []
        for held in won:
            self._let_go(held)

    def _marked(self, request: Request, problem: str) -> None:
        if request.state is not State.MARKING:
            return
        if not problem and any(held.state is not holding.State.GRANTING for held in request.won):
            problem = "it was released meanwhile by another request"
        if request.gone:
            self._return(request)
        elif problem:
            self._finish(request, {"error": f"lock {request.want.names[0]!r} was not taken: {problem}"})
        else:
            self._grant(request)

    def _grant(self, request: Request) -> None:
        """Tell of what is held: what was won, and what this node had already."""
        won, gift, had = request.won, request.gift, request.had
        ours = [held.what for held in request.ours]
        request.won, request.ours, request.gift = [], [], 0
        told = sorted([held.what for held in won] + had, key=lambda what: what.name)
        answer: dict[str, Any] = {"held": True, "changed": bool(won or ours)}
        if request.want.many:
            fresh = {held.what.id for held in won} | {what.id for what in ours}
            answer["locks"] = [{"changed": what.id in fresh, **holding.facts(what)} for what in told]
        else:
            answer.update(holding.facts(told[0]))
        undo = tuple(held.what.id for held in won if held.what.kind != PROCESS)
        self._out.extend(Confirm(held.slot) for held in won)
        self._finish(request, answer, gift, undo)
        for held in won:
            self.counters["granted"] += 1
            self._out.append(Audit("granted", vars(held.what), request.asker))
            if held.what.kind != NODE:
                self._out.append(Watch(held.slot, held.what.cgroup))
            self._hold(held)

    def _lost(self, request: Request, answer: dict[str, Any]) -> None:
        """A try has come back without the locks."""
        if request.state is State.DONE or request.gone:
            self._end(request)
            return
        if "busy" not in answer:
            self._finish(request, answer)
            return
        request.busy = answer["busy"] or request.busy or names.stored(request.want.names[0])
        if self.now >= request.deadline:
            self._refuse(request)
            return
        if request.recall:
            self._recall(request)
        if request.want.eager:
            self._consider(request)
        else:
            self._pause(request)

    def _pause(self, request: Request) -> None:
        request.state = State.PAUSED

        def over() -> None:
            if request.state is State.PAUSED:
                self._consider(request)

        self._after(self._dice.uniform(*PAUSE), over, request)

    def _finish(self, request: Request, message: dict[str, Any], gift: int = 0, undo: tuple[str, ...] = ()) -> None:
        """Answer it, once. What it has won, and is not told of, is given back first."""
        if request.state is not State.DONE:
            self._drop_won(request)
            if message.get("held") is False:
                self.counters["refused"] += 1
            self._out.append(Answer(request.asker, message, gift, undo))
            self._end(request)

    def _end(self, request: Request) -> None:
        request.state = State.DONE
        self._drop_won(request)
        self._requests.pop(request, None)
        base = request.base
        if base is not None and base.converting is request and not request.call:
            base.converting = None

    def _refused_as_leaving(self, request: Request) -> bool:
        if self.leaver is None:
            return False
        text = "this node is leaving the cluster: ask again when it is back"
        if request.state is State.MARKING:
            return True
        self._finish(request, {"error": text})
        return True

    # deadlines

    def _join_late(self, request: Request) -> None:
        if request.state is State.JOINING:
            seconds = round(self.now - self._domain(request.want.domain).since, 1)
            self._finish(request, {"held": False, "reason": "joining", "holder": None, "asleep": seconds})

    def _deadline(self, request: Request) -> None:
        """A sleeping call is left to itself.

        Where the holder may be known, it is asked for, within a deadline of its own.
        """
        state = request.state
        if state in (State.PAUSED, State.PARKED):
            behind = self._sleeper(request)
            if behind is not None:
                self._refuse_asleep(request, behind)
            else:
                self._refuse(request)
        elif state is State.STARVED:
            sleepers = [call.due for call in self.calls.values() if call.due and self.now - call.due > SLOW_SECONDS]
            self._refuse_asleep(request, min(sleepers, default=self.now))
        elif state is State.TRYING and request.overtime:
            self._refuse_asleep(request, self.calls[request.call].due or self.now)
        elif state is State.TRYING:
            request.overtime = True
            self._after(max(OVERTIME, FIRST_ANSWER - request.want.wait), lambda: self._deadline(request), request)

    def _sleeper(self, request: Request) -> float | None:
        """Since when a call of this node sleeps, behind which this request is parked."""
        key = (request.want.domain, request.busy, request.want.mode.value)
        other = self._trying.get(key)
        call = self.calls.get(other.call) if other is not None else None
        if request.state is State.PARKED and call is not None and call.due and self.now - call.due > SLOW_SECONDS:
            return call.due
        return None

    def _refuse_asleep(self, request: Request, since: float) -> None:
        seconds = self.now - since
        reason = "recovering" if seconds > RECOVERING_SECONDS else "unknown"
        if request.base is not None and request.state is not State.TRYING:
            self._refuse(request)
            return
        self._finish(request, {"held": False, "reason": reason, "holder": None, "asleep": round(seconds, 1)})

    def _refuse(self, request: Request) -> None:
        """It could not be had in time, and no try is under way."""
        if request.base is not None:
            mode = request.base.what.mode
            request.call = 0
            self._finish(request, {"held": False, "reason": "conversion", "holder": None, "mode": mode})
            return
        self._find(request, LOOK_SECONDS)

    # who holds it

    def _find(self, request: Request, seconds: float) -> None:
        """Look for the holder of the lock that was refused, and answer by then."""
        request.state = State.LOOKING
        own = self._own_holder(request.want.domain, request.busy)
        if own is not None:
            self._found(request, {"held": True, "holder": own})
            return
        self._after(seconds, lambda: self._found(request, {"held": None, "holder": None}), request)
        self._look(request.want.domain, request.busy, lambda answer: self._found(request, answer))

    def _own_holder(self, domain: str, stored: str) -> dict[str, Any] | None:
        for held in self.holdings.of((domain, stored)):
            if held.state is _HELD:
                return {"node": self.node, **holding.facts(held.what)}
        return None

    def _found(self, request: Request, answer: dict[str, Any]) -> None:
        if request.state is not State.LOOKING:
            return
        more = {"error": answer["error"]} if "error" in answer else {}
        if request.deadline:
            name = next((name for name in request.want.names if names.stored(name) == request.busy), "")
            message = {"held": False, "reason": "busy", "name": name, "holder": answer.get("holder")}
            self._finish(request, message)
        else:
            self._finish(request, {"held": answer.get("held"), "holder": answer.get("holder"), **more})

    def _look(self, domain_name: str, stored: str, tell: Callable[[dict[str, Any]], None]) -> None:
        domain = self._domain(domain_name)
        lane = self._lane(domain, (stored,)) if domain.stage is Stage.JOINED else None
        if lane is None:
            self._after(AGAIN_SECONDS, lambda: self._look_again(domain_name, stored, tell))
            return
        found = lane

        def looked(answer: dict[str, Any], _number: int) -> None:
            tell(answer)
            self._wake((domain_name, stored))

        def died(_found: dict[int, Any], number: int) -> None:
            self._unlink(domain, found, [names.info(stored)], stored=(stored,))
            looked({"error": "a worker died"}, number)

        job = effects.Look(domain_name, lane.number, names.info(stored))
        self._run(job, looked, died, lanes=(lane,), claims=(stored,))

    def _look_again(self, domain: str, stored: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """Somebody has to be there who still wants to know."""
        waiting = any(one.state is State.LOOKING and one.busy == stored for one in self._requests)
        if (waiting or (domain, stored) in self._recalling) and self.leaver is None:
            self._look(domain, stored, tell)
        else:
            tell({"held": None, "holder": None})

    def _recall(self, request: Request) -> None:
        """Once for a request: make other programs give up what they merely cache.

        A lock of ours is never cached. One that somebody holds is waited for by a worker, as long as that takes.
        """
        request.recall = False
        want = request.want
        name = next((one for one in want.names if names.stored(one) == request.busy), "")
        key = (want.domain, request.busy)
        if key in self._recalling or not name or not names.is_plain(name):
            return
        self._recalling.add(key)

        def looked(answer: dict[str, Any]) -> None:
            domain = self.domains.get(want.domain)
            lane = self._lane(domain, (key[1],)) if domain is not None and answer.get("held") is False else None
            if domain is None or lane is None:
                self._recalling.discard(key)
                return
            there = (domain, lane)

            def recalled(_answer: dict[str, Any], _number: int) -> None:
                self._recalling.discard(key)

            def died(_found: dict[int, Any], number: int) -> None:
                self._unlink(*there, _files([key[1]], want.mode), stored=(key[1],))
                recalled({}, number)

            resources = holding.resources(key[1], want.mode)
            job = effects.Recall(want.domain, lane.number, resources)
            self._run(job, recalled, died, lanes=(lane,), claims=(key[1],))

        self._look(want.domain, request.busy, looked)

    # the mark on disk

    def _reach(self, token: int, call: Callable[[str], None]) -> None:
        """Call this when the mark on disk is not below the token; with the reason where it cannot be in time."""
        if token <= self.mark:
            call("")
            return
        entry = (token, call, self.now + MARK_SECONDS)
        self._marking.append(entry)
        self._after(MARK_SECONDS, lambda: self._told(lambda one: one is entry, "the mark could not be written in time"))
        self._write_mark()

    def _write_mark(self) -> None:
        """One at a time: a write that hangs must not land after a later one."""
        if self._mark_call:
            return

        def written(answer: dict[str, Any], _number: int) -> None:
            self._mark_call = 0
            if "error" in answer:
                self._told(lambda _one: True, f"a later token might fall: {answer['error']}")
                return
            self.mark = max(self.mark, int(answer["mark"]))
            self._told(lambda one: one[0] <= self.mark, "")
            if self._marking:
                self._write_mark()

        def died(_found: dict[int, Any], number: int) -> None:
            written({"error": "a worker died while it wrote the mark"}, number)

        self._mark_call = self._run(effects.Mark(self.seen + MARK_AHEAD), written, died)

    def _told(self, which: Callable[[Any], bool], problem: str) -> None:
        told = [entry for entry in self._marking if which(entry)]
        self._marking = [entry for entry in self._marking if entry not in told]
        for entry in told:
            entry[1](problem)

    # convert

    def _begin_conversion(self, request: Request, held: Holding) -> None:
        """Bring a lock of this node to another mode, without a moment in which it holds less than both allow."""
        if held.converting is not None or held.state is not _HELD:
            self._finish(request, {"error": f"lock {held.what.name!r} is being converted already: try again"})
            return
        held.converting = request
        request.base = held
        self._rise(request)

    def _rise(self, request: Request) -> None:
        base = _base(request)
        domain = self.domains[request.want.domain]
        lane = self._lane_of(base)
        if base.state is not _HELD or lane is None:
            self._finish(request, {"error": f"lock {base.what.name!r} is not held any more"})
            return
        if base.jobs:
            self._park(request, base.what.key)
            return
        second = self._lane(domain, (base.what.stored,))
        if second is None or not self.free:
            self._starve(request)
            return
        slot = self._slot()
        want, conversion = request.want, _conversion(request)
        what = replace(base.what, mode=want.mode.value, serial=base.what.serial + 1, request=want.id)
        base.touched |= set(_files([what.stored], want.mode))
        job = effects.Convert(
            domain=domain.name,
            lane=lane.number,
            second=second.number,
            slot=slot,
            old=base.slot,
            what=asdict(what),
            mode=base.what.mode,
            node=self.node,
            seen=self.seen,
        )
        request.state = State.TRYING

        def tried(answer: dict[str, Any], _number: int) -> None:
            request.call = 0
            base.jobs -= 1
            if answer.get("covered"):
                self.mark = max(self.mark, int(answer["won"][0]))
            if "won" in answer:
                self._risen(request, replace(what, token=int(answer["won"][0]), since=int(answer["won"][1])), slot)
            else:
                self._unused((slot,))
                self._not_risen(request, answer)
            self._idle(base)

        def died(found: dict[int, Any], number: int) -> None:
            for _one in found:
                self._out.append(Drop(slot))
            self._unlink(domain, second, base.files(), stored=(what.stored,))
            self._sink(base, conversion, what.stored)
            tried(self._death(request), number)

        base.jobs += 1
        request.call = self._run(job, tried, died, lanes=(lane, second), slots=(slot,), claims=(what.stored,))

    def _not_risen(self, request: Request, answer: dict[str, Any]) -> None:
        if request.state is State.DONE or request.gone:
            self._end(request)
        elif "busy" not in answer:
            self._finish(request, answer)
        elif self.now >= request.deadline:
            self._refuse(request)
        else:
            self._pause(request)

    def _risen(self, request: Request, what: Identity, slot: int) -> None:
        base = _base(request)
        self.seen = max(self.seen, what.token)
        self._slots[slot] = ""
        if request.state is not State.DONE and not request.gone and base.state is not _HELD:
            self._finish(request, {"error": _released(base)})
        if request.state is State.DONE or request.gone:
            self._take_back(request, slot)
            return
        request.state = State.MARKING
        base.jobs += 1

        def marked(problem: str) -> None:
            base.jobs -= 1
            if problem or request.gone or base.state is not _HELD:
                text = f"lock {what.name!r} stays in mode {base.what.mode}: {problem}" if problem else _released(base)
                self._finish(request, {"error": text})
                self._take_back(request, slot)
            else:
                self._exchange(request, what, slot)
            self._idle(base)

        self._reach(what.token, marked)

    def _take_back(self, request: Request, slot: int) -> None:
        """It came too late, or nobody is there any more: the lock is again what it was."""
        base = _base(request)
        self._empty(slot)
        self._end(request)
        self._sink(base, _conversion(request), base.what.stored)

    def _sink(self, base: Holding, conversion: Conversion, stored: str) -> None:
        """What was opened for a conversion that did not come about falls again."""
        have = LEVELS[Mode(base.what.mode)]
        opened = [which for which, _level in conversion.opened]
        lowered = [holding.file_name(stored, which) for which in opened if have.get(which) is Level.PR]
        dropped = [holding.file_name(stored, which) for which in opened if which not in have]
        self._settle(base, lowered, dropped, lambda: None)

    def _exchange(self, request: Request, what: Identity, slot: int) -> None:
        """The new mode counts from now on."""
        base = _base(request)
        old, conversion = base.what, _conversion(request)
        self._out.append(Confirm(slot))
        self._empty(base.slot)
        base.slot, base.what, base.converting = slot, what, None
        self._slots[slot] = what.id
        self.counters["converted"] += 1
        self._out.append(Audit("converted", vars(what), request.asker))
        stored = what.stored
        dropped = [holding.file_name(stored, which) for which in conversion.dropped]
        if Mode(old.mode) in modes.SOLE:
            self._hide(base)
            dropped.append(names.info(stored))
        granted = {"held": True, "changed": True, **holding.facts(what)}
        if request.want.many:
            granted["locks"] = [{"changed": True, **holding.facts(what)}]
        request.state = State.SETTLING

        def tell() -> None:
            self._finish(request, granted if base.state is _HELD else {"error": _released(base)})

        self._after(SETTLE_SECONDS, tell)

        def settled() -> None:
            base.touched.difference_update(dropped)
            tell()
            if Mode(what.mode) in modes.SOLE:
                self._show(base)

        lowered: Iterable[str] = conversion.lowered
        lane = self._lane_of(base)
        if lane is not None and lane.dirty:
            # A worker of an earlier keeper may have been here, and what it raised falls with all else.
            lowered = [which for which, level in LEVELS[Mode(what.mode)].items() if level is Level.PR]
        self._settle(base, [holding.file_name(stored, which) for which in lowered], dropped, settled)
        self._wake(what.key)

    def _settle(
        self, held: Holding, lowered: list[str], dropped: list[str], settled: Callable[[], None], tries: int = 0
    ) -> None:
        """Lower and drop these files in the lock's lane, and call this after it. It cannot be refused by anybody."""
        lane, domain = self._lane_of(held), self.domains.get(held.what.domain)
        if lane is None or domain is None or not (lowered or dropped):
            settled()
            return
        second = self._lane(domain, (held.what.stored,)) if lowered else lane
        held.jobs += 1
        if second is None:
            self._after(AGAIN_SECONDS, lambda: self._settle_again(held, lowered, dropped, settled, tries))
            return

        def done(answer: dict[str, Any], _number: int) -> None:
            held.jobs -= 1
            if "error" in answer and lowered:
                # It may have asked through the second lane: what that caches would keep others out.
                self._unlink(domain, second, lowered, stored=(held.what.stored,))
            if "error" in answer and tries < DEATHS:
                self._settle(held, lowered, dropped, settled, tries + 1)
                return
            if "error" in answer:
                self._out.append(Say(f"lock {held.what.name!r} keeps more than its mode: {answer['error']}"))
            settled()
            self._idle(held)

        def died(_found: dict[int, Any], number: int) -> None:
            done({"error": "a worker died"}, number)

        job = effects.Settle(domain.name, lane.number, second.number, lowered, dropped)
        claims = (held.what.stored,) if second is not lane else ()
        self._run(job, done, died, lanes=(lane, second), claims=claims)

    def _settle_again(
        self, held: Holding, lowered: list[str], dropped: list[str], settled: Callable[[], None], tries: int
    ) -> None:
        held.jobs -= 1
        self._settle(held, lowered, dropped, settled, tries)

    # the owner record

    def _show(self, held: Holding) -> None:
        """Show who holds a lock that one holder at a time can have."""
        lane = self._lane_of(held)
        if held.state is not _HELD or held.info >= 0 or lane is None or Mode(held.what.mode) not in modes.SOLE:
            return
        if not self.free:
            self._grow()
        if held.jobs or held.converting is not None or not self.free or lane.sleeps(self.now):
            self._after(SHOW_SECONDS, lambda: self._show(held), held)
            return
        slot, what = self._slot(), held.what

        def shown(answer: dict[str, Any], _number: int) -> None:
            held.jobs -= 1
            if "error" in answer or "busy" in answer:
                self._unused((slot,))
                self._after(SHOW_AGAIN_SECONDS, lambda: self._show(held), held)
            elif held.state is _HELD:
                held.info = slot
            else:
                self._empty(slot)
            self._idle(held)

        def died(found: dict[int, Any], number: int) -> None:
            for _one in found:
                self._out.append(Drop(slot))
            shown({"error": "a worker died"}, number)

        held.jobs += 1
        held.touched.add(names.info(what.stored))
        job = effects.Publish(
            domain=what.domain,
            lane=lane.number,
            slot=slot,
            id=what.id,
            name=names.info(what.stored),
            node=self.node,
            token=what.token,
            since=what.since,
            owner=what.owner,
        )
        self._run(job, shown, died, lanes=(lane,), slots=(slot,))

    def _hide(self, held: Holding) -> None:
        """Show no longer who holds the lock. Its `.info` is still to be unlinked."""
        if held.info >= 0:
            self._empty(held.info)
            held.info = -1

    def _idle(self, held: Holding) -> None:
        """No job may be under way in the lock's files any more: what waited for that goes on."""
        if held.jobs:
            return
        if held.state is holding.State.RELEASING:
            self._forget(held)
        elif held.show_again:
            held.show_again = False
            self._hide(held)
            self._show(held)
        self._wake(held.what.key)

    # release

    def _let_go(self, held: Holding) -> None:
        """Descriptors die, then the files are unlinked. In this order also when this daemon dies on the way."""
        if held.state not in (holding.State.GRANTING, _HELD):
            return
        held.state = holding.State.RELEASING
        self._out.append(Audit("released", vars(held.what), None))
        self.counters["released"] += 1
        self._empty(held.slot)
        self._hide(held)
        self._idle(held)

    def _forget(self, held: Holding) -> None:
        held.state = holding.State.FORGETTING
        lane, domain = self._lane_of(held), self.domains.get(held.what.domain)

        def forgotten(free: bool) -> None:
            held.state = holding.State.GONE
            self.holdings.remove(held)
            if lane is not None:
                lane.names.discard(held.what.stored)
            self._wake(held.what.key)
            for release in list(self._releases):
                if held.what.id in release.open:
                    if not free:
                        self._release_late(release)
                    release.open.discard(held.what.id)
                    self._release_done(release)

        if lane is None or domain is None:
            # Its lane could not be read: the file stays, and the level that it caches.
            forgotten(False)
        else:
            self._unlink(domain, lane, held.files(), forgotten, (held.what.stored,))

    def _unlink(
        self,
        domain: Domain,
        lane: Lane,
        files: list[str],
        then: Callable[[bool], None] = lambda _done: None,
        stored: Iterable[str] = (),
        deaths: int = 0,
    ) -> None:
        """Unlink the files of these locks, which nobody holds any more, and tell whether that was done.

        Where it was not, the next sweep does it. What is to be unlinked in a lane at the end of an event is one job.
        """
        # Another holder of the same name may have come into this lane's table meanwhile: that one's claim stays.
        claims = [name for name in stored if name not in lane.names]
        lane.names.update(claims)
        together = self._unlinks.setdefault((domain.name, lane.number), (domain, lane, []))[2]
        together.append(_Unlink(files, then, tuple(stored), claims, deaths))

    def _unlink_together(self, domain: Domain, lane: Lane, some: Sequence[_Unlink]) -> None:
        def ended(problem: Callable[[_Unlink], bool]) -> None:
            failed = [one for one in some if problem(one)]
            if failed:
                # Until a sweep has succeeded there may be a level that is cached in this lane.
                lane.dirty = True
                lane.stale.update(name for one in failed for name in one.stored)
                self._after(SWEEP_AGAIN_SECONDS, lambda: self._sweep(domain))
            for one in some:
                one.then(one not in failed)

        def done(answer: dict[str, Any], _number: int) -> None:
            busy = frozenset(answer.get("busy", ()))
            ended(lambda one: "error" in answer or not busy.isdisjoint(one.files))

        def died(_found: dict[int, Any], _number: int) -> None:
            if some[0].deaths >= DEATHS:
                ended(lambda _one: True)
                return
            for one in some:
                self._unlink(domain, lane, one.files, one.then, one.stored, one.deaths + 1)

        files = [file for one in some for file in one.files]
        claims = [name for one in some for name in one.claims]
        self._run(effects.Forget(domain.name, lane.number, files), done, died, lanes=(lane,), claims=claims)

    def _release_done(self, release: Release) -> None:
        if release.open:
            return
        self._releases.pop(release, None)
        if release.done:
            return
        release.done = True
        changed = bool(release.facts)
        answer: dict[str, Any] = {"released": changed, "changed": changed}
        if release.wanted.many:
            answer["locks"] = release.facts
        elif changed:
            answer.update(release.facts[0])
        self._out.append(Answer(release.asker, answer))

    def _release_late(self, release: Release) -> None:
        if not release.done and release.open:
            release.done = True
            name = release.facts[0]["name"]
            text = f"lock {name!r} is released here, and free once the lock manager answers: see cluster_info"
            self._out.append(Answer(release.asker, {"error": text}))

    # leaving

    def _leave_when_empty(self, asker: Asker) -> None:
        if self.leaver != asker:
            return
        if self.holdings or self._joins() or self.now < self._last_work + MOUNT_SECONDS:
            self._after(AGAIN_SECONDS, lambda: self._leave_when_empty(asker))
            return
        for domain in self.domains.values():
            for lane in domain:
                self._empty(lane.slot)
        left = tuple(sorted(self.domains))
        self.domains.clear()
        self._out.append(CloseLanes(left, asker))

    def _joins(self) -> bool:
        """Whether a call is under way that has a lane."""
        return any(call.lanes or isinstance(call.job, (effects.Join, effects.MakeLane)) for call in self.calls.values())


SLOT_PREFIX = "slot:"
"""Before the number of a slot whose message cannot be read, where such a lock is released."""

_HELD = holding.State.HELD
_SHUTDOWN = "shutdown"
_WITHOUT_CALL = frozenset((State.JOINING, State.PARKED, State.STARVED, State.PAUSED, State.LOOKING))


def _is_over(one: Request | Release | Holding) -> bool:
    if isinstance(one, Release):
        return one.done
    return one.state in (State.DONE, holding.State.GONE)


def _bound(call: Callable[[Domain], None], domain: Domain) -> Callable[[], None]:
    return lambda: call(domain)


def _base(request: Request) -> Holding:
    if request.base is None:
        raise TypeError("this request converts nothing")
    return request.base


def _released(base: Holding) -> str:
    return f"lock {base.what.name!r} was released while it was converted"


def _conversion(request: Request) -> Conversion:
    return modes.conversion(Mode(_base(request).what.mode), request.want.mode)


def _files(stored: Iterable[str], mode: Mode) -> list[str]:
    """The files of these locks in a mode."""
    return [name for one in stored for name, _exclusive in holding.resources(one, mode)]
