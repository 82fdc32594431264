# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared disks, and how each is made slow, failing or hanging inside one node.

Every node sees three heartbeat disks and a data disk as dm-linear devices /dev/mapper/hb1 hb2 hb3 data over its
/dev/ubdb to /dev/ubde. o2cb's own search for regions accepts /dev/mapper/* but not /dev/ubd*: those raw names are
what a test of "a device whose name o2cb does not accept" uses, as an NVMe device would be on a real machine.

Faults live in the device-mapper table of one node and end with `ok` or with the node's next boot:
    slow    every read and write is delayed (dm-delay)
    fail    every read and write returns EIO (dm-error)
    hang    no request returns (the device is suspended), until `ok` lets all of them go
"""

from __future__ import annotations

import os
from pathlib import Path

from .errors import LabError

SIZES = {"hb1": 256 << 20, "hb2": 256 << 20, "hb3": 256 << 20, "data": 1 << 30}
"""Name under /dev/mapper: size in bytes."""

UNITS = {name: f"/dev/ubd{letter}" for name, letter in zip(SIZES, "bcde", strict=True)}
"""Name under /dev/mapper: the device below it."""

HEARTBEAT = tuple(name for name in SIZES if name.startswith("hb"))
MODES = ("ok", "slow", "fail", "hang")
SLOWNESS = 2000
"""Default delay of a slow disk, milliseconds per request."""


def create(directory: Path, fresh: bool) -> list[str]:
    """Make the disks' files (sparse) where they are missing or of another size; blank ones if `fresh`. Those made."""
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for name, size in SIZES.items():
        path = directory / name
        if fresh or not path.exists() or path.stat().st_size != size:
            with path.open("wb") as disk:
                os.ftruncate(disk.fileno(), size)
            made.append(name)
    return made


def table(device: str, mode: str, milliseconds: int = SLOWNESS) -> str:
    """Device-mapper table of a disk in `mode` (dmsetup(8); `hang` keeps the table of `ok`)."""
    sectors, below = SIZES[device] // 512, UNITS[device]
    if mode == "slow":
        return f"0 {sectors} delay {below} 0 {milliseconds}"
    if mode == "fail":
        return f"0 {sectors} error"
    return f"0 {sectors} linear {below} 0"


def script(devices: list[str], mode: str, milliseconds: int = SLOWNESS) -> str:
    """Shell commands that bring `devices` into `mode` on a node, from any other mode.

    Suspending with --noflush does not wait for requests under way, so a hanging disk can be left in every direction.
    """
    lines = ["set -e"]
    for device in devices:
        lines.append(f"test -e /dev/mapper/{device} || {{ echo '{device} is not there (yet)' >&2; exit 1; }}")
        lines.append(f"dmsetup reload {device} --table '{table(device, mode, milliseconds)}'")
        lines.append(f"dmsetup suspend --noflush --nolockfs {device}")
        if mode == "hang":
            lines.append(f"dmsetup clear {device}")
        else:
            lines.append(f"dmsetup resume --noudevsync {device}")
    return "\n".join(lines)


def mode_of(line: str) -> tuple[str, str]:
    """Device and mode out of a line `NAME ATTRIBUTES TABLE…` that the node prints (see `REPORT`)."""
    device, suspended, table_text = line.split(maxsplit=2)
    if suspended == "Suspended":
        return device, "hang"
    kind = table_text.split()[2]
    return device, {"linear": "ok", "delay": "slow", "error": "fail"}.get(kind, kind)


REPORT = (
    "dmsetup info -c --noheadings --separator ' ' -o name,suspended | "
    'while read -r name state; do echo "$name $state $(dmsetup table "$name")"; done'
)
"""Shell command for a node: one line per device for `mode_of`."""


def check_devices(names: list[str]) -> list[str]:
    """Known device names, or all of them when none is given."""
    for name in names:
        if name not in SIZES:
            raise LabError(f"no disk is called {name!r}: choose from {', '.join(SIZES)}")
    return names or list(SIZES)
