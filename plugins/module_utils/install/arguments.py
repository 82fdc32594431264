# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module options that describe a wanted cluster, and what they become. Documented in the fragment `_cluster`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..o2cb.model import Cluster, Node
from ..o2cb.timeouts import Timeouts

CLUSTER: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "nodes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "number": {"type": "int", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 7777},
        },
    },
    "heartbeat_mode": {"type": "str", "choices": ["global", "local"], "default": "global"},
    "timeouts": {
        "type": "dict",
        "default": {},
        "options": {
            "heartbeat_dead_threshold": {"type": "int", "default": 31},
            "idle_timeout_ms": {"type": "int", "default": 30000},
            "keepalive_delay_ms": {"type": "int", "default": 2000},
            "reconnect_delay_ms": {"type": "int", "default": 2000},
        },
    },
    "fence_method": {"type": "str", "choices": ["reset", "panic"], "default": "reset"},
    "state": {"type": "str", "choices": ["online", "offline", "absent"], "default": "online"},
    "change_policy": {"type": "str", "choices": ["apply", "online_only", "plan"], "default": "apply"},
    "purge": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
}

REQUIRED_IF = [("state", "online", ["nodes"])]

REGION: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "options": {"device": {"type": "path"}, "uuid": {"type": "str"}, "label": {"type": "str"}},
    "required_one_of": [("device", "uuid")],
}
"""A list of regions, each given by its device, its UUID, or both."""


def wanted(options: Mapping[str, Any], regions: Iterable[str]) -> Cluster:
    """The cluster that these options ask for, with these regions' UUIDs."""
    return Cluster(
        name=options["name"],
        nodes=tuple(Node(**node) for node in options["nodes"]),
        regions=tuple(regions),
        heartbeat_mode=options["heartbeat_mode"],
        timeouts=Timeouts(**options["timeouts"]),
        fence_method=options["fence_method"],
    )
