# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Block devices: which carry a heartbeat region, and which the o2cb tool would find.

The o2cb tool looks for a region on devices of certain names only (o2cb_scandisk.c) and passes over one that is part of
another, such as a path of a multipath device. A region that it cannot find is worse than none: at the next
`o2cb start-heartbeat` it stops all the others. So a device is only taken when the tool would take it too.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Iterable

from ..base import files
from ..base.errors import O2cbError, join_problems
from . import direct, superblock
from .direct import Extent
from .superblock import Superblock

FOUND_BY_TOOL = (
    "/dev/mapper/",
    "/dev/emcpower",
    "/dev/sd",
    "/dev/loop",
    "/dev/xvd",
    "/dev/vd",
    "/dev/rbd",
    "/dev/drbd",
)
"""Names that every supported release of the o2cb tool accepts; /dev/nbd came with 1.8.9 only."""

SCAN_SECONDS = 20.0
_SYSFS = "/sys/class/block"
_UDEV = "/run/udev/data"
_NEVER = re.compile(r"(ram|zram|sr|fd)\d")


@dataclass(frozen=True)
class Device:
    """A block device that carries an OCFS2 volume. `kernel_name` is that of sysfs and configfs, such as dm-0."""

    path: str
    kernel_name: str
    superblock: Superblock


def is_found_by_tool(path: str) -> bool:
    return path.startswith(FOUND_BY_TOOL)


def unsupported_name_problem(path: str) -> str:
    """Why a device of this name cannot be a region, and the way out."""
    name = os.path.basename(path)
    names = ", ".join(prefix + "*" for prefix in FOUND_BY_TOOL)
    return (
        f"device {path} has a name that the o2cb tool does not search for heartbeat regions ({names}), as NVMe, md and "
        f"zvol devices have: put a linear mapping over it, at every boot and on every node, and use that: "
        f'`dmsetup create hb-{name} --table "0 $(blockdev --getsz {path}) linear {path} 0"` makes /dev/mapper/hb-{name}'
    )


def preferred_path(kernel_name: str) -> str:
    """The name under which the o2cb tool knows a device: /dev/mapper/NAME for device mapper, else /dev/NAME."""
    mapper = files.read_line(f"{_SYSFS}/{kernel_name}/dm/name")
    return f"/dev/mapper/{mapper}" if mapper else "/dev/" + kernel_name.replace("!", "/")


def kernel_name(path: str) -> str:
    """The name in sysfs of the device at this path. Raises O2cbError when there is none."""
    try:
        number = os.stat(path).st_rdev
    except OSError as error:
        raise O2cbError(f"device {path}: {error.strerror}: check the path and that the storage is attached") from None
    link = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    if not os.path.exists(link):
        raise O2cbError(f"{path} is not a block device: give the path of a shared disk or logical volume")
    return os.path.basename(os.path.realpath(link))


def logical_block_size(name: str) -> int:
    """Bytes of a logical block of this device; the heartbeat block has the same size."""
    for queue in ("queue", "../queue"):
        size = files.read_line(f"{os.path.realpath(f'{_SYSFS}/{name}')}/{queue}/logical_block_size")
        if size:
            return int(size)
    return 512


def size_bytes(name: str) -> int:
    return int(files.read_line(f"{_SYSFS}/{name}/size") or 0) * 512


def holders(name: str) -> list[str]:
    """The devices of which this one is a part."""
    try:
        return sorted(os.listdir(f"{_SYSFS}/{name}/holders"))
    except FileNotFoundError:
        return []


def volume_by_udev(kernel_name: str) -> tuple[str, str] | None:
    """UUID and label of the OCFS2 volume that udev saw when this device was last written to on this node.

    Empty for another file system; None where udev knows of none. No disk is touched, so no disk can hang.
    """
    text = files.read(f"{_UDEV}/b{files.read_line(f'{_SYSFS}/{kernel_name}/dev')}") or ""
    known = dict(line[2:].split("=", 1) for line in text.splitlines() if line.startswith("E:ID_FS_") and "=" in line)
    if "ID_FS_TYPE" not in known:
        return None
    if known["ID_FS_TYPE"] != "ocfs2":
        return "", ""
    return known.get("ID_FS_UUID", "").replace("-", "").upper(), known.get("ID_FS_LABEL", "")


def read_superblock(path: str) -> Superblock | None:
    """Raises O2cbError when the device does not answer."""
    return superblock.parse(direct.read_one(_head(path), SCAN_SECONDS))


def scan(seconds: float = SCAN_SECONDS) -> list[Device]:
    """Every OCFS2 volume on a device that is not part of another, also those the tool would not find.

    A device that cannot be read has none. Raises O2cbError naming those that do not answer: who knows what they carry.
    """
    names = [
        name for name in sorted(os.listdir(_SYSFS)) if not _NEVER.match(name) and size_bytes(name) and not holders(name)
    ]
    paths = [preferred_path(name) for name in names]
    answers = direct.read([_head(path) for path in paths], seconds)
    hung = [answer.problem for answer in answers if answer.hung]
    if hung:
        raise O2cbError(f"looking at the block devices: {join_problems(hung)}: mend or detach its storage path")
    heads = [superblock.parse(answer.data) for answer in answers]
    return [Device(path, name, head) for path, name, head in zip(paths, names, heads) if head is not None]


def _head(path: str) -> Extent:
    return Extent(path, 0, superblock.READ_BYTES)


def find_regions(uuids: Iterable[str], seconds: float = SCAN_SECONDS) -> dict[str, Device]:
    """The device of each region.

    Raises O2cbError with one text for all regions that are missing, on a device with an unsupported name, or on two
    devices that are not parts of one another.
    """
    wanted = list(uuids)
    if not wanted:
        return {}
    volumes = scan(seconds)
    found: dict[str, Device] = {}
    problems = []
    for uuid in wanted:
        here = [device for device in volumes if device.superblock.uuid == uuid]
        usable = [device for device in here if is_found_by_tool(device.path)]
        if len(usable) > 1:
            paths = ", ".join(device.path for device in usable)
            problems.append(
                f"region {uuid} is on several devices, {paths}: a copy or an unassembled multipath; hide all but one"
            )
        elif usable:
            found[uuid] = usable[0]
        elif here:
            problems.append(f"region {uuid}: {unsupported_name_problem(here[0].path)}")
        else:
            seen = ", ".join(f"{device.superblock.uuid} on {device.path}" for device in volumes) or "none"
            problems.append(
                f"region {uuid} is on no block device here: attach the disk, or correct the UUID (seen: {seen})"
            )
    if problems:
        raise O2cbError("; ".join(problems), regions_missing=[uuid for uuid in wanted if uuid not in found])
    return found
