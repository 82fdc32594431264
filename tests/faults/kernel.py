# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node says of itself, and what is done to it by plain writes and its distribution's own tools."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.node import Node

CONF = "/etc/ocfs2/cluster.conf"
SETTINGS = "/etc/default/o2cb"
TREE = "/sys/kernel/config/cluster"
PROGRAM = "/usr/local/lib/ocfs2.o2cb/o2cb.pyz"
DROP_IN = "/etc/systemd/system/o2cb.service.d/ocfs2.o2cb.conf"
INIT = "SYSTEMCTL_SKIP_REDIRECT=1 /etc/init.d/o2cb"
"""The distribution's init script itself, which otherwise hands every call to systemd."""


def value(node: Node, path: str) -> str:
    """A file of the node, stripped; empty when it is not there."""
    return node.run(f"cat {path} 2>/dev/null").stdout.strip()


def regions(node: Node) -> list[str]:
    """The UUIDs of the regions on which the node beats."""
    found = node.run(
        f"cd {TREE} && for dev in */heartbeat/*/dev; do [ -s $dev ] && echo ${{dev%/dev}}; done", check=False
    )
    return sorted(line.rpartition("/")[2] for line in found.stdout.split())


def attribute(node: Node, name: str) -> str:
    """An attribute of the registered cluster, such as idle_timeout_ms."""
    return value(node, f"{TREE}/*/{name}")


def members(node: Node) -> dict[str, str]:
    """Names and addresses in the kernel's table of nodes."""
    found = node.run(f'cd {TREE}/*/node && for name in *; do echo "$name $(cat $name/ipv4_address)"; done')
    return dict(line.split() for line in found.stdout.splitlines() if len(line.split()) == 2)


def claims(node: Node) -> str:
    """The node that the kernel takes this machine for; empty when it is none."""
    found = node.run(f"cd {TREE}/*/node 2>/dev/null && grep -l 1 */local")
    return found.stdout.strip().partition("/")[0]


def state(node: Node) -> str:
    """Everything that a run may change on a node: files, the cluster in the kernel, units. Empty when it is off."""
    places = "/etc/ocfs2 /etc/default /etc/systemd /etc/modules-load.d /etc/sysctl.d /usr/local/lib"
    script = f"find {places} -type f 2>/dev/null | sort | xargs -r sha256sum; find {TREE} -type d | sort"
    return node.run(f"{script}; grep -sr . {TREE} | sort; systemctl is-active o2cb dlm.mount; uname -n").stdout


@dataclass(frozen=True)
class Join:
    """How joining a domain ended: the name of the errno, empty for success, and the seconds it took."""

    error: str
    seconds: float


def join(node: Node, domain: str, seconds: float = 90.0) -> Join:
    """mkdir in /dlm, as a program of its own would do it."""
    script = f"import os\ntry: os.mkdir('/dlm/{domain}'); print(0)\nexcept OSError as error: print(error.errno)"
    started = time.monotonic()
    done = node.run(f'python3 -c "{script}"', timeout=seconds)
    taken = time.monotonic() - started
    assert done.ok, f"joining {domain} on {node.name} did not come back within {seconds:g} s: {done.stderr}"
    code = int(done.stdout)
    return Join(errno.errorcode[code] if code else "", taken)


def leave(node: Node, domain: str) -> None:
    node.run(f"rmdir /dlm/{domain}", check=True)


@contextmanager
def joined(nodes: list[Node], domain: str) -> Iterator[None]:
    """Have a domain joined by these nodes."""
    for node in nodes:
        assert join(node, domain).error == ""
    try:
        yield
    finally:
        for node in nodes:
            leave(node, domain)


@contextmanager
def restored(node: Node, *paths: str) -> Iterator[None]:
    """Put files of a node back as they were."""
    names = " ".join(paths)
    node.run(f"tar --create --absolute-names --file /root/restored.tar {names}", check=True)
    try:
        yield
    finally:
        node.run("tar --extract --absolute-names --file /root/restored.tar", check=True)


@contextmanager
def disk_gone(node: Node, *names: str) -> Iterator[None]:
    """Take disks away that nobody has open, as if their path had not come up yet."""
    tables = {name: node.run(f"dmsetup table {name}", check=True).stdout.strip() for name in names}
    node.run(f"dmsetup remove --retry {' '.join(names)}", check=True)
    try:
        yield
    finally:
        for name, table in tables.items():
            node.run(f"[ -e /dev/mapper/{name} ] || dmsetup create {name} --table '{table}'", check=True)


def blank(node: Node, device: str) -> None:
    """Wipe both ends of a disk: nothing that knows a signature finds one, and no data begins or ends there."""
    zeros = f"dd if=/dev/zero of={device} bs=1M count=1 oflag=direct conv=notrunc"
    node.run(f"{zeros} && {zeros} seek=$(($(blockdev --getsize64 {device}) / 1048576 - 1))", check=True)


def kernel_log(node: Node) -> str:
    return node.run("dmesg").stdout


@contextmanager
def distribution_unit(node: Node) -> Iterator[None]:
    """Have o2cb.service as the distribution ships it."""
    node.run(f"mv {DROP_IN} {DROP_IN}.away && systemctl daemon-reload", check=True)
    try:
        yield
    finally:
        node.run(f"mv {DROP_IN}.away {DROP_IN} && systemctl daemon-reload", check=True)


def clear(node: Node) -> None:
    """Unregister whatever is left in the kernel."""
    node.run(f"python3 {PROGRAM} offline", timeout=60, check=True)
