# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted bugs: each takes one rule out of the core's source, and the simulator has to find it.

The source is changed in memory. A rule whose lines have changed is not found any more, and says so.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import core as genuine
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.core import Core


class Mutant(NamedTuple):
    about: str
    old: str
    new: str
    seed: int = -1
    """The first seed that finds it; -1 while none is known."""

    violates: str = ""


MUTANTS = {
    "tells-before-the-mark": Mutant(
        "a token is told though the mark on disk does not cover it",
        '        if token <= self.mark:\n            call("")',
        '        if token <= self.mark or True:\n            call("")',
        seed=0,
        violates="tokens",
    ),
    "keeps-late-wins": Mutant(
        "what is won after the deadline stays held",
        "        if request.state is State.DONE or request.gone:\n            self._return(request)\n            return\n",
        "        if request.state is State.DONE or request.gone:\n            return\n",
        seed=0,
        violates="nothing lost",
    ),
    "keeps-what-nobody-hears": Mutant(
        "a node lock that was granted to nobody stays held",
        "            held = self.holdings.by_id(lock)\n            if held is not None:\n                self._let_go(held)",
        "            held = self.holdings.by_id(lock)\n            if held is not None:\n                pass",
        seed=149,
        violates="known",
    ),
    "grants-what-was-released": Mutant(
        "a lock that was released while its mark was written is granted",
        "if not problem and any(held.state is not holding.State.GRANTING for held in request.won):",
        "if False:",
        seed=681,
        violates="kept",
    ),
    "frees-before-the-unlink": Mutant(
        "a release is answered while its files are still there",
        "            self._unlink(domain, lane, held.files(), forgotten, (held.what.stored,))",
        "            self._unlink(domain, lane, held.files(), lambda _done: None, (held.what.stored,))\n            forgotten(True)",
        seed=0,
        violates="free",
    ),
    "uses-slots-of-the-dead": Mutant(
        "an inherited slot is given away, over which a worker of the dead keeper sleeps",
        "        if slot not in self._old:\n            self.free.append(slot)",
        "        self.free.append(slot)",
        seed=0,
        violates="no error",
    ),
    "never-sweeps": Mutant(
        "files that nobody claims stay",
        "            if lane.dirty and not lane.sweeping and not lane.calls:",
        "            if False:",
        seed=7,
        violates="nothing lost",
    ),
    "sweeps-what-is-held": Mutant(
        "a sweep does not know what converted locks have in their lane",
        "            for name in held.files()\n        ]\n        lane.sweeping",
        "            for name in held.resources()[:0]\n        ]\n        lane.sweeping",
    ),
    "takes-in-stale-lanes": Mutant(
        "a lock is acquired where a higher level of it may still be cached",
        "                lane.stale.update(name for one in failed for name in one.stored)\n",
        "",
    ),
    "one-name-twice-in-a-lane": Mutant(
        "two holders of this node share one file",
        "            lane.names.add(what.stored)\n            request.won.append(held)",
        "            request.won.append(held)",
        seed=91,
        violates="exclusion",
    ),
    "shares-names-under-way": Mutant(
        "two jobs of this node have one file",
        "            lanes[-1].names |= call.names",
        "            pass",
        seed=245,
        violates="exclusion",
    ),
    "adopts-the-older": Mutant(
        "of two modes that are found the older one counts",
        "sorted(copies, key=lambda copy: copy[:3])",
        "sorted(copies, key=lambda copy: copy[:3], reverse=True)",
    ),
    "does-not-settle-the-adopted": Mutant(
        "a conversion that was cut in the middle keeps the higher level",
        "        if held.what.kind == NODE:\n            self._settle(held, lowered, [], lambda: None)",
        "        if False:\n            self._settle(held, lowered, [], lambda: None)",
        seed=92,
        violates="levels",
    ),
    "does-not-take-back": Mutant(
        "a conversion that came too late keeps the higher level",
        "        self._sink(base, _conversion(request), base.what.stored)\n\n    def _sink",
        "\n    def _sink",
        seed=117,
        violates="nothing lost",
    ),
    "converts-too-late": Mutant(
        "a conversion counts though its request is over",
        "        if request.state is State.DONE or request.gone:\n            self._take_back(request, slot)\n            return\n        request.state",
        "        request.state",
    ),
    "does-not-lower": Mutant(
        "a lock that was converted keeps the level of its old mode",
        "        self._settle(base, [holding.file_name(stored, which) for which in lowered], dropped, settled)",
        "        self._settle(base, [], dropped, settled)",
        seed=2,
        violates="levels",
    ),
    "lowers-only-what-fell": Mutant(
        "what a worker of an earlier keeper has raised is not lowered by a conversion",
        "        if lane is not None and lane.dirty:\n            # A worker of",
        "        if False:\n            # A worker of",
        seed=1021814,
        violates="levels",
    ),
    "leaves-the-second-lane-unclean": Mutant(
        "what a lowering could not unlink in its second lane stays cached there",
        '            if "error" in answer and lowered:',
        "            if False:",
    ),
    "grows-by-a-rack-at-most": Mutant(
        "who needs more slots than a rack has waits for ever",
        "            self._starve(request, len(wanted))",
        "            self._starve(request)",
        seed=0,
        violates="nothing lost",
    ),
    "makes-no-lane-without-a-slot": Mutant(
        "where all slots were inherited there is no second lane, and what waits for one waits for ever",
        "        if not self.free:\n            self._grow()\n            return False\n",
        "        if not self.free:\n            return False\n",
        seed=3001333,
        violates="nothing lost",
    ),
    "drops-the-old-slot-first": Mutant(
        "the slot of the old mode is emptied before the new one is written",
        "        base.jobs += 1\n        request.call = self._run(job, tried, died, lanes=(lane, second)",
        "        base.jobs += 1\n        self._out.append(Drop(base.slot))\n        request.call = self._run(job, tried, died, lanes=(lane, second)",
        seed=2,
        violates="kept",
    ),
    "shows-after-the-release": Mutant(
        "a holder is shown whose lock was released meanwhile",
        "            elif held.state is _HELD:\n                held.info = slot\n            else:\n                self._empty(slot)",
        "            else:\n                held.info = slot",
        seed=24,
        violates="nothing lost",
    ),
    "forgets-under-a-job": Mutant(
        "a lock's files are unlinked while a job has them open",
        "        self._hide(held)\n        self._idle(held)\n\n    def _forget",
        "        self._hide(held)\n        self._forget(held)\n\n    def _forget",
    ),
    "forgets-slots-of-dead-workers": Mutant(
        "what a dead worker had put into a slot stays there",
        "            for slot in found:\n                self._out.append(Drop(slot))\n            self._unlink(domain, lane, _files(stored, want.mode)",
        "            self._unlink(domain, lane, _files(stored, want.mode)",
        seed=51,
        violates="nothing lost",
    ),
    "never-wakes": Mutant(
        "who waits for a lock of this node is not told that it is free",
        "        for request in self._parked.pop(key, ()):\n            if request.state is State.PARKED:",
        "        for request in self._parked.pop(key, ()):\n            if False:",
    ),
    "does-not-look-at-the-clock": Mutant(
        "a request is not answered at its deadline",
        "        if state in (State.PAUSED, State.PARKED):\n            behind",
        "        if state in (State.PAUSED,):\n            behind",
        seed=158,
        violates="once",
    ),
    "a-call-that-sleeps-is-waited-for": Mutant(
        "a request whose call sleeps is not answered before it comes back",
        "        elif state is State.TRYING and request.overtime:\n            self._refuse_asleep",
        "        elif False:\n            self._refuse_asleep",
    ),
    "loses-gifts": Mutant(
        "the descriptors of a process lock that nobody wants are forgotten",
        "            self._out.append(Discard(request.gift))\n",
        "",
        seed=25,
        violates="nothing lost",
    ),
    "watches-no-pipe": Mutant(
        "nobody notices that the last process of a lock has ended",
        "            if held.what.kind != NODE:\n                self._out.append(Watch(held.slot, held.what.cgroup))\n            self._hold(held)",
        "            self._hold(held)",
        seed=0,
        violates="known",
    ),
    "watches-no-adopted-pipe": Mutant(
        "after a restart nobody notices that the last process of a lock has ended",
        "        if what.kind != NODE:\n            self._out.append(Watch(slot, what.cgroup))\n        self.seen",
        "        self.seen",
        seed=2,
        violates="known",
    ),
    "does-not-know-its-requests": Mutant(
        "who asks again after a restart is not told that the lock is new",
        "        ours = [held.what for held in request.ours]",
        "        ours = []",
    ),
    "trusts-what-was-not-confirmed": Mutant(
        "a lock of an earlier keeper, of which nobody was told, stays held",
        "unclaimed=not confirmed and what.kind != PROCESS and not what.serial)",
        "unclaimed=False)",
    ),
    "never-confirms": Mutant(
        "a lock that somebody was told of counts as one of which nobody was",
        "        self._out.extend(Confirm(held.slot) for held in won)\n",
        "",
        seed=2,
        violates="listed",
    ),
    "confirms-after-the-answer": Mutant(
        "a keeper that dies between the two gives back a lock that somebody relies on",
        "        self._out.extend(Confirm(held.slot) for held in won)\n        self._finish(request, answer, gift, undo)\n",
        "        self._finish(request, answer, gift, undo)\n        self._out.extend(Confirm(held.slot) for held in won)\n",
        seed=23,
        violates="listed",
    ),
    "exchanges-without-confirming": Mutant(
        "the old mode is given up while the new one does not count yet",
        "        self._out.append(Confirm(slot))\n        self._empty(base.slot)",
        "        self._empty(base.slot)",
    ),
    "keeps-what-was-claimed": Mutant(
        "locks of an earlier keeper stay held when the client that has claimed them goes away",
        "        request.state = State.DONE\n        self._drop_won(request)\n",
        "        request.state = State.DONE\n",
        seed=168,
        violates="nothing lost",
    ),
    "keeps-a-part-of-a-list": Mutant(
        "a request that is refused after a restart keeps what the earlier keeper had told it of",
        "        won, request.won, request.ours = [*request.won, *request.ours], [], []\n",
        "        won, request.won, request.ours = request.won, [], []\n",
        seed=129,
        violates="known",
    ),
    "leaves-at-once": Mutant(
        "a mount goes together with the last lock in it",
        "self.now < self._last_work + MOUNT_SECONDS",
        "False",
        seed=1,
        violates="lanes",
    ),
    "leaves-under-a-call": Mutant(
        "a mount goes in which a call is under way",
        "        if self.holdings or self._joins() or",
        "        if self.holdings or",
        seed=14,
        violates="nothing lost",
    ),
    "leaves-with-what-nobody-can-read": Mutant(
        "a mount goes in which a lock is held that nobody can read",
        '        held += [f"{SLOT_PREFIX}{slot}" for slot in sorted(self.quarantine)]\n',
        "",
        seed=525,
        violates="lanes",
    ),
    "leaves-with-locks": Mutant(
        "locks are released because somebody wants the node to leave",
        '        if held:\n            text = f"{len(held)} lock(s) are held',
        '        if False:\n            text = f"{len(held)} lock(s) are held',
        seed=6,
        violates="kept",
    ),
    "lets-one-leave-in-place-of-another": Mutant(
        "who has asked first for the node to leave is never answered",
        "        if self.leaver is not None:\n"
        '            self._out.append(Answer(asker, {"error": "this node is leaving the cluster already"}))\n'
        "            return self._drain()\n",
        "",
        seed=167,
        violates="once",
    ),
    "joins-while-it-leaves": Mutant(
        "a request joins a domain again while the node leaves",
        "        if self.leaver is None:\n            return False\n        text",
        "        if True:\n            return False\n        text",
        seed=1,
        violates="once",
    ),
    "shares-a-lane-with-what-nobody-can-read": Mutant(
        "a lock is acquired in a lane in which this node holds it already, unreadably",
        "                lane.shut = bool(self.quarantine)\n",
        "                pass\n",
        seed=115,
        violates="exclusion",
    ),
    "forgets-the-second-lane-of-a-dead-conversion": Mutant(
        "what a dead worker has taken back through the second lane stays cached",
        "            self._unlink(domain, second, base.files(), stored=(what.stored,))\n",
        "",
    ),
    "converts-what-was-released": Mutant(
        "a conversion is granted after its lock was released",
        'granted if base.state is _HELD else {"error": _released(base)}',
        "granted",
    ),
    "forgets-who-converts-what-was-released": Mutant(
        "a conversion is never answered when its lock was released",
        '            self._finish(request, {"error": _released(base)})\n',
        "            pass\n",
    ),
    "joins-without-a-deadline": Mutant(
        "who waits for a domain is not answered before it is joined",
        "                self._after(JOIN_SECONDS, lambda: self._join_late(request), request)\n",
        "",
        seed=5,
        violates="once",
    ),
    "forgets-who-waits-for-a-domain": Mutant(
        "who waits for a domain that cannot be joined is not told",
        "            if request.want.domain == domain.name:\n                self._finish(request, answer)",
        "            if False:\n                self._finish(request, answer)",
    ),
    "tells-though-the-mark-failed": Mutant(
        "a token is told though the mark could not be written",
        "self._told(lambda _one: True, f\"a later token might fall: {answer['error']}\")",
        'self._told(lambda _one: True, "")',
        seed=52,
        violates="tokens",
    ),
    "waits-for-the-mark": Mutant(
        "a request is not answered before a slow disk has the mark",
        '        self._after(MARK_SECONDS, lambda: self._told(lambda one: one is entry, "the mark could not be written in time"))\n',
        "",
    ),
    "grants-twice-here": Mutant(
        "a lock that a process of this node has is acquired for the node",
        "            if not modes.compatible(request.want.mode, Mode(held.what.mode)):\n                return True",
        "            if False:\n                return True",
    ),
    "tells-before-it-gives-back": Mutant(
        "a refusal is told while what was won is still held",
        '            self._drop_won(request)\n            if message.get("held") is False:',
        '            if message.get("held") is False:',
    ),
}


@functools.cache
def planted(name: str) -> type[Core]:
    """The core without this rule. Raises LookupError when its lines are not there exactly once."""
    mutant = MUTANTS[name]
    path = Path(str(genuine.__file__))
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise LookupError(f"mutant {name}: its lines are {source.count(mutant.old)} times in {path.name}")
    spec = importlib.util.spec_from_loader(f"{genuine.__package__}.core_{name.replace('-', '_')}", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__package__ = genuine.__package__
    sys.modules[spec.name] = module
    exec(compile(source.replace(mutant.old, mutant.new), str(path), "exec"), module.__dict__)
    return _core(module)


def _core(module: ModuleType) -> type[Core]:
    found: type[Core] = module.Core
    return found
