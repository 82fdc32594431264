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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base import files
from ..base.errors import O2cbError
from ..o2cb import devices, kernel, model, network
from ..o2cb import plan as planning
from ..o2cb.configfs import ConfigFs
from ..o2cb.model import PENDING, Node
from ..o2cb.plan import Plan
from ..o2cb.system import System
from . import arguments, distribution, policy, regions
from .distribution import Distribution
from .regions import Region


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


@dataclass(frozen=True)
class Foreseen:
    """What stands in the way on this host, each with its remedy; and without such the regions found and the plan."""

    problems: list[str]
    regions: list[Region]
    plan: Plan | None = None


def examine(system: System, host: Host, options: Mapping[str, Any]) -> Foreseen:
    """Look at everything that the change will need.

    `options` are those of the module `cluster`, with the regions as the module `heartbeat` takes them.
    """
    found = _host_problems(host)
    located: list[Region] = []
    for region in options["regions"] if options["state"] == "online" else []:
        try:
            located.append(_region(region, options["name"]))
        except O2cbError as error:
            found.append(str(error))
    want = arguments.wanted(options, [region.uuid for region in located])
    own = model.local_node(want.nodes, host.hostname)
    if own is not None and not model.address_problem(own.address):
        found += _address_problems(own)
    try:
        plan = planning.plan(system.read(), want, options["state"], options["purge"], options["force"])
        if options["change_policy"] == "online_only":
            policy.refuse(plan, "online_only", system)
    except O2cbError as error:
        return Foreseen(found + error.facts.get("problems", [str(error)]), located)
    return Foreseen(found, located, None if found else plan)


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


def _region(region: Mapping[str, str | None], cluster: str) -> Region:
    """This region as it is here, its UUID a mark where its device is blank and still to be formatted."""
    path, uuid = region.get("device"), region.get("uuid")
    if not path:
        device = devices.find_regions([uuid or ""])[uuid or ""]
        return Region(uuid or "", device.path, device.superblock.label)
    found = regions.examine(path, cluster)
    here = found.superblock.uuid if found else PENDING + path
    if uuid and uuid != here:
        raise O2cbError(f"device {path} is not region {uuid} ({here}): correct the one or the other")
    return Region(here, path, found.superblock.label if found else "")
