# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The o2cb tool's settings file, /etc/default/o2cb or /etc/sysconfig/o2cb (o2cb.sysconfig(5)).

A shell sources this file, so only plain `KEY=value` lines are understood; everything else is kept byte for byte. Keys
are compared by value and merged: foreign keys, comments and order stay.
"""

from __future__ import annotations

import re
import shlex

from .model import Cluster
from .timeouts import Timeouts

DEBIAN_PATH = "/etc/default/o2cb"
OTHER_PATH = "/etc/sysconfig/o2cb"

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")

_TIMEOUT_KEYS = {
    "O2CB_HEARTBEAT_THRESHOLD": "heartbeat_dead_threshold",
    "O2CB_IDLE_TIMEOUT_MS": "idle_timeout_ms",
    "O2CB_KEEPALIVE_DELAY_MS": "keepalive_delay_ms",
    "O2CB_RECONNECT_DELAY_MS": "reconnect_delay_ms",
}

FENCE_METHOD_KEY = "O2CB_FENCE_METHOD"
"""Our own key: the distribution has none, and the kernel forgets the method with each registration of the cluster."""


def values(text: str) -> dict[str, str]:
    """The assignments in this file; as in a shell, the last one of a key wins."""
    found = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line)
        if match:
            found[match.group(1)] = _unquoted(match.group(2))
    return found


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value, comments=True)
    except ValueError:
        return value
    return words[0] if words else ""


def merged(text: str, wanted: dict[str, str]) -> str:
    """This file with the wanted values.

    Lines that hold another value are replaced, missing keys are added at the end.
    """
    missing = dict(wanted)
    lines: list[str] = []
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line)
        key = match.group(1) if match else None
        if match and key in wanted:
            missing.pop(key, None)
            if _unquoted(match.group(2)) != wanted[key]:
                line = f"{key}={shlex.quote(wanted[key])}"
        lines.append(line)
    lines += [f"{key}={shlex.quote(value)}" for key, value in missing.items()]
    return "".join(line + "\n" for line in lines)


def wanted(cluster: Cluster, enabled: bool = True) -> dict[str, str]:
    """The values that make the distribution's scripts, and the unit at boot, bring up this cluster.

    All seven variables that the init script writes are given, so that its own rewriting of the file changes no value.
    """
    timeouts = {key: str(getattr(cluster.timeouts, name)) for key, name in _TIMEOUT_KEYS.items()}
    return {
        "O2CB_ENABLED": "true" if enabled else "false",
        "O2CB_STACK": "o2cb",
        "O2CB_BOOTCLUSTER": cluster.name,
        **timeouts,
        FENCE_METHOD_KEY: cluster.fence_method,
    }


def disabled(text: str, cluster_name: str) -> str:
    """This file with the cluster no longer started at boot; unchanged when it starts another one."""
    if values(text).get("O2CB_BOOTCLUSTER", cluster_name) not in ("", cluster_name):
        return text
    return merged(text, {"O2CB_ENABLED": "false", "O2CB_BOOTCLUSTER": ""}) if text else text


def timeouts(text: str) -> Timeouts:
    """The timeouts in this file; a missing or unreadable one is the kernel's default, as the init script leaves it."""
    found = values(text)
    given = {
        name: int(found[key])
        for key, name in _TIMEOUT_KEYS.items()
        if found.get(key, "").isascii() and found.get(key, "").isdigit()
    }
    return Timeouts(**given)


def boot_cluster(text: str) -> str | None:
    """The name of the cluster that is to be brought online at boot, or None."""
    found = values(text)
    if found.get("O2CB_ENABLED") != "true":
        return None
    return found.get("O2CB_BOOTCLUSTER") or None


def fence_method(text: str) -> str:
    return values(text).get(FENCE_METHOD_KEY) or "reset"
