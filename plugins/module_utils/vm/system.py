# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""This node, as `guard` asks for it: o2keep's locks, processes, systemd, the journal."""

from __future__ import annotations

import sys
import syslog
import time
from typing import Any, Callable

from ..base import files, programs
from ..base.errors import O2cbError
from ..o2cb import units
from . import guard, machine, processes
from .guard import Ask, Call, T, View
from .locks import Locks
from .machine import Machine

UNGUARDED = "/etc/ocfs2.o2cb/unguarded-machines"
"""Names, patterns or UUIDs of machines that are not guarded, one a line; the module `libvirt` writes it."""

UNIT = "o2vm"
"""Beginning of the names of the units in which `settle` runs, and the identifier of all messages in the journal."""


class System:
    """Answers what a call asks. `seconds` are for all its requests to o2keep together."""

    def __init__(self, seconds: float, run: programs.Run = programs.run) -> None:
        self._locks = Locks(seconds)
        self._run = run

    def answer(self, ask: Ask) -> Any:
        if isinstance(ask, guard.Look):
            run, incoming = self._locks.view(ask.machine.uuid)
            return View(run, incoming, tuple(processes.of(ask.machine.uuid)))
        if isinstance(ask, guard.Take):
            return self._locks.take(ask.machine, ask.lock, ask.wait)
        if isinstance(ask, guard.Release):
            return self._locks.release(ask.lock, ask.token)
        if isinstance(ask, guard.Who):
            return self._locks.who(ask.lock)
        if isinstance(ask, guard.Settle):
            return self._settle(ask.machine, ask.ending)
        return time.sleep(ask.seconds)

    def _settle(self, found: Machine, ending: int) -> None:
        """In a unit of its own: what a hook starts must neither keep libvirt waiting nor end with it."""
        command = [
            "systemd-run",
            "--quiet",
            "--collect",
            "--no-block",
            f"--unit={UNIT}-{found.uuid}-{time.time_ns()}",
            f"--property=SyslogIdentifier={UNIT}",
            "--property=Restart=on-failure",
            "--property=RestartSec=5",
            "/usr/bin/python3",
            units.PROGRAM,
            "vm-settle",
            *(["--ending", str(ending)] if ending else []),
            "--",
            found.uuid,
            found.name,
        ]
        try:
            code, _output, errors = self._run(command)
        except O2cbError as error:
            code, errors = 1, str(error)
        if code:
            raise O2cbError(f"systemd does not start a unit for {found}: {errors.strip()}")


def carry_out(call: Call[T], answer: Callable[[Ask], Any]) -> T:
    """Run a call to its end."""
    try:
        ask = next(call)
        while True:
            try:
                reply = answer(ask)
            except O2cbError as error:
                ask = call.throw(error)
            else:
                ask = call.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result


def unguarded() -> list[str]:
    """The patterns of machines that are not guarded. Where the file cannot be read, all are guarded."""
    try:
        return machine.patterns_in(files.read(UNGUARDED) or "")
    except OSError:
        return []


def say(text: str, alarm: bool = False) -> None:
    """One line in the journal, as an error where it is an alarm."""
    syslog.openlog(UNIT, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_ERR if alarm else syslog.LOG_NOTICE, one_line(text))


def complain(text: str) -> None:
    """One line on standard error: libvirt shows it to whoever wanted to start the machine."""
    sys.stderr.write(one_line(text) + "\n")


def one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
