# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2keep: the one process on a node that holds every lock of this collection.

It does nothing else, has no configuration and nothing to reload. What it decides is in `core`; here its effects are
carried out, and what happens is told to it. It makes no call into dlmfs itself, for such a call may sleep for a minute:
workers do (`pool`, `worker`). What it holds outlives it in `slots`, so it may crash, be killed, restarted or upgraded,
and no other node notices. Its listening socket outlives it as well: who asks meanwhile waits, and is answered.

Everything runs in one thread around one selector.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, List

from ..base import programs, wire
from ..base.errors import O2cbError
from ..base.loop import Loop
from ..marks import local
from ..o2cb.keeping import SOCKET
from . import cgroups, core, effects, names, requests, server, slots
from .effects import Effect, Job
from .pool import Pool
from .recording import Recording
from .server import Client, Server
from .slots import Slots
from .starter import Starter
from .store import Store, inherited

SHUTDOWN_SECONDS = 20.0
DRAIN_SECONDS = 2.0
"""At a restart, jobs that may end at any moment are waited for this long."""

ASK_SYSTEMD_SECONDS = 10.0
LEAVE_AGAIN_SECONDS = 0.1
GROW_AGAIN_SECONDS = 1.0


Event = Callable[[], List[Effect]]
"""Tells the core what has happened."""


class Keeper:
    """The daemon. `run` is its loop."""

    def __init__(self, environment: Mapping[str, str], nursery: Sequence[str], path: str = SOCKET) -> None:
        self.loop = Loop()
        self.store = Store(environment, self.loop)
        self.slots = Slots(self.store)
        starter = Starter(nursery)
        self.pool = Pool(self.loop, starter, self)
        self.recording = Recording(self.loop, starter)
        self.core = core.Core(lambda: os.urandom(8).hex(), random.Random(), _mark())
        self._lanes: dict[int, int] = {}
        """The directories of lanes, as descriptors."""

        self._gifts: dict[int, list[int]] = {}
        """Descriptors of process locks that came with the answer of a job, and are not given away yet."""

        self._watched: dict[int, int] = {}
        """Pipes of process locks, by their slots; -1 for control groups."""

        self._lines: list[str] = []
        self._answers: list[tuple[Client, dict[str, Any], effects.Answer]] = []
        self._due = 0.0
        self._stopping = False
        self._watchdog = int(environment.get("WATCHDOG_USEC", "0")) / 2e6
        kept = inherited(environment)
        self._adopt(kept)
        self.server = Server(self.loop, self.store, path, kept, self._call, self._gone)
        for descriptors in kept.values():
            wire.close_all(descriptors)

    # the loop

    def run(self) -> None:
        """Serve until SIGTERM.

        Then everything stays in systemd's store for the next one, unless the machine goes down.
        """
        wake, alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(alarm)
        signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(self, "_stopping", True))
        self.loop.watch(wake, lambda: os.read(wake, 64))
        self._grow()
        self._feed()
        if self.core.domains:
            self.recording.begin()
        self.do(self.core.begin(time.monotonic(), names.DEFAULT_DOMAIN))
        self.store.tell(f"READY=1\nSTATUS=holds {len(self.core.holdings)} locks")
        while not self._stopping:
            self._turn()
        if programs.shutting_down(ASK_SYSTEMD_SECONDS):
            self._shut_down()
        else:
            self._drain()

    def _turn(self, longest: float | None = None) -> None:
        """One turn of the loop: what has come, what is due, one barrier for all grants, workers for what waits."""
        self.pool.turn()
        due = self.core.due()
        now = time.monotonic()
        waits = [] if longest is None else [longest]
        if due is not None:
            waits.append(max(0.0, due - now))
        self.loop.turn(min(waits, default=None))
        self.do(self.core.tick(time.monotonic()))
        self.store.turn()
        if self._lines:
            lines, self._lines = self._lines, []
            sys.stdout.write("".join(lines))
            sys.stdout.flush()

    def _feed(self) -> None:
        if self._watchdog:
            self.store.tell("WATCHDOG=1")
            self.loop.at(self._watchdog, self._feed)

    def _drain(self) -> None:
        """What workers are about to win is still put in order. Who waits asks the next keeper."""
        self.server.stop()
        self.do(self.core.drain(time.monotonic()))
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.pool.busy() and time.monotonic() < deadline:
            self._turn(0.05)

    def _shut_down(self) -> None:
        self.server.stop()
        self.do(self.core.shut_down(time.monotonic()))
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while not self.core.left and time.monotonic() < deadline:
            self._turn(0.1)

    def do(self, found: Sequence[Effect]) -> None:
        """Carry effects out, in their order."""
        for effect in found:
            _DO[type(effect)](self, effect)

    # events

    def _call(self, client: Client, message: dict[str, Any]) -> None:
        """A client asks for something. What is wrong with it is an answer too.

        Only reading the request may fail: a fault of the core ends this process, and the next one finds all in order.
        """
        try:
            verb = _VERBS.get(str(message.get("op")))
            if verb is None:
                raise O2cbError(f"there is no operation {message.get('op')!r}")
            event = verb(self, client, message)
        except O2cbError as error:
            self.server.answer(client, {"error": str(error)})
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            self.server.answer(client, {"error": f"bad request: {error!r}"})
        else:
            self.do(event())

    def _take(self, client: Client, message: dict[str, Any]) -> Event:
        group = cgroups.of_process(client.pid) if message.get("kind") == "cgroup" else ""
        want = requests.take(message, group)
        return lambda: self.core.take(time.monotonic(), client, want)

    def _release(self, client: Client, message: dict[str, Any]) -> Event:
        wanted = requests.named(message)
        return lambda: self.core.release(time.monotonic(), client, wanted)

    def _held(self, client: Client, message: dict[str, Any]) -> Event:
        wanted = requests.named(message)
        return lambda: self.core.held(time.monotonic(), client, wanted)

    def _list(self, client: Client, message: dict[str, Any]) -> Event:
        after = int(message.get("after", 0))
        return lambda: self.core.listing(time.monotonic(), client, after)

    def _who(self, client: Client, message: dict[str, Any]) -> Event:
        wanted = requests.named(message)
        return lambda: self.core.who(time.monotonic(), client, wanted)

    def _label(self, client: Client, message: dict[str, Any]) -> Event:
        wanted, owner = requests.named(message), requests.owner(message)
        return lambda: self.core.label(time.monotonic(), client, wanted, owner)

    def _status(self, client: Client, _message: dict[str, Any]) -> Event:
        kept = len(self.core.holdings) if self.store.works else 0
        return lambda: self.core.status(time.monotonic(), client, {"kept": kept})

    def _leave(self, client: Client, _message: dict[str, Any]) -> Event:
        if client.uid != 0:
            raise O2cbError("only root may let this node leave the cluster")
        return lambda: self.core.leave(time.monotonic(), client)

    def _gone(self, client: Client) -> None:
        self.do(self.core.gone(time.monotonic(), client))

    # for the pool

    def lane(self, number: int) -> int:
        return self._lanes[number]

    def slot(self, number: int) -> int:
        return self.slots.sender(number)

    def receiver(self, number: int) -> int:
        return self.slots.receiver(number)

    def begun(self, number: int) -> None:
        self.core.begun(time.monotonic(), number)

    def answered(self, number: int, answer: dict[str, Any], descriptors: list[int]) -> None:
        """A worker is back. A lane comes with its descriptor, a process lock with all that its holder is given."""
        call = self.core.calls[number]
        if descriptors and isinstance(call.job, (effects.Join, effects.MakeLane)):
            self._lanes[call.job.lane] = descriptors.pop()
        if isinstance(call.job, effects.Join) and "error" in answer and not self._lanes:
            self.recording.end()
        if descriptors:
            self._gifts[number] = descriptors
        self.do(self.core.answered(time.monotonic(), number, answer))

    def died(self, number: int, job: Job) -> None:
        """A worker died. What it had put into slots already is there."""
        found = {}
        for slot in self.core.calls[number].slots:
            full, message = self.slots.is_full(slot)
            if full:
                found[slot] = message
        self._say(f"a worker died over {type(job).__name__.lower()}")
        self.do(self.core.died(time.monotonic(), number, found))

    # effects

    def _run(self, effect: effects.Run) -> None:
        if isinstance(effect.job, (effects.Join, effects.MakeLane)):
            self.recording.begin()
        self.pool.run(effect.number, effect.job)

    def _drop(self, effect: effects.Drop) -> None:
        pipe = self._watched.pop(effect.slot, -1)
        if pipe >= 0:
            self.loop.forget(pipe)
            os.close(pipe)
        self.slots.drop(effect.slot)

    def _answer(self, effect: effects.Answer) -> None:
        if not isinstance(effect.asker, Client):
            return
        gift = self._gifts.pop(effect.gift) if effect.gift else []
        heard = self.server.answer(effect.asker, effect.message, gift)
        wire.close_all(gift)
        if not heard and effect.undo:
            self.do(self.core.unheard(time.monotonic(), effect))

    def _confirm(self, effect: effects.Confirm) -> None:
        self.slots.confirm(effect.slot)

    def _discard(self, effect: effects.Discard) -> None:
        wire.close_all(self._gifts.pop(effect.gift))

    def _watch(self, effect: effects.Watch) -> None:
        """A process lock ends when its pipe does: no process has its descriptors any more."""
        if effect.cgroup:
            self._watched[effect.slot] = -1
            self._look_at_group(effect)
            return
        found = self.slots.look(effect.slot)
        if found is None or not found[1]:
            return
        pipe = found[1][0]
        wire.close_all(found[1][1:])
        self._watched[effect.slot] = pipe
        self.loop.watch(pipe, lambda: self.do(self.core.ended(time.monotonic(), effect.slot)))

    def _look_at_group(self, effect: effects.Watch) -> None:
        if effect.slot not in self._watched:
            return
        if cgroups.is_empty(effect.cgroup):
            self.do(self.core.ended(time.monotonic(), effect.slot))
        else:
            self.loop.at(cgroups.SECONDS, lambda: self._look_at_group(effect))

    def _grow(self, _effect: effects.Grow | None = None) -> None:
        def grown(numbers: list[int], problem: str) -> None:
            if problem:
                self._say(problem)
                self.loop.at(GROW_AGAIN_SECONDS, lambda: self.slots.grow(grown))
                return
            self.do(self.core.slots_added(time.monotonic(), numbers))

        self.slots.grow(grown)

    def _closelanes(self, effect: effects.CloseLanes) -> None:
        """The last to have a mount is a worker that ends: what the kernel does then may take seconds."""
        self.recording.end()
        wire.close_all(list(self._lanes.values()))
        self._lanes.clear()
        self.pool.renew()
        self._answer_when_gone(effect)

    def _answer_when_gone(self, effect: effects.CloseLanes) -> None:
        if self.pool.gone():
            self.do(self.core.closed(time.monotonic()))
            if isinstance(effect.asker, Client):
                self.server.answer(effect.asker, {"left": True})
        else:
            self.loop.at(LEAVE_AGAIN_SECONDS, lambda: self._answer_when_gone(effect))

    def _audit(self, effect: effects.Audit) -> None:
        """One line for each grant and release, with all that tells who it was."""
        what = effect.facts
        who = f" by pid {effect.asker.pid} uid {effect.asker.uid}" if isinstance(effect.asker, Client) else ""
        owner = f" for {what['owner']!r}" if what["owner"] else ""
        self._say(f"{effect.verb} {what['name']!r} {what['mode']} {what['kind']} token {what['token']}{owner}{who}")

    def _tell(self, effect: effects.Say) -> None:
        self._say(effect.text)

    def _say(self, text: str) -> None:
        self._lines.append(json.dumps(text)[1:-1] + "\n")

    # what an earlier keeper has left

    def _adopt(self, kept: dict[str, list[int]]) -> None:
        found = list(self.slots.adopt(kept))
        for name in list(kept):
            if name.startswith(slots.PREFIXES):
                del kept[name]
        self.do(self.core.adopt(time.monotonic(), found, self._lane_there))

    def _lane_there(self, slot: int, lane: int) -> bool:
        """Have the directory of an inherited lane; False where its slot has none."""
        found = self.slots.look(slot)
        if found is None or not found[1]:
            return False
        self._lanes[lane] = found[1][0]
        wire.close_all(found[1][1:])
        return True


_DO: dict[type, Callable[[Keeper, Any], None]] = {
    effects.Run: Keeper._run,
    effects.Drop: Keeper._drop,
    effects.Confirm: Keeper._confirm,
    effects.Answer: Keeper._answer,
    effects.Discard: Keeper._discard,
    effects.Watch: Keeper._watch,
    effects.Grow: Keeper._grow,
    effects.CloseLanes: Keeper._closelanes,
    effects.Audit: Keeper._audit,
    effects.Say: Keeper._tell,
}
_VERBS: dict[str, Callable[[Keeper, Client, dict[str, Any]], Event]] = {
    "take": Keeper._take,
    "release": Keeper._release,
    "held": Keeper._held,
    "list": Keeper._list,
    "who": Keeper._who,
    "label": Keeper._label,
    "status": Keeper._status,
    "leave": Keeper._leave,
}


def main(program: Sequence[str]) -> int:
    """Run until stopped; `program` runs the nursery of the other processes.

    Everything that may go wrong at the start is said in words.
    """
    _be_counted_apart()
    try:
        Keeper(os.environ, [*program, "o2keep-nursery"]).run()
    except O2cbError as error:
        sys.stdout.write(f"o2keep: {error}\n")
        return 1
    return 0


def _be_counted_apart() -> None:
    """The kernel counts descriptors in flight by real user (unix(7), ETOOMANYREFS): ours are not to be root's."""
    with contextlib.suppress(KeyError, PermissionError):
        os.setresuid(pwd.getpwnam(server.GROUP).pw_uid, 0, 0)


def _mark() -> int:
    """The mark that an earlier keeper has left; 0 where there is none, or it cannot be read."""
    try:
        return local.read(local.PATH).mark
    except (OSError, O2cbError) as error:
        sys.stdout.write(f"o2keep: {error}\n")
        return 0
