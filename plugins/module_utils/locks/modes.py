# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The five lock modes, made of what o2dlm gives through dlmfs: shared (PR) and exclusive (EX). Pure.

Each mode is a set of levels on two resources, the lock's own and its companion `.w`:

    CR  own:PR                 reads whatever writers do
    PR  own:PR  writers:PR     reads, and no one may write
    PW  own:PR  writers:EX     writes, others may read carelessly (CR)
    EX  own:EX                 alone

Two holders are compatible when on each resource both have PR, or one of them has nothing. That gives the table of the
VMS lock manager for these modes. CW would have to be compatible with itself and exclude PR, for which PR and EX do not
suffice: it is refused. NL holds nothing.

A foreign program that opens the plain file for reading is a CR holder, for writing an EX holder.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..base.errors import O2cbError


class Level(enum.IntEnum):
    """What o2dlm gives on one resource (fs/ocfs2/dlm/dlmapi.h)."""

    PR = 3
    EX = 5


class Mode(enum.Enum):
    """A lock mode by its name in the VMS lock manager."""

    NL = "NL"
    CR = "CR"
    PR = "PR"
    PW = "PW"
    EX = "EX"


OWN = "own"
WRITERS = "writers"

LEVELS: dict[Mode, dict[str, Level]] = {
    Mode.NL: {},
    Mode.CR: {OWN: Level.PR},
    Mode.PR: {OWN: Level.PR, WRITERS: Level.PR},
    Mode.PW: {OWN: Level.PR, WRITERS: Level.EX},
    Mode.EX: {OWN: Level.EX},
}

SOLE = frozenset((Mode.PW, Mode.EX))
"""Modes that one holder at a time can have. He shows who he is."""

SIGNED = frozenset((Mode.EX,))
"""Modes whose holder writes a new token into the lock."""

_WORDS = {"exclusive": Mode.EX, "shared": Mode.PR}


def parse(text: str) -> Mode:
    """A mode by its name, or by the words exclusive and shared. Raises O2cbError for CW and for what is none."""
    if text in _WORDS:
        return _WORDS[text]
    if text == "CW":
        raise O2cbError("the mode CW does not exist in o2dlm: use PW, which lets one writer in at a time, or EX")
    try:
        return Mode(text)
    except ValueError:
        raise O2cbError(f"{text!r} is no lock mode: use exclusive, shared, CR, PR, PW or EX") from None


def compatible(one: Mode, other: Mode) -> bool:
    """Whether two holders may have these modes at the same time."""
    ours, theirs = LEVELS[one], LEVELS[other]
    return all(ours[resource] is theirs[resource] is Level.PR for resource in ours.keys() & theirs.keys())


@dataclass(frozen=True)
class Conversion:
    """From one mode to another: resources by name, in the order in which everybody takes them.

    First `opened` are opened at their new levels, each a try that may fail, and then nothing has changed yet. What
    follows cannot fail: `lowered` fall from EX to PR, `dropped` are given up.
    """

    opened: tuple[tuple[str, Level], ...]
    lowered: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def rises(self) -> bool:
        """Whether another holder can stand in the way."""
        return any(resource not in self.lowered for resource, _level in self.opened)


def conversion(old: Mode, new: Mode) -> Conversion:
    """How a holder of `old` becomes one of `new`, without a moment in which it holds less than both allow."""
    have, want = LEVELS[old], LEVELS[new]
    return Conversion(
        opened=tuple((resource, level) for resource, level in want.items() if have.get(resource) is not level),
        lowered=tuple(resource for resource, level in want.items() if level < have.get(resource, level)),
        dropped=tuple(resource for resource in have if resource not in want),
    )
