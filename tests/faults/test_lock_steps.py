# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2keep's processes end before each system call of each operation, while two nodes wait for the lock.

A process is stopped there by ptrace(2) and sent SIGKILL or SIGTERM, the next round one call later, until the operation
is over before its turn comes. Each time the request is answered, what was answered is so, nobody who waits gets the
lock before it is released and everybody gets it then, and no kernel panics. O2_STEP_STRIDE leaves steps out (1).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from faults.conftest import REFEREE
from faults.controller import wait_until
from faults.referee.remote import Remote, remotes
from lab.node import Node

STRIDE = int(os.environ.get("O2_STEP_STRIDE", "1"))
MOST_STEPS = 400
BLOCKING_SECONDS = 0.6
"""After this a foreign program has begun its blocking open."""

ANSWER_SECONDS = 25.0
GET_SECONDS = 20.0


class Case(NamedTuple):
    """`before` is the mode in which the lock is held before; `request` what is asked under the eyes of the tracer."""

    before: str
    request: dict[str, Any]
    after: float = 0.0


CASES = {
    "take": Case("", {"op": "take", "wait": 10}),
    "take for a process": Case("", {"op": "take", "wait": 10, "kind": "process"}),
    "publish": Case("", {"op": "take", "wait": 10}, after=2.0),
    "fall": Case("EX", {"op": "take", "mode": "PR", "wait": 10}),
    "rise": Case("CR", {"op": "take", "mode": "PW", "wait": 10}),
    "release": Case("EX", {"op": "release"}),
}


@pytest.fixture
def trio(players: list[Node]) -> Iterator[tuple[Remote, Remote, list[Remote]]]:
    """Who asks, the one that ends processes beside it, and the two who wait."""
    players[0].put("/root/stepper.py", (REFEREE / "stepper.py").read_text(encoding="utf-8"))
    stepper = Remote(players[0], "python3 /root/stepper.py")
    try:
        with remotes(players) as (holder, *waiters):
            yield holder, stepper, waiters
    finally:
        stepper.close()


def wait(remote: Remote, name: str) -> None:
    remote.ask(op="block", name=name)


def waits(remote: Remote) -> bool:
    return bool(remote.ask(op="blocks")["blocks"])


def held(holder: Remote) -> dict[str, str]:
    return {lock["name"]: lock["mode"] for lock in holder.ask(op="list")["locks"]}


def one(case: Case, target: str, number: int, step: int, trio: tuple[Remote, Remote, list[Remote]]) -> bool:
    """One round. False when the operation was over before this step."""
    holder, stepper, waiters = trio
    name = f"step{time.time_ns()}"
    if case.before:
        assert holder.ask(op="take", name=name, mode=case.before, wait=10)["held"]
        for waiter in waiters:
            wait(waiter, name)
        time.sleep(BLOCKING_SECONDS)
    wish = {"target": target, "step": step, "signal": number, "after": case.after, "wait": ANSWER_SECONDS}
    came = stepper.ask(**wish, request={**case.request, "name": name})
    where = f"step {step}, before system call {came.get('call')}: {came}"
    assert "answer" in came, where
    assert "error" not in came["answer"], where
    process = case.request.get("kind") == "process"
    if case.request["op"] == "take" and not process:
        rose = came["answer"]["held"]
        if not case.before:
            assert rose, where
            for waiter in waiters:
                wait(waiter, name)
            time.sleep(BLOCKING_SECONDS)
        mode = case.request.get("mode", "EX") if rose else case.before
        assert held(holder) == {name: mode}, where
        assert all(waits(waiter) for waiter in waiters), f"a waiter has the lock before its release, {where}"
        assert holder.ask(op="release", name=name, wait=10)["released"], where
    if process:
        for waiter in waiters:
            wait(waiter, name)
    wait_until(lambda: not any(waits(waiter) for waiter in waiters), GET_SECONDS, lambda: f"not free after {where}")
    wait_until(lambda: held(holder) == {}, GET_SECONDS, lambda: f"{held(holder)} is left after {where}")
    return bool(came["reached"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
@pytest.mark.parametrize("target", ["worker", "keeper", "record"])
@pytest.mark.parametrize("case", CASES)
def test_a_process_that_ends_at_any_step_loses_no_lock_and_keeps_none(
    trio: tuple[Remote, Remote, list[Remote]], case: str, target: str, number: int
) -> None:
    holder = trio[0]
    rounds = 0
    for step in range(1, MOST_STEPS, STRIDE):
        if not one(CASES[case], target, number, step, trio):
            break
        rounds += 1
    else:
        pytest.fail(f"{case} was not over within {MOST_STEPS} system calls")
    print(f"\n{case}, {target}, {signal.Signals(number).name}: ended at {rounds} steps", flush=True)
    state = holder.ask(op="status")
    assert (state["locks"], state["unreadable"]) == (0, [])
