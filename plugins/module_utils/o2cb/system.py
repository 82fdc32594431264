# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One real node: the only place that reads its state into `Have` and carries out the steps of a plan."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from itertools import takewhile
from typing import Callable, Mapping, Sequence

from ..base import files, programs
from ..base.errors import O2cbError, join_problems
from ..base.systemd import Systemd
from . import conf as conf_file
from . import (
    configfs,
    devices,
    domains,
    heartbeats,
    keeping,
    kernel,
    model,
    observe,
    reach,
    slot_writer,
    sysconfig,
    turn,
    units,
)
from .blocks import Beats, Reading
from .configfs import ConfigFs
from .devices import Device
from .earlier_life import Written
from .model import PENDING, Node
from .plan import Plan, Step, Verb
from .proof import forget as forget_proof
from .slot_writer import Slot
from .state import Have, Live, LiveRegion

_EXTENT = re.compile(r"^\s*0\s+0\s+(?P<clusters>\d+)\s+(?P<block>\d+)\s", re.MULTILINE)


class System:
    """This machine. `run` executes a command given as a list and returns its exit code, output and errors."""

    def __init__(self, run: programs.Run = programs.run) -> None:
        self.run = run
        self.systemd = Systemd(run)
        self.configfs = ConfigFs()

    # what is

    def hostname(self) -> str:
        return os.uname().nodename

    def sysconfig_path(self) -> str:
        return sysconfig.path()

    def read(self) -> Have:
        path = self.sysconfig_path()
        return Have(
            hostname=self.hostname(),
            conf=files.read(conf_file.PATH),
            sysconfig=files.read(path),
            sysconfig_path=path,
            live=self.live(),
            stack=files.read_line(observe.STACK_FILE),
            missing_modules=kernel.missing(),
            in_use=tuple(domains.in_use()),
            unit=self._unit_state(),
        )

    def _unit_state(self) -> str:
        if not os.path.exists(units.DROP_IN):
            return ""
        return "active" if self.systemd.active(units.SERVICE) else "inactive"

    def live(self) -> Live | None:
        """The cluster in the kernel, or None when none is registered."""
        return observe.live(domains.joined())

    def beats(self, regions: Sequence[LiveRegion], numbers: Sequence[int]) -> Beats:
        """The heartbeat blocks of these node numbers, read past the page cache.

        Raises O2cbError, naming the region, when a disk does not answer.
        """
        return _whole(heartbeats.read(regions, numbers)).beats

    def slots(self, regions: Sequence[LiveRegion], own: int) -> Reading:
        """The heartbeat blocks of all numbers, and that of `own` byte by byte. Raises O2cbError as `beats` does."""
        return _whole(heartbeats.read(regions, range(model.MAX_NODE_NUMBER + 1), own=own))

    def write_pending(self) -> bool:
        """Whether a write into a slot of this node has not returned, of this process or an earlier one."""
        return slot_writer.pending()

    def write_slots(
        self, regions: Sequence[LiveRegion], own: int, new: Mapping[str, tuple[bytes, bytes]]
    ) -> Mapping[str, Written]:
        """Write into the slots of this node, by UUID of the region, where they hold what they should.

        Raises O2cbError when this kernel beats on one of the regions: the slot belongs to it then.
        """
        live = self.live()
        beating = [region.uuid for region in live.regions if region.started] if live else []
        slots = {}
        for region in regions:
            if region.uuid not in new:
                continue
            if region.uuid in beating:
                raise O2cbError(f"this node heartbeats on region {region.uuid}: its slot there is not written")
            place = (region.start_block + own) * region.block_bytes
            slots[region.uuid] = Slot(devices.preferred_path(region.device), place, *new[region.uuid])
        return dict(zip(slots, slot_writer.write(list(slots.values()))))

    def unreachable(self, own: Node, peers: Sequence[Node]) -> frozenset[int]:
        """The numbers of the peers to which no TCP connection can be made."""
        return reach.unreachable(own, peers)

    def region_geometry(self, device: Device) -> LiveRegion:
        """Where the heartbeat blocks lie.

        The one extent of the volume's system file `heartbeat` (libocfs2/heartbeat.c).
        """
        code, output, error = self.run(["debugfs.ocfs2", "-n", "-R", "stat //heartbeat", device.path])
        extent = _EXTENT.search(output.partition("## Offset")[2].partition("\n")[2])
        if code or extent is None:
            raise O2cbError(
                f"no heartbeat area on {device.path}: {(error or output).strip()[:200]}; "
                "if its formatting was broken off, wipe its first and last MiB and run this again"
            )
        block_bytes = devices.logical_block_size(device.kernel_name)
        start = int(extent.group("block")) * device.superblock.block_size
        return LiveRegion(device.superblock.uuid, device.kernel_name, block_bytes, start // block_bytes, 255)

    # what shall be

    def turn(self) -> AbstractContextManager[None]:
        """Held from before the node is looked at until the change is done: one change at a time on a node."""
        return turn.taken()

    def locate(self, plan: Plan) -> list[tuple[Device, LiveRegion]]:
        """Prove, before the first step, that every region to be started is on this node, and say where it lies."""
        uuids = [step.subject for step in plan.steps if step.verb is Verb.START_REGION]
        found = devices.find_regions(uuid for uuid in uuids if not uuid.startswith(PENDING))
        return [(device, self.region_geometry(device)) for device in found.values()]

    def apply(self, plan: Plan, located: Sequence[tuple[Device, LiveRegion]] = (), force: bool = False) -> None:
        """Carry out the steps in their order. The first that fails ends it.

        What was done stays, and a repeat goes on.
        """
        if any(step.verb is Verb.UNREGISTER for step in plan.steps):
            with keeping.domains_left():
                self._leave_domains(force)
                forget_proof()
                self._apply(plan, located)
        else:
            self._apply(plan, located)

    def _apply(self, plan: Plan, located: Sequence[tuple[Device, LiveRegion]]) -> None:
        steps = list(plan.steps)
        while steps:
            batch = [step.subject for step in takewhile(lambda step: step.verb is Verb.START_REGION, steps)]
            if batch:
                regions = [(device, region) for device, region in located if region.uuid in batch]
                self.configfs.start_regions(_name(plan), regions)
                del steps[: len(batch)]
            else:
                self._apply_one(plan, steps.pop(0))

    def _apply_one(self, plan: Plan, step: Step) -> None:
        going = plan.have.live.cluster.name if plan.have.live else _name(plan)
        actions: dict[Verb, Callable[[], None]] = {
            # Without a cluster there is no file, as before the first one.
            Verb.WRITE_CONF: lambda: (
                files.write(step.subject, step.value) if step.value else files.remove(step.subject)
            ),
            Verb.WRITE_SYSCONFIG: lambda: files.write(step.subject, step.value),
            Verb.LOAD_MODULE: lambda: kernel.load(step.subject, self.run),
            Verb.SELECT_STACK: lambda: self._select_stack(step.subject),
            Verb.REGISTER: lambda: self.configfs.register(step.subject),
            Verb.UNREGISTER: lambda: self.configfs.unregister(step.subject),
            Verb.SET: lambda: self.configfs.set(_name(plan), step.subject, step.value),
            Verb.ADD_NODE: lambda: self.configfs.add_node(_name(plan), _node_of(step)),
            Verb.REMOVE_NODE: lambda: self.configfs.remove_node(going, step.subject),
            Verb.CLAIM_NODE: lambda: self.configfs.claim_node(_name(plan), step.subject),
            Verb.STOP_REGION: lambda: self.configfs.stop_region(going, step.subject),
            Verb.START_UNIT: lambda: self.systemd.tell("start", step.subject),
            Verb.STOP_UNIT: lambda: self.systemd.tell("stop", step.subject),
        }
        actions[step.verb]()

    @staticmethod
    def _select_stack(stack: str) -> None:
        try:
            configfs.write_attribute(observe.STACK_FILE, stack)
        except OSError as error:
            active = files.read_line(observe.STACK_FILE)
            raise O2cbError(
                f"cannot make {stack} the cluster stack, {active!r} is ({error.strerror}): unmount what uses it first"
            ) from None

    @staticmethod
    def _leave_domains(force: bool) -> None:
        """Empty domains under a visible mount are left.

        A plan that would drop locks has been refused, unless forced.
        """
        for domain in domains.joined():
            if domain.mount:
                domains.leave(domain.name, domain.mount, force=force)


def _whole(reading: Reading) -> Reading:
    if reading.problems:
        raise O2cbError(join_problems(f"region {uuid}: {why}" for uuid, why in reading.problems.items()))
    return reading


def _name(plan: Plan) -> str:
    return plan.target.name if plan.target else ""


def _node_of(step: Step) -> Node:
    if step.node is None:
        raise O2cbError(f"the step '{step}' names no node")
    return step.node
