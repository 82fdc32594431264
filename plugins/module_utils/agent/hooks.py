# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of the administrator, run at each event: every executable in /etc/o2agent/events.d, in the order of names.

Theory of operation. A thread of its own takes one event after the other, and for each runs one program after the other,
so no program meets itself, and the order of events is that of the bus. The agent only puts an event into a queue: it
never waits for a program, or for the disk on which one lies. What the queue cannot take is left out and counted; the
next event tells how many. A program that is running when the agent ends goes on; events that wait are forgotten.

A program is told by its arguments (event, name and number of the node), by its environment, and by one line of JSON on
standard input. What it prints goes to the journal: `journalctl -t o2agent-NAME`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import stat
import subprocess
import threading
import time
from typing import Any, Callable, Iterator, Mapping

from ..base import files, journal, programs
from .configuration import DIRECTORY

EVENTS = f"{DIRECTORY}/events.d"
SECONDS = 60.0
"""Deadline of a program. Then it is asked to end, and killed some seconds later, with all it has started."""

KILL_SECONDS = 5.0
MOST_WAITING = 256
"""Events that may wait for a program that takes its time."""

JOURNAL_STREAM = "/run/systemd/journal/stdout"

_LEFTOVERS = (".dpkg-", ".rpmnew", ".rpmorig", ".rpmsave")
_OF_THE_AGENT = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""What systemd says to the agent, and to nobody else."""


def is_leftover(name: str) -> bool:
    """Whether an editor or a package manager has left this file."""
    return name.startswith(".") or name.endswith("~") or any(mark in name for mark in _LEFTOVERS)


def arguments(facts: Mapping[str, Any]) -> list[str]:
    """What a program is called with: the event, and the name and number of its node where it is about one."""
    return [str(facts["event"]), str(facts.get("name") or ""), str(facts.get("node", ""))]


def variables(facts: Mapping[str, Any]) -> dict[str, str]:
    """The environment that tells of the event. What does not apply is empty; O2_QUORATE is 1 or 0."""
    return {
        "O2_EVENT": str(facts["event"]),
        "O2_NODE": str(facts.get("node", "")),
        "O2_NODE_NAME": str(facts.get("name") or ""),
        "O2_INCARNATION": str(facts.get("incarnation", "")),
        "O2_POSITION": str(facts.get("position", "")),
        "O2_QUORATE": "1" if facts.get("quorate") else "0",
    }


def found(directory: str = EVENTS) -> Iterator[tuple[str, str]]:
    """Each program there in the order of names, and why it must not be run, or an empty text."""
    for name in files.names(directory):
        path = os.path.join(directory, name)
        if is_leftover(name):
            continue
        try:
            real = os.path.realpath(path)
            mode = os.stat(real).st_mode
            if stat.S_ISREG(mode) and mode & 0o111:
                yield path, _problem(real)
        except OSError as error:
            yield path, error.strerror or str(error)


def _problem(path: str) -> str:
    """Whether another user could change what would be run as root: the file, or a directory on the way to it."""
    while True:
        status = os.stat(path)
        if status.st_uid:
            return f"{path} belongs to user {status.st_uid}, and not to root"
        if status.st_mode & 0o022:
            return f"{path} can be written by others than its owner: chmod go-w"
        if path == "/":
            return ""
        path = os.path.dirname(path)


class Hooks:
    """`quorate` tells whether this node is on the side that decides."""

    def __init__(
        self,
        quorate: Callable[[], bool],
        programs_of: Callable[[], Iterator[tuple[str, str]]] = found,
        seconds: float = SECONDS,
    ) -> None:
        self._quorate, self._programs, self._seconds = quorate, programs_of, seconds
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(MOST_WAITING)
        self._lost = 0
        self._said: dict[str, str] = {}

    def start(self) -> None:
        """From now on, until this process ends."""
        threading.Thread(target=self._run, name="hooks", daemon=True).start()

    def event(self, facts: Mapping[str, Any]) -> None:
        """Queue an event. Never waits."""
        told = {"quorate": self._quorate(), "time": round(time.time(), 3), **facts}
        if self._lost:
            told["lost"] = self._lost
        try:
            self._waiting.put_nowait(told)
        except queue.Full:
            self._lost += 1
            if self._lost == 1:
                journal.write(
                    f"{MOST_WAITING} events wait for the programs in {EVENTS}: more are lost for them", journal.WARNING
                )
        else:
            self._lost = 0

    def _run(self) -> None:
        while True:
            facts = self._waiting.get()
            try:
                self.run_all(facts)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the next event comes, and the agent goes on
                journal.write(f"programs at events: {error!r}", journal.WARNING)
            self._waiting.task_done()

    def run_all(self, facts: Mapping[str, Any]) -> None:
        """Run what is there now, each to its end or to its deadline."""
        for path, problem in self._programs():
            if problem:
                if self._said.get(path) != problem:
                    journal.write(f"{path} is not run: {problem}", journal.WARNING)
                self._said[path] = problem
                continue
            self._said.pop(path, None)
            complaint = run(path, facts, self._seconds)
            if complaint:
                told = " ".join(filter(None, arguments(facts)))
                journal.write(f"{path} at {told}: {complaint}", journal.WARNING)


def run(path: str, facts: Mapping[str, Any], seconds: float) -> str:
    """Run one program. What went wrong, or an empty text."""
    inherited = {key: value for key, value in programs.environment().items() if key not in _OF_THE_AGENT}
    with contextlib.ExitStack() as opened:
        output: Any = _journal_of(os.path.basename(path))
        if output is None:
            output = subprocess.DEVNULL
        else:
            opened.enter_context(output)
        said = opened.enter_context(_line_to_read(json.dumps(facts)))
        try:
            process = subprocess.Popen(
                [path, *arguments(facts)],
                stdin=said,
                stdout=output,
                stderr=output,
                cwd="/",
                env={**inherited, **variables(facts)},
                start_new_session=True,
            )
        except OSError as error:
            return f"cannot be run: {error.strerror}"
    return _end_of(process, seconds)


def _end_of(process: subprocess.Popen[bytes], seconds: float) -> str:
    try:
        code = process.wait(seconds)
        return "" if code == 0 else f"ended by signal {-code}" if code < 0 else f"ended with {code}"
    except subprocess.TimeoutExpired:
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        # What it started may not have ended with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return f"had not ended after {seconds:g} s, and was made to"
    return f"had not ended after {seconds:g} s, and cannot be killed: it is asleep in the kernel"


@contextlib.contextmanager
def _line_to_read(text: str) -> Iterator[int]:
    """A descriptor from which this line can be read, and then the end. It fits into a pipe, so nobody has to wait."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.write(writing, text.encode() + b"\n")
    finally:
        os.close(writing)
    try:
        yield reading
    finally:
        os.close(reading)


def _journal_of(name: str) -> socket.socket | None:
    """A stream into the journal (sd_journal_stream_fd(3)), or None where it takes none now."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    try:
        sock.connect(JOURNAL_STREAM)
        # Identifier, unit, priority, whether lines begin with a level, and whether they go on to syslog, kmsg, console.
        sock.sendall(f"o2agent-{name}\n\n{journal.INFO}\n1\n0\n0\n0\n".encode(errors="replace"))
    except OSError:
        sock.close()
        return None
    sock.setblocking(True)
    return sock
