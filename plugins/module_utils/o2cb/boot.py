# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program behind o2cb.service: come online when the machine boots, leave in good order when it goes down.

It reads the distribution's own files, cluster.conf and the sysconfig file, so what `o2cb` and the init script would do
by hand and what happens at boot is the same cluster. It uses the same plan and the same checks as the module `cluster`.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..base import files
from ..base.errors import O2cbError, join_problems
from ..base.programs import shutting_down
from . import conf, model, online, sysconfig, units
from . import plan as planning
from .devices import find_regions
from .model import GLOBAL, Cluster
from .plan import Plan, Scope
from .system import System

REPORT_SECONDS = 10.0
"""While something is waited for, it is named in the journal this often."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def configured(system: System) -> Cluster | None:
    """The cluster that the files say is to be online, or None.

    Raises O2cbError when the files contradict each other.
    """
    settings = files.read(system.sysconfig_path()) or ""
    name = sysconfig.boot_cluster(settings)
    if name is None:
        return None
    cluster = conf.parse(files.read(conf.PATH) or "").cluster(name)
    if cluster is None:
        raise O2cbError(f"{system.sysconfig_path()} names the cluster {name!r}, and {conf.PATH} has none of that name")
    return replace(cluster, timeouts=sysconfig.timeouts(settings), fence_method=sysconfig.fence_method(settings))


def wait_until(problem: Callable[[], str], seconds: float) -> None:
    """Wait until `problem` returns nothing. Raises O2cbError with its last answer when the time is over."""
    deadline = time.monotonic() + seconds
    report = 0.0
    while True:
        text = problem()
        if not text:
            return
        now = time.monotonic()
        if now >= deadline:
            raise O2cbError(f"gave up after {seconds:g} s: {text}")
        if now >= report:
            say(f"waiting, {deadline - now:.0f} s more: {text}")
            report = now + REPORT_SECONDS
        time.sleep(min(1.0, deadline - now))


def missing(cluster: Cluster, hostname: str) -> str:
    """What is not there yet, in words: a region's device, or the node's address."""
    found = []
    node = model.local_node(cluster.nodes, hostname)
    if node is not None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((node.address, 0))
            except OSError:
                found.append(f"no interface has the address {node.address} yet")
    if cluster.heartbeat_mode == GLOBAL:
        try:
            find_regions(cluster.regions)
        except O2cbError as error:
            found.append(str(error))
    return join_problems(found)


def go_online(system: System, wait: float) -> None:
    """Bring this node online as configured; nothing when it is so already, or is not to be.

    Raises O2cbError; then the unit fails and systemd tries again, since a disk may still come, but not after
    online.Refused.
    """
    cluster = configured(system)
    if cluster is None:
        say("no cluster is to be online: O2CB_ENABLED is not true")
        return
    found = model.problems(cluster)
    if found:
        raise O2cbError(join_problems(found))
    if model.local_node(cluster.nodes, system.hostname()) is None:
        raise O2cbError(f"{system.hostname()} is not a node of cluster {cluster.name}: see {conf.PATH}")
    wait_until(lambda: missing(cluster, system.hostname()), wait)
    # Without the turn where nothing is to be done: the module that starts this unit at its end has it.
    if planning.online_steps(system.read(), cluster):
        with system.turn():
            _join(system, cluster)
    say(f"cluster {cluster.name} is online with {len(cluster.regions)} heartbeat region(s)")


def _join(system: System, cluster: Cluster) -> None:
    have = system.read()
    plan = Plan(have, tuple(planning.online_steps(have, cluster)), cluster)
    if plan.scope is not Scope.ONLINE:
        raise O2cbError(
            f"the running cluster differs from the files, and '{plan.steps[0]}' is needed: run the playbook"
        )
    for step in plan.steps:
        say(str(step))
    online.carry_out(system, plan, say=say)


def go_offline(system: System) -> None:
    """Leave the cluster in good order. Raises O2cbError while it is in use; at shutdown, what can be left is left."""
    if system.read().live is None:
        say("no cluster is registered")
        return
    with system.turn():
        _leave(system)


def _leave(system: System) -> None:
    have = system.read()
    if have.live is None:
        return
    down = shutting_down()
    if have.in_use and not down:
        raise O2cbError(f"this node is in use: {join_problems(have.in_use)}; release or unmount them first")
    plan = planning.leaves(have, have.live.cluster.name)
    system.apply(plan, force=down)
    say(f"cluster {have.live.cluster.name} is offline")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="o2cb.pyz", description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("online", help="come online as cluster.conf and the sysconfig file say")
    start.add_argument("--wait", type=float, default=120, help="seconds to wait for devices and address (default: 120)")
    verbs.add_parser("offline", help="leave the cluster; refused while locks are held")
    chosen = parser.parse_args(arguments)
    system = System()
    try:
        if chosen.verb == "online":
            go_online(system, chosen.wait)
        else:
            go_offline(system)
    except O2cbError as error:
        sys.stderr.write(f"o2cb: {error}\n")
        return units.REFUSED if isinstance(error, online.Refused) else 1
    return 0
