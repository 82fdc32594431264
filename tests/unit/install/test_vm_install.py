# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is installed for libvirt: compared first, done once, taken away again, and never over somebody's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import files
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.systemd import Systemd
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import libvirt
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import keeping
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import looking, system
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.machine import Machine
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.overview import Here
from ansible_collections.ocfs2.o2cb.tests.unit.install.rooted import move
from ansible_collections.ocfs2.o2cb.tests.unit.vm.world import UUID

OPTIONS = {"state": "present", "unguarded": [], "force": False}
WRITTEN = [system.UNGUARDED, *libvirt.DROP_INS.values()]
WEB = Machine(UUID, "web")
LOCK = {"name": WEB.run, "kind": "node", "owner": "web", "since": 0, "token": 17}


class Host:
    """A root directory of its own, a libvirt of some version, and a systemctl that remembers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.version = "libvirtd (libvirt) 9.0.0\n"
        self.active = {"libvirtd.service"}
        self.log: list[str] = []
        self.here = Here([], {}, (), 1000.0, 1)
        self.problem = ""

    def under(self, path: str) -> str:
        return f"{self.root}{path}"

    def run(self, command: list[str]) -> tuple[int, str, str]:
        if command[1:] == ["--version"]:
            if command[0] != "libvirtd" or not self.version:
                raise O2cbError(f"there is no program {command[0]} here")
            return 0, self.version, ""
        if command[1] == "is-active":
            return (0 if command[-1] in self.active else 3), "", ""
        self.log.append(" ".join(command[1:]))
        return 0, "", ""

    def check(self, one: Machine) -> str:
        self.log.append(f"check {one.name}")
        return self.problem

    def release(self, uuid: str, force: bool) -> None:
        assert force
        self.log.append(f"release {uuid}")

    def put(self, path: str, text: str) -> None:
        files.write(self.under(path), text, 0o755)

    def files(self) -> list[str]:
        return sorted("/" + str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def carry_out(self, **options: object) -> list[str]:
        plan = libvirt.plan({**OPTIONS, **options}, Systemd(self.run), self.run)
        plan.apply()
        return plan.actions


@pytest.fixture
def host(tmp_path, monkeypatch) -> Host:
    host = Host(tmp_path)
    under = host.under
    move(monkeypatch, under, libvirt)
    monkeypatch.setattr(keeping, "runs", lambda: True)
    monkeypatch.setattr(looking, "here", lambda: host.here)
    monkeypatch.setattr(looking, "check", host.check)
    monkeypatch.setattr(looking, "release", host.release)
    return host


def test_everything_is_installed_once_and_libvirt_told(host):
    actions = [*(f"write {path}" for path in WRITTEN), "reload systemd", f"write {libvirt.HOOK}"]
    assert host.carry_out() == [*actions, "reload libvirtd.service"]
    assert host.log == ["daemon-reload", "reload libvirtd.service"]
    assert os.access(host.under(libvirt.HOOK), os.X_OK)
    assert host.carry_out() == []


def test_planning_changes_nothing(host):
    plan = libvirt.plan(OPTIONS, Systemd(host.run), host.run)
    assert (host.files(), host.log) == ([], [])
    assert [part["after_header"] for part in plan.diff] == [*WRITTEN, libvirt.HOOK]


def test_a_change_of_the_settings_needs_no_reload(host):
    host.carry_out()
    assert host.carry_out(unguarded=["test-*", UUID]) == [f"write {system.UNGUARDED}"]
    assert Path(host.under(system.UNGUARDED)).read_text().splitlines()[1:] == ["test-*", UUID]
    with pytest.raises(O2cbError, match="give the name of a machine"):
        host.carry_out(unguarded=["ok", "a\nb"])


def test_a_hook_that_somebody_made_unusable_is_mended(host):
    host.carry_out()
    os.chmod(host.under(libvirt.HOOK), 0o644)
    if os.access(host.under(libvirt.HOOK), os.X_OK):
        pytest.skip("everything is executable here")
    assert host.carry_out() == [f"make {libvirt.HOOK} executable", "reload libvirtd.service"]


@pytest.mark.parametrize("version", ["libvirtd (libvirt) 6.5.0\n", "libvirtd (libvirt) 11.3.0\n", ""])
def test_somebodys_own_hook_stays_beside_ours(host, version):
    host.version = version
    host.put(libvirt.OLD_HOOK, "#!/bin/sh\n")
    host.carry_out()
    assert Path(host.under(libvirt.OLD_HOOK)).read_text() == "#!/bin/sh\n"
    assert libvirt.HOOK in host.files()


def test_an_old_libvirt_gets_the_hook_where_it_looks_and_a_new_one_moves_it(host):
    host.version = "libvirtd (libvirt) 6.0.0\n"
    host.carry_out()
    assert (libvirt.OLD_HOOK in host.files(), libvirt.HOOK in host.files()) == (True, False)
    host.version = "libvirtd (libvirt) 9.0.0\n"
    assert f"remove {libvirt.OLD_HOOK}" in host.carry_out()
    assert (libvirt.OLD_HOOK in host.files(), libvirt.HOOK in host.files()) == (False, True)


def test_somebodys_own_hook_is_not_overwritten_for_an_old_libvirt(host):
    host.version = "libvirtd (libvirt) 6.4.0\n"
    host.put(libvirt.OLD_HOOK, "#!/bin/sh\n")
    with pytest.raises(O2cbError, match=r"is somebody.s own, and libvirt 6\.4\.0 runs no other hook"):
        host.carry_out()
    assert host.files() == [libvirt.OLD_HOOK]


def test_machines_that_run_already_are_guarded_and_left_over_locks_released(host):
    host.carry_out()
    host.log.clear()
    host.here = Here([], {UUID: [(40, WEB)]}, (), 1000.0, 1)
    assert host.carry_out() == [f"guard {WEB}"]
    host.here = Here([LOCK], {}, (), 1000.0, 1)
    assert host.carry_out() == [f"release the lock of {WEB}"]
    assert host.log == ["check web", "check web"]
    host.here = Here([LOCK], {UUID: [(40, WEB)]}, (), 1000.0, 1)
    assert host.carry_out() == []


def test_machines_that_are_left_out_by_this_run_are_not_guarded_by_it(host):
    host.here = Here([], {UUID: [(40, WEB)]}, (), 1000.0, 1)
    host.carry_out(unguarded=["web"])
    assert "check web" not in host.log


def test_a_machine_that_runs_twice_is_told(host):
    host.here = Here([], {UUID: [(40, WEB)]}, (), 1000.0, 1)
    host.problem = f"{WEB} RUNS TWICE"
    with pytest.raises(O2cbError, match="RUNS TWICE"):
        host.carry_out()


def test_absent_takes_away_what_present_brought_and_nothing_else(host):
    host.put(libvirt.OLD_HOOK, "#!/bin/sh\n")
    before = host.files()
    host.carry_out()
    host.log.clear()
    host.carry_out(state="absent")
    assert host.files() == before
    assert host.log == ["reload libvirtd.service", "daemon-reload"]
    assert host.carry_out(state="absent") == []


def test_absent_is_refused_while_a_guarded_machine_runs_and_releases_its_lock_when_forced(host):
    host.carry_out()
    host.here = Here([LOCK], {UUID: [(40, WEB)]}, (), 1000.0, 1)
    with pytest.raises(O2cbError, match="guarded and running here"):
        host.carry_out(state="absent")
    assert libvirt.HOOK in host.files()
    host.carry_out(state="absent", force=True)
    assert host.log[-1] == f"release {UUID}"


@pytest.mark.parametrize("unit", libvirt.DROP_INS)
def test_machines_start_after_the_keeper_of_their_locks_and_end_before_it(unit):
    text = libvirt.drop_in(unit)
    assert "\nAfter=o2keep.service\n" in text
    assert ("Wants=o2keep.service" in text) == unit.endswith(".service")
