# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What libvirt starts at each turn in the life of a virtual machine: `libvirt-hook GUEST OPERATION SUB EXTRA`.

The description of the machine is on standard input. The decisions are those of `guard`. A hook must not call libvirt,
which waits for it, and must not keep it waiting: all has deadlines. Where nobody answers in time, a start is refused,
and an end is never hindered.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Callable

from ..base.errors import O2cbError
from . import guard, machine, system
from .guard import Call, Verdict
from .machine import MAX_XML, Machine
from .system import System

SECONDS = 8.0
"""For all requests of a call to o2keep."""

HARD_SECONDS = 12.0
"""After this a call ends, whatever it waits for."""

REFUSED = 1

CALLS: dict[tuple[str, str], Callable[[Machine], Call[Verdict]]] = {
    ("prepare", "begin"): guard.prepare,
    ("start", "begin"): guard.start,
    ("migrate", "begin"): guard.migrate,
    ("release", "end"): guard.release,
    ("reconnect", "begin"): guard.reconnect,
    ("attach", "begin"): guard.reconnect,
}
"""What is done at an operation of libvirt; nothing at any other."""

MAY_REFUSE = {"prepare", "start", "migrate"}
"""Where a failure keeps a machine from starting. Anywhere else it would kill one that runs, or help nobody."""


def main(arguments: Sequence[str]) -> int:
    operation = tuple(arguments[1:3])
    call = CALLS.get((operation[0], operation[1])) if len(operation) == 2 else None
    data = sys.stdin.buffer.read(MAX_XML + 1)
    if call is None:
        return 0
    may_refuse = operation[0] in MAY_REFUSE
    try:
        signal.signal(signal.SIGALRM, _too_late)
        signal.setitimer(signal.ITIMER_REAL, HARD_SECONDS)
        try:
            verdict = judge(call, operation[0], data)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except O2cbError as error:
        guest = arguments[0]
        what = f"virtual machine {guest!r} is not started here" if may_refuse else f"{operation[0]} of {guest!r}"
        verdict = Verdict(False, f"{what}: {error}", alarm=not may_refuse)
    if verdict.text:
        system.say(verdict.text, verdict.alarm)
    if not may_refuse:
        return 0
    if not verdict.allowed:
        system.complain(verdict.text)
        return REFUSED
    sys.stdout.write(verdict.output)
    return 0


def judge(call: Callable[[Machine], Call[Verdict]], operation: str, data: bytes) -> Verdict:
    """What becomes of the machine of this description. A lock is released of one that is not guarded, too."""
    found = machine.parse(data)
    if operation != "release" and machine.is_unguarded(found, system.unguarded()):
        return guard.ALLOWED
    if os.geteuid() != 0:
        if operation not in MAY_REFUSE:
            return guard.ALLOWED
        return Verdict(
            False,
            f"{found} is not started here: only machines of qemu:///system can be guarded; start it there, or name it "
            "in o2cb_libvirt_unguarded",
        )
    return system.carry_out(call(found), System(SECONDS).answer)


def _too_late(_number: int, _frame: Any) -> None:
    raise O2cbError(f"o2keep or systemd takes longer than {HARD_SECONDS:g} s: see `systemctl status o2keep`")
