# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: its nodes, disks and network as one thing that can be brought up, mended and taken down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from . import disks, image, inventory, network, prerequisites, processes, processor, progress, sources, ssh, state
from .errors import LabError
from .node import BOOT_DEADLINE, Node
from .state import Paths, Wanted

NODES = 3
MEMORY = 512
NODE_SPACE = 400 << 20
"""Bytes that a node's changes to its root disk may well need."""

T = TypeVar("T")


class Lab:
    """A lab by name; it need not exist yet."""

    def __init__(self, name: str = "lab") -> None:
        self.name = state.check_name(name)
        self.paths = Paths(name)

    @property
    def inventory(self) -> Path:
        """The Ansible inventory's file."""
        return self.paths.inventory

    def exists(self) -> bool:
        """Was this lab brought up?"""
        return state.load(self.paths) is not None

    def wanted(self) -> Wanted:
        """What the last `up` asked for."""
        wanted = state.load(self.paths)
        if wanted is None:
            others = [name for name in state.names() if name != self.name]
            hint = f" (there are: {', '.join(others)})" if others else ""
            raise LabError(f"there is no lab called {self.name!r}{hint}: make it with `bin/lab up --name {self.name}`")
        return wanted

    def nodes(self) -> list[Node]:
        """All nodes, in order."""
        wanted = self.wanted()
        return [Node(self.name, number, wanted) for number in range(1, wanted.nodes + 1)]

    def node(self, name: str) -> Node:
        """The node called `name`, such as `node1`."""
        nodes = self.nodes()
        for node in nodes:
            if node.name == name:
                return node
        known = nodes[0].name if len(nodes) == 1 else f"{nodes[0].name} to {nodes[-1].name}"
        raise LabError(f"lab {self.name!r} has no {name!r}: it has {known}")

    def each(self, action: Callable[[Node], T], nodes: Iterable[Node] | None = None) -> list[T]:
        """Do something on all nodes at the same time; the first error is raised when all have ended."""
        chosen = list(self.nodes() if nodes is None else nodes)
        with ThreadPoolExecutor(max_workers=max(len(chosen), 1)) as pool:
            return [future.result() for future in [pool.submit(action, node) for node in chosen]]

    # life

    def up(
        self,
        nodes: int | None = None,
        release: str | None = None,
        memory: int | None = None,
        fresh: bool = False,
        deadline: float = BOOT_DEADLINE,
    ) -> Path:
        """Bring the lab up, or mend it: afterwards every node answers ssh. Path of the inventory.

        What is not given stays as it is: 3 nodes, bookworm, 512 MiB in the beginning. `fresh` gives every node a
        virgin root disk and the lab blank shared disks.
        """
        started = time.monotonic()
        with self._locked():
            prerequisites.ensure(state.CACHE / "apt.log")
            processor.ensure()
            wanted = self._decide(nodes, release, memory, fresh)
            if fresh:
                self._switch_off_all()
            state.require_space(self.paths.root, NODE_SPACE)
            self._keep_only(wanted)
            state.store(self.paths, wanted)
            if made := disks.create(self.paths.disks, fresh):
                progress.say(f"blank shared disks: {', '.join(made)}")
            if fresh:
                for node in self.nodes():
                    shutil.rmtree(node.directory, ignore_errors=True)
            state.write(self.paths.inventory, inventory.render(self.name, wanted.nodes))
            self._ensure_network()
            self._start_all(deadline)
        progress.say(f"{wanted.nodes} nodes answer ssh after {time.monotonic() - started:.0f} s")
        return self.paths.inventory

    def down(self) -> bool:
        """Take the lab down with all its files; the image stays in the cache. False if there was nothing."""
        with self._locked():
            found = self.paths.root.exists() or network.exists(self.name)
            self._switch_off_all()
            network.remove(self.name)
            shutil.rmtree(self.paths.root, ignore_errors=True)
            return found

    def _locked(self) -> AbstractContextManager[None]:
        prerequisites.require_root()
        return state.locked(state.STATE / f".{self.name}.lock", f"the lab {self.name} is being brought up or down")

    def _decide(self, nodes: int | None, release: str | None, memory: int | None, fresh: bool) -> Wanted:
        """What this `up` is about: what is given, else what there is, else the defaults."""
        before = state.load(self.paths)
        chosen_release = release or (before.release if before else sources.RELEASES[0])
        chosen_nodes = nodes or (before.nodes if before else NODES)
        if chosen_release not in sources.RELEASES:
            raise LabError(f"no release {chosen_release!r} for nodes: choose from {', '.join(sources.RELEASES)}")
        if not 1 <= chosen_nodes <= state.MOST_NODES:
            raise LabError(f"a lab has 1 to {state.MOST_NODES} nodes, not {chosen_nodes}")
        if before and before.release != chosen_release and not fresh:
            raise LabError(
                f"lab {self.name!r} runs {before.release}: take it down first, add --fresh, or choose another --name"
            )
        if before and not fresh and image.path(before.image).exists():
            chosen_image = before.image
        else:
            chosen_image = image.ensure(chosen_release)
            if before and not fresh and before.image != chosen_image:
                progress.say(
                    f"the image {before.image} is gone from the cache: the nodes start from {chosen_image}, virgin"
                )
        return Wanted(chosen_nodes, chosen_release, chosen_image, memory or (before.memory if before else MEMORY))

    def _directories(self) -> list[Path]:
        """Directories of all nodes that ever were, also beyond those wanted now."""
        return [self.paths.node(number) for number in range(1, state.MOST_NODES + 1)]

    def _switch_off_all(self) -> None:
        ssh.close_shared(self.paths.connections)
        for directory in self._directories():
            processes.end(directory)

    def _keep_only(self, wanted: Wanted) -> None:
        """Remove nodes beyond those wanted, and root disks that belong to another image."""
        before = state.load(self.paths)
        for number, directory in enumerate(self._directories(), start=1):
            if number > wanted.nodes and directory.exists():
                progress.say(f"removing node{number}")
                processes.end(directory)
                shutil.rmtree(directory, ignore_errors=True)
        if before is None or before.image != wanted.image:
            for directory in self._directories():
                processes.end(directory)
                (directory / "root.cow").unlink(missing_ok=True)

    def _ensure_network(self) -> None:
        """A namespace that is gone takes the nodes' taps with it: then they have to be booted again."""
        if not network.exists(self.name) and any(processes.of_node(directory) for directory in self._directories()):
            progress.say("the network namespace is gone: switching all nodes off")
            self._switch_off_all()
        network.ensure(self.name)

    def _start_all(self, deadline: float) -> None:
        nodes = self.nodes()
        for node in nodes:
            if node.frozen():
                progress.say(f"{node.name} is frozen: thawing it")
                node.thaw()
            if node.lost_tap():
                progress.say(f"{node.name} lost its tap: switching it off")
                node.kill()
            if not network.ensure_tap(self.name, node.number) and node.cut_off():
                progress.say(f"{node.name} is cut off: healing it")
                node.heal()
        off = [node for node in nodes if not node.running()]
        prerequisites.require_memory(len(off))
        for node in nodes:
            node.start()
        if off:
            progress.say(f"booting {', '.join(node.name for node in off)}")
        self._wait(nodes, deadline)

    def _wait(self, nodes: list[Node], deadline: float) -> None:
        """Wait for ssh on all nodes at once and say who has come."""
        started = time.monotonic()
        with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
            futures = {pool.submit(node.wait, deadline): node for node in nodes}
            missing = dict(futures)
            reported = time.monotonic()
            while missing:
                for future in [future for future in missing if future.done()]:
                    future.result()
                    missing.pop(future)
                if missing and time.monotonic() - reported > progress.SILENCE:
                    names = ", ".join(node.name for node in missing.values())
                    progress.say(f"waiting for {names} … {time.monotonic() - started:.0f} s")
                    reported = time.monotonic()
                time.sleep(0.1)
