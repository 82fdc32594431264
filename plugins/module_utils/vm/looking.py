# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual machines of this node, for people and for the module: looked at, guarded, their locks released."""

from __future__ import annotations

import glob
import time
from collections.abc import Sequence

from ..base.errors import O2cbError
from . import guard, machine, overview, processes, system
from .locks import Locks
from .machine import Machine
from .overview import Here, Row
from .system import System

DEFINED = "/etc/libvirt/qemu/*.xml"
"""Where libvirt keeps the machines that are defined, also those that do not run."""

SECONDS = 15.0
CHECK_SECONDS = 10.0


def here() -> Here:
    """What o2keep, /proc and the settings say. Raises O2cbError when o2keep does not answer."""
    locks = Locks(SECONDS)
    return Here(locks.facts(), processes.running(), system.unguarded(), time.time(), locks.node())


def rows(words: Sequence[str]) -> list[Row]:
    """The machines that are called so, wherever they are; without words those of this node."""
    found = here()
    uuids = [overview.chosen(found, word, defined()) for word in words] if words else found.uuids()
    locks = Locks(SECONDS)
    return [
        overview.row(found, uuid, None if found.view(uuid).run else locks.record(Machine(uuid, uuid).run))
        for uuid in uuids
    ]


def defined() -> dict[str, str]:
    """UUIDs of the machines that are defined on this node, by name."""
    found = {}
    for path in glob.glob(DEFINED):
        try:
            with open(path, "rb") as file:
                one = machine.parse(file.read(machine.MAX_XML + 1))
        except (OSError, O2cbError):
            continue
        found[one.name] = one.uuid
    return found


def unsettled(found: Here) -> list[Machine]:
    """Machines of this node whose locks are not as they should be, and that nobody is just starting or receiving."""
    wrong = []
    for uuid in found.uuids():
        one, view = found.machine(uuid), found.view(uuid)
        if view.pids:
            settled = bool(view.run and not view.incoming) or machine.is_unguarded(one, found.patterns)
        else:
            settled = guard.may_be_starting(view)
        if not settled:
            wrong.append(one)
    return wrong


def check(one: Machine) -> str:
    """Bring the locks of one machine into order; what is still wrong then, or an empty string."""
    step = system.carry_out(guard.settle(one), System(CHECK_SECONDS).answer)
    return "" if step.settled else step.text


def release(word: str, force: bool) -> tuple[Machine, list[str]]:
    """Release what this node holds of a machine. Refused while it may run here, unless it is forced."""
    found = here()
    uuid = overview.chosen(found, word, defined())
    one, view = found.machine(uuid), found.view(uuid)
    if view.pids and not force:
        raise O2cbError(f"{one} runs on this node, process {view.pids[0]}: end it first, its lock goes with it")
    if guard.may_be_starting(view) and not force:
        raise O2cbError(f"{one} may just be starting on this node: try again in {guard.STARTING_SECONDS:g} s")
    locks = Locks(SECONDS)
    held = [(lock, own.token) for lock, own in ((one.incoming, view.incoming), (one.run, view.run)) if own]
    for lock, token in held:
        locks.release(lock, token)
    return one, [lock for lock, _token in held]
