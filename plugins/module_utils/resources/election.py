# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an agent does next about one resource. Pure: facts in, one step out.

Theory of operation. Nothing is remembered of what was done: each time the agent looks at what is, the lock, the parts
and what the others want, and takes the one step that is due. So an agent that crashed, and one that was told something
new in the middle, go on without a case of their own: where lock and service agree, nothing is due.

    this node has the lock   and should     parts start in their order; one that does not run is stopped before it is
                                            started again, and first those that came after it
                             and should not parts stop in the reverse order, each stop is proved, the lock is released
    it has not               a part runs    it is stopped: nothing runs without its lock
                             and should     it waits for the lock
                             and should not it rests

Who is first. All nodes that may run a resource are ranked by priority, equals in an order that differs between
resources; the present holder does not count. The first waits for the lock without pause, and has it as soon as o2dlm
has recovered it from a dead node. The others try when nobody has held it for some seconds, each rank later.

Hand-over. The process lock `wish:NAME` belongs to the one node that is to have the resource next. Its owner text says
why: `move`, since somebody wants it there, or `prefer`, since its priority is higher. The holder sees it, stops,
releases and leaves it alone for a while; anybody else who gets the lock meanwhile gives it back. Where the holder is
told to move, its lock's owner text says `to N`: node N wishes for it, until it has it or that holder has thought better
of it, and nobody else tries.
"""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass, field
from typing import Mapping, NamedTuple, Sequence

from .resource import STARTED, Resource

MOVE, PREFER = "move", "prefer"
TO = "to "

REST_SECONDS = 60.0
RANK_SECONDS = 3.0
"""A free lock is left to each better rank for so long."""

YIELD_SECONDS = 20.0
"""So long a node leaves a resource alone that it gave up for another one, unless somebody wants it back there."""

WAIT_SECONDS = 2.0
"""So long one request for a lock waits; then the agent looks around."""

HAND_OVER_SECONDS = 10.0
"""So long one does that is about to be handed over: while the agent looks around nobody tries for it."""

STUCK_SECONDS = 10.0
LONGEST_BACKOFF = 3600.0


class State(enum.Enum):
    """What is known of a part."""

    RUNS = "runs"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


class Do(enum.Enum):
    """A step."""

    START = "start"
    STOP = "stop"
    RELEASE = "release"
    TAKE = "take"
    WISH = "wish"
    UNWISH = "unwish"
    LABEL = "label"
    REST = "rest"


class Step(NamedTuple):
    """`part` is for START and STOP; `seconds` for TAKE and REST; `text` is an owner text, or why."""

    do: Do
    part: int = 0
    seconds: float = 0.0
    text: str = ""
    failed: bool = False
    """A part is stopped since nobody knows whether it runs."""


@dataclass(frozen=True)
class Seen:
    """What the agent sees. Nodes are names; an empty one is nobody.

    `free` is for how many seconds nobody else has held the lock, as far as is known.
    """

    me: str
    held: bool
    parts: tuple[State, ...]
    holder: str = ""
    label: str = ""
    wisher: str = ""
    wish: str = ""
    free: float = 0.0
    nodes: Mapping[str, int] = field(default_factory=dict)
    """All nodes of the cluster with their numbers."""


@dataclass
class Memory:
    """What must be remembered, since nothing that can be looked at tells. Times are of the monotonic clock."""

    drained: bool = False
    stopping: bool = False
    target: str = ""
    """Where an operator wants it to go; this node has it."""

    pull: bool = False
    """An operator wants it here."""

    asked_by: str = ""
    """This node wishes for it since the label of that holder says so."""

    failures: list[float] = field(default_factory=list)
    given_up: int = 0
    """How often in a row this node has given it up."""

    retry: float = 0.0
    """Before this it is not tried here."""

    yields: float = 0.0
    """Before this it is left to the node for which it was given up."""

    leaves: bool = False
    """It has failed here too often, and is given up."""

    restart: bool = False
    """Other parts run than those that are configured now."""

    stuck: float = 0.0
    """Before this a stop that could not be proved is not tried again."""

    def failed(self, now: float, resource: Resource) -> None:
        """A part did not start, or ran no longer."""
        self.failures = [at for at in self.failures if now - at < resource.window] + [now]
        if len(self.failures) >= resource.attempts:
            self.failures = []
            self.leaves = True
            self.retry = now + min(resource.backoff * 2**self.given_up, LONGEST_BACKOFF)
            self.given_up = min(self.given_up + 1, 32)

    def ran_well(self, now: float, resource: Resource) -> None:
        """It runs. After a while without a failure, earlier ones do not count any more."""
        if self.given_up and now - self.retry > 2 * resource.window:
            self.given_up = 0

    def cleared(self) -> None:
        """An operator has mended what was wrong."""
        self.failures, self.given_up, self.leaves = [], 0, False
        self.retry = self.yields = self.stuck = 0.0


def rank(resource: Resource, seen: Seen) -> int | None:
    """This node's place among those that may run it, without the one that does; None when it must not."""
    able = {name: resource.priority(name) for name in seen.nodes if name != seen.holder}
    order = sorted(
        (name for name, priority in able.items() if priority is not None),
        key=lambda name: (-(able[name] or 0), zlib.crc32(f"{resource.name}/{name}".encode()), name),
    )
    return order.index(seen.me) if seen.me in order else None


def should_run(resource: Resource | None, seen: Seen, memory: Memory, now: float) -> str:
    """Why this node must not run it; an empty string when it may."""
    if resource is None:
        return "absent"
    if resource.state != STARTED:
        return "stopped"
    if memory.stopping:
        return "the agent stops"
    if memory.drained:
        return "drained"
    if resource.priority(seen.me) is None:
        return "not on this node"
    if memory.leaves or now < memory.retry:
        return "failed here"
    if not seen.held and now < memory.yields and not memory.pull and seen.label != TO + seen.me:
        return "left to others"
    return ""


def next_step(resource: Resource | None, seen: Seen, memory: Memory, now: float) -> Step:
    """The one step that is due. `resource` is None for one that is not configured any more."""
    why = should_run(resource, seen, memory, now)
    if seen.held:
        return _as_holder(resource, seen, memory, why, now)
    if any(state is not State.STOPPED for state in seen.parts):
        if now < memory.stuck:
            return Step(Do.REST, seconds=memory.stuck - now, text="runs without its lock, and cannot be stopped")
        return Step(Do.STOP, _last(seen.parts), text="it runs without its lock")
    if seen.wisher == seen.me and (why or not _wishes(resource, seen, memory)):
        return Step(Do.UNWISH)
    if why or resource is None:
        rest = memory.retry - now if now < memory.retry else REST_SECONDS
        return Step(Do.REST, seconds=rest, text=why)
    return _as_candidate(resource, seen, memory)


def _as_holder(resource: Resource | None, seen: Seen, memory: Memory, why: str, now: float) -> Step:
    why = why or _gives_way(resource, seen, memory)
    if why or resource is None:
        if all(state is State.STOPPED for state in seen.parts):
            return Step(Do.RELEASE, text=why)
        if now < memory.stuck:
            return Step(Do.REST, seconds=memory.stuck - now, text="cannot be stopped")
        return Step(Do.STOP, _last(seen.parts), text=why)
    if memory.restart:
        if now < memory.stuck:
            return Step(Do.REST, seconds=memory.stuck - now, text="cannot be stopped")
        if _last(seen.parts) < 0:
            return Step(Do.REST, seconds=0.05, text="its new parts are read")
        return Step(Do.STOP, _last(seen.parts), text="it is defined otherwise now")
    if seen.wisher == seen.me:
        return Step(Do.UNWISH)
    if memory.target and seen.label != TO + memory.target:
        return Step(Do.LABEL, text=TO + memory.target)
    if not memory.target and seen.label:
        return Step(Do.LABEL)
    first = next((number for number, state in enumerate(seen.parts) if state is not State.RUNS), None)
    if first is None:
        return Step(Do.REST, seconds=resource.check_interval)
    last = _last(seen.parts)
    if last >= first:
        if now < memory.stuck:
            return Step(Do.REST, seconds=memory.stuck - now, text="cannot be stopped")
        return Step(Do.STOP, last, text=f"part {first + 1} does not run", failed=last == first)
    return Step(Do.START, first)


def _last(parts: Sequence[State]) -> int:
    """The last part that is not known to be stopped; -1 when all are."""
    return max((number for number, state in enumerate(parts) if state is not State.STOPPED), default=-1)


def _gives_way(resource: Resource | None, seen: Seen, memory: Memory) -> str:
    if resource is None or seen.wisher in ("", seen.me):
        return ""
    theirs, mine = resource.priority(seen.wisher), resource.priority(seen.me)
    if theirs is None:
        return ""
    if seen.wish == MOVE:
        return f"{seen.wisher} is to run it"
    if seen.wish == PREFER and not resource.sticky and theirs > (mine or 0):
        return f"{seen.wisher} has a higher priority"
    return ""


def _wishes(resource: Resource | None, seen: Seen, memory: Memory) -> str:
    """The owner text with which this node wishes for it; an empty string when it does not."""
    if resource is None:
        return ""
    if memory.pull or seen.label == TO + seen.me:
        return MOVE
    # It is under way here. Whoever else has the lock for a moment gives it back.
    if memory.asked_by not in ("", seen.holder) and seen.wisher == seen.me:
        return MOVE
    theirs, mine = resource.priority(seen.holder) if seen.holder else None, resource.priority(seen.me)
    # While nobody holds it in a hand-over, the wish stays what it was.
    if not seen.holder and seen.wisher == seen.me:
        return seen.wish
    if theirs is not None and not resource.sticky and (mine or 0) > theirs:
        return PREFER
    return ""


def _as_candidate(resource: Resource, seen: Seen, memory: Memory) -> Step:
    wish = _wishes(resource, seen, memory)
    if wish and not seen.wisher:
        return Step(Do.WISH, text=wish)
    if seen.wisher not in ("", seen.me):
        return Step(Do.REST, seconds=1.0, text=f"{seen.wisher} is to run it")
    if seen.label not in ("", TO + seen.me):
        return Step(Do.REST, seconds=1.0, text=f"{seen.label[len(TO) :]} is to run it")
    place = rank(resource, seen)
    if seen.wisher == seen.me:
        return Step(Do.TAKE, seconds=HAND_OVER_SECONDS)
    if place == 0:
        return Step(Do.TAKE, seconds=WAIT_SECONDS)
    if place is not None and not seen.holder and seen.free >= place * RANK_SECONDS:
        return Step(Do.TAKE)
    return Step(Do.REST, seconds=1.0, text=f"{seen.holder} runs it" if seen.holder else "others come first")


def runs(seen: Seen) -> bool:
    """Whether this node has the lock, and every part runs here."""
    return seen.held and all(state is State.RUNS for state in seen.parts)


def describe(resource: Resource | None, seen: Seen, memory: Memory, step: Step, now: float) -> str:
    """The state in one word or two, for people."""
    if seen.held:
        if runs(seen):
            return "runs here"
        if now < memory.stuck:
            return "cannot be stopped"
        return {Do.START: "starts", Do.STOP: "stops"}.get(step.do, "has the lock")
    if any(state is not State.STOPPED for state in seen.parts):
        return "runs without its lock"
    if seen.holder:
        return f"on {seen.holder}"
    return should_run(resource, seen, memory, now) or "waits for the lock"


def summary(states: Sequence[State]) -> dict[str, int]:
    return {state.value: sum(found is state for found in states) for state in State}
