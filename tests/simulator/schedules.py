# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ten schedules that break a naive ordered bus, by name. Each is played step by step, and is harmless only because
of the rule that its mutants lack."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import effects
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.core import Core
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.sequencer import Sequencer
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.settings import Settings
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.view import NO_EPOCH
from simulator.checks import Violation
from simulator.runs import settle
from simulator.world import DEAD_TIME, SETTINGS, Process, World


class Late(World):
    """Probes look at once, and are long in answering."""

    def look(self, process: Process, effect: effects.Probe, rest: float) -> None:
        super().look(process, effect, 3.0)


def cluster(
    core: type[Core], size: int, make: type[World] = World, settings: Settings = SETTINGS, members: int = 0
) -> World:
    """A bus whose sequencer is node 1, with so many members, or all."""
    world = make(1, size, core, settings, trace=True)
    world.start(1)
    world.until(lambda: agent(world, 1).position > 0)
    for node in world.nodes[1 : members or size]:
        world.start(node)
    world.until(lambda: all(agent(world, node).position > 0 for node in world.nodes[: members or size]))
    world.run(world.now + 2)
    return world


def agent(world: World, node: int) -> Process:
    process = world.current[node]
    assert process is not None
    return process


def leads(world: World, node: int) -> bool:
    return isinstance(agent(world, node).core.role, Sequencer)


def knows_leader(world: World, node: int, peer: int) -> bool:
    link = agent(world, node).core.links.get(peer)
    return link is not None and link.leads != NO_EPOCH


def lose(world: World, sender: int, receiver: int) -> None:
    """What is under way there never comes."""
    channel = world.channels[sender, receiver]
    channel.queue = [item for item in channel.queue if isinstance(item, str)]


def through(world: World, *nodes: int) -> None:
    """The messages of these nodes are through, and their agents are the first they had."""
    for node in nodes:
        process = agent(world, node)
        if process.incarnation > 1:
            raise Violation("the sick one goes", f"agent {node} went, and it was another that was sick")
        if process.core.outbox.messages:
            raise Violation("others go on", f"{process} waits for {len(process.core.outbox.messages)} messages")


def b1(core: type[Core]) -> World:
    """A sequencer dies when only one member has a message, and the sender submits it again to the next."""
    world = cluster(core, 3)
    world.hold(1, 3)
    world.send(3)
    world.run(world.now + 0.5)
    lose(world, 1, 3)
    world.crash(1)
    world.let_go(1, 3)
    settle(world)
    return world


def b2(core: type[Core]) -> World:
    """Nearly all cannot reach the sequencer: it is the sick one."""
    world = cluster(core, 5)
    for node in (3, 4, 5):
        world.cut(1, node)
    for node in (2, 3, 4, 5):
        world.send(node, 2)
    world.run(world.now + 45)
    through(world, 2, 3, 4, 5)
    settle(world)
    return world


def b3(core: type[Core]) -> World:
    """One asks to join, and hears no answer: the others are not to wait for it."""
    world = cluster(core, 3)
    world.crash(3)
    world.until(lambda: agent(world, 3).runs and knows_leader(world, 3, 1))
    world.mute(1, 3)
    world.run(world.now + 1)
    world.send(2, 3)
    world.run(world.now + 5)
    through(world, 1, 2)
    settle(world)
    return world


def b4(core: type[Core]) -> World:
    """An agent is back before anybody could prove that it was gone."""
    world = cluster(core, 3)
    world.hold(3, 1)
    world.kill(agent(world, 3), restart=False)
    world.run(world.now + 0.5)
    world.start(3)
    world.until(lambda: agent(world, 3).has_alive)
    world.let_go(3, 1)
    world.run(world.now + 3)
    settle(world)
    return world


def b4_late(core: type[Core]) -> World:
    """The proof that an agent is gone comes when its next incarnation is there."""
    world = cluster(core, 3, Late)
    gone = agent(world, 3)
    world.kill(gone, restart=False)
    world.free(3, gone)
    world.run(world.now + 0.8)
    world.start(3)
    world.run(world.now + 6)
    settle(world)
    return world


def b5(core: type[Core]) -> World:
    """A sequencer opens an epoch and dies; the next has not heard of it; frames of the first come late."""
    world = cluster(core, 4)
    world.turn = 2
    world.kill(agent(world, 1), restart=False)
    world.until(lambda: leads(world, 2))
    world.hold(2, 3)
    lose(world, 2, 3)
    world.until(lambda: agent(world, 4).core.accepted[1] == 2)
    world.run(world.now + 0.3)
    world.hold(2, 4)
    world.send(2, 4)
    late = list(world.channels[2, 4].queue)
    world.turn = 3
    world.kill(agent(world, 2), restart=False)
    world.channels[2, 4].queue = [*late, *(item for item in world.channels[2, 4].queue if isinstance(item, str))]
    world.let_go(2, 3)
    world.until(lambda: leads(world, 3) and agent(world, 4).core.accepted == agent(world, 3).core.accepted)
    world.hold(3, 4)
    world.let_go(2, 4)
    world.run(world.now + 0.5)
    world.send(3, 4)
    world.run(world.now + 0.2)
    world.let_go(3, 4)
    world.run(world.now + 3)
    world.turn = 0
    world.start(1)
    world.start(2)
    settle(world)
    return world


def b5_suspect(core: type[Core]) -> World:
    """A member cannot be reached when the next sequencer collects: without its reply it could never be brought in."""
    world = cluster(core, 4)
    world.cut(2, 3)
    world.run(world.now + 3)
    world.turn = 2
    world.kill(agent(world, 1), restart=False)
    world.run(world.now + 2)
    world.send(3, 2)
    world.turn = 0
    world.start(1)
    settle(world)
    through(world, 2, 3, 4)
    return world


def b6(core: type[Core]) -> World:
    """A sequencer dies while a join is numbered that the new one has not got."""
    world = cluster(core, 3, members=2)
    world.start(3)
    world.until(lambda: agent(world, 3).core.phase == Core.LEARNING)
    world.hold(1, 3)
    world.run(world.now + 1.2)
    lose(world, 1, 3)
    world.crash(1)
    world.let_go(1, 3)
    settle(world)
    return world


def b6_told(core: type[Core]) -> World:
    """The new one has its join and a message, was not told that it is a member, and the only other one dies."""
    world = cluster(core, 2, members=1)
    world.start(2)
    world.until(lambda: agent(world, 2).core.joined > 0)
    world.hold(2, 1)
    world.send(1)
    world.run(world.now + 0.3)
    world.hold(1, 2)
    world.let_go(2, 1)
    world.run(world.now + 0.5)
    lose(world, 1, 2)
    world.crash(1)
    world.let_go(1, 2)
    settle(world)
    return world


def b7(core: type[Core]) -> World:
    """Messages of a member wait at the sequencer when its down is numbered."""
    world = cluster(core, 3, settings=SETTINGS._replace(window=4))
    world.freeze_node(2, DEAD_TIME * 0.8)
    world.send(3, 6)
    world.run(world.now + 0.5)
    world.crash(3)
    world.run(world.now + 6)
    settle(world)
    return world


def b8(core: type[Core]) -> World:
    """A member's loop goes on, and does nothing."""
    world = cluster(core, 3)
    world.jam(2)
    world.send(1, 3)
    world.send(3, 3)
    world.run(world.now + 20)
    through(world, 1, 3)
    settle(world)
    return world


def b9(core: type[Core]) -> World:
    """A frozen sequencer, to which all acknowledgements are under way, thaws in the middle of the takeover."""
    world = cluster(core, 4)
    old = agent(world, 1)
    top = old.core.log.top
    world.send(1)
    world.until(lambda: agent(world, 2).core.log.top > top)
    old.frozen = True
    world.run(world.now + 0.5)
    acks = list(world.channels[2, 1].queue)
    world.after(DEAD_TIME, world.evict_node, 1, old)
    world.turn = 2
    world.hold(4, 2)
    world.until(lambda: agent(world, 3).core.promised[1] == 2)
    world.run(world.now + 0.2)
    world.channels[2, 1].queue = acks
    world.unfreeze(old)
    world.run(world.now + 0.5)
    world.let_go(4, 2)
    world.turn = 0
    settle(world)
    return world


def b10(core: type[Core]) -> World:
    """A probe has the lock `alive` at the moment at which its owner comes back."""
    world = cluster(core, 3)
    world.kill(agent(world, 3), restart=False)
    world.run(world.now + 2)
    world.probed[3] = world.now + 0.5
    world.start(3)
    settle(world)
    return world


class Schedule(NamedTuple):
    play: Callable[[type[Core]], World]
    mutants: tuple[str, ...]


SCHEDULES = {
    "B1": Schedule(b1, ("b1-forgets-ids",)),
    "B2": Schedule(b2, ("b2-blames-itself",)),
    "B3": Schedule(b3, ("b3-joins-unproved",)),
    "B4": Schedule(b4, ("b4-deaf-to-hello", "b4-joins-before-down")),
    "B4, late": Schedule(b4_late, ("b4-probes-anyone",)),
    "B5": Schedule(b5, ("b5-one-epoch",)),
    "B5, suspect": Schedule(b5_suspect, ("b5-leaves-out-suspects",)),
    "B6": Schedule(b6, ("b6-without-the-new",)),
    "B6, told": Schedule(b6_told, ("b6-ahead-of-its-join",)),
    "B7": Schedule(b7, ("b7-hears-the-dead",)),
    "B8": Schedule(b8, ("b8-feeds-anyway",)),
    "B9": Schedule(b9, ("b9-acks-after-promise",)),
    "B10": Schedule(b10, ("b10-gives-up-at-once",)),
}
