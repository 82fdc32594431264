# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module `resource` does on a node: define a resource, give orders about it, wait until it is so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..agent import configuration
from ..base import files
from ..base.changes import Changes
from ..base.errors import O2cbError
from ..client.agent import Client
from ..resources import resource
from ..resources.resource import STARTED, STOPPED, Resource

ABSENT = "absent"
_OPTIONS = ("parts", "nodes", "prefer", "sticky", "check_interval", "attempts", "window", "backoff")


def plan(options: Mapping[str, Any], client: Client) -> Changes:
    """Compare and plan. Raises O2cbError for what cannot be."""
    result = Changes()
    if options["drain"] is not None:
        _drain(result, bool(options["drain"]), client)
    if options["name"] is not None:
        _define(result, options, client)
    return result


def wait(options: Mapping[str, Any], client: Client) -> dict[str, Any] | None:
    """Wait until it is as wanted, and return what the agent says of it."""
    name, seconds = options["name"], options["wait"]
    if name is None:
        if options["drain"] and seconds:
            _wait_until_empty(client, seconds)
        return None
    if not seconds:
        return client.resource(name)
    if options["move"] is not None:
        return client.wait(
            name, lambda found: bool(found and found["node"] == options["move"] and _runs(found)), seconds
        )
    if options["state"] == STARTED:
        return client.wait(name, lambda found: bool(found and found["node"] and _runs(found)), seconds)
    return client.wait(name, lambda found: found is None or found["node"] is None, seconds)


def _runs(found: Mapping[str, Any]) -> bool:
    """As far as this node knows: of another one it knows that it holds the lock."""
    return not found["held"] or bool(found["runs"])


def _wait_until_empty(client: Client, seconds: float) -> None:
    for one in client.ask("resources")["resources"]:
        client.wait(one["name"], lambda found: found is None or not found["held"], seconds)


def _drain(result: Changes, drain: bool, client: Client) -> None:
    if client.ask("status")["drained"] != drain:
        verb = "drain" if drain else "resume"
        result.add(f"{verb} this node", lambda: _order(client, verb))
        result.show("drained", f"{not drain}\n", f"{drain}\n")


def _order(client: Client, verb: str, **more: Any) -> None:
    client.ask(verb, **more)


def _define(result: Changes, options: Mapping[str, Any], client: Client) -> None:
    name = options["name"]
    path = configuration.path(name)
    old = files.read(path)
    if options["state"] == ABSENT:
        if old is not None:
            result.remove(path, before=old)
            result.add("reload o2agent", lambda: _order(client, "reload"))
        return
    wanted = _wanted(options, old, path)
    others = {other: one for other, one in configuration.resources().items() if other != name}
    problem = resource.problems({**others, name: wanted})
    if problem:
        raise O2cbError(problem)
    text = wanted.as_definition()
    if old is None or resource.parse(old, path) != wanted:
        result.write(path, text)
        result.add("reload o2agent", lambda: _order(client, "reload"))
    seen = client.resource(name)
    if options["clear"] and seen is not None and (seen["error"] or seen["retry_in"]):
        result.add(f"clear the failures of {name}", lambda: _order(client, "clear", name=name))
    if options["move"] is not None:
        _move(result, options["move"], name, seen, client)


def _move(result: Changes, target: str, name: str, seen: Mapping[str, Any] | None, client: Client) -> None:
    """Where it runs and where it is to run give the order: the others only look on."""
    me = client.ask("status")["node"]
    if seen is None or seen["node"] == target or me not in (seen["node"], target):
        return
    result.add(f"move {name} to {target}", lambda: _order(client, "move", name=name, node=target))
    result.show(name, f"on {seen['node']}\n", f"on {target}\n")


def _wanted(options: Mapping[str, Any], old: str | None, path: str) -> Resource:
    """What is given, and for the rest what there is."""
    values: dict[str, Any] = resource.parse(old, path).as_values() if old is not None else {}
    given = {key: options[key] for key in _OPTIONS if options[key] is not None}
    state = options["state"] if options["state"] in (STARTED, STOPPED) else values.get("state", STARTED)
    return resource.from_values({**values, **given, "name": options["name"], "state": state}, "the task")
