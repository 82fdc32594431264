# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting until the members of the cluster are as wished, by looking at the heartbeat twice a second."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Sequence

from ..base.errors import O2cbError, join_problems
from . import heartbeats, observe, watch
from .blocks import Beats
from .state import Live
from .watch import Sight, Watch, Wish

LOOK_EVERY = 0.5
"""Seconds between two looks; a node beats every 2 s."""

READ_SECONDS = 4.0
"""Deadline of a disk."""

MOST_SECONDS = 30.0
"""How long a look may take until all is known of each node, when disks hang."""


@dataclass(frozen=True)
class Look:
    """What was there at one moment. `live_nodes` is what debugfs says, where it exists."""

    live: Live | None
    beats: Beats
    live_nodes: frozenset[int] | None = None


class Eyes:
    """This machine, as far as waiting looks at it: its cluster, its disks, its clocks."""

    hostname = os.uname().nodename

    def __init__(self) -> None:
        self._hung: set[str] = set()

    def look(self) -> Look:
        """One look at a region whose disk hangs is enough: the others tell, as long as one is left."""
        live = observe.live()
        live_nodes = observe.live_nodes()
        if live is None or live_nodes is not None:
            return Look(live, {}, live_nodes)
        left = [region for region in live.regions if region.uuid not in self._hung] or live.regions
        reading = heartbeats.read(left, observe.slots(live), READ_SECONDS)
        self._hung.update(reading.problems)
        return Look(live, reading.beats)

    def monotonic(self) -> float:
        return time.monotonic()

    def clock(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Wanted:
    """What is waited for; nodes by name or by number."""

    nodes: Sequence[str] = ()
    gone: Sequence[str] = ()
    live: int = 0
    quorate: bool = False

    def wish(self, names: dict[int, str]) -> Wish:
        """The same in numbers. Raises O2cbError for a node that is not in the kernel's table."""
        nodes, unknown = watch.numbers(self.nodes, names)
        gone, unknown_gone = watch.numbers(self.gone, names)
        if unknown or unknown_gone:
            raise O2cbError(
                f"{', '.join(unknown + unknown_gone)}: no node of this cluster ({', '.join(names.values())}): correct "
                "the name, or add the node with ocfs2.o2cb.cluster"
            )
        return Wish(tuple(nodes), tuple(gone), self.live, self.quorate)


def wait(wanted: Wanted, eyes: Eyes, seconds: float) -> dict[str, Any]:
    """Return the members once they are as wanted. Raises O2cbError, naming what is missing, when time is up.

    However short the time, the look is a whole one: without debugfs it takes two readings, 4.2 s apart, to deny.
    """
    watched = Watch()
    started = eyes.monotonic()
    while True:
        look = eyes.look()
        at = eyes.monotonic()
        sight, missing, names = _compare(wanted, look, watched, at, eyes.clock())
        waited = round(at - started, 1)
        result = _result(look, sight, names, waited)
        if not missing:
            return result
        if waited >= seconds and (sight.settled or waited > MOST_SECONDS):
            raise O2cbError(f"{eyes.hostname}, after {waited:g} s: {join_problems(missing)}", missing=missing, **result)
        eyes.sleep(LOOK_EVERY)


def _compare(
    wanted: Wanted, look: Look, watched: Watch, at: float, clock: float
) -> tuple[Sight, list[str], dict[int, str]]:
    live = look.live
    if live is None or not live.online:
        return Sight({}, {}), ["it is not online itself: bring it online with ocfs2.o2cb.cluster"], {}
    if look.live_nodes is None and not look.beats:
        return Sight({}, {}), ["none of its heartbeat regions could be read: be root, and look at its disks"], {}
    names = {node.number: node.name for node in live.cluster.nodes}
    own = next(number for number, name in names.items() if name == live.local)
    wish = wanted.wish(names)
    if look.live_nodes is not None:
        alive: dict[int, bool | None] = {number: number in look.live_nodes for number in names}
        gone: dict[int, bool | None] = {number: not alive[number] for number in names}
    else:
        watched.add(look.beats, at)
        alive = {number: watched.live(number, at) for number in names}
        gone = {number: watched.gone(number, at, clock, live.connected) for number in names}
    sight = Sight.of(own, alive, gone, live.connected)
    return sight, watch.unmet(wish, sight, names), names


def _result(look: Look, sight: Sight, names: dict[int, str], waited: float) -> dict[str, Any]:
    connected = look.live.connected if look.live else frozenset()
    return {
        "live": [names[number] for number in sight.alive()],
        "gone": [names[number] for number, gone in sorted(sight.gone.items()) if gone],
        "connected": [names[number] for number in sorted(connected) if number in names],
        "quorate": sight.quorate,
        "reason": sight.reason,
        "waited": waited,
    }
