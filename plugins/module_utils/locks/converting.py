# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conversions of node locks: from one mode to another, without letting go in between.

    rise     a worker opens the new levels in the lock's own mount, or nothing has changed
    store    the descriptors of the new mode go into a slot, then those of the old one leave theirs
    settle   what is not needed any more is closed, lowered and unlinked; it cannot fail, and is not waited for long

Whoever rises from a shared lock may meet another holder who wants the same: neither can, and o2dlm does not tell. So it
ends at the deadline, as a lock that is busy does, and the lock stays what it was.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..base import wire
from ..base.errors import O2cbError
from . import holding, modes, names
from .holding import Holding
from .modes import LEVELS, OWN, Conversion, Level, Mode

if TYPE_CHECKING:
    from .keeper import Keeper, Take

SETTLE_SECONDS = 2.0
"""Longer is not waited for others to be let in beside a lock that was lowered."""


class Converter:
    """The keeper's part that converts."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def start(self, take: Take, held: Holding) -> None:
        """Begin, on behalf of a request whose identity has the new mode. Raises O2cbError while another is going on."""
        if held.converting is not None:
            raise O2cbError(f"lock {held.what.name!r} is being converted already: try again")
        held.converting = take
        take.base = held
        self.attempt(take)

    def attempt(self, take: Take) -> None:
        """One try to rise; straight on where nobody can stand in the way."""
        base = _base(take)
        if take.done or take.client.closed:
            take.done = True
            _end(take)
            return
        base.when_idle(lambda: self._attempt(take))

    def _attempt(self, take: Take) -> None:
        base = _base(take)
        if not self._keeper.clock.is_fresh(time.monotonic()):
            take.answer_due = time.monotonic()
            self._keeper.read_stamps(take)
            return
        conversion, stored = _conversion(take), take.what.stored
        if not conversion.opened:
            self._risen(take, 0, [])
            return
        job = {
            "job": "convert",
            "domain": take.what.domain,
            "resources": [(holding.file_name(stored, which), level is Level.EX) for which, level in conversion.opened],
            "new": _new(take),
            "rising": _rising(take),
            "signs": (OWN, Level.EX) in conversion.opened,
            "clocks": self._keeper.clocks(),
            **self._keeper.signature(take.what),
        }
        take.answer_due = time.monotonic()
        take.begun = 0.0
        keeper = self._keeper
        keeper.pool.run(job, [base.mount], lambda answer, got: self._tried(take, answer, got), take.begin)

    def _tried(self, take: Take, answer: dict[str, Any], descriptors: list[int]) -> None:
        keeper = self._keeper
        retired = int(answer.get("retire", 0))
        keeper.retire(descriptors[:retired])
        take.answer_due = 0.0
        if "token" in answer and not (take.done or take.client.closed):
            self._risen(take, int(answer["token"]), descriptors[retired:])
        elif "token" in answer:
            self._take_back(take, descriptors[retired:])
        elif "busy" in answer and not take.done and time.monotonic() < take.deadline:
            keeper.at(random.uniform(*keeper.PAUSE), lambda: self.attempt(take))
        elif "busy" in answer:
            self.refuse(take)
        else:
            _end(take)
            keeper.finish(take, answer)

    def refuse(self, take: Take) -> None:
        """It could not rise in time. No try is under way."""
        _end(take)
        mode = _base(take).what.mode
        self._keeper.finish(take, {"held": False, "reason": "conversion", "holder": None, "mode": mode})

    def _take_back(self, take: Take, opened: list[int]) -> None:
        """It came too late, or nobody is there any more: the lock is again what it was."""
        wire.close_all(opened)
        self._settle(_base(take), _rising(take), _new(take), lambda: _end(take))

    def _risen(self, take: Take, number: int, opened: list[int]) -> None:
        take.granting = True
        self._keeper.mark.reach(number, lambda problem: self._store(take, number, opened, problem))

    def _store(self, take: Take, number: int, opened: list[int], problem: str) -> None:
        keeper, base, conversion = self._keeper, _base(take), _conversion(take)
        before = dict(zip(LEVELS[Mode(base.what.mode)], base.locks))
        after = {**before, **dict(zip((which for which, _level in conversion.opened), opened))}
        what = replace(take.what, token=number or base.what.token)
        held = Holding(what, base.mount, [after[which] for which in LEVELS[Mode(what.mode)]])

        def stored(why: str) -> None:
            why = why or ("it is being released" if base.releasing else "")
            if why:
                keeper.slots.remove(what.id)
                keeper.finish(take, {"error": f"lock {what.name!r} stays in mode {base.what.mode}: {why}"})
                self._take_back(take, opened)
            else:
                self._exchange(take, held)

        if problem:
            stored(problem)
        else:
            keeper.entrust(held, stored)

    def _exchange(self, take: Take, held: Holding) -> None:
        """The new mode counts from now on."""
        keeper, base = self._keeper, _base(take)
        wire.close_all([descriptor for descriptor in base.locks if descriptor not in held.locks])
        keeper.holdings.add(held)
        keeper.holdings.remove(base)
        granted = {"held": True, "changed": True, **holding.facts(held)}
        keeper.at(SETTLE_SECONDS, lambda: keeper.finish(take, granted))
        self._succeed(base, held, lambda: keeper.finish(take, granted))

    def _succeed(self, old: Holding, new: Holding, settled: Callable[[], object]) -> None:
        """Give up what only the old mode needs, call this, and show the holder where the new mode has one."""
        keeper, stored = self._keeper, new.what.stored
        conversion = modes.conversion(Mode(old.what.mode), Mode(new.what.mode))
        keeper.slots.remove(old.what.id)
        dropped = [holding.file_name(stored, which) for which in conversion.dropped]
        if Mode(old.what.mode) in modes.SOLE:
            keeper.hide(old)
            dropped.append(names.info(stored))

        def done() -> None:
            settled()
            if not new.releasing:
                keeper.publish(new)

        self._settle(new, [holding.file_name(stored, which) for which in conversion.lowered], dropped, done)

    def _settle(self, held: Holding, lowered: list[str], dropped: list[str], settled: Callable[[], object]) -> None:
        """Lower and drop these files in the lock's mount, and call this after it."""

        def done(_answer: dict[str, Any], mounts: list[int]) -> None:
            self._keeper.retire(mounts)
            held.end()
            settled()

        held.begin()
        job = {"job": "settle", "domain": held.what.domain, "lowered": lowered, "dropped": dropped}
        self._keeper.pool.run(job, [held.mount], done)

    def adopt(self, old: Holding, new: Holding) -> None:
        """The keeper died between the two modes: the new one counts."""
        wire.close_all([old.mount, *old.locks])
        self._succeed(old, new, lambda: None)


def _base(take: Take) -> Holding:
    if take.base is None:
        raise TypeError("this request converts nothing")
    return take.base


def _end(take: Take) -> None:
    """The lock may be converted on behalf of others again."""
    base = _base(take)
    if base.converting is take:
        base.converting = None


def _conversion(take: Take) -> Conversion:
    return modes.conversion(Mode(_base(take).what.mode), Mode(take.what.mode))


def _new(take: Take) -> list[str]:
    """The files that are opened for the first time."""
    have = LEVELS[Mode(_base(take).what.mode)]
    return [
        holding.file_name(take.what.stored, which) for which, _level in _conversion(take).opened if which not in have
    ]


def _rising(take: Take) -> list[str]:
    """The files that go from PR to EX."""
    have = LEVELS[Mode(_base(take).what.mode)]
    return [
        holding.file_name(take.what.stored, which)
        for which, level in _conversion(take).opened
        if level is Level.EX and which in have
    ]
