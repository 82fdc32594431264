# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change at a time on a node, by real processes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.turn import taken


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "turn")


@pytest.fixture
def owner(path):
    """Another process that has the turn."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with taken(path):
            os.write(writer, b".")
            time.sleep(20)
        os._exit(0)
    os.read(reader, 1)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_second_one_waits_and_names_who_has_the_turn(path, owner):
    with pytest.raises(O2cbError, match=f"process {owner} has been changing the cluster"), taken(path, seconds=0.2):
        pass


def test_the_turn_ends_with_its_process_and_not_with_its_children(path):
    pid = os.fork()
    if pid == 0:
        with taken(path):
            if os.fork() == 0:
                time.sleep(2)
            os._exit(0)
    os.waitpid(pid, 0)
    with taken(path, seconds=0.5):
        pass


def test_turns_follow_one_another(path):
    for _turn in range(2):
        with taken(path, seconds=0):
            pass
