# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is installed for the boot: compared first, done once, and taken away again."""

from __future__ import annotations

import base64
import io
import os
import zlib
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.systemd import Systemd
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import boot
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import units
from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import zipapp
from ansible_collections.ocfs2.o2cb.tests.unit.install.rooted import move

PROGRAM = b"PK\x03\x04\xff\x00"
OPTIONS = {
    "state": "present",
    "mount": "/dlm",
    "device_wait": 120,
    "sysctl": {"kernel.panic": 30},
    "locks": False,
}
REAL_PROGRAM = zipapp.pack()
LOCKS = {"locks": True, "program": REAL_PROGRAM}
MOUNT_UNIT = "/etc/systemd/system/dlm.mount"
CTL = Path(zipapp.LIBRARY, "ctl")


class Machine:
    """A root directory of its own, and a systemctl that remembers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.enabled: set[str] = set()
        self.log: list[str] = []
        sysctl = root / "proc/sys/kernel/panic"
        sysctl.parent.mkdir(parents=True)
        sysctl.write_text("0\n")

    def under(self, path: str) -> str:
        return f"{self.root}{path}"

    def run(self, command: list[str]) -> tuple[int, str, str]:
        assert command[0] == "systemctl"
        if command[1] == "is-enabled":
            units = [word for word in command[2:] if word != "--quiet"]
            states = ["enabled" if unit in self.enabled else "disabled" for unit in units]
            return (0 if "enabled" in states else 1), "".join(f"{state}\n" for state in states), ""
        self.log.append(" ".join(command[1:]))
        if command[1] == "enable":
            self.enabled.add(command[-1])
        if command[1] == "disable":
            self.enabled.discard(command[-1])
        return 0, "", ""

    def files(self) -> list[str]:
        return sorted("/" + str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def text(self, path: str) -> str:
        return Path(self.under(path)).read_text()


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Machine:
    machine = Machine(tmp_path)
    under = machine.under
    move(monkeypatch, under, boot)
    monkeypatch.setattr(boot.programs, "run", lambda command: machine.log.append(" ".join(command)) or (0, "", ""))
    monkeypatch.setattr(boot, "open", lambda path, mode: io.BytesIO(Path(under(path)).read_bytes()), raising=False)
    return machine


def carry_out(machine: Machine, program: bytes = PROGRAM, **options: object) -> list[str]:
    plan = boot.plan({**OPTIONS, **options}, program, Systemd(machine.run))
    plan.apply()
    return plan.actions


def test_everything_is_installed_once(machine):
    assert carry_out(machine) == [
        f"write {units.PROGRAM}",
        f"write {units.DROP_IN}",
        f"write {MOUNT_UNIT}",
        "reload systemd",
        f"write {units.MODULES_LOAD}",
        f"write {units.SYSCTL}",
        "set kernel.panic to 30",
        "enable o2cb.service",
        "enable dlm.mount",
    ]
    assert Path(machine.under(units.PROGRAM)).read_bytes() == PROGRAM
    assert machine.text("/proc/sys/kernel/panic") == "30\n"
    assert machine.log == ["daemon-reload", "enable o2cb.service", "enable dlm.mount"]
    assert carry_out(machine) == []


def test_planning_changes_nothing_and_tells_each_file(machine):
    before = machine.files()
    plan = boot.plan(OPTIONS, PROGRAM, Systemd(machine.run))
    assert (machine.files(), machine.log) == (before, [])
    wanted = [units.PROGRAM, units.DROP_IN, MOUNT_UNIT, units.MODULES_LOAD, units.SYSCTL, "/proc/sys/kernel/panic"]
    assert [part["after_header"] for part in plan.diff] == wanted


def test_a_change_writes_and_reloads_only_what_it_must(machine):
    carry_out(machine)
    assert carry_out(machine, device_wait=300) == [f"write {units.DROP_IN}", "reload systemd"]
    assert carry_out(machine, device_wait=300, sysctl={"kernel.panic": 10}) == [
        f"write {units.SYSCTL}",
        "set kernel.panic to 10",
    ]
    assert carry_out(machine, b"other", device_wait=300, sysctl={"kernel.panic": 10}) == [f"write {units.PROGRAM}"]


def test_absent_takes_away_what_present_brought_and_nothing_else(machine):
    before = machine.files()
    carry_out(machine)
    machine.log.clear()
    carry_out(machine, state="absent")
    assert machine.files() == before
    assert not any(os.path.exists(machine.under(os.path.dirname(path))) for path in (units.DROP_IN, units.PROGRAM))
    assert machine.enabled == set()
    assert machine.log[-1] == "daemon-reload"
    assert carry_out(machine, state="absent") == []


def test_o2ctl_comes_with_its_manual_page_and_its_completion(machine):
    actions = carry_out(machine, **LOCKS)
    for path in (units.KEEPER, units.O2CTL, units.MAN_PAGE, units.COMPLETION):
        assert f"write {path}" in actions
    assert actions[-1] == f"enable {units.KEEPER_SERVICE}"
    assert "create the user and group o2keep" in actions
    assert f"systemd-sysusers {units.SYSUSERS}" in machine.log
    assert machine.text(units.MAN_PAGE) == (CTL / "o2ctl.8").read_text()
    assert machine.text(units.COMPLETION) == (CTL / "o2ctl.bash").read_text()
    modes = [os.stat(machine.under(path)).st_mode & 0o777 for path in (units.O2CTL, units.MAN_PAGE, units.COMPLETION)]
    assert modes == [0o755, 0o644, 0o644]
    assert carry_out(machine, **LOCKS) == []


def test_without_locks_nothing_of_them_stays(machine):
    carry_out(machine, REAL_PROGRAM)
    before = machine.files()
    carry_out(machine, **LOCKS)
    machine.log.clear()
    carry_out(machine, REAL_PROGRAM)
    assert machine.files() == before
    assert machine.log[-1] == f"stop {units.KEEPER_SERVICE}"
    assert carry_out(machine, REAL_PROGRAM) == []


def test_absent_takes_the_locks_away_too(machine):
    before = machine.files()
    carry_out(machine, **LOCKS)
    carry_out(machine, state="absent")
    assert (machine.files(), machine.enabled) == (before, set())


@pytest.mark.parametrize("program", [PROGRAM, b""])
def test_a_program_without_what_o2ctl_needs_is_refused(machine, program):
    with pytest.raises(O2cbError, match="no zipapp of this collection"):
        boot.plan({**OPTIONS, "locks": True}, program, Systemd(machine.run))


@pytest.mark.parametrize("mount", ["dlm", "/", "", "/dlm/", "//dlm", "/a/../b", "/.dlm", "/a b", "/a-b", "/dlm\n"])
def test_a_mount_point_that_systemd_would_name_otherwise_is_refused(machine, mount):
    with pytest.raises(O2cbError, match="give an absolute path"):
        boot.plan({**OPTIONS, "mount": mount}, PROGRAM, Systemd(machine.run))


@pytest.mark.parametrize("key", ["kernel.no_such", "kernel/panic", "../etc/passwd", ""])
def test_a_sysctl_that_the_kernel_does_not_have_is_refused(machine, key):
    with pytest.raises(O2cbError, match="there is no sysctl"):
        boot.plan({**OPTIONS, "sysctl": {key: 1}}, PROGRAM, Systemd(machine.run))


def test_the_program_that_was_sent_is_the_one_of_the_digest():
    encoded = base64.b64encode(zlib.compress(PROGRAM)).decode()
    assert boot.decoded(encoded, boot.sha256(PROGRAM)) == PROGRAM
    with pytest.raises(O2cbError, match="not the one that digest names"):
        boot.decoded(encoded, boot.sha256(b"other"))


def test_a_program_that_is_damaged_is_refused():
    with pytest.raises(O2cbError, match="not compressed base64"):
        boot.decoded("no base64!", "")
