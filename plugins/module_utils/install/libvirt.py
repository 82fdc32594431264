# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installing the guard of virtual machines: libvirt's hook, the settings, the order of the units.

Theory of operation. libvirt runs every program in /etc/libvirt/hooks/qemu.d since version 6.5; older ones run only
/etc/libvirt/hooks/qemu, which may be somebody's own: that one is never overwritten. It looks for hooks when it starts
and when it is reloaded, so it is reloaded here. Machines that run by then are guarded by this module.

The hook is a shell script, so that it can still answer when the program is not there: libvirt kills the machine of
which a call after its start fails. AppArmor's profile of libvirtd confines the script, and leaves alone what it starts
from /usr/bin.

At boot libvirt starts machines by itself, and each needs its lock: so it waits for o2keep. At shutdown the order is the
reverse: machines end before their locks are released, whether libvirt still runs or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ..base import files, programs
from ..base.changes import Changes, present
from ..base.errors import O2cbError, join_problems
from ..base.systemd import Systemd
from ..o2cb import keeping, units
from ..vm import looking, machine, system
from ..vm.machine import Machine
from ..vm.overview import Here

HOOK = "/etc/libvirt/hooks/qemu.d/ocfs2.o2cb"
OLD_HOOK = "/etc/libvirt/hooks/qemu"
DIRECTORY_SINCE = (6, 5, 0)
"""The first version of libvirt that runs every program of a directory (docs/hooks.rst)."""

DAEMONS = ("libvirtd.service", "virtqemud.service")
DROP_INS = {
    **{unit: f"/etc/systemd/system/{unit}.d/ocfs2.o2cb.conf" for unit in DAEMONS},
    "machine-.scope": "/etc/systemd/system/machine-.scope.d/ocfs2.o2cb.conf",
}
"""Drop-ins of libvirt's daemons, and of the scopes in which its machines run."""

_HEAD = "# Written by the Ansible collection ocfs2.o2cb. Changes are overwritten.\n"


def hook() -> str:
    """The script that libvirt runs. One that begins with a dot is a file that is just being written."""
    program = f'/usr/bin/python3 {units.PROGRAM} libvirt-hook "$@"'
    return f"""#!/bin/sh
{_HEAD}case ${{0##*/}} in .*) exit 0 ;; esac
case $2 in
    prepare | start | migrate) exec {program} ;;
esac
# Failing at any other call would end a machine that runs.
{program}
exit 0
"""


def drop_in(unit: str) -> str:
    wants = f"Wants={units.KEEPER_SERVICE}\n" if unit in DAEMONS else ""
    return f"{_HEAD}[Unit]\n{wants}After={units.KEEPER_SERVICE}\n"


def settings(patterns: list[str]) -> str:
    return _HEAD + "".join(f"{pattern}\n" for pattern in patterns)


def version(run: programs.Run = programs.run) -> tuple[int, ...] | None:
    """The version of libvirt here, None where there is none."""
    for program in ("libvirtd", "virtqemud", "virsh"):
        try:
            code, output, _errors = run([program, "--version"])
        except O2cbError:
            continue
        found = re.search(r"\b(\d+)\.(\d+)\.(\d+)\b", output)
        if code == 0 and found:
            return tuple(int(part) for part in found.groups())
    return None


def plan(options: Mapping[str, Any], systemd: Systemd, run: programs.Run = programs.run) -> Changes:
    """Compare and plan. Raises O2cbError where somebody's own hook is in the way, or a pattern cannot be."""
    if options["state"] == "absent":
        return _absent(systemd, bool(options["force"]))
    patterns = [str(pattern) for pattern in options["unguarded"]]
    problems = [text for text in map(machine.pattern_problem, patterns) if text]
    if problems:
        raise O2cbError(join_problems(problems))
    path, other = _places(run)
    result = Changes()
    result.write(system.UNGUARDED, settings(patterns))
    if result.write_all({file: drop_in(unit) for unit, file in DROP_INS.items()}):
        result.tell("reload systemd", systemd, "daemon-reload")
    before = len(result.actions)
    if other is not None:
        _remove(result, other)
    result.write(path, hook(), 0o755)
    if len(result.actions) > before:
        _reload(result, systemd)
    if keeping.runs():
        here = looking.here()
        _guard(result, Here(here.locks, here.processes, patterns, here.now, here.node))
    return result


def _places(run: programs.Run) -> tuple[str, str | None]:
    """Where the hook belongs, and where one of ours is left over from another version of libvirt."""
    found = version(run)
    if found is None or found >= DIRECTORY_SINCE:
        return HOOK, OLD_HOOK if _ours(OLD_HOOK) else None
    if os.path.lexists(OLD_HOOK) and not _ours(OLD_HOOK):
        raise O2cbError(
            f"{OLD_HOOK} is somebody's own, and libvirt {'.'.join(map(str, found))} runs no other hook: put it into "
            f"{HOOK} and upgrade libvirt to {'.'.join(map(str, DIRECTORY_SINCE))} or later, or remove it"
        )
    return OLD_HOOK, HOOK if os.path.lexists(HOOK) else None


def _ours(path: str) -> bool:
    return _HEAD in (files.read(path) or "")


def _remove(result: Changes, path: str) -> None:
    # libvirt's own directories stay, though they may be empty then.
    result.remove(path, with_directory=path not in (HOOK, OLD_HOOK))


def _reload(result: Changes, systemd: Systemd) -> None:
    """It looks for hooks only when it starts and when it is told to."""
    for unit in DAEMONS:
        if systemd.active(unit):
            result.tell(f"reload {unit}", systemd, "reload", unit)


def _guard(result: Changes, here: Here) -> None:
    """Bring the locks of this node's machines into order, as after each start of libvirt."""
    for one in looking.unsettled(here):
        what = "guard" if here.view(one.uuid).pids else "release the lock of"
        result.add(f"{what} {one}", lambda one=one: _settle(one))  # type: ignore[misc]


def _settle(one: Machine) -> None:
    problem = looking.check(one)
    if problem:
        raise O2cbError(problem)


def _absent(systemd: Systemd, force: bool) -> Changes:
    """Without the hook nobody would release the locks of machines that run: so they are released here, if forced."""
    here = looking.here() if keeping.runs() else Here([], {})
    guarded = [here.machine(uuid) for uuid in here.uuids() if here.view(uuid).run or here.view(uuid).incoming]
    run = [str(one) for one in guarded if here.view(one.uuid).pids]
    if run and not force:
        raise O2cbError(f"{join_problems(run)}: guarded and running here; end or migrate first, or use force")
    result = Changes()
    hooks = [path for path in (HOOK, OLD_HOOK) if _ours(path)]
    for path in hooks:
        _remove(result, path)
    if hooks:
        _reload(result, systemd)
    drop_ins = present(DROP_INS.values())
    for path in [*drop_ins, *present([system.UNGUARDED])]:
        _remove(result, path)
    if drop_ins:
        result.tell("reload systemd", systemd, "daemon-reload")
    for one in guarded:
        result.add(f"release the lock of {one}", lambda one=one: looking.release(one.uuid, True))  # type: ignore[misc]
    return result
