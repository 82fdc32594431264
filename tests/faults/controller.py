# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run this collection's playbooks and modules on a lab, and see what they did to each host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Lab
from lab.cli import environment

SITE = "ocfs2.o2cb.site"
TEARDOWN = "ocfs2.o2cb.teardown"
DEADLINE = 400.0
"""Seconds for a run of a playbook."""

_CALLBACKS = Path(__file__).parent / "callback"


@dataclass(frozen=True)
class Outcome:
    """What one task did on one host. `values` is the module's result."""

    task: str
    host: str
    status: str
    values: Mapping[str, Any]

    @property
    def message(self) -> str:
        return str(self.values.get("msg", ""))


@dataclass(frozen=True)
class Run:
    """A playbook's run. `rc` is that of ansible-playbook, negative when a signal ended it."""

    rc: int
    output: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def changes(self) -> list[str]:
        return [f"{outcome.host}: {outcome.task}" for outcome in self.outcomes if outcome.values.get("changed")]

    @property
    def failures(self) -> dict[str, str]:
        """The message of each host on which a task failed."""
        return {outcome.host: outcome.message for outcome in self.outcomes if outcome.status != "ok"}

    def of(self, host: str) -> Mapping[str, Any]:
        """The result of the last task on this host."""
        found = [outcome.values for outcome in self.outcomes if outcome.host == host]
        assert found, f"nothing ran on {host}:\n{self.output}"
        return found[-1]

    def actions(self, host: str) -> list[str]:
        return [str(action) for action in self.of(host).get("actions", [])]


class Running:
    """A playbook that runs, in a session of its own."""

    def __init__(
        self,
        lab: Lab,
        playbook: str,
        variables: Mapping[str, Any],
        stop_after: str = "",
        inventory: Sequence[Path] = (),
        limit: str = "",
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="o2cb-run-")
        self._record = Path(self._directory.name, "record")
        self._record.touch()
        self._log = Path(self._directory.name, "log")
        settings = {
            "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "recorder",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_INVENTORY": ",".join(map(str, [lab.inventory, *inventory])),
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "O2CB_RECORD": str(self._record),
            "O2CB_STOP_AFTER": stop_after,
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    *("ansible-playbook", playbook, "--extra-vars", json.dumps(variables)),
                    *(["--limit", limit] if limit else []),
                ],
                env={**environment(lab), **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def events(self) -> list[dict[str, Any]]:
        """What the recorder wrote so far; its last line may be in the making."""
        return [json.loads(line) for line in self._record.read_text().split("\n")[:-1]]

    def wait_for_task(self, name: str, seconds: float = DEADLINE) -> None:
        """Wait until this task has begun."""
        wait_until(
            lambda: any(event["status"] == "start" and event["task"].endswith(name) for event in self.events()),
            seconds,
            lambda: f"the task {name!r} did not begin: {self._output()}",
            unless=lambda: self._process.poll() is not None,
        )

    def kill(self) -> None:
        """End the run and all its helpers, as a controller ends that loses its power."""
        for pid in [*_descendants(self._process.pid), self._process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def finish(self, seconds: float = DEADLINE) -> Run:
        """Wait for the end. A run that takes too long is killed, and counts as failed."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        outcomes = [
            Outcome(event["task"], event["host"], event["status"], event["result"])
            for event in self.events()
            if event["status"] != "start"
        ]
        return Run(self._process.returncode, self._output(), outcomes)

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
            self._process.wait()
        self._directory.cleanup()

    def _output(self) -> str:
        return self._log.read_text()


class Controller:
    """Ansible as an administrator of this lab would use it. `defaults` are extra variables of every run.

    `inventory` are further inventories, which win over that of the lab.
    """

    def __init__(self, lab: Lab, inventory: Sequence[Path] = (), **defaults: Any) -> None:
        self.lab = lab
        self.inventory = inventory
        self.defaults = defaults

    @contextmanager
    def start(self, playbook: str, stop_after: str = "", limit: str = "", **variables: Any) -> Iterator[Running]:
        """Start a playbook and leave it running; it is ended at the end of the block."""
        running = Running(self.lab, playbook, {**self.defaults, **variables}, stop_after, self.inventory, limit)
        try:
            yield running
        finally:
            running.close()

    def play(self, playbook: str, seconds: float = DEADLINE, limit: str = "", **variables: Any) -> Run:
        """Run a playbook to its end, whatever that is, on all hosts or on those of `limit`."""
        with self.start(playbook, limit=limit, **variables) as running:
            return running.finish(seconds)

    def site(self, **variables: Any) -> Run:
        """Run the site playbook, which must succeed."""
        run = self.play(SITE, **variables)
        assert run.rc == 0, run.output
        return run

    def teardown(self) -> Run:
        """Take the cluster down, which must succeed."""
        run = self.play(TEARDOWN, o2cb_force=True)
        assert run.rc == 0, run.output
        return run

    def module(
        self, name: str, arguments: Mapping[str, Any], hosts: str = "nodes", check: bool = False, **variables: Any
    ) -> Run:
        """Run one module of this collection."""
        with _playbook(name, arguments, hosts, check_mode=check) as book:
            return self.play(book, **variables)

    @contextmanager
    def start_loop(
        self, name: str, arguments: Mapping[str, Any], items: Sequence[str], hosts: str = "nodes"
    ) -> Iterator[Running]:
        """Start a task that runs one module of this collection for each item, on every host at its own pace."""
        with _playbook(name, arguments, hosts, loop=list(items)) as book, self.start(book) as running:
            yield running


@contextmanager
def _playbook(module: str, arguments: Mapping[str, Any], hosts: str, **task: Any) -> Iterator[str]:
    """A playbook of one task, as long as the block lasts."""
    tasks = [{"name": module, f"ocfs2.o2cb.{module}": arguments, **task}]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as book:
        json.dump([{"name": module, "hosts": hosts, "gather_facts": False, "tasks": tasks}], book)
        book.flush()
        yield book.name


def wait_until(
    condition: Callable[[], bool],
    seconds: float,
    complaint: Callable[[], str],
    unless: Callable[[], bool] = lambda: False,
) -> None:
    """Wait for a condition. Fails with the complaint at the deadline, or when it cannot come true any more."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline and not unless(), complaint()  # noqa: PT018
        time.sleep(0.1)


def _descendants(pid: int) -> list[int]:
    """All processes below this one, the deepest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = []
    for child in children.get(pid, []):
        found += [*_descendants(child), child]
    return found
