# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installing the agent: its units, settings and resources, compared with what is there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..o2cb import files, units
from ..o2cb.errors import O2cbError
from ..o2cb.install import Plan
from ..o2cb.systemd import Systemd
from . import configuration, corosync, daemon, resource, service
from .client import Client
from .configuration import Settings


def plan(options: Mapping[str, Any], systemd: Systemd) -> Plan:
    """Compare and plan. Raises O2cbError when a resource is defined wrongly, or runs where the agent is to go."""
    if options["state"] == "absent":
        return _absent(systemd)
    wanted = {}
    for number, values in enumerate(options["resources"], 1):
        one = resource.from_values(values, f"resource {number}")
        if one.name in wanted:
            raise O2cbError(f"resource {one.name} is defined twice")
        wanted[one.name] = one
    result = Plan()
    after = corosync.SERVICE if options["transport"] == configuration.COROSYNC else ""
    _text(result, service.PATH, service.service(after))
    _text(result, service.STOP_PATH, service.stop_service())
    if result.actions:
        result.add("reload systemd", lambda: systemd.tell("daemon-reload"))
    before = len(result.actions)
    settings = Settings(
        options["on_stop"],
        options["read_group"] or "",
        options["full_group"] or "",
        options["transport"],
        options["port"],
    )
    _text(result, configuration.SETTINGS, json.dumps(asdict(settings), indent=1) + "\n")
    have = {name[: -len(configuration.ENDING)] for name in files.names(configuration.RESOURCES)}
    for name in sorted(have - set(wanted)) if options["purge"] else []:
        _remove(result, configuration.path(name))
    for name, one in sorted(wanted.items()):
        _text(result, configuration.path(name), one.as_definition())
    stay = {} if options["purge"] else {name: one for name, one in _present().items() if name not in wanted}
    problem = resource.problems({**stay, **wanted})
    if problem:
        raise O2cbError(problem)
    changed = len(result.actions) > before or bool(options["reload"])
    _start(result, systemd, changed)
    return result


def _present() -> Mapping[str, resource.Resource]:
    try:
        return configuration.resources()
    except O2cbError:
        return {}


def _start(result: Plan, systemd: Systemd, changed: bool) -> None:
    if systemd.disabled((service.SERVICE,)):
        result.add(f"enable {service.SERVICE}", lambda: systemd.tell("enable", service.SERVICE))
    if not systemd.active(service.SERVICE):
        result.add(f"start {service.SERVICE}", lambda: systemd.tell("start", service.SERVICE))
    elif files.read(daemon.COPY) is not None and _bytes(daemon.COPY) != _bytes(units.PROGRAM):
        result.add(f"upgrade {service.SERVICE}", lambda: systemd.tell("kill", "--kill-who=main", service.SERVICE))
    elif changed:
        result.add("reload o2agent", _reload)


def _reload() -> None:
    Client().ask("reload")


def _leave() -> None:
    Client().ask("leave")


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _absent(systemd: Systemd) -> Plan:
    """Refused while a resource runs here: nobody would look after it, and its lock would stay for ever."""
    result = Plan()
    present = [path for path in (service.PATH, service.STOP_PATH) if os.path.lexists(path)]
    if service.PATH in present and systemd.active(service.SERVICE):
        held = [one["name"] for one in Client().ask("resources")["resources"] if one["held"]]
        if held:
            raise O2cbError(f"resources run on this node: {', '.join(held)}; `o2ctl node drain` first")
        result.add("leave the bus", _leave)
        result.add(f"stop {service.SERVICE}", lambda: systemd.tell("disable", "--now", service.SERVICE))
    for path in present:
        _remove(result, path)
    if present:
        result.add("reload systemd", lambda: systemd.tell("daemon-reload"))
    return result


def _text(result: Plan, path: str, text: str) -> None:
    old = files.read(path)
    if old != text:
        result.add(f"write {path}", lambda: files.write(path, text))
        result.add_diff(path, old or "", text)


def _remove(result: Plan, path: str) -> None:
    result.add(f"remove {path}", lambda: files.remove(path))
    result.add_diff(path, "present\n", "")
