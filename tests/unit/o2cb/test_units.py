# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files for the boot, as systemd reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import units

PATHS = ["/dlm", "/srv/dlm", "/var/lib/o2cb/dlm.d", "/a_b/c.d/E9"]

# As Debian 13 ships it; the drop-in changes it.
SERVICE = """[Unit]
Description=Load o2cb Modules
Requires=network.target
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true enable
ExecStop=/bin/true disable

[Install]
WantedBy=multi-user.target
"""


def verify(directory: Path, mount: str, drop_in: str) -> str:
    """What systemd-analyze has to say of the service with its drop-in, and of the mount."""
    name = units.mount_unit_name(mount)
    (directory / "o2cb.service.d").mkdir(exist_ok=True)
    (directory / "o2cb.service").write_text(SERVICE)
    (directory / "o2cb.service.d" / "drop-in.conf").write_text(drop_in)
    (directory / name).write_text(units.mount_unit(mount))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(directory / "o2cb.service"), str(directory / name)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"},
    )
    lines = done.stderr.splitlines()
    return "\n".join(line for line in lines if str(directory) in line or "o2cb" in line or name in line)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_in_the_units(tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    assert verify(good, "/srv/dlm", units.drop_in(120, "dlm.mount")) == ""
    assert "Bogus" in verify(bad, "/srv/dlm", units.drop_in(120, "dlm.mount") + "Bogus=1\n"), "it would have found one"


@pytest.mark.skipif(shutil.which("systemd-escape") is None, reason="systemd-escape is not installed")
def test_a_mount_unit_is_named_as_systemd_names_it():
    done = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", *PATHS], capture_output=True, text=True, check=True
    )
    assert [units.mount_unit_name(path) for path in PATHS] == done.stdout.split()


def test_systemd_waits_longer_than_the_program_does():
    drop_in = units.drop_in(300, "dlm.mount")
    assert "online --wait 300\n" in drop_in
    assert "TimeoutStartSec=600\n" in drop_in


def test_the_distributions_commands_are_replaced_and_not_added_to():
    lines = units.drop_in(120, "dlm.mount").splitlines()
    for key in ("ExecStart=", "ExecStop="):
        assert lines[lines.index(key) + 1].startswith(f"{key}/usr/bin/python3 {units.PROGRAM} ")


def test_lists_for_the_boot_are_one_a_line_below_their_head():
    assert units.modules_load(("a", "b")).splitlines()[1:] == ["a", "b"]
    assert units.sysctl({"z": "1", "a": "2"}).splitlines()[1:] == ["a = 2", "z = 1"]
