# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that a report on this node is made of, gathered with few system calls."""

from __future__ import annotations

import os
import time
import zlib
from dataclasses import replace

from ..base import files
from . import blocks, devices, domains, heartbeats, kernel, observe, sysconfig
from . import conf as conf_file
from .blocks import Beats, Reading
from .report import Facts
from .state import Live

READ_SECONDS = 4.0
"""Deadline of a disk in a quick look."""

_CHANGELOG = "/usr/share/doc/ocfs2-tools/changelog.Debian.gz"


def facts(probe: bool = False) -> Facts:
    """Everything a report is made of.

    With `probe`, the heartbeat is read twice, 4.2 s apart, and each region's superblock once.
    """
    path = sysconfig.path()
    joined = domains.joined()
    found = observe.live(joined)
    before: Beats | None = None
    reading = Reading()
    if found and probe:
        before = heartbeats.read(found.regions, observe.slots(found), READ_SECONDS).beats
        time.sleep(blocks.PROBE_SECONDS)
    if found:
        reading = heartbeats.read(found.regions, observe.slots(found), READ_SECONDS, volumes=probe)
    release = os.uname().release
    missing = kernel.missing()
    return Facts(
        hostname=os.uname().nodename,
        release=release,
        root=os.geteuid() == 0,
        now=time.time(),
        conf=files.read(conf_file.PATH),
        sysconfig=files.read(path),
        sysconfig_path=path,
        live=found,
        stack=files.read_line(observe.STACK_FILE),
        tools=tools_version(),
        modules_missing=tuple(name for name in missing if not kernel.available(name, release)),
        sysctls={name: files.read_line(f"/proc/sys/kernel/{name}") for name in ("panic", "panic_on_oops")},
        domains=tuple(joined),
        reading=replace(reading, volumes={**_volumes(found), **reading.volumes}),
        before=before,
        paths={region.uuid: devices.preferred_path(region.device) for region in found.regions if region.started}
        if found
        else {},
        live_nodes=observe.live_nodes(),
        quorum_regions=observe.quorum_regions([region.uuid for region in found.regions]) if found else None,
    )


def _volumes(found: Live | None) -> dict[str, tuple[str, str]]:
    """What udev knows of the devices of the regions that beat."""
    known = (
        {region.uuid: devices.volume_by_udev(region.device) for region in found.regions if region.started}
        if found
        else {}
    )
    return {uuid: volume for uuid, volume in known.items() if volume is not None}


def tools_version() -> str | None:
    """The version of the package ocfs2-tools, from the first line of its change log; None where that is not there."""
    try:
        with open(_CHANGELOG, "rb") as file:
            head = zlib.decompressobj(31).decompress(file.read(512), 200).decode("utf-8", "replace")
    except (OSError, zlib.error):
        return None
    return head.partition("(")[2].partition(")")[0] or None
