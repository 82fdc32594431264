# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of virtual machines, from /proc: libvirt may be dead, or wrong, and is never asked from a hook."""

from __future__ import annotations

import os
from collections.abc import Iterator

from . import machine
from .machine import Machine

UNKNOWN = ""
"""The UUID under which processes stand of which it is not known any more: they are ending."""

_GONE = {"Z", "X"}


def running(proc: str = "/proc") -> dict[str, list[tuple[int, Machine]]]:
    """The processes of each machine on this node, by UUID.

    A process that is being ended loses its command line before it closes its files, which may take long on a disk that
    does not answer: such a one counts as one of a machine that is not known. A zombie has closed everything.
    """
    found: dict[str, list[tuple[int, Machine]]] = {}
    for pid in _pids(proc):
        words = _command_line(f"{proc}/{pid}/cmdline")
        runs = machine.of_command_line(words) if words else _ending(f"{proc}/{pid}/stat")
        if runs is not None:
            found.setdefault(runs.uuid, []).append((pid, runs))
    return found


def of(uuid: str, proc: str = "/proc") -> list[int]:
    """The processes that are, or may be, of this machine."""
    found = running(proc)
    return [pid for key in (uuid, UNKNOWN) for pid, _machine in found.get(key, [])]


def _pids(proc: str) -> Iterator[int]:
    for name in os.listdir(proc):
        if name.isdigit():
            yield int(name)


def _command_line(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return []
    return data.rstrip(b"\0").decode("utf-8", "replace").split("\0") if data else []


def _ending(path: str) -> Machine | None:
    """What a process without a command line is: QEMU keeps its name until it is a zombie. Others are of the kernel."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    is_qemu = name.startswith(("qemu-system-", "qemu-kvm", "kvm-"))
    return Machine(UNKNOWN, name) if is_qemu and rest.split()[0] not in _GONE else None
