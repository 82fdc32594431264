# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking and releasing node locks as a whole: several names in one order, all or none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..o2cb.errors import O2cbError
from . import modes, names
from .client import Client, refusal


def run(options: Mapping[str, Any], client: Client, check: bool) -> dict[str, Any]:
    """What the module `lock` does; `options` are its own."""
    wanted = sorted({options["name"]} if options["name"] is not None else set(options["names"]))
    for name in wanted:
        names.stored(name)
    if options["wait"] < 0:
        raise O2cbError(f"wait is {options['wait']:g}: give seconds, 0 or more")
    mode = modes.parse(options["level"])
    held = {lock["name"]: lock for lock in client.locks() if _is_node_lock(lock, options["domain"])}
    if options["state"] == "released":
        return _release([name for name in wanted if name in held], options, client, check)
    missing = [name for name in wanted if name not in held or held[name]["mode"] != mode.value]
    if check:
        return _result([f"take {mode.value} lock {name}" for name in missing])
    return _take(wanted, missing, mode, options, client)


def _is_node_lock(lock: Mapping[str, Any], domain: str) -> bool:
    return (lock["domain"], lock["kind"]) == (domain, "node")


def _take(
    wanted: list[str], missing: list[str], mode: modes.Mode, options: Mapping[str, Any], client: Client
) -> dict[str, Any]:
    deadline = time.monotonic() + options["wait"]
    tokens: dict[str, int] = {}
    for name in wanted:
        wait = max(0.0, deadline - time.monotonic())
        request = {"op": "take", "name": name, "domain": options["domain"], "mode": mode.value, "wait": wait}
        answer, _descriptors = client.ask({**request, "owner": options["owner"]}, wait)
        if answer["held"]:
            tokens[name] = answer["token"]
            continue
        for other in missing:
            if other in tokens:
                client.ask({"op": "release", "name": other, "domain": options["domain"]})
        text = refusal(name, answer, options["wait"])
        facts = {"acquired": False, "reason": answer["reason"], "holder": answer.get("holder")}
        if options["on_busy"] == "fail":
            raise O2cbError(text, **facts)
        return {**_result([]), **facts, "msg": text, "tokens": {}}
    result = {**_result([f"take {mode.value} lock {name}" for name in missing]), "acquired": True, "tokens": tokens}
    if options["name"] is not None:
        result["token"] = tokens[options["name"]]
    return result


def _release(held: list[str], options: Mapping[str, Any], client: Client, check: bool) -> dict[str, Any]:
    for name in held if not check else []:
        client.ask({"op": "release", "name": name, "domain": options["domain"]}, 10)
    return _result([f"release lock {name}" for name in held])


def _result(actions: list[str]) -> dict[str, Any]:
    before, after = (
        ("free\n", "held\n") if any(action.startswith("take") for action in actions) else ("held\n", "free\n")
    )
    return {
        "changed": bool(actions),
        "actions": actions,
        "diff": [
            {"before_header": action, "after_header": action, "before": before, "after": after} for action in actions
        ],
    }
