# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`vm-settle [--ending TOKEN] UUID NAME`: wait beside libvirt until a machine's locks are as they should be.

It runs in a transient unit of its own, and looks once a second; the decisions are those of `guard.settle`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from ..base.errors import O2cbError
from . import guard, machine, system
from .guard import Step
from .machine import Machine
from .system import System

LOOK_SECONDS = 1.0
STEP_SECONDS = 10.0
ENDING_ALARM_SECONDS = 30.0
MIGRATION_ALARM_SECONDS = 900.0
"""When it is said that a state lasts too long. A migration may rightly take this long, and longer."""

AGAIN_SECONDS = 3600.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="o2cb.pyz vm-settle", description="Wait until a machine's locks are right.")
    parser.add_argument(
        "--ending", type=int, default=0, help="token of the lock of a machine that is said to have ended"
    )
    parser.add_argument("uuid")
    parser.add_argument("name")
    options = parser.parse_args(arguments)
    uuid = machine.normal_uuid(options.uuid)
    if not uuid:
        system.complain(f"{options.uuid!r} is no UUID")
        return 2
    wait(Machine(uuid, options.name), options.ending)
    return 0


def wait(found: Machine, ending: int) -> None:
    """Until it is settled. What is wrong is told in the journal, late and then seldom."""
    alarm = time.monotonic() + (ENDING_ALARM_SECONDS if ending else MIGRATION_ALARM_SECONDS)
    while True:
        try:
            step = system.carry_out(guard.settle(found, ending), System(STEP_SECONDS).answer)
        except O2cbError as error:
            step = Step(False, f"{found}: {error}")
        if step.settled:
            system.say(f"{found}: its locks are settled")
            return
        if time.monotonic() >= alarm:
            system.say(step.text, alarm=True)
            alarm = time.monotonic() + AGAIN_SECONDS
        time.sleep(LOOK_SECONDS)
