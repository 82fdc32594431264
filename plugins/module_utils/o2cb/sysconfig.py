# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The o2cb tool's settings file, /etc/default/o2cb or /etc/sysconfig/o2cb (o2cb.sysconfig(5)).

A shell sources this file, so only plain `KEY=value` lines are understood: one assignment of a quoted or unquoted word,
with nothing behind it but a comment. Everything else is kept byte for byte, an expansion or a second command on the
line of a wanted key too: what is appended at the end overrules it. Keys are compared by value and merged: foreign keys,
comments and order stay.
"""

from __future__ import annotations

import os
import re
import shlex

from .model import Cluster
from .timeouts import Timeouts

DEBIAN_PATH = "/etc/default/o2cb"
OTHER_PATH = "/etc/sysconfig/o2cb"

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_PART = r"""[^ \t'"\\$`;&|<>()~]|\\.|'[^']*'|"(?:[^"\\$`]|\\.)*\""""
_PLAIN = re.compile(rf"((?:{_PART})*)[ \t]*(?:[ \t]#.*)?")

_TIMEOUT_KEYS = {
    "O2CB_HEARTBEAT_THRESHOLD": "heartbeat_dead_threshold",
    "O2CB_IDLE_TIMEOUT_MS": "idle_timeout_ms",
    "O2CB_KEEPALIVE_DELAY_MS": "keepalive_delay_ms",
    "O2CB_RECONNECT_DELAY_MS": "reconnect_delay_ms",
}

FENCE_METHOD_KEY = "O2CB_FENCE_METHOD"
"""Our own key: the distribution has none, and the kernel forgets the method with each registration of the cluster."""


def path() -> str:
    """As the init script looks for it: an existing file, else where the distribution keeps such files."""
    if os.path.exists(OTHER_PATH):
        return OTHER_PATH
    if os.path.exists(DEBIAN_PATH) or not os.path.isdir(os.path.dirname(OTHER_PATH)):
        return DEBIAN_PATH
    return OTHER_PATH


def values(text: str) -> dict[str, str]:
    """The plain assignments in this file; as in a shell, the last one of a key wins."""
    found = {}
    for line in text.split("\n"):
        assignment = _assignment(line)
        if assignment and assignment[1] is not None:
            found[assignment[0]] = assignment[1]
    return found


def _assignment(line: str) -> tuple[str, str | None] | None:
    """The key and the value of this line, the value None when only a shell can tell; None for any other line."""
    match = _ASSIGNMENT.fullmatch(line)
    if match is None:
        return None
    plain = _PLAIN.fullmatch(match.group(2))
    return match.group(1), "".join(map(_unquoted, re.findall(_PART, plain.group(1)))) if plain else None


def _unquoted(part: str) -> str:
    if part.startswith("\\"):
        return part[1]
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith('"'):
        return re.sub(r'\\([\\"$`])', r"\1", part[1:-1])
    return part


def merged(text: str, wanted: dict[str, str]) -> str:
    """This file with the wanted values.

    Lines that hold another value are replaced, missing keys are added at the end.
    """
    missing = dict(wanted)
    lines: list[str] = []
    for line in text.split("\n"):
        key, value = _assignment(line) or ("", None)
        if key in wanted and value is None:
            missing[key] = wanted[key]
        elif key in wanted:
            missing.pop(key, None)
            if value != wanted[key]:
                line = f"{key}={shlex.quote(wanted[key])}"
        lines.append(line)
    if missing and not lines[-1]:
        lines.pop()
    lines += [f"{key}={shlex.quote(value)}" for key, value in missing.items()] + ([""] if missing else [])
    return "\n".join(lines)


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
