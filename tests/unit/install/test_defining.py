# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module `resource` waits for."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.agent import Client
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import defining


class FakeClient(Client):
    """An agent that tells one after the other of a resource, and the last for ever."""

    def __init__(self, *told: dict[str, Any]) -> None:
        self._told = list(told)

    def ask(self, op: str, **_more: Any) -> dict[str, Any]:
        assert op == "resources"
        found = {"name": "web", "state": "in any words", "error": None, "node": "node1", "held": True, **self._told[0]}
        if len(self._told) > 1:
            self._told.pop(0)
        return {"resources": [found]}


def wait(client: Client, **changes: Any) -> dict[str, Any] | None:
    options = {"name": "web", "wait": 0.5, "move": None, "drain": None, "state": "started", **changes}
    return defining.wait(options, client)


def test_it_waits_until_every_part_runs_whatever_the_state_is_called():
    found = wait(FakeClient({"runs": False}, {"runs": True}))
    assert found is not None
    assert found["runs"]
    with pytest.raises(O2cbError, match="in any words"):
        wait(FakeClient({"runs": False}), wait=0.01)


def test_of_another_node_it_knows_that_it_holds_the_lock():
    found = wait(FakeClient({"runs": False}, {"node": "node2", "held": False, "runs": False}), move="node2")
    assert found is not None
    assert found["node"] == "node2"


def test_one_that_is_to_be_stopped_is_waited_for_until_nobody_has_it():
    found = wait(FakeClient({"runs": True}, {"node": None, "held": False, "runs": False}), state="stopped")
    assert found is not None
    assert found["node"] is None
