# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking and releasing node locks as a whole: several names in one order, all or none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..base.errors import O2cbError
from ..locks import modes, names
from ..locks.requests import MOST_NAMES
from .keep import Client, refusal

RELEASE_SECONDS = 10.0
MESSAGE_BYTES = 65536
"""Bytes of names in one request."""


def run(options: Mapping[str, Any], client: Client, check: bool) -> dict[str, Any]:
    """What the module `lock` does; `options` are its own."""
    wanted = sorted({options["name"]} if options["name"] is not None else set(options["names"]))
    for name in wanted:
        names.stored(name)
    if options["wait"] < 0:
        raise O2cbError(f"wait is {options['wait']:g}: give seconds, 0 or more")
    mode = modes.parse(options["level"])
    held = held_locks(client, options["domain"], wanted)
    if options["state"] == "released":
        return _release([name for name in wanted if name in held], options, client, check)
    taking = _Taking(options, client, mode)
    fresh = options["already_held"] == "busy"
    if check and fresh and any(name in held for name in wanted):
        return taking.refused_by_own(next(name for name in wanted if name in held))
    before = {name: held[name]["mode"] if name in held and not fresh else modes.Mode.NL.value for name in wanted}
    if check:
        return _result([_action(name, had, mode) for name, had in before.items() if had != mode.value])
    taken = taking.run(before)
    # What counts is what o2keep did: another run on this node may have taken it after the look at the list.
    return {**taken, **_result([_action(name, before[name], mode) for name in taking.changed])}


def held_locks(client: Client, domain: str, wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Those of these node locks that this node holds, by their names."""
    found: dict[str, dict[str, Any]] = {}
    for some in portions(wanted):
        answer, _descriptors = client.ask({"op": "held", "names": some, "domain": domain})
        found.update((lock["name"], lock) for lock in answer["locks"])
    return found


def portions(wanted: Sequence[str]) -> Iterator[list[str]]:
    """As many names as fit into one request, in their order."""
    part: list[str] = []
    room = MESSAGE_BYTES
    for name in wanted:
        size = len(json.dumps(name))
        if part and (len(part) == MOST_NAMES or size > room):
            yield part
            part, room = [], MESSAGE_BYTES
        part.append(name)
        room -= size
    if part:
        yield part


def _action(name: str, had: str, mode: modes.Mode) -> str:
    taken = had == modes.Mode.NL.value
    return f"take {mode.value} lock {name}" if taken else f"convert lock {name} from {had} to {mode.value}"


class _Taking:
    """Taking and converting locks, all or none."""

    def __init__(self, options: Mapping[str, Any], client: Client, mode: modes.Mode) -> None:
        self._options, self._client, self._mode = options, client, mode
        self._before: Mapping[str, str] = {}
        self._deadline = time.monotonic() + options["wait"]
        self._tokens: dict[str, int] = {}
        self.changed: list[str] = []

    def run(self, before: Mapping[str, str]) -> dict[str, Any]:
        """In the order of their names, so that no two who want the same locks wait for each other.

        `before` is the mode in which this node held each, NL for none.
        Those that only fall come last: nobody can refuse that, and it could not be undone.
        """
        self._before = before
        fresh = [name for name, had in self._before.items() if had in (modes.Mode.NL.value, self._mode.value)]
        falling = [
            name for name, had in self._before.items() if not modes.conversion(modes.Mode(had), self._mode).rises
        ]
        rising = [name for name in self._before if name not in fresh and name not in falling]
        for some in [
            *portions(fresh),
            *([name] for name in rising),
            *([name] for name in falling if name not in fresh),
        ]:
            answer = self._ask(some, self._mode.value, max(0.0, self._deadline - time.monotonic()))
            if not answer["held"]:
                self._take_back()
                return self._refused(answer.get("name") or some[0], answer)
            for lock in answer["locks"]:
                self._tokens[lock["name"]] = lock["token"]
                if lock["changed"]:
                    self.changed.append(lock["name"])
        tokens = {name: self._tokens[name] for name in self._before}
        name = self._options["name"]
        return {"acquired": True, "tokens": tokens, **({"token": tokens[name]} if name is not None else {})}

    def _ask(self, some: list[str], mode: str, wait: float) -> dict[str, Any]:
        request = {"op": "take", "names": some, "domain": self._options["domain"], "mode": mode, "wait": wait}
        fresh = self._options["already_held"] == "busy"
        more = {"owner": self._options["owner"], "recall": self._options["recall"], "fresh": fresh}
        return self._client.ask({**request, **more}, wait)[0]

    def _take_back(self) -> None:
        """What rose falls again, and what was taken is released."""
        changed, self.changed = self.changed, []
        for name in reversed(changed):
            if self._before[name] not in (modes.Mode.NL.value, self._mode.value):
                self._ask([name], self._before[name], RELEASE_SECONDS)
        _give_up(self._client, self._options["domain"], [n for n in changed if self._before[n] == modes.Mode.NL.value])

    def refused_by_own(self, name: str) -> dict[str, Any]:
        """What a lock that this node holds already comes to, where it counts as busy."""
        answer, _descriptors = self._client.ask({"op": "who", "name": name, "domain": self._options["domain"]})
        return {**self._refused(name, {**answer, "reason": "busy"}), **_result([])}

    def _refused(self, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        text = refusal(name, dict(answer), self._options["wait"])
        facts = {"acquired": False, "reason": answer["reason"], "holder": answer.get("holder")}
        if self._options["on_busy"] == "fail":
            raise O2cbError(text, **facts)
        return {**facts, "msg": text, "tokens": {}}


def _release(held: list[str], options: Mapping[str, Any], client: Client, check: bool) -> dict[str, Any]:
    if not check:
        _give_up(client, options["domain"], held)
    return _result([f"release lock {name}" for name in held])


def _give_up(client: Client, domain: str, wanted: Sequence[str]) -> None:
    for some in portions(wanted):
        client.ask({"op": "release", "names": some, "domain": domain}, RELEASE_SECONDS)


def _result(actions: list[str]) -> dict[str, Any]:
    before, after = (
        ("free\n", "held\n")
        if any(action.startswith(("take", "convert")) for action in actions)
        else ("held\n", "free\n")
    )
    return {
        "changed": bool(actions),
        "actions": actions,
        "diff": [
            {"before_header": action, "after_header": action, "before": before, "after": after} for action in actions
        ],
    }
