# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that is made of data: what it reads is given, what it is told to do is written down."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import blocks
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat, Beats, Reading
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.earlier_life import Outcome, Written
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.plan import Plan, Verb
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have, Live, LiveRegion
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.configfs_model import ConfigfsModel


class Clock:
    """Stands in for the module `time` where somebody waits: sleeping takes no time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeSystem:
    """`readings` are the beats at each look, the last one for good; `connected` likewise the connections."""

    have: Have
    readings: list[Beats] = field(default_factory=lambda: [{}])
    connected: list[frozenset[int]] = field(default_factory=lambda: [frozenset()])
    missing: str = ""
    cut_off: frozenset[int] = frozenset()
    fails_at: Verb | None = None
    log: list[str] = field(default_factory=list)
    pending: bool = False
    written: dict[str, bytes] = field(default_factory=dict)

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self) -> Have:
        return self.have

    def live(self) -> Live | None:
        live = self.have.live
        return replace(live, connected=_next(self.connected)) if live else None

    def beats(self, regions: Any, numbers: Any) -> Beats:
        return _next(self.readings)

    def slots(self, regions: Any, own: int) -> Reading:
        beats = _next(self.readings)
        found = {}
        for region in regions:
            beat = beats.get(region.uuid, {}).get(own)
            found[region.uuid] = blocks.encode(beat, 512) if beat else bytes(512)
        return Reading(beats, own={**found, **self.written})

    def write_pending(self) -> bool:
        return self.pending

    def write_slots(self, regions: Any, own: int, new: Any) -> dict[str, Written]:
        self.log += [f"write slot {own} of region {uuid}" for uuid in new]
        for uuid, (_expected, block) in new.items():
            self.written[uuid] = block
        return dict.fromkeys(new, Written(Outcome.WRITTEN))

    def unreachable(self, own: Any, peers: Any) -> frozenset[int]:
        return self.cut_off.intersection(peer.number for peer in peers)

    def locate(self, plan: Plan) -> list[tuple[Any, LiveRegion]]:
        if self.missing:
            raise O2cbError(self.missing)
        uuids = [step.subject for step in plan.steps if step.verb is Verb.START_REGION]
        return [(SimpleNamespace(path="/dev/mapper/hb"), LiveRegion(uuid, "dm-0")) for uuid in uuids]

    def apply(self, plan: Plan, located: Any = (), force: bool = False) -> None:
        node = ConfigfsModel.of(self.have)
        for step in plan.steps:
            if step.verb is self.fails_at:
                self.fails_at = None
                raise O2cbError(f"EIO at {step.subject}")
            node.apply(replace(plan, steps=(step,)))
            self.have = node.read()
            self.log.append(str(replace(step, why="")).rpartition(" [")[0])


def _next(script: list[Any]) -> Any:
    return script.pop(0) if len(script) > 1 else script[0]


def beat(number: int, sequence: int = 1000, threshold: int = 31, generation: int = 7) -> Beat:
    return Beat(number, sequence, generation, threshold * 2000, True)
