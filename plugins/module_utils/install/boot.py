# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installing what brings a node online at boot: files, units and sysctls, compared with what is there.

The texts come from `units`. o2ctl's manual page and completion come from the program, in which they are files: so they
are written and checked as what they are, and travel with the command that they describe. The program itself travels
only to a node that does not have it: it is named by its SHA-256. Enabling is done by systemctl(1), because a unit that
comes from an init script is enabled through that script's links.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..base import files, programs
from ..base.changes import Changes, present
from ..base.errors import O2cbError
from ..base.systemd import Systemd
from ..o2cb import keeping, kernel, units

IN_PROGRAM = {units.MAN_PAGE: "ocfs2_o2cb/ctl/o2ctl.8", units.COMPLETION: "ocfs2_o2cb/ctl/o2ctl.bash"}
"""Installed files that are copies of files in the program, by their names there."""


def installed() -> bytes:
    """The program that is here; empty when there is none."""
    try:
        with open(units.PROGRAM, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def decoded(encoded: str, digest: str) -> bytes:
    """The program that was sent. Raises O2cbError when it is damaged or is not the one of this digest."""
    try:
        program = zlib.decompress(base64.b64decode(encoded, validate=True))
    except (binascii.Error, zlib.error):
        raise O2cbError("program is not compressed base64: leave it out, the action plugin provides it") from None
    if sha256(program) != digest:
        raise O2cbError("program is not the one that digest names: leave both out, the action plugin provides them")
    return program


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def plan(options: Mapping[str, Any], program: bytes, systemd: Systemd) -> Changes:
    """Compare and plan; `program` is not looked at where the state is to be absent.

    Raises O2cbError for a mount point or a sysctl that cannot be.
    """
    mount = str(options["mount"])
    if not re.fullmatch(r"(/[A-Za-z0-9_][A-Za-z0-9._]*)+", mount):
        raise O2cbError(f"mount is {mount!r}: give an absolute path of letters, digits, '.', '_' and '/', such as /dlm")
    unit = units.mount_unit_name(mount)
    unit_path = f"/etc/systemd/system/{unit}"
    if options["state"] == "absent":
        return _absent(systemd, unit, unit_path)
    sysctl = {str(key): str(value) for key, value in options["sysctl"].items()}
    result = Changes()
    _program(result, program)
    upgraded = bool(result.actions)
    wanted = {units.DROP_IN: units.drop_in(int(options["device_wait"]), unit), unit_path: units.mount_unit(mount)}
    if options["locks"]:
        wanted[units.KEEPER] = units.keeper()
    if result.write_all(wanted):
        result.tell("reload systemd", systemd, "daemon-reload")
    if options["locks"]:
        if result.write(units.SYSUSERS, units.sysusers()):
            result.add("create the user and group o2keep", _create_users)
        result.write(units.O2CTL, units.o2ctl(), 0o755)
        result.write_all(_texts_of(program))
    else:
        if os.path.lexists(units.KEEPER):
            result.add(f"end {units.KEEPER_SERVICE}", lambda: _end_keeper(systemd))
        _remove(result, present((units.O2CTL, units.SYSUSERS, *IN_PROGRAM)))
    if options["locks"] and upgraded and keeping.runs():
        result.tell("upgrade o2keep", systemd, "kill", "--kill-who=main", units.KEEPER_SERVICE)
    result.write(units.MODULES_LOAD, units.modules_load(kernel.MODULES))
    result.write(units.SYSCTL, units.sysctl(sysctl))
    for key, value in sorted(sysctl.items()):
        _sysctl(result, key, value)
    result.enable(systemd, (units.SERVICE, unit, *((units.KEEPER_SERVICE,) if options["locks"] else ())))
    return result


def _texts_of(program: bytes) -> dict[str, str]:
    """What the program has for other places, by path."""
    try:
        with zipfile.ZipFile(io.BytesIO(program)) as archive:
            return {path: archive.read(name).decode() for path, name in IN_PROGRAM.items()}
    except (zipfile.BadZipFile, KeyError):
        raise O2cbError(
            "program is no zipapp of this collection: leave it out, the action plugin provides it"
        ) from None


def _program(result: Changes, data: bytes) -> None:
    old = installed()
    if old == data:
        return
    text = data.decode("latin-1")
    result.add(f"write {units.PROGRAM}", lambda: files.write(units.PROGRAM, text, encoding="latin-1"))
    result.show(units.PROGRAM, f"sha256 {sha256(old)}\n" if old else "", f"sha256 {sha256(data)}\n")


def _create_users() -> None:
    code, _output, problem = programs.run(["systemd-sysusers", units.SYSUSERS])
    if code != 0:
        raise O2cbError(f"systemd-sysusers cannot create the user o2keep: {problem.strip()}")


def _sysctl(result: Changes, key: str, value: str) -> None:
    path = "/proc/sys/" + key.replace(".", "/")
    if not re.fullmatch(r"[a-z0-9_.-]+", key) or not os.path.exists(path):
        raise O2cbError(f"there is no sysctl {key!r} in this kernel: correct the option sysctl")
    old = files.read_line(path)
    if old != value:
        result.add(f"set {key} to {value}", lambda: _set_sysctl(path, key, value))
        result.show(path, f"{old}\n", f"{value}\n")


def _set_sysctl(path: str, key: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, f"{value}\n".encode())
    except OSError as error:
        raise O2cbError(f"the kernel refuses {value!r} for the sysctl {key}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _end_keeper(systemd: Systemd) -> None:
    """Its unit refuses to be stopped, so that nobody drops locks by mistake. Without its file it cannot start again."""
    _domains, count, locks = keeping.domains_and_locks()
    if count:
        raise O2cbError(f"o2keep holds {count} lock(s), {', '.join(locks[:5])}: release them first")
    with keeping.domains_left():
        systemd.tell("disable", units.KEEPER_SERVICE)
        files.remove(units.KEEPER)
        systemd.tell("daemon-reload")
        systemd.tell("stop", units.KEEPER_SERVICE)
    # systemd has forgotten the unit's directory by now.
    files.remove_with_directory(keeping.SOCKET)


def _absent(systemd: Systemd, unit: str, unit_path: str) -> Changes:
    result = Changes()
    ours = [unit_path, units.DROP_IN, units.KEEPER, units.O2CTL, *IN_PROGRAM, units.MODULES_LOAD, units.SYSCTL]
    ours.append(units.SYSUSERS)
    ours.append(units.PROGRAM)
    here = present(ours)
    if units.KEEPER in here:
        result.add(f"end {units.KEEPER_SERVICE}", lambda: _end_keeper(systemd))
    if unit_path in here:
        result.tell(f"stop and disable {unit}", systemd, "disable", "--now", unit)
    if units.DROP_IN in here and systemd.enabled(units.SERVICE):
        result.tell(f"disable {units.SERVICE}", systemd, "disable", units.SERVICE)
    _remove(result, here)
    if here:
        result.tell("reload systemd", systemd, "daemon-reload")
    return result


def _remove(result: Changes, paths: Sequence[str]) -> None:
    """Directories that are not only ours stay, though they may be empty then."""
    for path in paths:
        result.remove(path, with_directory=path in (units.DROP_IN, units.PROGRAM))
