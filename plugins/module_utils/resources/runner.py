# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One resource on this node: look, take the step that is due, and again.

What is due is decided in `election`; here it is done. The lock is asked for again before every start, so that a pause
of the machine, or of its clock, cannot lie between the two unseen. When a step changes what other nodes see, they are
told to look at once; that they look by themselves from time to time is for those whom no message reaches.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..base import files, journal, wire
from ..base.errors import O2cbError
from ..client.keep import refusal
from ..client.keep_aio import Locks
from . import election
from .actions import Actions
from .election import TO, Do, Memory, Seen, State, Step
from .resource import Resource, parse

HELD = "/run/o2agent/held"
"""What this node runs, as it was started: a later configuration may say something else, or nothing."""

LOOK_SECONDS = 1.0
SLOW_SECONDS = 2.0
"""A look at another node's lock sleeps while a node is recovered. Longer is not waited: what was seen before counts."""

STRAY_SECONDS = 15.0
"""So often a node that has not the lock looks whether parts run all the same."""

STEP_SECONDS = 30.0
"""Beyond the deadlines of a part's own actions, a turn that takes longer than this is no progress."""


class Runner:
    """Its task ends when the resource is gone from here and is not configured any more."""

    def __init__(
        self,
        name: str,
        resource: Resource | None,
        locks: Locks,
        actions: Actions,
        nodes: Callable[[], Mapping[str, int]],
        me: str,
        tell: Callable[[str, int | None], None],
    ) -> None:
        """`tell` makes the agent of a node, by its number, look at a resource, or all agents."""
        self.name = name
        self.resource = resource
        self.memory = Memory()
        self.error = ""
        self.due = time.monotonic() + STEP_SECONDS
        """By this time the next turn has begun, or the agent hangs."""

        self.seen = Seen(me, False, (), nodes=nodes())
        self.step = Step(Do.REST)
        self.token = 0
        self._locks, self._actions, self._nodes, self._tell = locks, actions, nodes, tell
        self._poked = asyncio.Event()
        self._wish: list[int] = []
        self._eager = False
        """The lock is about to be handed over to this node, which tries for it without a pause."""

        self._started: Resource | None = None
        """The resource as it was started here, which is how it is stopped."""

        self._ran: set[int] = set()
        """The parts that ran since this node has the lock: one that does not run any more has failed."""

        self._known = False
        """What was seen is what is: a step has just proved it, so the next one needs no look."""

        self._checked = 0.0
        self._free_since = time.monotonic()
        self._others: dict[str, str] = {"holder": "", "label": "", "wisher": "", "wish": ""}
        self._looking: asyncio.Task[None] | None = None

    def poke(self) -> None:
        """Something has changed: look at once."""
        self._poked.set()

    def hint(self) -> None:
        """Another agent says that there is something to see.

        Who is about to get the lock has no time for it: what it would see is mostly that the lock is free, and by then
        it has it, if it has not gone away to look.
        """
        if not self._eager:
            self.poke()

    def facts(self) -> dict[str, Any]:
        """What people and programs are told. `state` is for people alone."""
        resource = self.resource
        return {
            "name": self.name,
            "state": election.describe(resource, self.seen, self.memory, self.step, time.monotonic()),
            "node": self.seen.me if self.seen.held else self.seen.holder or None,
            "held": self.seen.held,
            "runs": election.runs(self.seen),
            "token": self.token if self.seen.held else None,
            "parts": [
                {"part": str(part), "state": state.value}
                for part, state in zip(self._definition().parts, self.seen.parts)
            ]
            if self._definition_or_none()
            else [],
            "wanted": resource.state if resource else "absent",
            "priority": resource.priority(self.seen.me) if resource else None,
            "retry_in": max(0, round(self.memory.retry - time.monotonic())) or None,
            "moving_to": self.memory.target or None,
            "error": self.error or None,
        }

    async def run(self) -> None:
        try:
            while not await self._turn():
                pass
        finally:
            self._drop_wish()
            if self._looking is not None:
                self._looking.cancel()

    async def _turn(self) -> bool:
        """One look and one step; True when nothing is left to do here, ever."""
        self.due = time.monotonic() + STEP_SECONDS
        self._poked.clear()
        try:
            if not self._known:
                await self._look()
            self._known = False
        except O2cbError as error:
            self._complain(str(error))
            await self._rest(LOOK_SECONDS)
            return False
        self.step = step = election.next_step(self.resource, self.seen, self.memory, time.monotonic())
        if step.do is Do.REST and self.resource is None and not self.seen.held:
            files.remove(self._held_file)
            return True
        try:
            await self._do(step)
        except O2cbError as error:
            self._complain(str(error))
            await self._rest(LOOK_SECONDS)
        return False

    # looking

    @property
    def _held_file(self) -> str:
        return os.path.join(HELD, self.name)

    def _definition_or_none(self) -> Resource | None:
        """How its parts are stopped: as it was started, else as it is configured."""
        text = files.read(self._held_file)
        if text is not None and self._started is None:
            with contextlib.suppress(O2cbError):
                self._started = parse(text, self._held_file)
        return self._started or self.resource

    def _definition(self) -> Resource:
        found = self._definition_or_none()
        if found is None:
            raise O2cbError(
                f"resource {self.name} is held by this node, and neither its configuration nor {self._held_file} is "
                "there: configure it again, then stop it"
            )
        return found

    async def _look(self) -> None:
        """The lock by o2keep's own word, the parts by theirs, as often as configured; what others want each second."""
        own = await self._locks.held_lock(f"resource:{self.name}")
        self.token = own["token"] if own else 0
        states = await self._states(own is not None)
        if own and self._takes_new_definition(states):
            states = await self._states(True)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look_at_others(own is not None))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._looking), SLOW_SECONDS if not own else LOOK_SECONDS)
        others = dict(self._others)
        if own:
            others["holder"], others["label"] = "", own["owner"] if own["owner"].startswith(TO) else ""
        if own or others["holder"]:
            self._free_since = time.monotonic()
        self.seen = Seen(
            me=self.seen.me,
            held=own is not None,
            parts=states,
            free=time.monotonic() - self._free_since,
            nodes=self._nodes(),
            **others,
        )
        if others["holder"]:
            self.memory.target = ""
        if own:
            self.memory.pull = False
            self._ran |= {number for number, state in enumerate(states) if state is State.RUNS}
            if self.resource and all(state is State.RUNS for state in states):
                self.memory.ran_well(time.monotonic(), self.resource)

    async def _states(self, held: bool) -> tuple[State, ...]:
        """Of all parts: asking costs a program for each, so what was seen counts for a while."""
        definition = self._definition_or_none()
        parts = definition.parts if definition else ()
        interval = definition.check_interval if definition and held else STRAY_SECONDS
        settled = len(self.seen.parts) == len(parts) and self.seen.held == held and State.UNKNOWN not in self.seen.parts
        if settled and time.monotonic() - self._checked < interval:
            return self.seen.parts
        states = tuple([await self._actions.state(part) for part in parts])
        self._checked = time.monotonic()
        return states

    def _takes_new_definition(self, states: tuple[State, ...]) -> bool:
        """Whether other parts count from now on. Those that were started are stopped first, as they were."""
        started, wanted = self._started, self.resource
        self.memory.restart = bool(started and wanted and started.parts != wanted.parts)
        if not self.memory.restart or any(state is not State.STOPPED for state in states):
            return False
        files.remove(self._held_file)
        self._started, self._checked, self.memory.restart = None, 0.0, False
        self._ran.clear()
        return True

    async def _look_at_others(self, held: bool) -> None:
        """Who else has the lock, and who wishes for it. While another node simply runs it, nobody needs the second."""
        try:
            holder = None if held else await self._locks.who(f"resource:{self.name}", STEP_SECONDS)
            quiet = holder is not None and not holder["owner"].startswith(TO)
            wisher = None if quiet else await self._locks.who(f"wish:{self.name}", STEP_SECONDS)
        except O2cbError as error:
            self._complain(str(error))
            return
        self._others = {
            "holder": self._name_of(holder),
            "label": holder["owner"] if holder and holder["owner"].startswith(TO) else "",
            "wisher": self._name_of(wisher),
            "wish": wisher["owner"] if wisher else "",
        }
        if self._wish:
            self._others["wisher"] = self.seen.me

    def _name_of(self, found: Mapping[str, Any] | None) -> str:
        number = found["node"] if found else None
        return next((name for name, own in self._nodes().items() if own == number), "")

    # doing

    async def _do(self, step: Step) -> None:
        if step.do is Do.REST:
            await self._rest(step.seconds)
        elif step.do is Do.START:
            await self._start(step)
        elif step.do is Do.STOP:
            await self._stop(step)
        elif step.do is Do.RELEASE:
            await self._release(step)
        elif step.do is Do.TAKE:
            await self._take(step)
        elif step.do is Do.WISH:
            await self._make_wish(step)
        elif step.do is Do.UNWISH:
            self._drop_wish()
        elif step.do is Do.LABEL:
            await self._locks.label(f"resource:{self.name}", step.text)
            self._tell(self.name, None)  # One is to have it next, and the others leave it alone.

    def _environment(self) -> Mapping[str, str]:
        return {"O2_RESOURCE": self.name, "O2_LOCK_TOKEN": str(self.token), "O2_NODE": self.seen.me}

    async def _start(self, step: Step) -> None:
        resource = self._definition()
        if self._started is None and self.resource is not None:
            files.write(self._held_file, self.resource.as_definition())
            self._started = resource = self.resource
        part = resource.parts[step.part]
        if step.part in self._ran:
            self._ran.discard(step.part)
            self.memory.failed(time.monotonic(), resource)
            self._complain(f"{part} ended by itself")
            return
        self.due = time.monotonic() + part.start_timeout + STEP_SECONDS
        if await self._locks.held_lock(resource.lock) is None:
            raise O2cbError(f"lock {resource.lock} is not held any more: {part} is not started")
        began = time.monotonic()
        self._say("starts", part=str(part))
        try:
            await self._actions.start(part, self._environment())
        except O2cbError as error:
            self.memory.failed(time.monotonic(), resource)
            raise O2cbError(f"{part} does not start: {error}") from None
        self.error = ""
        self._ran.add(step.part)
        self._has_become(step.part, State.RUNS)
        self._say("runs", part=str(part), seconds=time.monotonic() - began)

    async def _stop(self, step: Step) -> None:
        resource = self._definition()
        part = resource.parts[step.part]
        self.due = time.monotonic() + part.stop_timeout + STEP_SECONDS
        if step.failed:
            self.memory.failed(time.monotonic(), resource)
        self._say("stops", part=str(part), why=step.text)
        try:
            await self._actions.stop(part, self._environment())
        except O2cbError as error:
            self.memory.stuck = time.monotonic() + election.STUCK_SECONDS
            self._alarm(f"{part} cannot be stopped, so the lock stays here: {error}")
        else:
            self._ran.discard(step.part)
            self._has_become(step.part, State.STOPPED)
            self._say("is stopped", part=str(part))

    def _has_become(self, part: int, state: State) -> None:
        self._checked = time.monotonic()
        states = (*self.seen.parts[:part], state, *self.seen.parts[part + 1 :])
        self.seen, self._known = replace(self.seen, parts=states), True

    async def _release(self, step: Step) -> None:
        now = time.monotonic()
        self._say("is released", why=step.text)
        await self._locks.release(f"resource:{self.name}", self.token)
        files.remove(self._held_file)
        self._started = None
        self._ran.clear()
        self.memory.leaves = False
        self._free_since = now
        self.seen, self._known = replace(self.seen, held=False, label="", free=0.0), True
        if self.seen.wisher in ("", self.seen.me):
            self._tell(self.name, None)
        else:
            # That one tries for it without a pause, and nobody else needs to know.
            self.memory.yields = now + election.YIELD_SECONDS

    async def _take(self, step: Step) -> None:
        """Wait for the lock, but not beyond a poke."""
        lock = f"resource:{self.name}"
        self._eager = self.seen.wisher == self.seen.me
        taking = asyncio.ensure_future(self._locks.take(lock, step.seconds, eager=self._eager))
        poked = asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait({taking, poked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._eager = False
            poked.cancel()
            if not taking.done():
                taking.cancel()
        if taking.cancelled() or not taking.done():
            return
        answer, _descriptors = taking.result()
        if not answer["held"]:
            if answer["reason"] not in ("busy", "recovering", "unknown"):
                self._complain(refusal(lock, answer, step.seconds))
            return
        self.token = answer["token"]
        self._say("is ours")
        wisher = "" if self._wish else self._name_of(await self._locks.who(f"wish:{self.name}"))
        if wisher:
            self._say("is given back", why=f"{wisher} is to run it")
            await self._locks.release(lock, self.token)
            self.memory.yields = time.monotonic() + LOOK_SECONDS
            return
        # The wish has time until the next look: now it is the parts' turn.
        self.seen = replace(self.seen, held=True, holder="", label="", wisher="", wish="")
        self._known = True

    async def _make_wish(self, step: Step) -> None:
        answer, descriptors = await self._locks.take(f"wish:{self.name}", 0, owner=step.text, kind="process")
        if answer["held"]:
            self._wish = descriptors
            self.memory.yields = 0.0
            self.memory.asked_by = self.seen.holder if self.seen.label == TO + self.seen.me else ""
            self._others = {**self._others, "wisher": self.seen.me, "wish": step.text}
            self._say("is wished for", why=step.text)
            self._tell(self.name, self.seen.nodes.get(self.seen.holder))
        await self._rest(0.1)

    def _drop_wish(self) -> None:
        wire.close_all(self._wish)
        if self._wish:
            self._others = {**self._others, "wisher": "", "wish": ""}
        self._wish = []
        self.memory.pull, self.memory.asked_by = False, ""

    async def _rest(self, seconds: float) -> None:
        """Until something is due or has changed. Others are looked at every second."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._poked.wait(), min(seconds, LOOK_SECONDS))

    # telling

    def _say(self, what: str, **more: Any) -> None:
        words = ", ".join(
            f"{key} {value:.3f}" if isinstance(value, float) else f"{value}" for key, value in more.items()
        )
        text = f"resource {self.name} {what}{': ' if words else ''}{words}"
        journal.write(text, RESOURCE=self.name, LOCK=f"resource:{self.name}", TOKEN=self.token, NODE=self.seen.me)

    def _complain(self, text: str) -> None:
        if text != self.error:
            journal.write(f"resource {self.name}: {text}", journal.WARNING, RESOURCE=self.name, NODE=self.seen.me)
        self.error = text

    def _alarm(self, text: str) -> None:
        journal.write(f"resource {self.name}: {text}", journal.ALERT, RESOURCE=self.name, NODE=self.seen.me)
        self.error = text

    # orders

    def order(self, verb: str, text: str = "") -> None:
        """What an operator wants. Raises O2cbError when it makes no sense here."""
        memory = self.memory
        if verb == "clear":
            memory.cleared()
            self.error = ""
        elif verb == "move" and self.resource is not None:
            self._move(text)
        else:
            raise O2cbError(f"resource {self.name} is not configured on this node: it can be cleared only")
        self.poke()

    def _move(self, target: str) -> None:
        resource, seen = self.resource, self.seen
        if target not in seen.nodes:
            raise O2cbError(f"there is no node {target!r}: known are {', '.join(sorted(seen.nodes))}")
        if resource is None or resource.priority(target) is None:
            raise O2cbError(f"resource {self.name} must not run on {target}: add it to its nodes first")
        if target == seen.me:
            self.memory.pull = not seen.held
            if seen.held:
                self.memory.target = ""
        elif seen.held:
            self.memory.target = target
        else:
            where = f"on {seen.holder}, which runs it, or on {target}" if seen.holder else f"on {target}"
            raise O2cbError(f"resource {self.name} is not on this node: give this order {where}")
