# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's configuration: files in /etc/o2agent, written by the role and by the module `resource`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Mapping

from ..base import files
from ..base.errors import O2cbError
from ..resources import resource
from ..resources.resource import Resource

DIRECTORY = "/etc/o2agent"
SETTINGS = f"{DIRECTORY}/agent.json"
RESOURCES = f"{DIRECTORY}/resources.d"
ENDING = ".json"
DRAINED = "/var/lib/o2agent/drained"

KEEP, HAND_OVER = "keep", "hand_over"
TCP, COROSYNC = "tcp", "corosync"
PORT = 7778


@dataclass(frozen=True)
class Settings:
    """`on_stop` says what becomes of the resources when the agent is stopped: they go on, or go elsewhere in order.

    A member of `read_group` may look, one of `full_group` may give orders; root may do both.
    """

    on_stop: str = KEEP
    read_group: str = ""
    full_group: str = ""
    transport: str = TCP
    """What carries messages between the agents."""

    port: int = PORT
    """TCP port of the agents, on the addresses of o2cb."""


def path(name: str) -> str:
    """Where the definition of a resource lies."""
    return os.path.join(RESOURCES, name + ENDING)


def settings() -> Settings:
    """Raises O2cbError when the file says something that is not understood."""
    text = files.read(SETTINGS)
    if text is None:
        return Settings()
    try:
        values = json.loads(text)
        found = Settings(**values)
    except (ValueError, TypeError) as error:
        raise O2cbError(f"{SETTINGS}: {error}: run role ocfs2.o2cb.agent") from None
    if found.on_stop not in (KEEP, HAND_OVER):
        raise O2cbError(f"{SETTINGS}: on_stop is {found.on_stop!r}: it is {KEEP} or {HAND_OVER}")
    if found.transport not in (TCP, COROSYNC):
        raise O2cbError(f"{SETTINGS}: transport is {found.transport!r}: it is {TCP} or {COROSYNC}")
    if isinstance(found.port, bool) or not isinstance(found.port, int) or not 0 < found.port < 65536:
        raise O2cbError(f"{SETTINGS}: port is {found.port!r}: give one from 1 to 65535")
    return found


def resources() -> Mapping[str, Resource]:
    """All that are defined. Raises O2cbError when one is broken, or two share what they must not."""
    found = {}
    for file_name in files.names(RESOURCES):
        if not file_name.endswith(ENDING) or file_name.startswith("."):
            continue
        where = os.path.join(RESOURCES, file_name)
        one = resource.parse(files.read(where) or "", where)
        if file_name != one.name + ENDING:
            raise O2cbError(f"{where} defines resource {one.name!r}: name the file {one.name}{ENDING}")
        found[one.name] = one
    problem = resource.problems(found)
    if problem:
        raise O2cbError(f"{RESOURCES}: {problem}")
    return found
