# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2agent: the daemon that runs each resource on exactly one node.

It owns no lock: o2keep does, and so nothing happens to a service when this process dies. What it should do is decided
anew at each turn from what is (see `election`): the next process goes on where this one ended.

systemd's watchdog is fed only while every resource makes progress. If the agent cannot come back at all, systemd starts
o2agent-stop.service, which stops what runs here, proves it and releases the locks, with the copy of the program and of
the definitions that the agent has left in /run.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from ..base import files, journal, notify, tasks
from ..base.errors import O2cbError
from ..client.keep_aio import Locks
from ..o2cb import observe
from ..resources.actions import Actions, run
from ..resources.resource import Resource
from ..resources.runner import HELD, Runner
from ..transport.links import Peer
from . import configuration, message_verbs, service
from .configuration import HAND_OVER, Settings
from .errands import Errands
from .exchange import Exchange
from .hooks import Hooks
from .message_verbs import MessageVerbs
from .place import Place
from .server import Server, Verbs

ONLY_ONE = f"{service.RUN}/lock"

WATCH_SECONDS = 2.0
JUMP_SECONDS = 1.0
"""When the clocks disagree by more about how long a turn took, the machine was asleep or its clock was set."""

RELEASE_SECONDS = 600.0
LEAVE_SECONDS = 5.0
LOCK_PREFIX = "resource:"


class Agent:
    """All resources of this node."""

    def __init__(self) -> None:
        self.settings = Settings()
        self._locks, self._actions = Locks(), Actions()
        self._runners: dict[str, Runner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._nodes: Mapping[str, int] = {}
        self._peers: Mapping[int, Peer] = {}
        self._me = ""
        self._exchange = Exchange(lambda node: self._peers[node].name if node in self._peers else None)
        self._place = Place(self._exchange, self._locks, self._online, lambda: self.settings)
        self._errands = Errands(self._exchange, self._runners)
        self._hooks = Hooks(lambda: self._exchange.membership.quorate)
        self._ending = asyncio.Event()
        self._notify = os.environ.get("NOTIFY_SOCKET", "")
        reading = {"resources": self._resources, "status": self._status}
        orders = {
            "move": self._move,
            "clear": self._clear,
            "drain": self._drain,
            "resume": self._resume,
            "reload": self._reload,
            "leave": self._leave,
        }
        messages = MessageVerbs(self._exchange, lambda: self._peers)
        verbs = Verbs(
            answers={**reading, **orders, **messages.answers()},
            streams=messages.streams(),
            reading=frozenset(reading) | message_verbs.READING,
            side_by_side=message_verbs.SIDE_BY_SIDE,
        )
        self._server = Server(verbs)

    async def run(self) -> None:
        """Until SIGTERM; then resources go on or go elsewhere, as configured, and elsewhere when the machine stops."""
        self.settings, wanted = configuration.settings(), configuration.resources()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(self._reload_quietly()))
        _leave_copy()
        await self._server.open()
        self._server.allow(self.settings)
        self._exchange.on_event(self._hooks.event)
        self._hooks.start()
        watching = asyncio.ensure_future(self._watch())
        messaging = asyncio.ensure_future(self._supervise_bus())
        self._tell("READY=1")
        try:
            if await self._until_online():
                await self._adopt(wanted)
                await self._ending.wait()
                await self._end()
        finally:
            self._server.close()
            await tasks.end([watching, messaging])

    async def _supervise_bus(self) -> None:
        """A fault of the program itself ends the agent, as with a resource."""
        try:
            await self._place.keep()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, it must be seen, and not leave a node mute
            journal.write(f"the bus: {error!r}: the agent starts again", journal.ALERT)
            os._exit(1)

    # the cluster

    async def _until_online(self) -> bool:
        """Wait for the cluster and o2keep. False when the agent is stopped meanwhile."""
        said = ""
        while not self._ending.is_set():
            try:
                self._look_at_cluster()
                await self._locks.held()
                return True
            except O2cbError as error:
                if str(error) != said:
                    journal.write(f"waits: {error}", journal.WARNING)
                said = str(error)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1.0)
        return False

    def _look_at_cluster(self) -> None:
        live = observe.live(())
        if live is None or not live.online or live.local is None:
            raise O2cbError("this node is not online in an o2cb cluster: see `systemctl status o2cb`")
        self._nodes = {node.name: node.number for node in live.cluster.nodes}
        self._peers = {node.number: Peer(node.number, node.name, node.address) for node in live.cluster.nodes}
        self._me = live.local

    def _online(self) -> tuple[Peer, Mapping[int, Peer]]:
        """This node and all nodes of the cluster. Raises O2cbError when it is not online."""
        self._look_at_cluster()
        return self._peers[self._nodes[self._me]], self._peers

    async def _adopt(self, wanted: Mapping[str, Resource]) -> None:
        """What is configured, what this node holds, and what it has begun: each gets its runner."""
        held = [name[len(LOCK_PREFIX) :] for name in await self._locks.held() if name.startswith(LOCK_PREFIX)]
        self._apply(wanted, [*held, *(name for name in files.names(HELD) if not name.startswith("."))])

    def _apply(self, wanted: Mapping[str, Resource], more: list[str]) -> None:
        for name in {*wanted, *more, *self._runners}:
            runner = self._runners.get(name)
            if runner is None:
                look = self._errands.look
                runner = Runner(name, wanted.get(name), self._locks, self._actions, self._known, self._me, look)
                runner.memory.drained = os.path.exists(configuration.DRAINED)
                self._runners[name] = runner
                self._tasks[name] = asyncio.ensure_future(self._supervise(runner))
            else:
                runner.resource = wanted.get(name)
                runner.poke()

    def _known(self) -> Mapping[str, int]:
        return self._nodes

    async def _supervise(self, runner: Runner) -> None:
        """A fault of the program itself ends the agent: what runs goes on, and the next one looks again."""
        try:
            await runner.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, it must be seen, and not leave a resource alone
            journal.write(f"resource {runner.name}: {error!r}: the agent starts again", journal.ALERT)
            os._exit(1)
        del self._runners[runner.name], self._tasks[runner.name]

    # systemd

    def _tell(self, text: str) -> None:
        with contextlib.suppress(OSError):
            notify.send(self._notify, text)

    async def _watch(self) -> None:
        """Feed the watchdog, keep the list of nodes, and see when the machine was asleep."""
        monotonic, real = time.monotonic(), time.time()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            then = (monotonic, real)
            monotonic, real = time.monotonic(), time.time()
            jump = (real - then[1]) - (monotonic - then[0])
            late = monotonic - then[0] - WATCH_SECONDS
            if abs(jump) > JUMP_SECONDS or late > JUMP_SECONDS:
                journal.write(
                    f"this process or its clock stood still or jumped: {late:.1f} s late, the clock {jump:+.1f} s off; "
                    "every lock is looked at again before the next action",
                    journal.WARNING,
                )
                for runner in self._runners.values():
                    runner.poke()
            hanging = [name for name, runner in self._runners.items() if runner.due < monotonic]
            if not self._place.works():
                hanging.append("the bus")
            if hanging:
                journal.write(f"no progress with {', '.join(sorted(hanging))}", journal.WARNING)
            else:
                count = sum(runner.seen.held for runner in self._runners.values())
                self._tell(f"WATCHDOG=1\nSTATUS={count} of {len(self._runners)} resources run on this node")
            if self._me:
                with contextlib.suppress(O2cbError):
                    self._look_at_cluster()

    async def _end(self) -> None:
        self._tell("STOPPING=1")
        down = (await run(["systemctl", "is-system-running"], 10.0))[1].strip() == "stopping"
        if self.settings.on_stop == HAND_OVER or down:
            await self.hand_over()
        if down:
            with contextlib.suppress(O2cbError):
                await self._place.leave(LEAVE_SECONDS)

    async def hand_over(self, seconds: float = RELEASE_SECONDS) -> bool:
        """Stop all, prove it, release the locks. Whether none is left in time."""
        for runner in self._runners.values():
            runner.memory.stopping = True
            runner.poke()
        deadline = time.monotonic() + seconds
        while any(name.startswith(LOCK_PREFIX) for name in await self._locks.held()):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True

    # orders

    def _runner(self, message: Mapping[str, Any]) -> Runner:
        name = message["name"]
        if name not in self._runners:
            raise O2cbError(f"there is no resource {name!r} on this node: known are {', '.join(sorted(self._runners))}")
        return self._runners[name]

    async def _resources(self, _message: dict[str, Any]) -> dict[str, Any]:
        return {"resources": [runner.facts() for _name, runner in sorted(self._runners.items())]}

    async def _status(self, _message: dict[str, Any]) -> dict[str, Any]:
        return {
            "node": self._me or None,
            "nodes": dict(self._nodes),
            "drained": os.path.exists(configuration.DRAINED),
            "resources": len(self._runners),
            "held": sum(runner.seen.held for runner in self._runners.values()),
            "errors": {name: runner.error for name, runner in sorted(self._runners.items()) if runner.error},
        }

    async def _move(self, message: dict[str, Any]) -> dict[str, Any]:
        runner, target = self._runner(message), str(message["node"])
        holder = runner.seen.holder
        if holder and target != self._me:
            await self._errands.move(runner.name, target, self._nodes[holder])
        else:
            runner.order("move", target)
        return {"changed": not (runner.seen.held and target == self._me)}

    async def _clear(self, message: dict[str, Any]) -> dict[str, Any]:
        runner = self._runner(message)
        changed = runner.memory.retry > time.monotonic() or bool(runner.memory.failures) or bool(runner.error)
        runner.order("clear")
        return {"changed": changed}

    async def _drain(self, _message: dict[str, Any]) -> dict[str, Any]:
        changed = not os.path.exists(configuration.DRAINED)
        if changed:
            files.write(configuration.DRAINED, "This node takes no resources until `o2ctl node resume`.\n")
        return self._drained(True, changed)

    async def _resume(self, _message: dict[str, Any]) -> dict[str, Any]:
        changed = os.path.exists(configuration.DRAINED)
        files.remove(configuration.DRAINED)
        return self._drained(False, changed)

    def _drained(self, drained: bool, changed: bool) -> dict[str, Any]:
        for runner in self._runners.values():
            runner.memory.drained = drained
            runner.poke()
        return {"changed": changed, "held": sum(runner.seen.held for runner in self._runners.values())}

    async def _leave(self, _message: dict[str, Any]) -> dict[str, Any]:
        """Off the bus, so that the node can leave the cluster. Refused while a resource runs here."""
        held = sorted(name for name in await self._locks.held() if name.startswith(LOCK_PREFIX))
        if held:
            raise O2cbError(f"{', '.join(held)} are held by this node: `o2ctl node drain` first")
        await self._place.leave(LEAVE_SECONDS)
        return {"changed": True}

    async def _reload(self, _message: dict[str, Any]) -> dict[str, Any]:
        """Read the configuration again. One that is broken changes nothing."""
        settings, wanted = configuration.settings(), configuration.resources()
        before = {name: runner.resource for name, runner in self._runners.items()}
        self.settings = settings
        self._server.allow(settings)
        if self._me:
            self._apply(wanted, [])
        await self._place.reload()
        return {"changed": any(before.get(name) != wanted.get(name) for name in {*before, *wanted})}

    async def _reload_quietly(self) -> None:
        try:
            await self._reload({})
        except O2cbError as error:
            journal.write(f"the configuration stays what it was: {error}", journal.WARNING)


def _leave_copy() -> None:
    """The program as it runs now, for the safe stop, whatever becomes of the file."""
    with open(sys.argv[0], "rb") as program:
        data = program.read()
    files.write(service.COPY, data.decode("latin-1"), encoding="latin-1")


@contextlib.contextmanager
def _only_one(seconds: float) -> Any:
    """The agent and the safe stop never act at the same time."""
    os.makedirs(service.RUN, exist_ok=True)
    descriptor = os.open(ONLY_ONE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise O2cbError("another o2agent, or its safe stop, is at work on this node") from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


async def _serve() -> None:
    await Agent().run()
    if not await tasks.end(asyncio.all_tasks() - {asyncio.current_task()}):
        journal.write("the agent ends, though a part of it does not", journal.WARNING)
        os._exit(0)


def main() -> int:
    """The daemon."""
    try:
        with _only_one(60.0):
            asyncio.run(_serve())
    except O2cbError as error:
        journal.write(f"the agent does not start: {error}", journal.ALERT)
        sys.stderr.write(f"o2agent: {error}\n")
        return 1
    return 0


async def _stop_all() -> bool:
    agent = Agent()
    if not await agent._until_online():
        return False
    await agent._adopt({})
    return await agent.hand_over()


def safe_stop() -> int:
    """Stop what this node runs and release its locks: the agent does not come back."""
    journal.write("the agent does not come back: its resources are stopped here, and go elsewhere", journal.ALERT)
    try:
        with _only_one(60.0):
            done = asyncio.run(_stop_all())
    except O2cbError as error:
        journal.write(f"the safe stop failed: {error}", journal.ALERT)
        return 1
    journal.write("all resources of this node are released" if done else "a resource cannot be stopped: see above")
    return 0 if done else 1
