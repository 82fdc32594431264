# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's command line, and how its console says a boot ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.machine import BANNER, End, Machine, end_of

MACHINE = Machine("demo", 2, Path("/s/demo/node2"), Path("/s/demo/disks"), Path("/c/root.img"), 512)


def test_a_node_has_its_own_root_disk_and_shares_the_others():
    command = MACHINE.command()
    assert "ubda=/s/demo/node2/root.cow,/c/root.img" in command
    assert [word for word in command if word.startswith("ubd") and "dc=" in word] == [
        "ubdbdc=/s/demo/disks/hb1",
        "ubdcdc=/s/demo/disks/hb2",
        "ubdddc=/s/demo/disks/hb3",
        "ubdedc=/s/demo/disks/data",
    ]


def test_name_address_and_hardware_address_follow_from_the_number():
    command = MACHINE.command()
    assert "lab.name=node2" in command
    assert "lab.address=10.22.0.12/24" in command
    assert "vec0:transport=tap,ifname=tap2,depth=128,gro=1,mac=52:54:00:22:00:02" in command


def test_late_disks_stand_on_the_command_line_of_that_boot_only():
    assert MACHINE.command("hb1:20")[-1] == "lab.late=hb1:20"
    assert not any(word.startswith("lab.late") for word in MACHINE.command())


def test_nodes_of_two_labs_have_different_machine_ids_of_the_right_form():
    other = Machine("other", 2, MACHINE.directory, MACHINE.disks, MACHINE.image, 512)
    assert MACHINE.machine_id != other.machine_id
    assert len(MACHINE.machine_id) == 32
    assert int(MACHINE.machine_id, 16)


FENCED = "*** ocfs2 is very sorry to be fencing this system by restarting ***"


@pytest.mark.parametrize(
    ("console", "status", "end"),
    [
        ("reboot: Restarting system\n", 0, End.REBOOTED),
        (f"{FENCED}\n", 0, End.FENCED),
        (
            "*** ocfs2 is very sorry to be fencing this system by panicing ***\nKernel panic - not syncing",
            -6,
            End.FENCED,
        ),
        ("Kernel panic - not syncing: sysrq triggered crash\n", -6, End.PANICKED),
        ("reboot: System halted\n", 0, End.POWERED_OFF),
        ("reboot: Power down\n", 0, End.POWERED_OFF),
        ("nothing in particular\n", 0, End.RESET),
        ("nothing in particular\n", -9, End.KILLED),
        ("nothing in particular\n", None, End.KILLED),
        ("", 0, End.RESET),
    ],
)
def test_the_end_of_a_boot_is_recognised(console: str, status: int | None, end: End):
    assert end_of(f"\n{BANNER} of node1 ===\n{console}", status) is end


def test_only_the_last_boot_counts():
    console = f"\n{BANNER} 1 ===\n{FENCED}\n\n{BANNER} 2 ===\nreboot: Restarting system\n"
    assert end_of(console, 0) is End.REBOOTED


def test_a_machine_stays_off_only_when_it_was_switched_off():
    assert {end for end in End if not end.boots_again} == {End.POWERED_OFF, End.KILLED}
