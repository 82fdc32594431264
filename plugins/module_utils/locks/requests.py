# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients ask of o2keep, read from their messages. Pure.

A request names one lock by `name`, or up to MOST_NAMES by `names`. Whatever is wrong with it is said before anything
is done.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base.errors import O2cbError
from ..o2cb import domains
from . import modes, names
from .holding import KINDS, NODE
from .modes import Mode

MOST_NAMES = 100
OWNER_BYTES = 255
LONGEST_WAIT = 365 * 86400.0
REQUEST_BYTES = 64


@dataclass(frozen=True)
class Want:
    """Locks that are asked for, all or none. `wait` is in seconds.

    `fresh`: a node lock that this node holds already is as busy as one of another node. `eager`: it is about to be
    released for this request, so it is tried for without growing pauses. `recall`: other programs may be asked to give
    up what they merely cache. `id` is the client's own for this request: who asks again with it is told what it has.
    """

    names: tuple[str, ...]
    domain: str
    mode: Mode
    kind: str = NODE
    owner: str = ""
    wait: float = 0.0
    fresh: bool = False
    eager: bool = False
    recall: bool = False
    cgroup: str = ""
    id: str = ""
    many: bool = False
    """It was asked for by `names`, and is answered so."""


@dataclass(frozen=True)
class Names:
    """Locks that are asked about, or to be released; `token` narrows one down to this very grant."""

    names: tuple[str, ...]
    domain: str
    token: int | None = None
    many: bool = False

    @property
    def keys(self) -> list[tuple[str, str]]:
        return [(self.domain, names.stored(name)) for name in self.names]


def take(message: Mapping[str, Any], cgroup: str = "") -> Want:
    """The request to take locks. Raises O2cbError for what cannot be taken."""
    mode = modes.parse(str(message.get("mode", "exclusive")))
    kind = str(message.get("kind", NODE))
    if kind not in KINDS or mode is Mode.NL:
        raise O2cbError(f"a lock of kind {kind!r} and mode {mode.value} cannot be taken")
    asked = named(message)
    if kind != NODE and len(asked.names) > 1:
        raise O2cbError(f"{len(asked.names)} locks of kind {kind!r} at once: take each by a request of its own")
    wait = float(message.get("wait", 0))
    if not 0 <= wait <= LONGEST_WAIT:
        raise O2cbError(f"wait is {wait:g}: give seconds, from 0 to {LONGEST_WAIT:g}")
    return Want(
        names=asked.names,
        domain=asked.domain,
        mode=mode,
        kind=kind,
        owner=owner(message),
        wait=wait,
        fresh=bool(message.get("fresh")),
        eager=bool(message.get("eager")),
        recall=bool(message.get("recall")),
        cgroup=cgroup,
        id=str(message.get("id", ""))[:REQUEST_BYTES],
        many=asked.many,
    )


def named(message: Mapping[str, Any]) -> Names:
    """The names in a request, each once and in one order. Raises O2cbError for none, too many, and what is no name."""
    many = "names" in message
    found = list(message["names"]) if many else [message["name"]]
    if any(not isinstance(name, str) for name in found):
        raise O2cbError("a lock's name is a string")
    if not 1 <= len(found) <= MOST_NAMES:
        raise O2cbError(f"{len(found)} names in one request: give 1 to {MOST_NAMES}")
    domain = str(message.get("domain") or names.DEFAULT_DOMAIN)
    problem = domains.name_problem(domain) or next(filter(None, map(names.name_problem, found)), "")
    if problem:
        raise O2cbError(problem)
    token = message.get("token")
    if token is not None and (many or not isinstance(token, int) or isinstance(token, bool) or token < 0):
        raise O2cbError("a token is a number, and belongs to one name")
    ordered = tuple(sorted(set(found))) if many else tuple(found)
    return Names(ordered, domain, token, many)


def owner(message: Mapping[str, Any]) -> str:
    """The owner text. What is no UTF-8 in it is shown as a question mark: it must never stop a lock."""
    text = str(message.get("owner", "")).encode("utf-8", "replace").decode()
    size = len(text.encode())
    if size > OWNER_BYTES:
        raise O2cbError(f"the owner text is {size} bytes: give at most {OWNER_BYTES}")
    return text


def seconds(message: Mapping[str, Any], key: str, default: float) -> float:
    """A duration in a request. Raises O2cbError for what is none."""
    found = float(message.get(key, default))
    if not math.isfinite(found) or found < 0:
        raise O2cbError(f"{key} is {found:g}: give seconds, 0 or more")
    return found
