# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that can be known to go wrong on one host, found before any host is changed.

Only what needs this host is here; what follows from the wish alone is in `model.problems`.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

from . import conf, devices, distribution, files, kernel, model, network, regions
from .configfs import ConfigFs
from .distribution import Distribution
from .errors import O2cbError
from .model import Cluster, Node
from .system import System


@dataclass(frozen=True)
class Host:
    """What the roles need to know of this host."""

    hostname: str
    kernel: str
    next_kernel: str | None
    distribution: Distribution | None
    pretty_name: str
    missing_packages: tuple[str, ...]


def examine_host(system: System) -> Host:
    os_release = distribution.parse_os_release(files.read("/etc/os-release") or "")
    found = distribution.recognise(os_release)
    missing: tuple[str, ...] = ()
    if found and found.packages:
        _code, output, _error = system.run([*found.query, *found.packages])
        present = distribution.installed(output)
        missing = tuple(package for package in found.packages if package not in present)
    return Host(
        hostname=system.hostname(),
        kernel=os.uname().release,
        next_kernel=kernel.next_boot_release(),
        distribution=found,
        pretty_name=os_release.get("PRETTY_NAME", "an unknown system"),
        missing_packages=missing,
    )


def problems(system: System, host: Host, want: Cluster, wanted_regions: list[dict[str, str | None]]) -> list[str]:
    """Everything that stands in the way on this host, each with its remedy; empty when the way is free."""
    found = model.problems(want) + _host_problems(host) + _file_problems()
    own = model.local_node(want.nodes, host.hostname)
    if own is None:
        names = ", ".join(node.name for node in want.nodes) or "none"
        found.append(
            f"`uname -n` is {host.hostname!r}, and the nodes are {names}: the node name must be the host name, "
            "rename the one or the other"
        )
    elif not model.address_problem(own.address):
        found += _address_problems(own)
    for region in wanted_regions:
        try:
            _examine_region(region, want.name)
        except O2cbError as error:
            found.append(str(error))
    return found


def _host_problems(host: Host) -> list[str]:
    if os.geteuid() != 0:
        return ["this needs root: use become"]
    found = []
    for release, which in ((host.kernel, "running"), (host.next_kernel, "next")):
        missing = kernel.unavailable(release) if release else []
        if missing and (which == "running" or release != host.kernel):
            remedy = distribution.modules_remedy(host.distribution, release or "")
            found.append(f"the {which} kernel {release} ({host.pretty_name}) lacks {', '.join(missing)}: {remedy}")
    if not os.path.isdir("/run/systemd/system"):
        found.append("systemd does not run here: o2cb is brought up by its units")
    return found


def _file_problems() -> list[str]:
    """A cluster.conf that cannot be read is never overwritten."""
    try:
        conf.parse(files.read(conf.PATH) or "")
    except O2cbError as error:
        return [str(error)]
    return []


def _address_problems(own: Node) -> list[str]:
    """Whether this host has the node's address, and its port is free or o2net's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((own.address, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return [
                    f"node {own.name}: no interface here has the address {own.address}: correct it, or configure it"
                ]
            return [f"node {own.name}: address {own.address} cannot be used: {error.strerror}"]
    table = files.read("/proc/net/tcp") or ""
    if network.listens(table, own.address, own.port) and not ConfigFs().names():
        return [
            f"node {own.name}: something else listens on port {own.port}: stop it, or give the cluster another port"
        ]
    return []


def _examine_region(region: dict[str, str | None], cluster: str) -> None:
    path, uuid = region.get("device"), region.get("uuid")
    if not path:
        devices.find_regions([uuid or ""])
        return
    found = regions.examine(path, cluster)
    if uuid and (found is None or found.superblock.uuid != uuid):
        here = found.superblock.uuid if found else "blank"
        raise O2cbError(f"device {path} is {here}, and region {uuid} should be on it: correct the one or the other")
