# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node: run commands on it, and do to it what happens to machines."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import disks, image, network, prerequisites, processes, ssh
from .errors import LabError
from .machine import BOOT, End, Machine, note
from .ssh import Result, tail
from .state import Paths, Wanted

BOOT_DEADLINE = 240.0
"""Seconds within which a node has to answer ssh. Alone it takes about 10; on a busy machine ten times that."""
LONGEST_DELAY = 3600


@dataclass(frozen=True)
class Report:
    """What `status` shows of one node."""

    name: str
    address: str
    state: str
    """`running`, `frozen`, `off`, or `unsupervised` (runs, but would not come back from a reset: `up` mends it)."""
    uptime: float | None
    """Seconds since this boot."""
    network: str
    """`ok`, `cut`, `cut in`, `cut out`, or `loss 50%`."""
    ssh: bool
    disks: dict[str, str]
    boots: int
    last_end: str
    """How the boot before this one ended: `fenced 12:31:05`, or empty."""


class Node:
    """A node of a lab that exists. Every method is idempotent; errors are LabError and name the remedy."""

    def __init__(self, lab: str, number: int, wanted: Wanted) -> None:
        paths = Paths(lab)
        self.lab = lab
        self.number = number
        self.name = f"node{number}"
        self.address = network.address(number)
        self.machine = Machine(lab, number, paths.node(number), paths.disks, image.path(wanted.image), wanted.memory)

    @property
    def directory(self) -> Path:
        return self.machine.directory

    @property
    def console(self) -> Path:
        """Log of everything the kernel said, all boots."""
        return self.directory / "console.log"

    # power

    def running(self) -> bool:
        """Is the node's kernel alive (perhaps frozen)?"""
        return processes.main_of(processes.of_node(self.directory)) is not None

    def start(self) -> bool:
        """Switch the node on and do not wait; True if it was off. A running kernel without supervisor gets one."""
        found = processes.of_node(self.directory)
        supervised = any(process.is_supervisor for process in found)
        running = processes.main_of(found) is not None
        if supervised:
            return False
        if not running:
            processes.end(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        network.ensure_tap(self.lab, self.number)
        with (self.directory / "supervisor.log").open("ab") as log:
            subprocess.Popen(
                network.enter(self.lab, [sys.executable, "-m", processes.SUPERVISOR, self.lab, str(self.number)]),
                cwd=self.directory,
                env=prerequisites.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return not running

    def boot(self, deadline: float = BOOT_DEADLINE) -> bool:
        """Switch the node on and wait until ssh answers; True if it was off."""
        was_off = self.start()
        self.wait(deadline)
        return was_off

    def kill(self) -> bool:
        """Power cut: every process of the node is gone at once. True if there was one."""
        if killed := processes.end(self.directory):
            note(self.directory, End.KILLED.value)
        return killed

    def wait(self, deadline: float = BOOT_DEADLINE) -> None:
        """Wait until ssh answers. A node that nobody keeps under power any more is not waited for."""
        until = time.monotonic() + deadline
        while not ssh.answers(self.lab, self.number):
            if not processes.of_node(self.directory):
                raise LabError(self._with_console(f"{self.name} went off while it was waited for"))
            if time.monotonic() > until:
                remedy = f"`bin/lab kill {self.name} --name {self.lab}` and `bin/lab boot …` start it again"
                raise LabError(self._with_console(f"{self.name} did not answer ssh within {deadline:.0f} s ({remedy})"))
            time.sleep(0.3)

    def wait_for_boot(self, boots: int, deadline: float = BOOT_DEADLINE) -> None:
        """Wait until the node has begun more than `boots` boots (see `boots`) and answers ssh: it was reset."""
        until = time.monotonic() + deadline
        while self.boots() <= boots:
            if time.monotonic() > until:
                raise LabError(self._with_console(f"{self.name} was not reset within {deadline:.0f} s"))
            time.sleep(0.2)
        self.wait(max(until - time.monotonic(), 1.0))

    def _with_console(self, text: str) -> str:
        return f"{text}; its console ({self.console}) ends with\n{tail(self.console)}"

    def history(self) -> list[tuple[float, str]]:
        """What happened to the node: time (seconds of the epoch) and `boot` or how that boot ended (machine.End)."""
        try:
            lines = (self.directory / "history").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(float(seconds), event) for seconds, event in (line.split(" ", 1) for line in lines)]

    def boots(self) -> int:
        """How often the node has been booted since it was made."""
        return sum(event == BOOT for _time, event in self.history())

    def ends(self) -> list[tuple[float, str]]:
        """How each boot ended: time (seconds of the epoch) and `rebooted`, `fenced`, `panicked`, `powered off`…"""
        return [(seconds, event) for seconds, event in self.history() if event != BOOT]

    def resets(self) -> int:
        """How often the node's own kernel has ended it: it fenced itself, or panicked."""
        return sum(event in ("fenced", "panicked") for _seconds, event in self.ends())

    def freeze(self) -> None:
        """Stop the node in time (SIGSTOP to the kernel's main process only: its children are held by it)."""
        self._signal_main(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        self._signal_main(signal.SIGCONT)

    def frozen(self) -> bool:
        """Is the node frozen?"""
        kernel = processes.main_of(processes.of_node(self.directory))
        return kernel is not None and kernel.state == "T"

    def _signal_main(self, number: signal.Signals) -> None:
        kernel = processes.main_of(processes.of_node(self.directory))
        if kernel is None or not processes.send(kernel, self.directory, number):
            raise self._off()

    def require_running(self) -> None:
        """Refuse what only a running node can do."""
        if not self.running():
            raise self._off()

    def _off(self) -> LabError:
        return LabError(f"{self.name} is not running: boot it with `bin/lab boot {self.name} --name {self.lab}`")

    # network

    def cut(self, direction: str = network.BOTH) -> None:
        """Take the node off the network, until `heal`, through reboots too: `in` and `out` cut one way only.

        `in` is what others send to it, the lab's own ssh included; `out`, what it sends.
        """
        if direction not in network.DIRECTIONS:
            raise LabError(f"a cut has no direction {direction!r}: choose from {', '.join(network.DIRECTIONS)}")
        self._require_tap()
        network.disconnect(self.lab, self.number, direction)

    def heal(self) -> None:
        """Put the node back on the network, where no packet is lost."""
        self._require_tap()
        network.connect(self.lab, self.number)
        if self._loss() and self.running():
            self.run(network.loss(0), timeout=30)
        (self.directory / network.LOSS).unlink(missing_ok=True)

    def lose(self, percent: float) -> None:
        """Lose so much of what it sends to other nodes, and of what they send to it, until `heal` or its next boot."""
        if not 0 < percent <= 100:
            raise LabError(f"packet loss is more than 0 and at most 100 per cent, not {percent:g}")
        self.require_running()
        self.run(network.loss(percent), timeout=30, check=True)
        (self.directory / network.LOSS).write_text(f"loss {percent:g}%")

    def _loss(self) -> str:
        path = self.directory / network.LOSS
        return path.read_text() if path.exists() else ""

    def cut_off(self) -> str:
        """Which direction of its network is cut: `both`, `in`, `out`, or empty."""
        return network.cut(self.lab, self.number)

    def lost_tap(self) -> bool:
        """Does the node's kernel run without the tap it opened? (While it boots it has not opened it yet.)"""
        kernel = processes.main_of(processes.of_node(self.directory))
        if kernel is None:
            return False
        link = network.links(self.lab).get(network.tap(self.number))
        return link is None or ("NO-CARRIER" in link["flags"] and processes.age(kernel) > BOOT_DEADLINE)

    def _require_tap(self) -> None:
        if not network.exists(self.lab) or network.tap(self.number) not in network.links(self.lab):
            raise LabError(f"the network of {self.name} is gone: `bin/lab up --name {self.lab}` mends it")

    # disks

    def disk(self, mode: str, devices: Sequence[str] = (), milliseconds: int = disks.SLOWNESS) -> None:
        """Make shared disks of this node `slow`, `fail`, `hang`, or `ok` again; all of them when none is named.

        `milliseconds` is the delay of a slow disk. The mode lasts until `ok` or the node's next boot.
        """
        if mode not in disks.MODES:
            raise LabError(f"no disk mode is called {mode!r}: choose from {', '.join(disks.MODES)}")
        names = disks.check_devices(list(devices))
        self.require_running()
        if mode == "ok":
            (self.directory / "late").unlink(missing_ok=True)
        result = self.run(disks.script(names, mode, milliseconds), timeout=30)
        if not result.ok:
            raise LabError(f"{self.name}: disk {mode} failed: {result.stderr.strip() or result.stdout.strip()}")

    def disk_late(self, seconds: int, devices: Sequence[str] = ()) -> None:
        """Let shared disks appear `seconds` (1-3600) late at the node's next boot, and only at that one."""
        if not 1 <= seconds <= LONGEST_DELAY:
            raise LabError(f"a disk can be 1 to {LONGEST_DELAY} seconds late, not {seconds}")
        names = disks.check_devices(list(devices))
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "late").write_text(",".join(f"{name}:{seconds}" for name in names))

    def disk_modes(self, timeout: float = 10.0) -> dict[str, str]:
        """Mode of each shared disk that is there, from the node's own device-mapper tables."""
        result = self.run(disks.REPORT, timeout=timeout)
        lines = [line for line in result.stdout.splitlines() if len(line.split()) > 3]
        return dict(mode for line in lines if (mode := disks.mode_of(line))[0] in disks.SIZES)

    # commands

    def run(self, script: str, timeout: float = 60.0, check: bool = False, stdin: str | None = None) -> Result:
        """Run a shell command as root. With `check`, anything but status 0 is an error. `timeout` in seconds."""
        result = ssh.run(self.lab, self.number, script, timeout, stdin)
        if check and not result.ok:
            raise LabError(
                f"{self.name}: `{script}` ended with {result.rc}: {result.stderr.strip() or result.stdout.strip()}"
            )
        return result

    def put(self, path: str, text: str) -> None:
        """Write a file, so that it outlives a power cut."""
        name = shlex.quote(path)
        self.run(f"cat > {name} && sync {name}", stdin=text, check=True)

    @contextmanager
    def changed(self, change: str, back: str) -> Iterator[None]:
        """Change something on the node by a shell command, and put it back at the end of the block."""
        self.run(change, check=True)
        try:
            yield
        finally:
            self.run(back, check=True)

    def report(self) -> Report:
        """Everything about the node at a glance."""
        found = processes.of_node(self.directory)
        kernel = processes.main_of(found)
        supervised = any(process.is_supervisor for process in found)
        if kernel is None:
            state = "off"
        elif kernel.state == "T":
            state = "frozen"
        else:
            state = "running" if supervised else "unsupervised"
        cut = self.cut_off() if network.exists(self.lab) else network.BOTH
        words = {"": self._loss() or "ok", network.BOTH: "cut"}
        alive = kernel is not None and not cut and state != "frozen" and ssh.port_open(self.lab, self.number)
        ends = self.ends()
        return Report(
            name=self.name,
            address=self.address,
            state=state,
            uptime=processes.age(kernel) if kernel else None,
            network=words.get(cut, f"cut {cut}"),
            ssh=alive,
            disks=self.disk_modes() if alive else {},
            boots=self.boots(),
            last_end=f"{ends[-1][1]} {time.strftime('%T', time.localtime(ends[-1][0]))}" if ends else "",
        )
