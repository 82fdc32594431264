# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard is installed, libvirt knows it, and it is taken away without a trace of it."""

from __future__ import annotations

from typing import Any

from faults.controller import Controller
from lab import Node

HOOK = "/etc/libvirt/hooks/qemu.d/ocfs2.o2cb"
GUARDED = {"o2cb_locks": True, "o2cb_libvirt_unguarded": ["free-*"]}
MACHINE = (
    "<domain type='qemu'><name>refused</name><memory unit='MiB'>16</memory><os><type>hvm</type></os>"
    "<devices><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"
)
PLAYBOOK = "ocfs2.o2cb.virtual_machines"


def test_the_hook_and_its_settings_are_there(host: Any) -> None:
    assert host.file(HOOK).mode == 0o755
    assert host.file("/etc/ocfs2.o2cb/unguarded-machines").contains("^free-[*]$")
    assert host.check_output("o2ctl vm list").split()[:2] == ["machine", "uuid"]


def test_libvirt_starts_after_the_keeper_of_the_locks_and_machines_end_before_it(host: Any) -> None:
    assert "o2keep.service" in host.check_output("systemctl show libvirtd.service -p After --value").split()
    show = "systemctl show machine-o2cbtest.scope -p After --value"
    # A scope is there only while something runs in it.
    assert "o2keep.service" in host.check_output(f"systemd-run --quiet --scope --unit machine-o2cbtest {show}").split()


def test_libvirt_itself_is_refused_a_machine_while_the_cluster_does_not_answer(nodes: list[Node]) -> None:
    """On one node only: libvirt asks QEMU first what it can, which takes long on these kernels."""
    node = nodes[0]
    node.run(f"virsh define /dev/stdin <<'EOF'\n{MACHINE}\nEOF", timeout=900, check=True)
    try:
        with node.changed("mv /run/o2keep/socket /run/o2keep/away", "mv /run/o2keep/away /run/o2keep/socket"):
            done = node.run("virsh start refused", timeout=900)
        assert done.rc != 0
        assert "virtual machine 'refused'" in done.stderr
        assert "o2keep does not answer" in done.stderr
    finally:
        node.run("virsh undefine refused", timeout=60, check=True)


def test_the_removal_leaves_no_trace_and_it_can_be_installed_again(controller: Controller, nodes: list[Node]) -> None:
    removed = controller.module("libvirt", {"state": "absent"})
    assert removed.rc == 0, removed.output
    for node in nodes:
        assert f"remove {HOOK}" in removed.actions(node.name)
        assert not node.run(f"test -e {HOOK} || ls /etc/systemd/system/*/ocfs2.o2cb.conf | grep -v o2cb.service").ok
    again = controller.play(PLAYBOOK, **GUARDED)
    assert again.rc == 0, again.output
    assert controller.play(PLAYBOOK, **GUARDED).changes == []
