# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Coming online without harming the nodes that are online already.

A node that joins with a wrong setting does not only fail itself: while it heartbeats and is not connected, no node can
join any new domain for 60 s at a time. So, before the first beat:

* nobody else may be beating in this node's slot (two machines with one number),
* the others have evicted this node's earlier life if that has crashed (`earlier_life`),
* nobody may be beating that our table of nodes does not have,
* the dead threshold that live nodes write into their blocks must be ours,
* every node that is alive on disk must be within reach of a TCP connection,

and after it every node that is alive on disk must be connected within the idle timeout, else this node goes offline
again and says who refused it. The idle timeout and the keepalive of a peer are not on disk; it is the peer that refuses
us then. What is refused before the first beat may be tried again at any time; what is refused after it must not be
before somebody has mended the settings, since each attempt does that harm (`Refused`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Callable, Collection, Sequence

from ..base.errors import O2cbError, join_problems
from . import blocks, earlier_life, model
from . import plan as planning
from .blocks import Beats, Reading
from .earlier_life import Life, Look, Pause, Say, Sight, Write
from .model import PENDING, Cluster, Node
from .plan import Plan, Verb
from .state import LiveRegion
from .system import System


class Refused(O2cbError):
    """A live peer does not talk to this node, which went offline again. Each further attempt harms the others."""


def _nobody(text: str) -> None:
    """Nobody is told."""


def carry_out(system: System, plan: Plan, force: bool = False, say: Callable[[str], None] = _nobody) -> None:
    """Carry out a plan; where it brings this node online, with the checks before and after.

    From the first beat on, a failure takes the node offline again. Before it, what was done stays: it harms nobody.
    `say` is told what the end of an earlier life takes time for.
    """
    pending = [region for region in (plan.target.regions if plan.target else ()) if region.startswith(PENDING)]
    if pending:
        raise O2cbError(f"{', '.join(pending)} is a region of check mode only: format it and give its UUID")
    located = system.locate(plan)
    target = plan.target
    local = model.local_node(target.nodes, plan.have.hostname) if target else None
    live = plan.have.live
    joins = bool(located) and local is not None and not (live and live.online and plan.scope is planning.Scope.ONLINE)
    regions = [region for _device, region in located]
    if target is None or local is None or not joins:
        if target is not None and local is not None and located:
            end_earlier_life(system, regions, local, target, system.slots(regions, local.number), say)
        system.apply(plan, located, force)
        return
    everybody = range(model.MAX_NODE_NUMBER + 1)
    own_beats = bool(live and live.online)
    first_look = system.slots(regions, local.number)
    before, looked = first_look.beats, time.monotonic()
    if not own_beats:
        end_earlier_life(system, regions, local, target, first_look, say)
        doubtful = suspicious(before, local, target)
        if doubtful or system.unreachable(local, perhaps_alive(before, local, target)):
            time.sleep(max(0.0, blocks.PROBE_SECONDS - (time.monotonic() - looked)))
            now = system.beats(regions, everybody)
            refuse_conflicts(before, now, local, target)
            # Asked again: a node that has come in between listens since before its first beat.
            alive = [node for node in target.nodes if node.number in alive_peers(before, now, local)]
            refuse_out_of_reach(system.unreachable(local, alive), local, target)
    starts = [step for step in plan.steps if step.verb is Verb.START_UNIT]
    first = [step.verb for step in plan.steps].index(Verb.START_REGION)
    system.apply(replace(plan, steps=plan.steps[:first]), located, force)
    if own_beats:
        # It has left its regions by now, in good order unless the kernel could not write that.
        end_earlier_life(system, regions, local, target, system.slots(regions, local.number), say)
    try:
        joining = tuple(step for step in plan.steps[first:] if step not in starts)
        system.apply(replace(plan, steps=joining), located, force)
        wait_for_connections(system, before, local, target)
        system.apply(replace(plan, steps=tuple(starts)))
    except O2cbError as error:
        try:
            system.apply(planning.leaves(system.read(), target.name))
        except O2cbError as second:
            raise O2cbError(f"{error}; and it could not go offline again: {second}", **error.facts) from error
        raise


def end_earlier_life(
    system: System, regions: Sequence[LiveRegion], own: Node, want: Cluster, first: Reading, say: Callable[[str], None]
) -> None:
    """End what this node left on these regions when it crashed: `earlier_life` decides, this does as it says.

    `first` is a reading of these regions, on which this node does not beat. Raises O2cbError when it must not.
    """
    if system.write_pending():
        raise O2cbError(
            f"an earlier start of {own.name} wrote into its slot on a heartbeat region, and that write has not "
            f"returned: it may land when {own.name} lives again, and evict it. {own.name} does not heartbeat before it "
            "has: mend the storage path, or reboot"
        )
    life = Life(own.name, own.number, want.timeouts.dead_ms, {node.number: node.name for node in want.nodes})
    steps = earlier_life.end(life, Sight(time.monotonic(), first.beats, first.own))
    answer: Any = None
    while True:
        try:
            ask = steps.send(answer)
        except StopIteration:
            return
        answer = None
        if isinstance(ask, Look):
            reading = system.slots(regions, own.number)
            answer = Sight(time.monotonic(), reading.beats, reading.own)
        elif isinstance(ask, Pause):
            time.sleep(ask.seconds)
        elif isinstance(ask, Write):
            answer = system.write_slots(regions, own.number, ask.blocks)
        elif isinstance(ask, Say):
            say(ask.text)


def suspicious(beats: Beats, own: Node, want: Cluster) -> bool:
    """Whether one reading shows something that only a second one can tell from what a crash left behind."""
    others = {node.number for node in want.nodes} - {own.number}
    return any(
        not beat.left and (number not in others or beat.dead_ms != want.timeouts.dead_ms)
        for region in beats.values()
        for number, beat in region.items()
    )


def refuse_conflicts(before: Beats, now: Beats, own: Node, want: Cluster) -> None:
    """Raise O2cbError when somebody beats with our number or an unknown one, or with another dead threshold."""
    found = []
    names = {node.number: node.name for node in want.nodes}
    for uuid, beats in now.items():
        for number in blocks.alive(before.get(uuid, {}), beats):
            if number not in names:
                found.append(
                    f"a machine heartbeats as node number {number} on region {uuid}, which no node of cluster "
                    f"{want.name} is: name it among the nodes, or stop that machine"
                )
                continue
            seconds = beats[number].dead_ms / 1000
            if number == own.number:
                found.append(
                    f"another machine heartbeats as node number {number} on region {uuid}: "
                    f"give {own.name} a number of its own, or stop the other machine"
                )
            elif beats[number].dead_ms != want.timeouts.dead_ms:
                found.append(
                    f"node {names[number]} is live with a dead threshold of {int(seconds / 2)} ({seconds:g} s), and "
                    f"{own.name} is to have {want.timeouts.heartbeat_dead_threshold}: it must be the same on all, "
                    "take all nodes offline to change it"
                )
    if found:
        raise O2cbError(join_problems(dict.fromkeys(found)))


def perhaps_alive(beats: Beats, own: Node, want: Cluster) -> list[Node]:
    """The other nodes that have a beat on disk which is no orderly leave: alive, or crashed."""
    found = {number for region in beats.values() for number, beat in region.items() if not beat.left}
    return [node for node in want.nodes if node.number in found and node.number != own.number]


def refuse_out_of_reach(numbers: Collection[int], own: Node, want: Cluster) -> None:
    """Raise O2cbError naming the live nodes to which no TCP connection could be made."""
    peers = [f"{node.name} ({node.address}:{node.port})" for node in want.nodes if node.number in numbers]
    if peers:
        raise O2cbError(
            f"{', '.join(peers)} is live and cannot be reached from {own.name} ({own.address}), which would block the "
            "others if it heartbeat: mend the network, the addresses, or the firewall between them"
        )


def wait_for_connections(system: System, before: Beats, own: Node, want: Cluster) -> None:
    """Wait until each live peer is connected. Raises O2cbError naming those that are not.

    `before` was read ahead of the start of the regions, which takes longer than two beats, so that the first reading
    here already tells who lives. A connection counts when two readings saw it: a peer that refuses the handshake has
    one too, for some milliseconds at each attempt.
    """
    seen: frozenset[int] = frozenset()
    deadline = time.monotonic() + max(want.timeouts.idle_timeout_ms, 30000) / 1000
    while True:
        live = system.live()
        if live is None or not live.online:
            raise O2cbError(f"{own.name} does not heartbeat although all steps were done: see the kernel's log")
        missing = alive_peers(before, system.beats(_started(live.regions), [n.number for n in want.nodes]), own)
        missing = [number for number in missing if number not in live.connected & seen]
        seen = live.connected
        if not missing:
            return
        if time.monotonic() > deadline:
            names = ", ".join(node.name for node in want.nodes if node.number in missing)
            raise Refused(
                f"{own.name} heartbeats and has no connection to {names}, so it went offline again, not to block "
                f"the others: compare idle_timeout_ms and keepalive_delay_ms there (they must be equal), the address, "
                f"and the firewall (TCP port {own.port}); the peer's kernel log names the reason"
            )
        time.sleep(0.25)


def alive_peers(before: Beats, now: Beats, own: Node) -> list[int]:
    """The other nodes that beat on any region between the two readings."""
    return sorted(blocks.alive_on_any(before, now) - {own.number})


def _started(regions: Sequence[LiveRegion]) -> list[LiveRegion]:
    return [region for region in regions if region.started]
