# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2keep: the one process on a node that holds every lock of this collection.

Theory of operation. A lock is a descriptor, so whoever holds the descriptor holds the lock. This daemon holds them all
and does nothing else: it has no configuration and nothing to reload. It makes no call into dlmfs itself, for such a
call may sleep for a minute: workers do, and hand the descriptors over. Before a node lock is granted, it is in a slot
that outlives the daemon (`slots`), which may crash, be killed, restarted or upgraded, and no other node notices. The
descriptors of a process lock are given to the process that asked and are *not* kept here: they die with the last
process that inherited them, which the pipe that goes with them tells.

    take     tries with jittered pauses until the deadline; one at a time for a name and a mode. A try that does not
             come back by the deadline is left to itself, and what it wins late is dropped.
    grant    mark the token on disk, put it into a slot, answer, publish the owner record.
    convert  as `converting` tells.
    release  the slot keeps the mount only, descriptors are closed, the files are unlinked, answer; the mount goes 1.5 s
             later.

Everything runs in one thread around one selector; each waiting request has a deadline.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..base import files, programs, wire
from ..base.errors import O2cbError
from ..base.loop import Loop
from ..o2cb import domains
from ..o2cb.keeping import SOCKET
from . import cgroups, holding, modes, names
from .clock import FRESH_SECONDS, Clock
from .converting import Converter
from .holding import CGROUP, NODE, PROCESS, Holding, Holdings, Identity
from .mark import Mark
from .pool import JOINING, Pool
from .rules import MOUNT_SECONDS
from .server import Client, Server
from .slots import Slots
from .store import Store, inherited
from .token import SECOND

SHORTEST_WAIT = 0.25
OVERTIME = 0.7
FIRST_ANSWER = 2.0
"""A try that is under way at the deadline may still come back: mostly with an answer that is worth more than none. It
has OVERTIME for that, and at least FIRST_ANSWER since it was asked for."""

LOOK_SECONDS = 0.7
SHOW_SECONDS = 0.2
"""A process lock shows its holder when it is held for longer than this: to show it takes longer than to take it. One
that was handed over does too, so that what waits for it begins first."""

GATHER_SECONDS = 0.5
"""Mounts are let go of together, at most this late."""

POLL_SECONDS = 1.0
"""So long one worker tries for one who waits; then others of this node have their turn."""

LEAVE_AGAIN_SECONDS = 0.1
"""So often is looked whether the last mounts have gone."""

PAGE = 100
"""Holdings in one answer to `list`, at most; fewer where they would not fit into a message."""

OWNER_BYTES = 255

RELEASE_SECONDS = 5.0
SHUTDOWN_SECONDS = 20.0
ASK_SYSTEMD_SECONDS = 10.0
RECOVERING_SECONDS = 2.0
"""A call that sleeps longer than this sleeps because a node is being recovered or is cut off."""


@dataclass
class Take:
    """A request that waits for a lock."""

    client: Client
    what: Identity
    wait: float
    deadline: float
    recall: bool = False
    fresh: bool = False
    """A node lock that this node holds already is as busy as one of another node."""

    eager: bool = False
    """It is about to be released for this request: it is tried for without growing pauses."""

    base: Holding | None = None
    """The lock that is to be converted; None where one is to be taken."""
    answer_due: float = 0.0
    """When a call that is under way should have come back; 0 while none is."""

    begun: float = 0.0
    """When a worker began with that call; until then nobody but this machine is slow."""

    tried: bool = False
    overtime: bool = False
    granting: bool = False
    done: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.what.key

    @property
    def tries(self) -> tuple[str, str, str]:
        """One at a time on a node tries for a name in a mode. In another mode it may be had where this one cannot."""
        return (*self.what.key, self.what.mode)

    def begin(self) -> None:
        self.begun = time.monotonic()


class Keeper:
    """The daemon. `run` is its loop."""

    PAUSE = (0.005, 0.05)
    """Seconds between two tries, at random, so that those who wait for a lock do not step on one another."""

    def __init__(self, environment: Mapping[str, str], worker: Sequence[str], path: str = SOCKET) -> None:
        self.loop = Loop()
        self.at = self.loop.at
        self.store = Store(environment, self.loop)
        self.slots = Slots(self.store)
        self.pool = Pool(self.loop, worker)
        self.mark = Mark(self.loop, self.pool)
        self.converter = Converter(self)
        self.clock = Clock()
        self.boot = (files.read("/proc/sys/kernel/random/boot_id") or "").replace("-", "")[:16]
        self.parked: dict[tuple[str, str], list[Take]] = {}
        self.holdings = Holdings(self._wake)
        self.leaver: Client | None = None
        """Who lets this node leave the cluster, and has not closed its connection yet."""
        self.domains: dict[str, int] = {}
        self.joining: dict[str, list[Callable[[dict[str, Any]], None]]] = {}
        self.trying: dict[tuple[str, str, str], Take] = {}
        self.recalling: set[tuple[str, str]] = set()
        self.reading = False
        self.unstamped: list[Take] = []
        self.counter = 0
        self.retiring: list[tuple[float, int, str]] = []
        self.dropping = 0
        self.stopping = False
        self.watchdog = int(environment.get("WATCHDOG_USEC", "0")) / 2e6
        self._adopt(inherited(environment))
        verbs = {
            "take": self._take,
            "release": self._release,
            "list": self._list,
            "who": self._who,
            "status": self._status,
            "held": self._held,
            "label": self._label,
            "leave": self._leave,
        }
        self.server = Server(self.loop, path, verbs)
        self.answer = self.server.answer

    # the loop

    def run(self) -> None:
        """Serve until SIGTERM.

        Then everything stays in systemd's store for the next one, unless the machine goes down.
        """
        wake, alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(alarm)
        signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(self, "stopping", True))
        self.loop.watch(wake, lambda: os.read(wake, 64))
        self.slots.fill()
        self.read_stamps()
        self._feed()
        self._join(names.DEFAULT_DOMAIN, lambda _answer: None)
        self.store.tell(f"READY=1\nSTATUS=holds {len(self.holdings)} locks")
        while not self.stopping:
            self._turn()
        if programs.shutting_down(ASK_SYSTEMD_SECONDS):
            self._shut_down()

    def _turn(self, longest: float | None = None) -> None:
        """One turn of the loop: what has come, what is due, one barrier for all grants, workers for what waits."""
        self.pool.turn()
        self.loop.turn(longest)
        self.store.turn()

    def _feed(self) -> None:
        if self.watchdog:
            self.store.tell("WATCHDOG=1")
            self.at(self.watchdog, self._feed)

    # what an earlier keeper has left

    def _adopt(self, kept: dict[str, list[int]]) -> None:
        infos: dict[str, int] = {}
        found: list[Holding] = []
        released: set[str] = set()
        for record, descriptors in self.slots.adopt(kept):
            if "domain" in record:
                self.domains[record["domain"]] = descriptors[0]
            elif "info" in record:
                infos[record["info"]] = descriptors[0]
            else:
                found.append(holding.adopt(record, descriptors))
        for held in sorted(found, key=lambda held: (not held.releasing, len(held.what.id))):
            held.info = infos.pop(held.what.id, -1)
            if held.releasing:
                released.add(held.what.id)
                self._forget(held, lambda _answer: None)
                continue
            if held.what.id in released:
                wire.close_all(held.descriptors())
                continue
            old = self.holdings.node_lock(held.what.key) if held.what.kind == NODE else None
            self.holdings.add(held)
            if old is not None:
                self.holdings.remove(old)
                self.converter.adopt(old, held)
            self._watch(held)
            say(f"holds {held.what.name!r} again, mode {held.what.mode}, token {held.what.token}")

    # take

    def _take(self, client: Client, message: dict[str, Any]) -> None:
        mode = modes.parse(str(message.get("mode", "exclusive")))
        kind = str(message.get("kind", NODE))
        if kind not in (NODE, PROCESS, CGROUP) or mode is modes.Mode.NL:
            raise O2cbError(f"a lock of kind {kind!r} and mode {mode.value} cannot be taken")
        domain = str(message.get("domain") or names.DEFAULT_DOMAIN)
        problem = domains.name_problem(domain) or names.name_problem(str(message["name"]))
        if problem:
            raise O2cbError(problem)
        owner = _owner_text(message)
        self.counter += 1
        what = Identity(
            id=f"{self.boot[:4]}{os.getpid():x}-{self.counter:x}",
            domain=domain,
            name=str(message["name"]),
            mode=mode.value,
            kind=kind,
            owner=owner,
            token=0,
            since=int(time.time() * SECOND),
            cgroup=cgroups.of_process(client.pid) if kind == CGROUP else "",
        )
        fresh = bool(message.get("fresh"))
        held = self.holdings.node_lock(what.key) if kind == NODE and not fresh else None
        if held is not None and held.what.mode == mode.value:
            self.answer(client, {"held": True, "changed": False, **holding.facts(held)})
            return
        wait = max(float(message.get("wait", 0)), SHORTEST_WAIT)
        take = Take(client, what, wait, time.monotonic() + wait, bool(message.get("recall")), fresh)
        take.eager = bool(message.get("eager"))
        if held is not None:
            take.what = replace(what, id=f"{held.what.id}+")
            self.converter.start(take, held)
        self.at(wait, lambda: self._deadline(take))
        if held is None:
            take.answer_due = take.begun = time.monotonic()
            self._join(take.what.domain, lambda answer: self._joined(take, answer))

    def _join(self, domain: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """Be a member of a domain for as long as this daemon runs: joining takes seconds, and a lock should not.

        Nothing else may join one: only this job first makes sure that it is the domain in which all others are.
        """

        def joined(answer: dict[str, Any], descriptors: list[int]) -> None:
            if "error" not in answer and domain not in self.domains:
                self.domains[domain] = descriptors.pop()
                self.slots.put(f"domain {domain}", {"domain": domain}, [self.domains[domain]], lambda _problem: None)
            self.retire(descriptors)
            for waiting in self.joining.pop(domain):
                waiting(answer)

        if self._is_leaving():
            tell({"error": "this node is leaving the cluster: ask again when it is back"})
        elif domain in self.domains:
            tell({})
        elif domain in self.joining:
            self.joining[domain].append(tell)
        else:
            self.joining[domain] = [tell]
            self.pool.run({"job": "join", "domain": domain}, [], joined)

    def _joined(self, take: Take, answer: dict[str, Any]) -> None:
        if "error" in answer:
            self.finish(take, answer)
        else:
            self._try(take)

    def _try(self, take: Take) -> None:
        if take.done or take.client.closed:
            take.done = True
            return
        if self._is_leaving() or take.what.domain not in self.domains:
            self._join(take.what.domain, lambda answer: self._joined(take, answer))
            return
        other = self.trying.get(take.tries)
        if other is not None or self._excluded_here(take):
            take.answer_due, take.begun = (other.answer_due, other.begun) if other is not None else (0.0, 0.0)
            self.parked[take.key] = [*(other for other in self.parked.get(take.key, []) if not other.done), take]
            return
        if not self.clock.is_fresh(time.monotonic()):
            take.answer_due = take.answer_due or time.monotonic()
            self.read_stamps(take)
            return
        self.trying[take.tries] = take
        if take.eager:
            self.mark.expect(int(time.time() * SECOND))
        now = time.monotonic()
        take.answer_due = min(take.deadline, now + POLL_SECONDS) if take.tried else now
        take.tried = True
        job = {
            "job": "take",
            "domain": take.what.domain,
            "resources": holding.resources(take.what.stored, modes.Mode(take.what.mode)),
            "clocks": self.clocks(),
            "until": take.answer_due,
            "eager": take.eager,
            **self.signature(take.what),
        }
        take.begun = 0.0
        self.pool.run(job, [], lambda answer, descriptors: self._tried(take, answer, descriptors), take.begin)

    def _wake(self, key: tuple[str, str]) -> None:
        """Those of this node who wait for one another: something has changed."""
        for take in self.parked.pop(key, []):
            self._try(take)

    def _excluded_here(self, take: Take) -> bool:
        """Whether this very node holds the lock in a mode that excludes this one: nobody else needs to be asked."""
        wanted = modes.Mode(take.what.mode)
        if take.fresh and self.holdings.node_lock(take.key) is not None:
            return True
        return any(not modes.compatible(wanted, modes.Mode(held.what.mode)) for held in self.holdings.of(take.key))

    def clocks(self) -> list[float]:
        """What a worker needs to know for a fencing token: all but the first field of `token.Clocks`."""
        return [self.clock.newest_of_others(), self.clock.newest(), self.mark.seen]

    def signature(self, what: Identity) -> dict[str, Any]:
        return {"node": self.clock.own, "boot": self.boot, "since": what.since, "owner": what.owner}

    def _tried(self, take: Take, answer: dict[str, Any], descriptors: list[int]) -> None:
        del self.trying[take.tries]
        self.retire(descriptors[: answer.get("retire", 0)])
        take.answer_due = 0.0
        if "token" in answer:
            self._won(take, answer["token"], descriptors)
        elif take.done:
            pass
        elif answer.get("clock") and time.monotonic() + FRESH_SECONDS < take.deadline:
            self.at(FRESH_SECONDS, lambda: self._try(take))
        elif "busy" in answer:
            if take.recall:
                self._recall(take)
            if time.monotonic() + self.PAUSE[1] >= take.deadline:
                self._busy(take)
            elif take.eager:
                self._try(take)  # The next worker at once: the lock is about to be handed over.
            else:
                self.at(random.uniform(*self.PAUSE), lambda: self._try(take))
        else:
            self.finish(take, answer)
        self._wake(take.key)

    def _recall(self, take: Take) -> None:
        """Once for a request: make other programs give up what they merely cache.

        A lock of ours is never cached. One that somebody holds is waited for by a worker, as long as that takes.
        """
        take.recall = False
        key = take.key
        if key in self.recalling or not names.is_plain(take.what.name):
            return
        self.recalling.add(key)

        def recalled(_answer: dict[str, Any], mounts: list[int]) -> None:
            self.recalling.discard(key)
            self.retire(mounts)

        def looked(answer: dict[str, Any]) -> None:
            if answer.get("held") is not False:
                self.recalling.discard(key)
                return
            resources = holding.resources(take.what.stored, modes.Mode(take.what.mode))
            self.pool.run({"job": "recall", "domain": key[0], "resources": resources}, [], recalled)

        self._look(take.what, looked)

    def _won(self, take: Take, number: int, descriptors: list[int]) -> None:
        what = replace(take.what, token=number, since=int(time.time() * SECOND))
        held = Holding(what, descriptors[0], descriptors[1:])
        if take.done or take.client.closed:
            self._let_go(held, lambda _answer: None)
            return
        take.granting = True
        self.mark.reach(number, lambda problem: self._keep(take, held, problem))

    def _keep(self, take: Take, held: Holding, problem: str) -> None:
        """Put the lock where it outlives this daemon; what a process lock's holder is given is not among it."""
        gift: list[int] = []
        if held.what.kind == PROCESS and not problem:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            gift = [*held.locks, writer]
            held.locks, held.pipe = [], reader
        self.holdings.add(held)
        if problem:
            self._grant(take, held, gift, problem)
        else:
            self.entrust(held, lambda why: self._grant(take, held, gift, why))

    def entrust(self, held: Holding, call: Callable[[str], None]) -> None:
        """See that these descriptors outlive this daemon, and call this; with the reason where it cannot be."""
        self.slots.put(held.what.id, held.record(), held.descriptors(), call)

    def _grant(self, take: Take, held: Holding, gift: list[int], problem: str) -> None:
        if problem:
            wire.close_all(gift)
            self.finish(take, {"error": f"lock {held.what.name!r} was not taken: {problem}"})
            self._let_go(held, lambda _answer: None)
            return
        taken = self.finish(take, {"held": True, "changed": True, **holding.facts(held)}, gift)
        wire.close_all(gift)
        self._watch(held)
        if not taken and held.what.kind != PROCESS:
            self._let_go(held, lambda _answer: None)
        elif held.what.kind == PROCESS or take.eager:
            self.at(SHOW_SECONDS, lambda: self.publish(held))
        else:
            self.publish(held)

    def finish(self, take: Take, message: dict[str, Any], descriptors: list[int] | None = None) -> bool:
        if take.done:
            return False
        take.done = True
        return self.answer(take.client, message, descriptors)

    def _deadline(self, take: Take) -> None:
        """A sleeping call is left to itself.

        Where the holder may be known, it is asked for, within a deadline of its own.
        """
        if take.done:
            return
        now = time.monotonic()
        if not 0 < take.answer_due <= now and not take.granting:
            if take.base is None:
                self._busy(take)
            else:
                self.converter.refuse(take)
            return
        if not take.overtime:
            take.overtime = True
            self.at(max(OVERTIME, FIRST_ANSWER - take.wait), lambda: self._deadline(take))
            return
        seconds = now - max(take.answer_due, take.begun) if take.begun else 0.0
        reason = "recovering" if seconds > RECOVERING_SECONDS else "unknown"
        self.finish(take, {"held": False, "reason": reason, "asleep": round(seconds, 1)})

    def _busy(self, take: Take) -> None:
        def tell(answer: dict[str, Any]) -> None:
            self.finish(take, {"held": False, "reason": "busy", "holder": answer["holder"], **_only_error(answer)})

        self.at(LOOK_SECONDS, lambda: tell({"holder": None}))
        self._look(take.what, tell)

    # the owner record

    def publish(self, held: Holding) -> None:
        """Show who holds a lock that one holder at a time can have."""
        if modes.Mode(held.what.mode) not in modes.SOLE or held.releasing:
            return

        def published(_answer: dict[str, Any], descriptors: list[int]) -> None:
            if held.releasing:
                wire.close_all(descriptors)
            elif descriptors:
                held.info = descriptors[0]
                self.slots.put(f"info {held.what.id}", {"info": held.what.id}, descriptors, lambda _problem: None)
            held.end()

        job = {
            "job": "publish",
            "domain": held.what.domain,
            "name": names.info(held.what.stored),
            "token": held.what.token,
            **self.signature(held.what),
        }
        held.begin()
        self.pool.run(job, [held.mount], published)

    def _label(self, client: Client, message: dict[str, Any]) -> None:
        """Change the owner text that a node lock shows, for as long as this daemon runs; then it shows the first again.

        Answered when it is on its way.
        """
        domain = str(message.get("domain") or names.DEFAULT_DOMAIN)
        held = self.holdings.node_lock((domain, names.stored(str(message["name"]))))
        if held is None:
            raise O2cbError(f"lock {message['name']!r} is not held by this node: take it first")
        owner = _owner_text(message)
        changed = held.what.owner != owner
        if changed:
            held.what = replace(held.what, owner=owner)
            held.when_idle(lambda: self._show_again(held))
        self.answer(client, {"changed": changed, **holding.facts(held)})

    def _show_again(self, held: Holding) -> None:
        self.hide(held)
        self.publish(held)

    def hide(self, held: Holding) -> None:
        """Show no longer who holds the lock. Its `.info` is still to be unlinked."""
        if held.info >= 0:
            self.slots.remove(f"info {held.what.id}")
            os.close(held.info)
            held.info = -1

    def _look(self, what: Identity, tell: Callable[[dict[str, Any]], None]) -> None:
        """Who holds this lock: from here when it is this node, else from its `.info`."""
        for held in self.holdings.of(what.key):
            if not held.releasing:
                tell({"held": True, "holder": {"node": self.clock.own, **holding.facts(held)}})
                return

        def looked(answer: dict[str, Any], descriptors: list[int]) -> None:
            self.retire(descriptors)
            tell({"held": answer.get("held"), "holder": answer.get("holder"), **_only_error(answer)})

        def joined(answer: dict[str, Any]) -> None:
            if "error" in answer:
                looked(answer, [])
            else:
                self.pool.run({"job": "look", "domain": what.domain, "name": names.info(what.stored)}, [], looked)

        self._join(what.domain, joined)

    def _who(self, client: Client, message: dict[str, Any]) -> None:
        name = str(message["name"])
        domain = str(message.get("domain") or names.DEFAULT_DOMAIN)
        what = Identity("", domain, name, "EX", NODE, "", 0, 0)
        names.stored(name)

        def tell(answer: dict[str, Any]) -> None:
            self.answer(client, answer)

        self._look(what, tell)

    # release

    def _release(self, client: Client, message: dict[str, Any]) -> None:
        """Release a node lock: the one with this `token`, where one is given, and no other that was taken since."""
        domain = str(message.get("domain") or names.DEFAULT_DOMAIN)
        key = (domain, names.stored(str(message["name"])))
        held = self.holdings.node_lock(key)
        if "token" in message and held is not None and held.what.token != message["token"]:
            self.answer(client, {"released": False, "changed": False})
            return
        self._release_within(RELEASE_SECONDS, client, key)

    def _release_within(self, seconds: float, client: Client, key: tuple[str, str]) -> None:
        """A try to convert the lock, that nobody may be waiting for any more, has to come to its end first."""
        held = self.holdings.node_lock(key)
        if held is None:
            self.answer(client, {"released": False, "changed": False})
        elif held.converting is None:
            facts = holding.facts(held)

            told = False

            def tell(answer: dict[str, Any]) -> None:
                nonlocal told
                if not told:
                    told = True
                    self.answer(client, answer if "error" in answer else {"released": True, "changed": True, **facts})

            late = f"lock {held.what.name!r} is released here, and free once the lock manager answers: see cluster_info"
            self.at(RELEASE_SECONDS, lambda: tell({"error": late}))
            self._let_go(held, tell)
        elif seconds > 0:
            pause = self.PAUSE[1]
            self.at(pause, lambda: self._release_within(seconds - pause, client, key))
        else:
            self.answer(client, {"error": f"lock {held.what.name!r} is being converted: release it later"})

    def _watch(self, held: Holding) -> None:
        """A process lock ends when its pipe does: no process has its descriptors any more."""
        if held.pipe >= 0:
            self.loop.watch(held.pipe, lambda: self._let_go(held, lambda _answer: None))
        elif held.what.kind == CGROUP and not held.releasing:
            if cgroups.is_empty(held.what.cgroup):
                self._let_go(held, lambda _answer: None)
            else:
                self.at(cgroups.SECONDS, lambda: self._watch(held))

    def _let_go(self, held: Holding, tell: Callable[[dict[str, Any]], None]) -> None:
        """Descriptors die, files are unlinked, the mount goes later.

        In this order also when this daemon dies on the way: for that the mount has a slot of its own.
        """
        if held.releasing:
            return
        held.releasing = True
        self.slots.put(_late(held), held.record(), [held.mount], lambda _problem: self._forget(held, tell))

    def _forget(self, held: Holding, tell: Callable[[dict[str, Any]], None]) -> None:
        self.slots.remove(held.what.id)
        if held.pipe >= 0:
            self.loop.forget(held.pipe)
            os.close(held.pipe)
        wire.close_all(held.locks)
        self.hide(held)

        def forgotten(answer: dict[str, Any], _descriptors: list[int]) -> None:
            self.holdings.discard(held)
            self.retire([held.mount], _late(held))
            tell(answer)

        job = {"job": "forget", "domain": held.what.domain, "names": held.files()}
        held.when_idle(lambda: self.pool.run(job, [held.mount], forgotten))

    def retire(self, mounts: list[int], key: str = "") -> None:
        """Let mounts go, later and in a worker, with the slot of this key.

        The kernel may still have work queued for them, and it takes its time.
        """

        if mounts and not self.retiring:
            self.at(MOUNT_SECONDS + GATHER_SECONDS, self._drop)
        self.retiring += [(time.monotonic() + MOUNT_SECONDS, mount, key) for mount in mounts]

    def _drop(self) -> None:
        """Those whose time has come, in one job: they come in order."""
        now = time.monotonic()
        gone = [entry for entry in self.retiring if entry[0] <= now][: wire.MAX_DESCRIPTORS]
        self.retiring = self.retiring[len(gone) :]
        for _due, _mount, key in gone:
            self.slots.remove(key)
        mounts = [mount for _due, mount, _key in gone]
        self._drop_now(mounts, lambda _answer: None)
        if self.retiring:
            self.at(max(0.0, self.retiring[0][0] - now) + GATHER_SECONDS, self._drop)

    def _drop_now(self, mounts: list[int], tell: Callable[[dict[str, Any]], object]) -> None:
        def dropped(answer: dict[str, Any], _descriptors: list[int]) -> None:
            self.dropping -= 1
            tell(answer)

        self.dropping += 1
        self.pool.run({"job": "drop"}, mounts, dropped)
        wire.close_all(mounts)

    # leaving

    def _leave(self, client: Client, message: dict[str, Any]) -> None:
        """Leave all domains, so that the node can leave the cluster. Refused while a lock is held.

        One that is being released is waited for, and so is that of a process which has just ended.
        The node's own lock, by which others see that it is there, goes with it. The mount of a lock that was just
        released is a member of its domain, too, and so is that of a worker which tries for one or looks.

        Until who asked for this has closed its connection nothing joins a domain again, and who waits for a lock is
        told so.
        """
        for lock in list(self.holdings):
            if not lock.releasing and lock.pipe >= 0 and _ended(lock.pipe):
                self._let_go(lock, lambda _answer: None)
        held = [
            lock.what.name
            for lock in self.holdings
            if not lock.releasing and (not self._says_who_lives(lock) or lock.what.kind != NODE)
        ]
        if held:
            raise O2cbError(f"{len(held)} lock(s) are held: {', '.join(held[:5])}")
        self.leaver = client
        for key in list(self.parked):
            self._wake(key)
        for lock in list(self.holdings):
            self._let_go(lock, lambda _answer: None)
        if self.holdings or self.retiring or self.dropping or self.pool.does(JOINING):
            if not client.closed:
                self.at(LEAVE_AGAIN_SECONDS, lambda: self.server.call(client, message))
            return
        self._drop_now(self._forget_domains(), lambda answer: self.answer(client, {"left": True, **answer}))

    def _is_leaving(self) -> bool:
        return self.leaver is not None and not self.leaver.closed

    @staticmethod
    def _says_who_lives(held: Holding) -> bool:
        return names.is_liveness(held.what.domain, held.what.name)

    def _forget_domains(self) -> list[int]:
        mounts = list(self.domains.values())
        for domain in self.domains:
            self.slots.remove(f"domain {domain}")
        self.domains.clear()
        return mounts

    def _shut_down(self) -> None:
        """The machine goes down: release everything in the order that the kernel bears, and leave the domains."""
        for held in self.holdings:
            self._let_go(held, lambda _answer: None)
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while (self.holdings or self.retiring or self.dropping) and time.monotonic() < deadline:
            self._turn(0.1)
        wire.close_all(self._forget_domains())

    # looking

    def _held(self, client: Client, message: dict[str, Any]) -> None:
        """The node lock of this name that this node holds, without a question to anybody."""
        key = (str(message.get("domain") or names.DEFAULT_DOMAIN), names.stored(str(message["name"])))
        found = self.holdings.node_lock(key)
        self.answer(client, {"lock": holding.facts(found) if found else None})

    def _list(self, client: Client, message: dict[str, Any]) -> None:
        """Some holdings behind that of the number `after`, and the number to go on from, where there may be more."""
        found = self.holdings.following(int(message.get("after", 0)), PAGE)
        part: list[dict[str, Any]] = []
        room = wire.MAX_MESSAGE // 2
        for held in found:
            facts = holding.facts(held)
            room -= len(json.dumps(facts))
            if part and room < 0:
                break
            part.append(facts)
        more = found[len(part) - 1].number if part and (len(part) < len(found) or len(found) == PAGE) else 0
        self.answer(client, {"locks": part, "more": more})

    def _status(self, client: Client, _message: dict[str, Any]) -> None:
        """What people ask of this daemon: how much it holds, where, and which calls sleep in the kernel."""
        asleep = [
            (f"{job['job']} {job.get('name') or job.get('resources') or job.get('domain', '')}", round(seconds, 1))
            for job, seconds in self.pool.asleep()
        ]
        kept = len(self.holdings) if self.store.works else 0
        names_held = [held.what.name for held in self.holdings if not self._says_who_lives(held)]
        self.answer(
            client,
            {
                "node": self.clock.own,
                "locks": len(self.holdings),
                "names": names_held[:20],
                "kept": kept,
                "domains": sorted(self.domains),
                "asleep": asleep,
            },
        )

    def read_stamps(self, *takes: Take) -> None:
        """Read the heartbeats' time stamps, and then try for these locks. Nobody who asks for no lock needs them."""
        self.unstamped.extend(takes)
        if self.reading:
            return
        self.reading = True

        def read(answer: dict[str, Any], _descriptors: list[int]) -> None:
            self.reading = False
            waiting, self.unstamped = self.unstamped, []
            if "error" not in answer:
                stamps = {int(node): int(stamp) for node, stamp in answer["stamps"]}
                self.clock.read(int(answer["own"]), stamps, time.monotonic())
            for take in waiting:
                if "error" in answer:
                    self.finish(take, answer)
                again = self._try if take.base is None else self.converter.attempt
                again(take)

        self.pool.run({"job": "stamps"}, [], read)


def main(worker: Sequence[str]) -> int:
    """Run until stopped. Everything that may go wrong at the start is said in words."""
    try:
        Keeper(os.environ, worker).run()
    except O2cbError as error:
        say(f"o2keep: {error}")
        return 1
    return 0


def _owner_text(message: Mapping[str, Any]) -> str:
    owner = str(message.get("owner", ""))
    size = len(owner.encode(errors="replace"))
    if size > OWNER_BYTES:
        raise O2cbError(f"the owner text is {size} bytes: give at most {OWNER_BYTES}")
    return owner


def _ended(pipe: int) -> bool:
    """Whether no process has the other end any more."""
    watched = select.poll()
    watched.register(pipe, select.POLLIN)
    return bool(watched.poll(0))


def _late(held: Holding) -> str:
    """The slot of the mount of a lock that is released."""
    return f"late {held.what.id}"


def _only_error(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": answer["error"]} if "error" in answer else {}


def say(text: str) -> None:
    sys.stdout.write(json.dumps(text)[1:-1] + "\n")
    sys.stdout.flush()
