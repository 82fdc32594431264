# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random schedules of lock operations, and a model of what each must lead to.

One operation at a time, so the table of modes says exactly which is granted: every take and every conversion that is
compatible with all other holders, and no other.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode, compatible

MODES = (Mode.CR, Mode.PR, Mode.PW, Mode.EX)


@dataclass(frozen=True)
class Step:
    """`who` does something: `mode` is NL for letting go. A holder is a node lock, or a process lock on a node."""

    node: int
    kind: str
    mode: Mode
    granted: bool

    @property
    def who(self) -> str:
        return f"{self.kind}{self.node}"

    def __str__(self) -> str:
        word = "releases" if self.mode is Mode.NL else f"{'gets' if self.granted else 'is refused'} {self.mode.value}"
        return f"{self.kind} lock of node {self.node} {word}"


@dataclass
class Model:
    """Who holds one lock in which mode."""

    holders: dict[str, Mode] = field(default_factory=dict)

    def step(self, node: int, kind: str, mode: Mode) -> Step:
        """Do it, and say how it ends."""
        who = f"{kind}{node}"
        others = [held for other, held in self.holders.items() if other != who]
        granted = all(compatible(mode, other) for other in others)
        if mode is Mode.NL:
            self.holders.pop(who, None)
        elif granted:
            self.holders[who] = mode
        return Step(node, kind, mode, granted)


def schedule(seed: int, nodes: int, length: int) -> list[Step]:
    """Takes, conversions and releases; in the end everything is released. A process lock is not converted."""
    dice = random.Random(seed)
    model = Model()
    steps = []
    for _turn in range(length):
        node, kind = dice.randrange(nodes), dice.choice(("node", "node", "process"))
        held = model.holders.get(f"{kind}{node}")
        if held and (kind == "process" or dice.random() < 0.4):
            steps.append(model.step(node, kind, Mode.NL))
        else:
            steps.append(model.step(node, kind, dice.choice([mode for mode in MODES if mode is not held])))
    for who in sorted(model.holders):
        steps.append(model.step(int(who[-1]), who[:-1], Mode.NL))
    return steps
