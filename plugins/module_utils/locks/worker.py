# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker of the keeper: makes the calls into dlmfs that may sleep, one job at a time.

A trylock can sleep for a minute while a dead node is recovered, and nothing can wake it. So each job runs in a process
of its own that was started before by exec and owns no descriptor but its channel and what it was given. The jobs and
what they mean are those of `effects`.

A worker keeps the lanes and slots that it was given, and later jobs name them by number. What it wins it puts into a
slot before it answers. Where the keeper that gave it the slot is gone the slot is sealed, and it gives back what it
won. It is always the lane, which somebody else keeps, that outlives a lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Dict, List, Tuple

from ..base import files, wire
from ..base.errors import O2cbError
from ..marks import asking, page
from ..marks.page import Page
from ..marks.refusals import NoRecordError, RefusedError, RetakeError, UnreachableError
from ..o2cb import domains, heartbeats, isolation, observe
from ..o2cb.blocks import Beats
from ..o2cb.state import Live
from . import effects, holding, modes, mount, names, record, rules, token
from .clock import Clock
from .modes import LEVELS, OWN, Level, Mode
from .mount import BusyError, Mount
from .record import Record

SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.1
"""Seconds between two tries, at random, so that those who wait for a lock do not step on one another. They grow, so
that many who wait leave something of the machine to the one who holds it, but for one to whom it is about to be handed
over."""

RETAKES = 3
"""A lock is acquired anew this often where a pause of this machine might have let another node have it."""

RECORD_SECONDS = 5.0
"""Who joins a domain waits this long until it is known whether there is a record on disk."""

PUBLISH_TRIES = 40
UNLINK_SECONDS = 5.0
"""A process that is being killed closes its descriptors in its own time; until then unlink says EBUSY."""

Result = Tuple[Dict[str, Any], List[int]]


class _Orphaned(Exception):
    """The keeper is gone: what was won was given back, and there is nobody to answer."""


class Worker:
    """What it was given by number, and what it knows of time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lanes: dict[int, int] = {}
        self._slots: dict[int, socket.socket] = {}
        self._clock = Clock()
        self._asker = asking.Asker()
        self._boot = (files.read("/proc/sys/kernel/random/boot_id") or "").replace("-", "")[:16]
        self._jobs = {
            "Join": self._join,
            "MakeLane": self._make_lane,
            "Take": self._take,
            "Convert": self._convert,
            "Settle": self._settle,
            "Recall": self._recall,
            "Publish": self._publish,
            "Look": self._look,
            "Forget": self._forget,
            "Sweep": self._sweep,
            "Mark": self._mark,
        }

    def serve(self) -> None:
        """Work until the keeper closes the channel."""
        while True:
            try:
                received = wire.receive(self._sock)
            except ConnectionResetError:
                return
            if received is None:
                return
            try:
                answer, results = self._do(*received)
                wire.send(self._sock, answer, results)
            except (OSError, _Orphaned):
                # A mount must not go at once after a lock in it; the next keeper may have given up this lane.
                time.sleep(rules.MOUNT_SECONDS)
                return
            wire.close_all(results)

    def _do(self, message: dict[str, Any], descriptors: list[int]) -> Result:
        """One job, with what came with it: lanes and slots to be kept, and one slot to be looked into."""
        given = message.pop("given")
        lanes, slots = given["lanes"], given["slots"]
        self._lanes.update(zip(lanes, descriptors))
        for number, descriptor in zip(slots, descriptors[len(lanes) :]):
            self._slots[number] = socket.socket(fileno=descriptor)
        looked = descriptors[len(lanes) + len(slots) :]
        kind = message.pop("job")
        try:
            return self._jobs[kind](effects.JOBS[kind](**message), *looked)  # type: ignore[operator, no-any-return]
        except BusyError as error:
            return {"busy": str(error)}, []
        except O2cbError as error:
            return {"error": str(error)}, []
        except OSError as error:
            return {"error": f"{kind} {message.get('name', '')}: {os.strerror(error.errno or 0)}"}, []
        finally:
            wire.close_all(looked)

    def _lane(self, number: int) -> Mount:
        return Mount(self._lanes[number])

    def _put(self, slot: int, what: dict[str, Any], descriptors: Sequence[int]) -> bool:
        """False where the slot is sealed: the keeper that gave it away is gone."""
        try:
            wire.send(self._slots[slot], what, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    # lanes

    def _join(self, job: effects.Join) -> Result:
        """Join the same domain as all others, not one of the same name."""

        def beats(live: Live) -> Beats:
            return heartbeats.read(live.regions, [node.number for node in live.cluster.nodes]).beats

        own = mount.create()
        try:
            isolation.wait(_online, beats)
            deadline = time.monotonic() + RECORD_SECONDS
            while self._asker.look().state == page.UNKNOWN and time.monotonic() < deadline:
                time.sleep(0.05)
            live = _online()
            node = live.cluster.node(live.local or "")
            return self._new_lane(own, job.domain, job.lane, job.slot, node.number if node else 0)
        except (O2cbError, OSError):
            os.close(own.directory)
            raise

    def _make_lane(self, job: effects.MakeLane) -> Result:
        return self._new_lane(mount.create(), job.domain, job.lane, job.slot, job.node)

    def _new_lane(self, own: Mount, domain: str, lane: int, slot: int, node: int) -> Result:
        """The lane is in its slot before anybody else has it."""
        own.join(domain)
        if not self._put(slot, holding.lane_message(domain, lane, node), [own.directory]):
            raise _Orphaned
        self._lanes[lane] = own.directory
        return {"node": node}, [os.dup(own.directory)]

    # take

    def _take(self, job: effects.Take) -> Result:
        """All locks with all their resources, or none; then the tokens, and each into its slot.

        Between two tries nothing is held, not even what the node would merely cache.
        """
        own, mode = self._lane(job.lane), Mode(job.mode)
        wanted = [holding.resources(names.stored(what["name"]), mode) for _slot, what in job.locks]
        pause, retakes, begun = SHORTEST_PAUSE, 0, time.monotonic()
        while True:
            held: list[list[int]] = []
            seen = self._asker.before() if mode in modes.SIGNED else page.Page()
            try:
                for resources in wanted:
                    held.append([])
                    for name, exclusive in resources:
                        held[-1].append(own.open(job.domain, name, exclusive))
                return self._won(job, own, wanted, held, seen)
            except BusyError:
                busy = wanted[len(held) - 1][0][0]
                self._give_back(own, job.domain, held, wanted)
                if time.monotonic() + pause > job.until:
                    return {"busy": busy}, []
            except RetakeError as error:
                retakes += 1
                if retakes > RETAKES:
                    return {"error": str(error)}, []
            except UnreachableError as error:
                # It is just being started: nothing is held meanwhile.
                if time.monotonic() > begun + RECORD_SECONDS:
                    return {"error": str(error)}, []
            except OSError:
                self._give_back(own, job.domain, held, wanted)
                raise
            time.sleep(random.uniform(pause / 2, pause))
            if not job.eager:
                pause = min(1.5 * pause, LONGEST_PAUSE)

    def _won(
        self,
        job: effects.Take,
        own: Mount,
        wanted: Sequence[list[tuple[str, bool]]],
        held: list[list[int]],
        seen: Page,
    ) -> Result:
        """Sign them and put each into its slot. Raises RetakeError where they are to be acquired anew."""
        filled: list[int] = []
        gift: list[int] = []
        won: list[list[int]] = []
        try:
            since = int(time.time() * token.SECOND)
            owners = [Record(job.node, self._boot, since, 0, what["owner"]) for _slot, what in job.locks]
            firsts = [descriptors[0] for descriptors in held]
            tokens, covered = self._sign(job.domain, firsts, wanted[0][0][1], job.seen, owners, seen)
            won = [[number, since] for number in tokens]
            for (slot, what), descriptors, (number, since) in zip(job.locks, held, won):
                message = holding.lock_message({**what, "token": number, "since": since})
                if what["kind"] == holding.PROCESS:
                    gift = self._put_process(slot, message, descriptors)
                elif not self._put(slot, message, descriptors):
                    raise _Orphaned
                filled.append(slot)
        except (O2cbError, OSError, _Orphaned) as error:
            count = len(filled)
            wire.close_all([descriptor for descriptors in held[:count] for descriptor in descriptors])
            dirty = self._give_back(own, job.domain, held[count:], wanted[count:])
            if isinstance(error, OSError):
                return {"error": f"not kept: {os.strerror(error.errno or 0)}", "filled": filled, **dirty}, []
            if isinstance(error, (RetakeError, UnreachableError)):
                raise
            if isinstance(error, O2cbError):
                return {"error": str(error), "clock": isinstance(error, token.ClockError), **dirty}, []
            raise
        if not gift:
            wire.close_all([descriptor for descriptors in held for descriptor in descriptors])
        return {"won": won, **covered}, gift

    def _put_process(self, slot: int, message: dict[str, Any], descriptors: list[int]) -> list[int]:
        """The slot has the end of a pipe that tells when nobody has the descriptors any more. They are the gift.

        Its other end is the first and the last of them, as two files: an exit closes descriptors downwards, a program
        upwards, and the keeper, which unlinks then, is told when all in between are closed.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        again = -1
        try:
            again = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_CLOEXEC)
            if not self._put(slot, message, [reader]):
                raise _Orphaned
        except (OSError, _Orphaned):
            wire.close_all([writer, *([again] if again >= 0 else [])])
            raise
        finally:
            os.close(reader)
        return [writer, *descriptors, again]

    def _give_back(
        self, own: Mount, domain: str, held: Sequence[list[int]], wanted: Sequence[list[tuple[str, bool]]]
    ) -> dict[str, Any]:
        """Close what was won, and unlink it, and the file that a busy try leaves behind."""
        wire.close_all([descriptor for descriptors in held for descriptor in descriptors])
        try:
            _unlink(own, domain, [name for resources in wanted[: len(held)] for name, _exclusive in resources])
        except OSError:
            return {"dirty": True}
        return {}

    def _sign(
        self,
        domain: str,
        descriptors: Sequence[int],
        exclusive: bool,
        granted: int,
        owners: Sequence[Record],
        seen: Page,
    ) -> tuple[list[int], dict[str, Any]]:
        """The tokens of locks: new ones, written into them, for who excludes all others; else those of the last such.

        They come from the record on disk, and are covered by this node's mark there; or from clocks, where there is no
        record. Other programs keep what is theirs in the value blocks of their domains: there nothing is written.
        """
        found = [os.pread(descriptor, record.SIZE, 0) for descriptor in descriptors]
        previous = [one.token if one else None for one in map(record.decode, found)]
        if not exclusive:
            return [number or 0 for number in previous], {}
        covered = {"covered": True}
        try:
            numbers = self._asker.tokens([(one, granted) for one in previous], seen)
        except NoRecordError:
            numbers, covered = [self._by_clocks(one, granted) for one in previous], {}
        tokens: list[int] = []
        for number in numbers:
            if isinstance(number, RefusedError):
                raise number
            tokens.append(number)
        for descriptor, before, data, number, owner in zip(descriptors, previous, found, tokens, owners):
            if before is not None or domain in names.OWN_DOMAINS or not (any(data) or _is_foreign(domain)):
                os.write(descriptor, record.encode(owner._replace(token=number)))
        return tokens, covered

    def _by_clocks(self, previous: int | None, granted: int) -> int:
        clocks = self._clocks()
        return token.next_token(
            previous, token.Clocks(time.time(), clocks.newest_of_others(), clocks.newest(), granted)
        )

    def _clocks(self) -> Clock:
        """The newest time stamp of each node's heartbeat, in seconds of that node's clock; none of one that left."""
        now = time.monotonic()
        if not self._clock.is_fresh(now):
            live = _online()
            reading = heartbeats.read(live.regions, [node.number for node in live.cluster.nodes])
            stamps: dict[int, int] = {}
            for beats in reading.beats.values():
                for number, beat in beats.items():
                    if beat.valid:
                        stamps[number] = max(stamps.get(number, 0), beat.sequence)
            own = live.cluster.node(live.local or "")
            self._clock.read(own.number if own else 0, stamps, now)
        return self._clock

    # convert

    def _convert(self, job: effects.Convert, old: int) -> Result:
        """PR beside EX in the same lane is granted at once; EX beside PR is a conversion in the lock manager.

        Where a foreign program waits for EX with a blocking open, PR beside EX sleeps until the EX is closed (seen on
        6.1). Nothing of the old mode may be in this process meanwhile: a release has to be able to close it.
        """
        own, stored = self._lane(job.lane), names.stored(job.what["name"])
        before, after = LEVELS[Mode(job.mode)], LEVELS[Mode(job.what["mode"])]
        conversion = modes.conversion(Mode(job.mode), Mode(job.what["mode"]))
        opened: dict[str, int] = {}
        have: dict[str, int] = {}
        covered: dict[str, Any] = {}
        signs = (OWN, Level.EX) in conversion.opened
        seen = self._asker.before() if signs else page.Page()
        try:
            for which, level in conversion.opened:
                opened[which] = own.open(job.domain, holding.file_name(stored, which), level is Level.EX)
            number, since = job.what["token"], int(time.time() * token.SECOND)
            if signs:
                owner = Record(job.node, self._boot, since, 0, job.what["owner"])
                (number,), covered = self._sign(job.domain, [opened[OWN]], True, job.seen, [owner], seen)
            have = dict(zip(before, _peek(old)))
            if len(have) != len(before):
                raise O2cbError(f"lock {job.what['name']!r} is not held any more")
            both = {**have, **opened}
            message = holding.lock_message({**job.what, "token": number, "since": since})
            if not self._put(job.slot, message, [both[which] for which in after]):
                raise _Orphaned
        except (BusyError, O2cbError, OSError, _Orphaned) as error:
            wire.close_all([*have.values(), *opened.values()])
            tried = [which for which, _level in conversion.opened][: len(opened) + 1]
            self._sink(job, own, stored, [which for which in tried if which in opened or which not in before], before)
            if isinstance(error, (RetakeError, UnreachableError)):
                return {"busy": stored}, []
            raise
        wire.close_all([*have.values(), *opened.values()])
        return {"won": [number, since], **covered}, []

    def _sink(
        self, job: effects.Convert, own: Mount, stored: str, tried: Sequence[str], before: Mapping[str, Level]
    ) -> None:
        """What was opened for a conversion that did not come about falls again."""
        fresh = [holding.file_name(stored, which) for which in tried if which not in before]
        with contextlib.suppress(OSError):
            _unlink(own, job.domain, fresh)
        for which in tried:
            if before.get(which) is Level.PR:
                _lower(self._lane(job.second), job.domain, holding.file_name(stored, which))

    def _settle(self, job: effects.Settle) -> Result:
        """The end of a conversion. Where a foreign program waits with a blocking open for EX, o2dlm keeps the higher
        level until the lock is released: nobody gets in who should not.
        """
        _unlink(self._lane(job.lane), job.domain, job.dropped)
        for name in job.lowered:
            _lower(self._lane(job.second), job.domain, name)
        return {}, []

    def _recall(self, job: effects.Recall) -> Result:
        """Ask for a lock as other programs do, so that nodes that only cache it give it up; give it back at once."""
        name, exclusive = job.resources[0]
        _ask(self._lane(job.lane), job.domain, name, exclusive)
        return {}, []

    # the owner record

    def _publish(self, job: effects.Publish) -> Result:
        """Write the record on `.info` at EX, give that up, and take PR, at which every node can read it.

        In between o2dlm keeps it for some seconds. To fall from EX to PR without a gap needs a call that sleeps.
        """
        own, domain, name = self._lane(job.lane), job.domain, job.name
        descriptor = _try_often(own, domain, name, exclusive=True)
        os.write(descriptor, record.encode(Record(job.node, self._boot, job.since, job.token, job.owner)))
        os.close(descriptor)
        _unlink(own, domain, [name])
        descriptor = _try_often(own, domain, name, exclusive=False)
        there = self._put(job.slot, holding.info_message(job.id), [descriptor])
        os.close(descriptor)
        if not there:
            with contextlib.suppress(OSError):
                _unlink(own, domain, [name])
            raise _Orphaned
        return {}, []

    def _look(self, job: effects.Look) -> Result:
        """The record of a lock's holder. EX on `.info` can be had only when no holder shows itself there."""
        own, domain, name = self._lane(job.lane), job.domain, job.name
        answer: dict[str, Any] = {"held": True, "holder": None}
        for attempt in range(3):
            try:
                os.close(own.open(domain, name, exclusive=True))
                answer = {"held": False, "holder": None}
                break
            except BusyError:
                time.sleep(0.01 * (attempt + 1))
        else:
            with contextlib.suppress(BusyError):
                descriptor = own.open(domain, name, exclusive=False)
                found = record.decode(os.pread(descriptor, record.SIZE, 0))
                os.close(descriptor)
                answer["holder"] = found._asdict() if found else None
        _unlink(own, domain, [name])
        return answer, []

    # what is left behind

    def _forget(self, job: effects.Forget) -> Result:
        """All once, and then again those that somebody still has open: nobody waits for another's lock."""
        own = self._lane(job.lane)
        busy = [name for name in job.names if not _is_unlinked(own, job.domain, name)]
        deadline, pause = time.monotonic() + UNLINK_SECONDS, 0.002
        while busy and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
            busy = [name for name in busy if not _is_unlinked(own, job.domain, name)]
        return ({"busy": busy} if busy else {}), []

    def _sweep(self, job: effects.Sweep, claimed_file: int) -> Result:
        own = self._lane(job.lane)
        with open(os.dup(claimed_file), encoding="utf-8") as file:
            claimed = frozenset(json.load(file))
        _unlink(own, job.domain, [name for name in own.names(job.domain) if name not in claimed])
        return {}, []

    def _mark(self, job: effects.Mark) -> Result:
        """The recorder alone writes this node's file."""
        self._asker.ask({"verb": "keep", "token": job.token})
        return {"mark": job.token}, []


def _peek(slot: int) -> list[int]:
    """The descriptors in a slot, as our own. They stay in it."""
    with socket.socket(fileno=os.dup(slot)) as receiver:
        try:
            found = wire.receive(receiver, int(socket.MSG_PEEK))
        except BlockingIOError:
            return []
    return found[1] if found else []


def _is_foreign(domain: str) -> bool:
    """Whether other programs of this node may use it: what its value blocks mean is theirs."""
    return os.path.isdir(os.path.join(domains.DEFAULT_MOUNT, domain))


def _lower(second: Mount, domain: str, name: str) -> None:
    """Make this node's EX on a resource, which nobody uses any more, a PR.

    Closing the EX descriptor does not. A blocking PR open through a second lane makes o2dlm ask for it. The question is
    lost when it meets an unlink of the file in the first lane, even one that is refused as busy, and both calls sleep
    for ever then (seen on 6.1): so the keeper unlinks nothing of a lock for which this is under way.
    """
    _ask(second, domain, name, exclusive=False)


def _ask(own: Mount, domain: str, name: str, exclusive: bool) -> None:
    """Take a resource by a blocking open, and give it back."""
    flags = (os.O_RDWR if exclusive else os.O_RDONLY) | os.O_CREAT | os.O_CLOEXEC
    os.close(os.open(f"{domain}/{name}", flags, 0o600, dir_fd=own.directory))
    _unlink(own, domain, [name])


def _try_often(own: Mount, domain: str, name: str, exclusive: bool) -> int:
    """A reader takes the lock for some microseconds; so a single try may meet one."""
    for attempt in range(PUBLISH_TRIES):
        try:
            return own.open(domain, name, exclusive)
        except BusyError:
            if attempt == PUBLISH_TRIES - 1:
                with contextlib.suppress(OSError):
                    _unlink(own, domain, [name])
                raise
            time.sleep(0.005 + 0.01 * (os.getpid() % 7) / 7)
    raise BusyError(name)


def _is_unlinked(own: Mount, domain: str, name: str) -> bool:
    """Try it once."""
    try:
        own.unlink(domain, name)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _unlink(own: Mount, domain: str, file_names: Sequence[str]) -> None:
    """Unlink files, as soon as nobody has them open. Raises OSError when somebody still has after some seconds."""
    deadline = 0.0
    for name in file_names:
        pause = 0.002
        while True:
            try:
                own.unlink(domain, name)
                break
            except FileNotFoundError:
                break
            except OSError:
                deadline = deadline or time.monotonic() + UNLINK_SECONDS
                if time.monotonic() > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 0.1)


def _online() -> Live:
    """The cluster that this node is online in. Raises O2cbError without one: o2dlm would say EINVAL."""
    live = observe.live(())
    if live is not None and live.online:
        return live
    stack = files.read_line(observe.STACK_FILE)
    if stack not in ("", observe.STACK):
        raise O2cbError(
            f"the cluster stack {stack!r} is in use on this node, and these locks need o2cb's own: write "
            f"{observe.STACK} to {observe.STACK_FILE} and start o2cb.service"
        )
    if live is not None:
        raise O2cbError(
            f"cluster {live.cluster.name} is registered on this node, but no heartbeat runs: "
            "run role ocfs2.o2cb.cluster, or see `systemctl status o2cb`"
        )
    raise O2cbError("this node is not online in an o2cb cluster: see `systemctl status o2cb`")
