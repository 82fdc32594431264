# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the locks need is on every node, and works from a shell."""

from __future__ import annotations

from typing import Any

COMPLETE = """
. /etc/bash_completion.d/o2ctl
COMP_WORDS=(o2ctl lock release tes) COMP_CWORD=3
_o2ctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_o2keep_answers(host: Any) -> None:
    assert host.run("systemctl is-enabled o2keep.service").stdout == "enabled\n"
    assert "domains joined: o2cb" in host.check_output("o2ctl keep status").splitlines()


def test_the_manual_page_stands_where_man_looks(host: Any) -> None:
    assert host.file("/usr/local/bin/o2ctl").mode == 0o755
    assert host.file("/usr/local/share/man/man8/o2ctl.8").contains("^.TH O2CTL 8")


def test_bash_completes_the_name_of_a_held_lock(host: Any) -> None:
    name = f"test of {host.check_output('uname -n')}"
    assert host.run("o2ctl lock hold %s", name).rc == 0
    try:
        assert host.check_output("bash -c %s", COMPLETE) == name.replace(" ", "\\ ")
    finally:
        assert host.run("o2ctl lock release %s", name).rc == 0
