# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installing the agent: its units, settings and resources, compared with what is there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ..agent import configuration, daemon, hooks, place, service
from ..agent.configuration import Settings
from ..base import files, wire
from ..base.changes import Changes, present
from ..base.errors import O2cbError
from ..base.systemd import Systemd
from ..client.agent import Client
from ..client.keep import Client as Keeper
from ..client.keep import refusal
from ..locks import holding, names
from ..o2cb import keeping, units
from ..resources import resource
from ..transport import authority, corosync, credentials

TURN_SECONDS = 600.0
"""So long the upgrade of one node waits for those of others."""

BACK_SECONDS = 60.0
PAUSE = 0.2


def plan(options: Mapping[str, Any], systemd: Systemd) -> Changes:
    """Compare and plan. Raises O2cbError when a resource is defined wrongly, or runs where the agent is to go."""
    if options["state"] == "absent":
        return _absent(systemd)
    wanted = {}
    for number, values in enumerate(options["resources"], 1):
        one = resource.from_values(values, f"resource {number}")
        if one.name in wanted:
            raise O2cbError(f"resource {one.name} is defined twice")
        wanted[one.name] = one
    result = Changes()
    after = corosync.SERVICE if options["transport"] == configuration.COROSYNC else ""
    texts = {service.PATH: service.service(after), service.STOP_PATH: service.stop_service()}
    if result.write_all(texts):
        result.tell("reload systemd", systemd, "daemon-reload")
    before = len(result.actions)
    settings = Settings(
        options["on_stop"],
        options["read_group"] or "",
        options["full_group"] or "",
        options["transport"],
        options["port"],
    )
    alone = _carried_otherwise(settings)
    result.write(configuration.SETTINGS, json.dumps(asdict(settings), indent=1) + "\n")
    have = {name[: -len(configuration.ENDING)] for name in files.names(configuration.RESOURCES)}
    for name in sorted(have - set(wanted)) if options["purge"] else []:
        _remove(result, configuration.path(name))
    for name, one in sorted(wanted.items()):
        result.write(configuration.path(name), one.as_definition())
    stay = {} if options["purge"] else {name: one for name, one in _present().items() if name not in wanted}
    problem = resource.problems({**stay, **wanted})
    if problem:
        raise O2cbError(problem)
    changed = len(result.actions) > before or bool(options["reload"])
    if not os.path.isdir(hooks.EVENTS):
        result.add(f"create {hooks.EVENTS}", lambda: os.makedirs(hooks.EVENTS, mode=0o755, exist_ok=True))
    _start(result, systemd, changed, alone)
    return result


def _present() -> Mapping[str, resource.Resource]:
    try:
        return configuration.resources()
    except O2cbError:
        return {}


def _carried_otherwise(wanted: Settings) -> bool:
    """Whether the agents go over to another transport: then none finds the others before all have."""
    try:
        have = configuration.settings()
    except O2cbError:
        return False
    return (have.transport, have.port) != (wanted.transport, wanted.port)


def _start(result: Changes, systemd: Systemd, changed: bool, alone: bool) -> None:
    if not result.enable_and_start(systemd, service.SERVICE):
        return
    if files.read(service.COPY) is not None and _bytes(service.COPY) != _bytes(units.PROGRAM):
        result.add(f"upgrade {service.SERVICE}", lambda: _end(systemd) if alone else _upgrade(systemd))
    elif changed:
        result.add("reload o2agent", _reload)


def _upgrade(systemd: Systemd) -> None:
    """One node of the cluster after the other, whoever upgrades them: so the bus goes on. Raises O2cbError."""
    request = {"op": "take", "name": "upgrade", "domain": names.AGENT_DOMAIN, "kind": "process", "wait": TURN_SECONDS}
    answer, descriptors = Keeper().ask(request, TURN_SECONDS)
    if not answer["held"]:
        raise O2cbError(f"the upgrade of o2agent waits for another node: {refusal('upgrade', answer, TURN_SECONDS)}")
    try:
        before = Client().ask("members")
        _end(systemd)
        deadline = time.monotonic() + BACK_SECONDS
        while before.get("on_bus") and not _is_back(before):
            if time.monotonic() > deadline:
                raise O2cbError(f"o2agent is not back on the bus after {BACK_SECONDS:g} s: see `o2ctl members`")
            time.sleep(PAUSE)
    finally:
        wire.close_all(descriptors)


def _end(systemd: Systemd) -> None:
    """systemd starts it again, from the program that is there now."""
    systemd.tell("kill", "--kill-who=main", service.SERVICE)


def _is_back(before: Mapping[str, Any]) -> bool:
    """Whether a later incarnation is on the bus."""
    try:
        now = Client().ask("members")
    except O2cbError:
        return False
    return bool(now["on_bus"]) and now.get("incarnation") != before.get("incarnation")


def _reload() -> None:
    Client().ask("reload")


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _absent(systemd: Systemd) -> Changes:
    """Refused while a resource runs here: nobody would look after it, and its lock would stay for ever."""
    _refuse_while_held()
    result = Changes()
    units_here = present((service.PATH, service.STOP_PATH))
    if service.PATH in units_here:
        result.add(f"stop {service.SERVICE}", lambda: _stop(systemd))
    definitions = [os.path.join(configuration.RESOURCES, name) for name in files.names(configuration.RESOURCES)]
    secrets = [authority.AUTHORITY, credentials.TRUSTED, credentials.OWN]
    written = [*secrets, *definitions, configuration.SETTINGS, configuration.DRAINED, place.INCARNATION]
    for path in [*units_here, *present(written)]:
        _remove(result, path)
    if units_here:
        result.tell("reload systemd", systemd, "daemon-reload")
    return result


def _stop(systemd: Systemd) -> None:
    """It may have got a lock just before its end; then it starts again, and stays."""
    keeping.let_agent_leave()
    systemd.tell("disable", "--now", service.SERVICE)
    try:
        _refuse_while_held()
    except O2cbError:
        systemd.tell("enable", "--now", service.SERVICE)
        raise
    for lock in list(_locks()):
        if names.is_liveness(names.AGENT_DOMAIN, lock["name"]):
            Keeper().ask({"op": "release", "name": lock["name"], "domain": names.AGENT_DOMAIN})
    for path in (service.COPY, keeping.AGENT_SOCKET, daemon.ONLY_ONE):
        files.remove(path)


def _refuse_while_held() -> None:
    """o2keep knows, also where the agent does not run."""
    held = [lock["name"][len(daemon.LOCK_PREFIX) :] for lock in _locks() if lock["name"].startswith(daemon.LOCK_PREFIX)]
    if held:
        raise O2cbError(
            f"resources run on this node: {', '.join(sorted(held))}; drain it first (`o2ctl node drain`), or stop them "
            "everywhere (module resource, state=stopped)"
        )


def _locks() -> Iterator[Mapping[str, Any]]:
    if not os.path.exists(keeping.SOCKET):
        return iter(())
    return (lock for lock in Keeper().locks() if (lock["domain"], lock["kind"]) == (names.AGENT_DOMAIN, holding.NODE))


def _remove(result: Changes, path: str) -> None:
    ours = path.startswith((configuration.DIRECTORY, os.path.dirname(configuration.DRAINED)))
    result.remove(path, with_directory=ours)
