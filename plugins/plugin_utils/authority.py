# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host has a secret of the cluster, its certificate authority or the key of corosync's ring. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

REGISTERED = "__o2cb_certificate"
"""Where the role keeps what the module `certificate` has seen on a host."""

RING = "__o2cb_ring"
"""Where it keeps what the module `corosync` has seen of a key."""


def authority(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`host` has the authority that most hosts have, or is to make one. `agreed` is whether all have it already.

    `wanted` is whether any host lacks something, or still trusts another one; `virgin`, whether `host` can make none.
    """
    found = {host: hostvars[host].get(REGISTERED, {}) for host in hosts}
    host, signing, agreed = _that_most_have({name: one.get("authority") or "" for name, one in found.items()})
    settled = agreed and all(one.get("good") and one.get("trusted") == [signing] for one in found.values())
    return {"host": host, "agreed": agreed, "wanted": not settled, "virgin": not found[host].get("openssl")}


def ring_key(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`host` has the key that most hosts have, or is to make one. `agreed` is whether all have it already."""
    host, _mark, agreed = _that_most_have({host: hostvars[host].get(RING, {}).get("key_mark", "") for host in hosts})
    return {"host": host, "agreed": agreed}


def _that_most_have(marks: Mapping[str, str]) -> tuple[str, str, bool]:
    """A host with the mark that most hosts have, the mark, and whether all have it. Without any: the first host."""
    counted = Counter(mark for mark in marks.values() if mark)
    mark = counted.most_common(1)[0][0] if counted else ""
    host = next((host for host, one in marks.items() if one == mark), next(iter(marks)))
    return host, mark, bool(mark) and set(marks.values()) == {mark}
