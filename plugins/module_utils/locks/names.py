# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a lock's name to the names of its files in dlmfs. Pure.

Theory of operation. A lock's name is any UTF-8 string of 1 to 255 bytes without NUL. A dlmfs file has a name of 1 to 31
bytes, without '/' and without a leading '$' (fs/ocfs2/dlmfs/dlmfs.c), and each lock needs a few files beside its own:
so a *plain* name, one of at most 26 bytes that dlmfs takes as it is, is stored unchanged, and other dlmfs programs that
use the same name in the same domain exclude us and are excluded. Every other name is stored as a readable beginning, a
'~' and 80 bits of its SHA-256. A plain name must not look like a stored one or like a companion, hence no '~' and no
ending
that a companion has.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re

from ..base.errors import O2cbError

MAX_BYTES = 255
MAX_PLAIN_BYTES = 26
INFO = ".info"
WRITERS = ".w"
"""Companions of a lock: `.info` shows its holder, `.w` is the second resource of the modes PR and PW."""

DEFAULT_DOMAIN = "o2cb"

AGENT_DOMAIN = "o2agent"
"""The agent's locks live in a domain that nobody joins under /dlm, where a stray program could wait for one."""

OWN_DOMAINS = frozenset((DEFAULT_DOMAIN, AGENT_DOMAIN))
"""Domains in which all value blocks are ours."""

_LIVENESS = re.compile(r"(alive|node)-[0-9]+|sequencer")

_HASH_CHARACTERS = 16
_READABLE_BYTES = MAX_PLAIN_BYTES - _HASH_CHARACTERS - 1


def name_problem(name: str) -> str:
    """Why this cannot be the name of a lock, with the remedy, or an empty string."""
    try:
        data = name.encode()
    except UnicodeEncodeError:
        return f"lock name {name!r} is not valid UTF-8: name it in UTF-8"
    if not 1 <= len(data) <= MAX_BYTES:
        return f"lock name {name[:40]!r} has {len(data)} bytes: use 1 to {MAX_BYTES}"
    if "\0" in name:
        return f"lock name {name!r} has a NUL byte: leave it out"
    return ""


def is_plain(name: str) -> bool:
    """Whether the name is stored as it is."""
    data = name.encode()
    return (
        len(data) <= MAX_PLAIN_BYTES
        and name not in (".", "..")
        and not name.startswith("$")
        and not name.endswith((INFO, WRITERS))
        and not any(character in name for character in "/~")
        and name.isprintable()
    )


@functools.lru_cache(maxsize=16384)
def stored(name: str) -> str:
    """The name of the lock's own file in dlmfs, at most 26 bytes. Raises O2cbError for what is no name."""
    problem = name_problem(name)
    if problem:
        raise O2cbError(problem)
    if is_plain(name):
        return name
    digest = hashlib.sha256(name.encode()).digest()
    code = base64.b32encode(digest).decode().lower()[:_HASH_CHARACTERS]
    return f"{_readable(name)}~{code}"


def is_liveness(domain: str, name: str) -> bool:
    """Whether this lock only says that the agent, or the node, is there: it does not keep the node from leaving."""
    return domain == AGENT_DOMAIN and _LIVENESS.fullmatch(name) is not None


def _readable(name: str) -> str:
    """The beginning of the name, as far as a file name can show it."""
    shown = "".join(character if character.isalnum() and character.isascii() else "-" for character in name)
    return shown[:_READABLE_BYTES]


def info(stored_name: str) -> str:
    return stored_name + INFO


def writers(stored_name: str) -> str:
    return stored_name + WRITERS
