# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making and finding heartbeat regions: small OCFS2 volumes that are beaten on and never mounted.

A device is formatted only when nothing at all is on it: no signature that blkid(8) knows, and zeros in the first and
the last MiB, since raw data of databases has no signature. Formatting must be asked for on one host only; the others
find the region by its UUID, which the volume's superblock holds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..base import programs
from ..base.errors import O2cbError, join_problems
from ..o2cb import devices, direct
from ..o2cb.devices import Device
from ..o2cb.direct import ALIGNMENT, Extent
from ..o2cb.model import PENDING
from ..o2cb.system import System

BLANK_BYTES = 1024 * 1024
MINIMUM_BYTES = 64 * 1024 * 1024
"""A volume of two slots with journals of 4 MiB, a heartbeat area and room to spare."""

MKFS_SECONDS = 120
BLKID_SECONDS = 30


@dataclass(frozen=True)
class Region:
    """A region as found on this host, or still to be formatted: then `uuid` says so (`pending:PATH`)."""

    uuid: str
    device: str
    label: str
    formatted: bool = False


def examine(path: str, cluster: str) -> Device | None:
    """The region on this device, or None when the device is blank and may be formatted.

    Raises O2cbError when the device cannot be a region of this cluster: its name, its size, what is on it, who uses it.
    """
    if not devices.is_found_by_tool(path):
        raise O2cbError(devices.unsupported_name_problem(path))
    name = devices.kernel_name(path)
    holders = devices.holders(name)
    if holders:
        raise O2cbError(f"device {path} is part of {', '.join(holders)}: give the device on top of it")
    volume = devices.read_superblock(path)
    if volume is None:
        _refuse_unless_blank(path, name)
        return None
    if (volume.stack, volume.cluster) != ("o2cb", cluster) or not volume.global_heartbeat:
        owner = f"cluster {volume.cluster!r} of stack {volume.stack!r}" if volume.cluster else "no cluster"
        raise O2cbError(
            f"device {path} carries the OCFS2 volume {volume.uuid} ({volume.label or 'no label'}) of {owner}, not a "
            f"global heartbeat region of cluster {cluster!r}: give another device, or wipe it if its data is worthless"
        )
    return Device(path, name, volume)


def _refuse_unless_blank(path: str, name: str) -> None:
    size = devices.size_bytes(name)
    if size < MINIMUM_BYTES:
        raise O2cbError(f"device {path} has {size} bytes: a region needs {MINIMUM_BYTES} (64 MiB)")

    # The last MiB may begin between two blocks; then it is read from the one before, to the end.
    last = (size - BLANK_BYTES) // ALIGNMENT * ALIGNMENT
    ends = [Extent(path, 0, BLANK_BYTES), Extent(path, last, size - last)]
    answers = direct.read(ends, devices.SCAN_SECONDS)
    problems = [answer.problem for answer in answers if answer.problem]
    if problems:
        raise O2cbError(join_problems(problems))
    data = any(answer.data != bytes(extent.size) for answer, extent in zip(answers, ends))
    kind = signature(path)
    if data or kind:
        raise O2cbError(
            f"device {path} is not blank ({kind or 'data of unknown kind'}): nothing that holds anything is "
            f"formatted. If it is worthless, wipe its first and last MiB yourself: `wipefs -a {path}; "
            f"dd if=/dev/zero of={path} bs=1M count=1 oflag=direct`"
        )


def signature(path: str) -> str:
    """What blkid(8) finds on a device, such as `ext4 "data"`; an empty string when it finds nothing."""
    code, output, _error = programs.run(["blkid", "--probe", "--output", "export", path], BLKID_SECONDS)
    if code == 8:
        return "several signatures"
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    kind = values.get("TYPE") or values.get("PTTYPE", "")
    return f"{kind} {values['LABEL']!r}" if kind and "LABEL" in values else kind


def format_region(system: System, path: str, cluster: str, label: str) -> Region:
    """Make an OCFS2 volume for this cluster's global heartbeat on a device that `examine` found blank."""
    _refuse_if_busy(path)
    command = ["mkfs.ocfs2", "-b", "4K", "-C", "4K", "-N", "2", "-J", "size=4M", "-L", label]
    command += ["--cluster-stack=o2cb", f"--cluster-name={cluster}", "--global-heartbeat", path]
    code, output, error = system.run(["timeout", str(MKFS_SECONDS), *command])
    found = devices.read_superblock(path)
    if code or found is None:
        raise O2cbError(f"formatting {path} failed (exit code {code}): {(error or output).strip()[-300:]}")
    return Region(found.uuid, path, found.label, formatted=True)


def _refuse_if_busy(path: str) -> None:
    """O_EXCL fails on a block device that is mounted, swapped on or claimed by the device mapper (open(2))."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        raise O2cbError(f"device {path} cannot be had for formatting ({error.strerror}): see who uses it") from None


def resolve(system: System, wanted: dict[str, str | None], cluster: str, may_format: bool, check: bool) -> Region:
    """One wanted region, given by `device`, `uuid` or both: found, or formatted where that is allowed.

    Raises O2cbError when it is not there, not blank, or not the one of that UUID.
    """
    path, uuid, label = wanted.get("device"), wanted.get("uuid"), wanted.get("label")
    if not path:
        device = devices.find_regions([uuid or ""])[uuid or ""]
        return Region(device.superblock.uuid, device.path, device.superblock.label)
    found = examine(path, cluster)
    if found is not None:
        if uuid and found.superblock.uuid != uuid:
            raise O2cbError(f"device {path} carries region {found.superblock.uuid}, not {uuid}: correct one of them")
        return Region(found.superblock.uuid, path, found.superblock.label)
    if uuid:
        raise O2cbError(f"device {path} is blank, and region {uuid} should be on it: check the path, or drop the UUID")
    if not may_format:
        raise O2cbError(f"device {path} is blank: format it as a region with format=true, on one host only")
    if check:
        return Region(PENDING + path, path, label or "", formatted=True)
    return format_region(system, path, cluster, label or os.path.basename(path))
