# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The User-Mode kernel of one node: its command line, and what its console says about how a boot ended.

The kernel is told `noreboot`: where it would restart inside its own process, which cannot reopen its tap, it exits,
and the supervisor boots it again. That covers `reboot`, o2cb's self-fencing and sysrq alike.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from . import disks, network

BANNER = "=== boot"
"""Start of the line that the supervisor writes into the console log before each boot."""

BOOT = "boot"
"""The event of a boot in a node's history; all others are `End`."""


@dataclass(frozen=True)
class Machine:
    """What a node's kernel is started with."""

    lab: str
    number: int
    directory: Path
    """The node's own files; also the working directory of all its processes."""
    disks: Path
    image: Path
    memory: int
    """MiB."""

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def machine_id(self) -> str:
        """machine-id(5): 32 hexadecimal digits, the same at each boot."""
        return hashlib.sha256(f"{self.lab}/{self.name}".encode()).hexdigest()[:32]

    def command(self, late: str = "") -> list[str]:
        """The kernel's command line. `late` is `hb1:20,hb2:5`, seconds by which disks appear late at this boot.

        Disks: `c` shares a file between kernels, `d` keeps the kernel from taking a foreign header for copy-on-write.
        """
        shared = [f"ubd{disks.UNITS[name][-1]}dc={self.disks / name}" for name in disks.SIZES]
        transport = f"transport=tap,ifname={network.tap(self.number)},depth=128,gro=1"
        return [
            "linux.uml",
            *(f"umid={self.name}", f"uml_dir={self.directory / 'uml'}", f"mem={self.memory}M", "noreboot"),
            *(f"ubda={self.directory / 'root.cow'},{self.image}", *shared),
            *("root=/dev/ubda", "rootfstype=ext4", "rw", "fsck.mode=skip", "loglevel=6", "net.ifnames=0"),
            f"vec0:{transport},mac={network.hardware_address(self.number)}",
            *("con0=fd:0,fd:1", "con=null", "ssl=null"),
            *(f"systemd.hostname={self.name}", f"systemd.machine_id={self.machine_id}", "systemd.show_status=false"),
            *(f"lab.name={self.name}", f"lab.address={network.address(self.number)}/{network.NETMASK}"),
            *([f"lab.late={late}"] if late else []),
        ]


class End(Enum):
    """How a boot ended."""

    REBOOTED = "rebooted"
    FENCED = "fenced"
    PANICKED = "panicked"
    RESET = "reset"
    POWERED_OFF = "powered off"
    KILLED = "killed"

    @property
    def boots_again(self) -> bool:
        """Does a machine come back by itself? (From a panic: as one with kernel.panic set, which o2cb requires.)"""
        return self not in (End.POWERED_OFF, End.KILLED)


def last_boot(console: str) -> str:
    """What the console said since the last boot began."""
    return console[console.rfind(f"\n{BANNER}") + 1 :]


def end_of(console: str, status: int | None) -> End:
    """How the last boot ended, from the console's words and the kernel's exit status (None when it is not known).

    The words are the kernel's: fs/ocfs2/cluster/quorum.c, kernel/reboot.c, kernel/panic.c.
    """
    text = last_boot(console)
    if "very sorry to be fencing" in text:
        return End.FENCED
    if "Kernel panic - not syncing" in text:
        return End.PANICKED
    if "reboot: Restarting system" in text:
        return End.REBOOTED
    if "reboot: Power down" in text or "reboot: System halted" in text:
        return End.POWERED_OFF
    return End.KILLED if status is None or status < 0 else End.RESET


def note(directory: Path, event: str) -> None:
    """Append an event, now, to the history of the node with this directory."""
    with (directory / "history").open("a") as history:
        history.write(f"{time.time():.0f} {event}\n")
