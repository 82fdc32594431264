# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""corosync.conf from a cluster of o2cb, and what has to hold between the timeouts of both. Pure.

The file follows from cluster.conf alone, so that it is the same on all nodes and there is one list of nodes only. It
has one ring, on the addresses of o2cb, encrypted with the key in AUTHKEY. Quorum is o2cb's own: corosync's, if wanted,
is for people.

Timeouts: corosync tells that a node is gone after 2.2 times its token (cpg.detection_seconds). It must know before o2cb
holds the node for dead, or locks of a dead node would be granted before its last messages are cut off; and before o2net
gives a connection up. `token_coefficient` is 0, since otherwise the token would grow with the number of nodes.
"""

from __future__ import annotations

import hashlib
import re
from typing import Iterable, Sequence

from ..o2cb.model import Cluster
from ..o2cb.timeouts import Timeouts
from .cpg import TOKEN_MS, detection_seconds
from .group import node_id
from .libcpg import MAX_MEMBERS

PATH = "/etc/corosync/corosync.conf"
AUTHKEY = "/etc/corosync/authkey"
DROP_IN = "/etc/systemd/system/corosync.service.d/ocfs2.o2cb.conf"
SERVICE = "corosync.service"
PORT = 5405

NONE, VOTEQUORUM = "none", "votequorum"

COEFFICIENT_MS = 650
"""corosync's default of token_coefficient."""

LEAST_TOKEN_MS = 3000
"""With less corosync took healthy nodes for dead on busy machines."""

KEY_BYTES = 256
KEY_SIZES = (128, 4096)
"""The fewest and most bytes that corosync takes."""

_MARK = "# Written by the Ansible collection ocfs2.o2cb"
_NUMBER = re.compile(r"^\s*(token|token_coefficient):\s*(\d+)\s*$", re.MULTILINE)
_LOCAL_ID = re.compile(r"^Local node ID (\d+)\b", re.MULTILINE)
_ADDRESS = re.compile(r"^\s*(?:ring\d+_addr|bindnetaddr|mcastaddr):\s*(\S+)\s*$", re.MULTILINE)


_FILE = """{mark} from /etc/ocfs2/cluster.conf. Changes are overwritten.
totem {{
\tversion: 2
\tcluster_name: {name}
\ttransport: knet
\tcrypto_cipher: aes256
\tcrypto_hash: sha256
\ttoken: {token}
\ttoken_coefficient: 0
\tinterface {{
\t\tlinknumber: 0
\t\tmcastport: {port}
\t}}
}}

nodelist {{
{nodes}}}

{votes}logging {{
\tto_syslog: yes
\tto_logfile: no
\tto_stderr: no
}}
"""
_NODE = """\tnode {{
\t\tname: {name}
\t\tnodeid: {node_id}
\t\tring0_addr: {address}
\t}}
"""
_VOTES = """quorum {{
\tprovider: corosync_votequorum
{two}}}

"""


def render(cluster: Cluster, token_ms: int = TOKEN_MS, port: int = PORT, quorum: str = NONE) -> str:
    """The text of corosync.conf."""
    nodes = "".join(
        _NODE.format(name=node.name, node_id=node_id(node.number), address=node.address) for node in cluster.nodes
    )
    votes = ""
    if quorum == VOTEQUORUM:
        votes = _VOTES.format(two="\ttwo_node: 1\n" if len(cluster.nodes) == 2 else "")
    return _FILE.format(mark=_MARK, name=cluster.name, token=token_ms, port=port, nodes=nodes, votes=votes)


def drop_in() -> str:
    """corosync comes back by itself, as o2agent does: without it the node is cut off from the others."""
    unit = "[Unit]\nStartLimitIntervalSec=0\n\n[Service]\nRestart=always\nRestartSec=1\n"
    return f"{_MARK}. Changes are overwritten.\n{unit}"


def is_ours(text: str) -> bool:
    """Whether this collection has written the file."""
    return text.startswith(_MARK)


def is_unused(text: str) -> bool:
    """Whether the file connects no nodes: it is empty, or the distribution's example on the loopback address."""
    return all(address.startswith("127.") for address in _ADDRESS.findall(text))


def token_of(text: str) -> int:
    """The token timeout in milliseconds that follows from a corosync.conf, which grows with the nodes beyond two."""
    found = {"token": TOKEN_MS, "token_coefficient": COEFFICIENT_MS}
    found.update((name, int(value)) for name, value in _NUMBER.findall(text))
    nodes = len(re.findall(r"^\s*node\s*\{", text, re.MULTILINE))
    return found["token"] + max(nodes - 2, 0) * found["token_coefficient"]


def node_id_in(status: str) -> int | None:
    """By what number corosync runs here, as `corosync-cfgtool -s` prints it; None where it does not say so."""
    found = _LOCAL_ID.search(status)
    return int(found[1]) if found else None


def needs_restart(old: str, new: str) -> bool:
    """Whether a running corosync cannot take the change over by a reload: anything but nodes and token is different.

    Nor can it take over a number of its own node, which the text alone does not tell.
    """
    return _fixed(old) != _fixed(new)


def _fixed(text: str) -> list[str]:
    without_nodes = re.sub(r"^nodelist \{.*?^\}\n", "", text, flags=re.MULTILINE | re.DOTALL)
    return [line for line in without_nodes.splitlines() if not line.startswith(("#", "\ttoken:", "\ttwo_node:"))]


def problems(cluster: Cluster, token_ms: int, timeouts: Timeouts, port: int = PORT) -> list[str]:
    """Why this cluster cannot have corosync with this token, each with its remedy; nothing when it can."""
    found = list(timeout_problems(token_ms, timeouts))
    if len(cluster.nodes) > MAX_MEMBERS:
        found.append(
            f"{len(cluster.nodes)} nodes, and corosync has groups of at most {MAX_MEMBERS}: use the transport tcp"
        )
    if not 1 <= port <= 65534:
        found.append(f"corosync's port is {port}: give one from 1 to 65534")
    return found


def timeout_problems(token_ms: int, timeouts: Timeouts) -> Iterable[str]:
    """What does not fit between corosync's token and the timeouts of o2cb."""
    gone, dead, idle = detection_seconds(token_ms), timeouts.self_fence_seconds, timeouts.idle_timeout_ms / 1000
    if token_ms < LEAST_TOKEN_MS:
        yield (
            f"corosync's token is {token_ms} ms: give at least {LEAST_TOKEN_MS}, since with less it takes healthy "
            "nodes for dead"
        )
    if gone + 1 >= dead:
        yield (
            f"with a token of {token_ms} ms corosync knows after {gone:.1f} s that a node is gone, and o2cb resets a "
            f"node after {dead:g} s: set o2cb_agent_corosync_token to less than {_most(dead - 1)}, or raise "
            "o2cb_heartbeat_dead_threshold"
        )
    if gone >= idle:
        yield (
            f"with a token of {token_ms} ms corosync knows after {gone:.1f} s that a node is gone, and o2cb's network "
            f"gives up after {idle:g} s: set o2cb_agent_corosync_token to less than {_most(idle)}, or raise "
            "o2cb_idle_timeout_ms"
        )


def _most(seconds: float) -> int:
    return int(seconds / detection_seconds(1))


def mark_of(key: bytes) -> str:
    """By what keys are compared without telling them."""
    return hashlib.sha256(b"ocfs2.o2cb corosync authkey\0" + key).hexdigest()[:32]


def common_mark(marks: Sequence[str]) -> str:
    """The key that most nodes have; nothing where none has one."""
    present = [mark for mark in marks if mark]
    return max(present, key=present.count) if present else ""
