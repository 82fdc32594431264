# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nodes of the tests of the bus: agents that talk by one transport, and all of them on the bus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.bus.traffic import (
    COROSYNC,
    LOG,
    PLAY_SECONDS,
    PLAYBOOK,
    SENT,
    TCP,
    hush,
    variables,
    wait_until_all_are_up,
)
from faults.conftest import REFEREE
from faults.controller import Controller
from lab.node import Node


@pytest.fixture(scope="module")
def transport() -> str:
    """By what the agents talk; a module can have it otherwise."""
    return TCP


@pytest.fixture(scope="module")
def agents(transport: str, controller: Controller, provisioned: list[Node]) -> Iterator[list[Node]]:
    """The nodes, with agents and no resources; afterwards the agents talk by TCP, as is usual."""
    run = controller.play(PLAYBOOK, PLAY_SECONDS, **variables(transport))
    assert run.rc == 0, run.output
    yield provisioned
    if transport == COROSYNC:
        run = controller.play(PLAYBOOK, PLAY_SECONDS, **variables(TCP))
        assert run.rc == 0, run.output
        controller.module("corosync", {"state": "absent"})


@pytest.fixture
def hosts(agents: list[Node]) -> Iterator[list[Node]]:
    """The nodes, all on the bus, and nobody talks, before and after."""
    text = (REFEREE / "talker.py").read_text(encoding="utf-8")
    for node in agents:
        hush(node)
        node.run(f"rm -f {LOG} {SENT}", check=True)
        node.put("/root/talker.py", text)
    wait_until_all_are_up(agents)
    yield agents
    for node in agents:
        hush(node)
