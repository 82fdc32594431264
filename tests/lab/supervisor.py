# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power supply of one node: `python3 -m lab.supervisor LAB NUMBER`, a process inside the lab's namespace.

It boots the node's kernel and waits for its end. After a reset (reboot, self-fence, panic) it boots again, after a
power-off or a kill it ends. One that starts while the kernel runs (because its predecessor was killed) adopts that
kernel. Each boot, and how it ended, is appended to `history`: `1795170847 boot`, `1795170999 fenced`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import network, processes, processor
from .lab import Lab
from .machine import BANNER, BOOT, End, Machine, end_of, note

TOO_SHORT = 3.0
"""Seconds: a kernel that ends sooner does not boot at all."""
ATTEMPTS = 3
CONSOLE_LIMIT = 16 << 20
"""Bytes after which a console log is begun anew (the old one is kept once)."""


def boot(machine: Machine, log: Path) -> int:
    """Run the kernel until it ends; its exit status, negative for a signal."""
    if log.exists() and log.stat().st_size > CONSOLE_LIMIT:
        log.replace(log.with_suffix(".old"))
    shutil.rmtree(machine.directory / "uml", ignore_errors=True)
    (machine.directory / "uml").mkdir()
    network.ensure_tap(machine.lab, machine.number)
    late_file = machine.directory / "late"
    late = late_file.read_text().strip() if late_file.exists() else ""
    with log.open("ab") as console:
        console.write(f"\n{BANNER} of {machine.name} at {time.strftime('%F %T')} ===\n".encode())
        console.flush()
        kernel = subprocess.Popen(
            machine.command(late),
            cwd=machine.directory,
            env={**os.environ, "TMPDIR": "/dev/shm", "HOME": str(machine.directory), **processor.environment()},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    late_file.unlink(missing_ok=True)
    (machine.directory / network.LOSS).unlink(missing_ok=True)
    note(machine.directory, BOOT)
    return kernel.wait()


def supervise(machine: Machine) -> None:
    """Keep the node under power until it is switched off."""
    log = machine.directory / "console.log"
    short = 0
    while short < ATTEMPTS:
        started = time.monotonic()
        running = processes.main_of(processes.of_node(machine.directory))
        status: int | None = None
        if running:
            processes.wait_gone(running.pid, None)
        else:
            status = boot(machine, log)
        processes.end(machine.directory, supervisor_too=False)
        end = end_of(log.read_bytes()[-200_000:].decode(errors="replace"), status)
        note(machine.directory, end.value)
        if not end.boots_again:
            return
        short = short + 1 if time.monotonic() - started < TOO_SHORT and end is not End.FENCED else 0
    print(f"{machine.name} ended within {TOO_SHORT:.0f} s of its boot {ATTEMPTS} times: left off", flush=True)


def main() -> int:
    """Supervise one node, unless somebody else does already."""
    lab, number = Lab(sys.argv[1]), int(sys.argv[2])
    machine = lab.node(f"node{number}").machine
    with (machine.directory / "supervisor.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        supervise(machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
