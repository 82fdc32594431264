# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in one thread: agents, links, locks and time, driven by one seed.

What is true of the real parts and matters to the bus: links keep their order and lose their end; a process that dies
drops its locks at once, a node that dies only when the others have evicted it; a node that was frozen for so long runs
for a moment after it thaws; a probe for a lock can make its owner's try fail; a watchdog kills what does not feed it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus import effects, frames
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.core import Core
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.effects import Effect
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.frames import Frame
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.log import BusFull
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.settings import Settings
from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.view import MESSAGE, NO_EPOCH, NOBODY, Epoch
from simulator.checks import Checks, History, Violation, show

SETTINGS = Settings(
    window=20,
    in_flight=6,
    queue=30,
    suspect_after=1.6,
    release_after=3.0,
    sit_out=4.0,
    evict_after=9.0,
    alive_patience=2.5,
    found_after=1.6,
    settle=5.0,
    backoff=0.5,
    most_backoff=4.0,
    longest_step=1.0,
)
TICK = 0.7
DEAD_TIME = 5.0
"""Seconds from the death or freeze of a node to its eviction by the others."""

WATCHDOG = 2.5
KEEPALIVE = 1.5
"""Seconds until a link that is cut is reported down."""

PAYLOAD = b"x"


class Process:
    """One agent. It lives until it is killed or gives up; its successor has the next incarnation."""

    __slots__ = (
        "branch",
        "bus",
        "cause",
        "core",
        "evicted",
        "fed",
        "frozen",
        "halted",
        "has_alive",
        "incarnation",
        "node",
        "position",
        "promised",
        "runs",
        "stuck",
        "thaw",
        "zombie",
    )

    def __init__(self, core: Core, now: float) -> None:
        self.core = core
        self.node = core.node
        self.incarnation = core.incarnation
        self.runs = True
        self.frozen = False
        self.halted = False
        """Its whole machine stands still: nothing on it can end it or start it anew."""
        self.stuck = False
        """Its loop runs, and does not read."""
        self.zombie = False
        """Its node is evicted."""
        self.evicted = ""
        self.has_alive = False
        self.fed = now
        self.thaw: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        """What came while it was frozen."""
        self.position = 0
        """The last one it delivered."""
        self.branch: History | None = None
        """The order it has part in, if not the one named by its history."""
        self.cause: Epoch | None = None
        """The epoch of the frame that it works on."""
        self.promised = NO_EPOCH
        """The last one, in the history `bus`."""
        self.bus = NOBODY

    def __str__(self) -> str:
        return f"{self.node}.{self.incarnation}"


class Channel:
    """One direction of a link, with the things under way in it: frames, and the link's own beginning and end."""

    __slots__ = ("connected", "ending", "held", "muted", "queue", "receiver", "scheduled", "sender")

    def __init__(self, sender: int, receiver: int) -> None:
        self.sender = sender
        self.receiver = receiver
        self.connected = False
        self.ending = False
        """Its end is still to be noticed."""
        self.muted = False
        """What is sent is lost, and nobody notices."""
        self.held = False
        """What is sent stays under way until it is let go."""
        self.scheduled = False
        self.queue: list[Frame | str] = []


LINK_UP = "up"
LINK_DOWN = "down"

Event = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class World:
    """The cluster. Events are run in the order of their times until `run` has reached the one it was given."""

    def __init__(
        self, seed: int, size: int, core: type[Core] = Core, settings: Settings = SETTINGS, trace: bool = False
    ) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.nodes = tuple(range(1, size + 1))
        self.make = core
        self.settings = settings
        self.checks = Checks(self)
        self.trace: list[str] | None = [] if trace else None
        self.events: list[Event] = []
        self.numbers = itertools.count()
        self.current: dict[int, Process | None] = dict.fromkeys(self.nodes)
        self.incarnations = dict.fromkeys(self.nodes, 0)
        self.down: dict[int, bool] = dict.fromkeys(self.nodes, False)
        self.evicted_nodes: dict[int, bool] = dict.fromkeys(self.nodes, False)
        self.went_down: dict[int, int] = dict.fromkeys(self.nodes, 0)
        """The last incarnation that was there when the node was evicted, by node."""
        self.slow = dict.fromkeys(self.nodes, 1.0)
        self.holders: dict[str | int, Process | None] = {}
        """Who holds `sequencer`, and by number `alive` of a node."""
        self.probed: dict[int, float] = dict.fromkeys(self.nodes, 0.0)
        """Until when a probe has the lock `alive` of a node."""
        self.channels = {
            (sender, receiver): Channel(sender, receiver)
            for sender in self.nodes
            for receiver in self.nodes
            if sender != receiver
        }
        self.cuts: dict[tuple[int, int], int] = {}
        """How many faults cut a pair of nodes."""
        self.stalls = 1.0
        """Above this chance what is sent is long under way, as when packets are sent again."""
        self.turn = 0
        """The only node that can get `sequencer` now; 0 is any."""
        self.healed = False
        self.sends = 0
        self.codec = seed % 16 == 0
        """Whether frames go through their form on the wire."""

    # Time

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.numbers), call, arguments))

    def until(self, condition: Callable[[], bool], most: float = 30.0) -> None:
        """Run until something is so; give up after so many seconds."""
        end = self.now + most
        while not condition() and self.now < end and self.events:
            self.run(self.events[0][0])

    def run(self, until: float) -> None:
        events = self.events
        while events and events[0][0] <= until:
            self.now, _number, call, arguments = heapq.heappop(events)
            call(*arguments)
        self.now = until

    def note(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:8.3f}  {text}")

    # Processes

    def running(self, node: int, incarnation: int) -> Process | None:
        process = self.current[node]
        return process if process and process.runs and process.incarnation == incarnation else None

    def processes(self) -> list[Process]:
        return [process for process in self.current.values() if process and process.runs]

    def start(self, node: int) -> None:
        """Start the agent of a node that has none."""
        process = self.current[node]
        if self.down[node] or (process and process.runs):
            return
        self.incarnations[node] += 1
        process = Process(self.make(node, self.incarnations[node], self.nodes, self.settings), self.now)
        self.current[node] = process
        self.note(f"start {process}")
        process.core.start(self.now)
        self.drain(process)
        for other in self.nodes:
            if other != node:
                self.after(0.05 + 0.3 * self.dice.random(), self.connect, node, other)
        self.after(TICK * self.dice.random(), self.tick, process)

    def tick(self, process: Process) -> None:
        if not process.runs:
            return
        self.after(TICK * (0.9 + 0.2 * self.dice.random()), self.tick, process)
        if process.frozen:
            return
        process.core.tick(self.now)
        self.drain(process)
        if self.now - process.fed > WATCHDOG and process.runs:
            self.note(f"watchdog {process}")
            self.kill(process)
        elif process.runs:
            self.checks.bounds(process)

    def wake(self, process: Process, call: Callable[..., None], *arguments: Any) -> None:
        """Let something happen to a process; if it is frozen, when it thaws."""
        if process.frozen:
            process.thaw.append((call, arguments))
        elif process.runs:
            call(*arguments)
            self.drain(process)

    def drain(self, process: Process) -> None:
        """Do what the core asks for."""
        for effect in process.core.drain():
            if isinstance(effect, effects.Send):
                self.send_frame(process, effect.peer, effect.frame)
            elif isinstance(effect, effects.Deliver):
                if self.trace is not None:
                    self.note(f"{process} delivers {effect.position} {show(effect.entry)}")
                self.checks.deliver(process, effect.position, effect.entry)
            else:
                self.do(process, effect)

    def do(self, process: Process, effect: Effect) -> None:
        if isinstance(effect, effects.Sent):
            self.checks.sent(process, effect)
        elif isinstance(effect, effects.Feed):
            process.fed = self.now
        elif isinstance(effect, effects.NewView):
            self.checks.new_view(process, effect)
        elif isinstance(effect, effects.Probe):
            self.probe(process, effect)
        elif isinstance(effect, effects.Take):
            self.after(0.02 + 0.2 * self.dice.random(), self.try_lock, process, effect.lock)
        elif isinstance(effect, effects.Release):
            self.note(f"{process} releases {effect.lock}")
            self.after(0.02 * self.dice.random(), self.free, effect.lock, process)
        elif isinstance(effect, effects.Evict):
            self.note(f"{process} gives up: {effect.reason}")
            process.evicted = effect.reason
            self.checks.gives_up(process, effect.reason)
            self.kill(process)
        elif self.trace is not None:
            self.note(f"{process} reports {effect}")

    def send(self, node: int, count: int = 1) -> None:
        """Let the agent of a node send messages, if it can."""
        process = self.current[node]
        if not process or not process.runs or process.frozen or process.evicted:
            return
        for _number in range(count):
            try:
                process.core.send("c", PAYLOAD)
            except BusFull:
                break
            self.sends += 1
        process.cause = None
        self.drain(process)

    # Links

    def send_frame(self, process: Process, receiver: int, frame: Frame) -> None:
        kind = type(frame)
        if (kind is frames.Promise or kind is frames.Collect) and frame.accepted != NO_EPOCH:  # type: ignore[union-attr]
            process.promised, process.bus = frame.epoch, process.core.history  # type: ignore[union-attr]
        elif kind is frames.Ordered and frame.entry.kind != MESSAGE:  # type: ignore[union-attr]
            self.checks.numbers(process, frame.entry)  # type: ignore[union-attr]
        if receiver == process.node:
            if not process.stuck:
                process.core.receive(receiver, frame)
            return
        channel = self.channels[process.node, receiver]
        if not channel.connected or channel.muted:
            return
        if self.codec:
            frame = frames.decode(frames.encode(frame))
        if self.trace is not None:
            self.note(f"{process} -> {receiver} {frame}")
        channel.queue.append(frame)
        if not channel.scheduled:
            self.schedule(channel)

    def schedule(self, channel: Channel) -> None:
        channel.scheduled = True
        chance = self.dice.random()
        delay = (0.002 + 0.1 * chance * chance) * self.slow[channel.sender] * self.slow[channel.receiver]
        if chance > self.stalls:
            delay += 2.5 * self.dice.random()
        self.after(delay, self.arrive, channel)

    def arrive(self, channel: Channel) -> None:
        """Hand over what has come, which may be only a part of what is under way."""
        channel.scheduled = False
        queue = channel.queue
        process = self.current[channel.receiver]
        if channel.held or not queue:
            return
        if process and process.runs and (process.frozen or process.stuck):
            return
        count = len(queue)
        if count > 1 and self.dice.random() < 0.3:
            count = 1 + int(self.dice.random() * count)
        batch, channel.queue = queue[:count], queue[count:]
        if channel.queue:
            self.schedule(channel)
        if process is None or not process.runs:
            return
        core, sender = process.core, channel.sender
        for item in batch:
            if item is LINK_UP:
                process.cause = None
                core.link_up(sender)
            elif item is LINK_DOWN:
                process.cause = None
                core.link_down(sender)
            else:
                process.cause = getattr(item, "epoch", None)
                core.receive(sender, item)  # type: ignore[arg-type]
                if process.evicted:
                    break
        self.drain(process)
        process.cause = None

    def put(self, channel: Channel, item: str) -> None:
        channel.queue.append(item)
        if not channel.scheduled:
            self.schedule(channel)

    def connect(self, one: int, other: int) -> None:
        """Link two nodes if both have an agent and nothing is in the way."""
        there, back = self.channels[one, other], self.channels[other, one]
        first, second = self.current[one], self.current[other]
        if there.connected or not first or not second or not first.runs or not second.runs:
            return
        if self.cuts.get((min(one, other), max(one, other))):
            return
        self.notice_end(there)
        self.notice_end(back)
        there.connected = back.connected = True
        self.put(there, LINK_UP)
        self.put(back, LINK_UP)

    def disconnect(self, one: int, other: int, delay: float = 0.0) -> None:
        """End a link: of what is under way the end is lost, and each side notices in its own time."""
        for channel in (self.channels[one, other], self.channels[other, one]):
            if channel.connected:
                channel.connected = False
                arriving = int(self.dice.random() * (len(channel.queue) + 1))
                channel.queue = [
                    item for index, item in enumerate(channel.queue) if index < arriving or isinstance(item, str)
                ]
                channel.ending = True
                self.after(delay * (0.5 + self.dice.random()), self.notice_end, channel)
        self.after(delay * 1.5 + 0.1 + self.dice.random(), self.connect, one, other)

    def notice_end(self, channel: Channel) -> None:
        if channel.ending:
            channel.ending = False
            self.put(channel, LINK_DOWN)

    def cut(self, one: int, other: int, seconds: float = 0.0) -> None:
        """Nothing passes between two nodes, for so long, or until `heal`."""
        pair = min(one, other), max(one, other)
        self.note(f"cut {pair} for {seconds:.1f}")
        self.cuts[pair] = self.cuts.get(pair, 0) + 1
        self.disconnect(one, other, KEEPALIVE)
        if seconds:
            self.after(seconds, self.heal, one, other)

    def heal(self, one: int, other: int) -> None:
        pair = min(one, other), max(one, other)
        self.note(f"heal {pair}")
        if self.cuts.get(pair):
            self.cuts[pair] -= 1
        self.connect(one, other)

    def mute(self, sender: int, receiver: int, seconds: float = 0.0, noticed: bool = False) -> None:
        """One direction loses everything. The transport may notice, by its keepalive, or not."""
        self.note(f"mute {sender} to {receiver} for {seconds:.1f}")
        self.channels[sender, receiver].muted = True
        if noticed:
            self.after(KEEPALIVE, self.disconnect, sender, receiver)
        if seconds:
            self.after(seconds, self.unmute, sender, receiver)

    def unmute(self, sender: int, receiver: int) -> None:
        self.note(f"unmute {sender} to {receiver}")
        self.channels[sender, receiver].muted = False
        self.disconnect(sender, receiver)

    def hold(self, sender: int, receiver: int) -> None:
        self.channels[sender, receiver].held = True

    def let_go(self, sender: int, receiver: int) -> None:
        channel = self.channels[sender, receiver]
        channel.held = False
        if not channel.scheduled:
            self.schedule(channel)

    # Faults

    def kill(self, process: Process, restart: bool = True) -> None:
        """The end of an agent: its locks are free in a moment, and it comes again."""
        if not process.runs:
            return
        self.note(f"end of {process}")
        process.runs = False
        node = process.node
        for other in self.nodes:
            if other != node:
                self.disconnect(node, other, 0.05 if not self.down[node] else KEEPALIVE)
        if not self.down[node] and not process.zombie:
            for lock, holder in list(self.holders.items()):
                if holder is process:
                    self.after(0.3 * self.dice.random(), self.free, lock, process)
        if restart and not self.down[node]:
            self.after(0.3 + 2 * self.dice.random(), self.start, node)

    def crash(self, node: int) -> None:
        """Kill the agent of a node, unless the machine stands still."""
        process = self.current[node]
        if process and not process.halted:
            self.kill(process)

    def crash_node(self, node: int, boot_after: float = 0.0) -> None:
        """The machine dies, and is evicted after the dead time."""
        if self.down[node]:
            return
        self.note(f"node {node} dies")
        self.down[node] = True
        process = self.current[node]
        if process:
            self.kill(process)
        self.after(DEAD_TIME * (1 + 0.2 * self.dice.random()), self.evict_node, node, process)
        if boot_after:
            self.after(max(boot_after, 1.3 * DEAD_TIME), self.boot, node)

    def evict_node(self, node: int, process: Process | None) -> None:
        """The other nodes take the locks of a dead or frozen one."""
        if process and not process.runs and not self.down[node]:
            return
        if process and process.runs and not process.frozen:
            return
        self.note(f"node {node} is evicted")
        self.evicted_nodes[node] = True
        self.went_down[node] = self.incarnations[node]
        if process:
            process.zombie = True
            for lock, holder in list(self.holders.items()):
                if holder is process:
                    self.free(lock, process)

    def boot(self, node: int) -> None:
        self.note(f"node {node} boots")
        self.down[node] = self.evicted_nodes[node] = False
        self.start(node)

    def freeze(self, node: int, seconds: float) -> None:
        """Stop the agent. The watchdog kills it if that lasts."""
        process = self.current[node]
        if process and process.runs and not process.frozen:
            self.note(f"freeze {process} for {seconds:.1f}")
            process.frozen = True
            if seconds > WATCHDOG:
                self.after(WATCHDOG, self.kill, process)
            else:
                self.after(seconds, self.unfreeze, process)

    def freeze_node(self, node: int, seconds: float) -> None:
        """Stop the machine. Beyond the dead time it is evicted, and dies a moment after it thaws."""
        process = self.current[node]
        if process and process.runs and not process.frozen:
            self.note(f"freeze node {node} for {seconds:.1f}")
            process.frozen = process.halted = True
            if self.dice.random() < 0.5:
                for other in self.nodes:
                    if other != node:
                        self.after(KEEPALIVE, self.disconnect, node, other)
            self.after(DEAD_TIME, self.evict_node, node, process)
            self.after(seconds, self.unfreeze, process)

    def unfreeze(self, process: Process) -> None:
        if not process.runs or not process.frozen:
            return
        self.note(f"thaw {process}")
        process.frozen = process.halted = False
        process.fed = self.now
        if process.zombie:
            self.after(0.02 + 0.8 * self.dice.random(), self.fence, process)
        waiting, process.thaw = process.thaw, []
        for channel in self.channels.values():
            if channel.receiver == process.node and channel.queue and not channel.scheduled:
                self.schedule(channel)
        for call, arguments in waiting:
            self.wake(process, call, *arguments)
        if process.runs and process.zombie and self.dice.random() < 0.5:
            self.send(process.node, 2)

    def fence(self, process: Process) -> None:
        """The kernel of an evicted node resets it."""
        if process.runs or self.current[process.node] is process:
            self.note(f"node {process.node} fences itself")
            self.down[process.node] = True
            self.kill(process)
            self.after(2.0, self.boot, process.node)

    def jam(self, node: int) -> None:
        """The agent's loop goes on, and reads nothing any more."""
        process = self.current[node]
        if process and process.runs:
            self.note(f"jam {process}")
            process.stuck = True

    def lose_sequencer(self) -> None:
        """The lock of a living holder is lost."""
        holder = self.holders.get(effects.SEQUENCER)
        if holder and holder.runs and not holder.frozen:
            self.note(f"{holder} loses sequencer")
            self.free(effects.SEQUENCER, holder)
            self.wake(holder, holder.core.lost, effects.SEQUENCER)

    # Locks

    def holds_alive(self, node: int, incarnation: int) -> bool:
        holder = self.holders.get(node)
        return holder is not None and holder.incarnation == incarnation

    def node_was_down(self, node: int, incarnation: int) -> bool:
        return self.went_down[node] >= incarnation

    def key(self, process: Process, lock: str) -> str | int:
        return process.node if lock == effects.ALIVE else lock

    def try_lock(self, process: Process, lock: str) -> None:
        if not process.runs or process.zombie:
            return
        key = self.key(process, lock)
        holder = self.holders.get(key)
        if holder and self.down[holder.node] and self.dice.random() < 0.5:
            # A try can sleep until the dead node is evicted.
            self.after(0.5, self.try_lock, process, lock)
        elif (
            holder
            or (lock == effects.ALIVE and self.probed[process.node] > self.now)
            or (lock == effects.SEQUENCER and self.turn not in (0, process.node))
        ):
            self.note(f"{process} is refused {lock}")
            self.wake(process, process.core.refused, lock)
        else:
            self.note(f"{process} gets {lock}")
            self.holders[key] = process
            process.has_alive = process.has_alive or lock == effects.ALIVE
            self.wake(process, process.core.granted, lock)

    def free(self, lock: str | int, process: Process) -> None:
        key = self.key(process, lock) if isinstance(lock, str) else lock
        if self.holders.get(key) is process:
            self.note(f"{lock} of {process} is free")
            self.holders[key] = None
            if isinstance(key, int):
                process.has_alive = False

    def probe(self, process: Process, effect: effects.Probe) -> None:
        delay = 0.01 + 0.3 * self.dice.random()
        begin = delay * self.dice.random()
        self.after(begin, self.look, process, effect, delay - begin)

    def look(self, process: Process, effect: effects.Probe, rest: float) -> None:
        """The lock is tried now; the answer comes later, when it may be true no more."""
        if process.zombie:
            return
        lock, node = effect.lock, effect.node
        if lock == effects.NODE:
            free = self.evicted_nodes[node]
        else:
            free = self.holders.get(node) is None
            if free:
                self.probed[node] = self.now + 0.05
        if self.dice.random() < 0.1:
            rest += 3 * self.dice.random()
        answer = process.core.proven if free else process.core.held
        self.after(rest, self.wake, process, answer, lock, node, effect.incarnation)


__all__ = ["SETTINGS", "Process", "Violation", "World"]
