# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks that work under a lock: with two controllers at once, with a failing command, with a lock of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from faults.controller import Controller, Run
from lab import Lab, Node

ONE_AT_A_TIME = "ocfs2.o2cb.one_at_a_time"
ROLLING = "ocfs2.o2cb.rolling"
RUN_ONCE = "ocfs2.o2cb.run_once"
PATTERNS = {ONE_AT_A_TIME: "maintenance", ROLLING: "rolling-1", RUN_ONCE: "run_once"}
"""The playbooks, and a lock that each takes."""

WORK = "Run the command"
LOG = "/root/work"
ABOUT_A_TASK = 20
"""Seconds that a command takes, so that a second controller comes while it runs."""


def work(seconds: float = 0) -> list[str]:
    """A command that logs who runs it, from when to when, in one line of JSON."""
    line = r'{"begin": %s, "end": %s, "lock": "%s", "token": %s}\n'
    script = f"begin=$(date +%s.%N); sleep {seconds}; "
    script += f"printf '{line}' $begin $(date +%s.%N) $O2_LOCK_NAME $O2_LOCK_TOKEN >> {LOG}"
    return ["sh", "-c", script]


def logged(nodes: list[Node]) -> list[dict[str, Any]]:
    """What was run on all nodes, with the node's name."""
    return [
        {"node": node.name, **json.loads(line)}
        for node in nodes
        for line in node.run(f"cat {LOG} 2>/dev/null").stdout.splitlines()
    ]


def held(lab: Lab) -> list[str]:
    """The locks of all nodes."""
    lists = lab.each(lambda node: node.run("o2ctl lock list --json", check=True).stdout)
    return sorted(lock["name"] for text in lists for lock in json.loads(text)["locks"])


def said(run: Run) -> str:
    return "\n".join(f"{host}: {message}" for host, message in run.failures.items())


@pytest.fixture(autouse=True)
def no_locks(lab: Lab) -> Iterator[None]:
    """No lock is held before a test, none is left by it, and no command has been run."""
    lab.each(lambda node: node.run(f"rm -f {LOG}", check=True))
    assert held(lab) == []
    yield
    assert held(lab) == []


@pytest.mark.parametrize("playbook", PATTERNS)
@pytest.mark.parametrize("command", [None, "reboot", [], {"program": "reboot"}], ids=str)
def test_a_playbook_without_a_proper_command_is_refused(controller: Controller, playbook: str, command: object) -> None:
    run = controller.play(playbook, **({} if command is None else {"o2cb_command": command}))
    assert (run.rc, run.changes) == (2, [])
    assert "o2cb_command has to be a list" in said(run)


@pytest.mark.parametrize("playbook", PATTERNS)
def test_a_command_that_fails_leaves_no_lock(controller: Controller, playbook: str) -> None:
    run = controller.play(playbook, o2cb_command=["false"])
    assert run.rc == 2
    assert "non-zero return code" in said(run)


@pytest.mark.parametrize("playbook", PATTERNS)
@pytest.mark.parametrize("holder", [1, 2])
def test_a_lock_that_somebody_holds_is_left_alone(
    controller: Controller, lab: Lab, nodes: list[Node], playbook: str, holder: int
) -> None:
    lock, node = PATTERNS[playbook], nodes[holder - 1]
    node.run(f"o2ctl lock hold {lock} --owner carol", check=True)
    try:
        run = controller.play(playbook, o2cb_command=work(), o2cb_lock_wait=0)
        assert run.rc == 2
        assert f"node {holder} holds it for 'carol'" in said(run)
        assert logged(nodes) == []
        assert held(lab) == [lock]
    finally:
        node.run(f"o2ctl lock release {lock}", check=True)


@pytest.mark.parametrize("lock_host", ["node1", "node2"])
def test_the_second_controller_is_told_who_is_in(controller: Controller, nodes: list[Node], lock_host: str) -> None:
    with controller.start(ONE_AT_A_TIME, o2cb_command=work(ABOUT_A_TASK), o2cb_owner="alice") as first:
        first.wait_for_task(WORK)
        second = controller.play(ONE_AT_A_TIME, o2cb_command=work(), o2cb_owner="bob", o2cb_lock_host=lock_host)
        assert second.rc == 2
        assert "node 1 holds it for 'alice' since " in said(second)
        assert second.changes == []
        done = first.finish()
    assert done.rc == 0, done.output
    assert sorted(entry["node"] for entry in logged(nodes)) == ["node1", "node2", "node3"]


def test_the_second_controller_can_wait(controller: Controller, nodes: list[Node]) -> None:
    with controller.start(ONE_AT_A_TIME, o2cb_command=work(ABOUT_A_TASK), o2cb_owner="alice") as first:
        first.wait_for_task(WORK)
        second = controller.play(ONE_AT_A_TIME, o2cb_command=work(), o2cb_owner="bob", o2cb_lock_wait=200)
        assert second.rc == 0, second.output
        assert first.finish().rc == 0
    entries = sorted(logged(nodes), key=lambda entry: float(entry["begin"]))
    assert max(entry["end"] for entry in entries[:3]) <= min(entry["begin"] for entry in entries[3:])
    assert len(entries) == 6
    tokens = [entry["token"] for entry in entries]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 2


def test_no_more_nodes_are_worked_on_at_a_time_than_asked_for(controller: Controller, nodes: list[Node]) -> None:
    with (
        controller.start(ROLLING, o2cb_command=work(8), o2cb_at_once=2, o2cb_owner="alice") as first,
        controller.start(ROLLING, o2cb_command=work(8), o2cb_at_once=2, o2cb_owner="bob") as second,
    ):
        for run in (first.finish(), second.finish()):
            assert run.rc == 0, run.output
    entries = logged(nodes)
    assert sorted(entry["node"] for entry in entries) == ["node1", "node1", "node2", "node2", "node3", "node3"]
    together = [sum(other["begin"] <= entry["begin"] < other["end"] for other in entries) for entry in entries]
    assert max(together) == 2


def test_a_node_that_fails_ends_the_rolling_work(controller: Controller, nodes: list[Node]) -> None:
    fails_on_the_second = ["sh", "-c", f"echo '{{}}' >> {LOG}; test $(uname -n) != node2"]
    run = controller.play(ROLLING, o2cb_command=fails_on_the_second)
    assert run.rc == 2
    assert [entry["node"] for entry in logged(nodes)] == ["node1", "node2"]


def test_a_command_is_run_on_one_node_only(controller: Controller, nodes: list[Node]) -> None:
    with controller.start(RUN_ONCE, o2cb_command=work(ABOUT_A_TASK), o2cb_owner="alice") as first:
        first.wait_for_task(WORK)
        second = controller.play(RUN_ONCE, o2cb_command=work(), o2cb_owner="bob")
        assert second.rc == 2
        assert "holds it for 'alice' since " in said(second)
        done = first.finish()
    assert done.rc == 0, done.output
    assert [entry["lock"] for entry in logged(nodes)] == ["run_once"]
