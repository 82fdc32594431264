# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Very many takes with odd owners, and very many conversions, while two nodes wait with blocking opens all the time.

O2_TAKES is the number of locks that are taken and released (20000), O2_CONVERSIONS that of conversions of one lock
(200000).
"""

from __future__ import annotations

import os
import time
from typing import Any

from faults.controller import wait_until
from faults.referee.remote import Remote, main_process, remotes
from lab.node import Node

TAKES = int(os.environ.get("O2_TAKES", "20000"))
CONVERSIONS = int(os.environ.get("O2_CONVERSIONS", "200000"))
AT_ONCE = 100
ROUND = 200
"""Conversions in one request to the node."""

OWNERS = [
    "",
    "an ordinary one",
    "\udcff",
    "\x00\x01\x1b[31m\n\r\t\x7f",
    "é" * 60,
    "e\u0301 \u202e right to left",
    "'; rm -rf / #",
    '{"v": 99}',
    "\U0001f512" * 8,
    "x" * 63,
]
TOO_LONG = ["x" * 300, "é" * 200]


def ended(waiter: Remote) -> bool:
    return not waiter.ask(op="blocks")["blocks"]


def test_locks_are_taken_and_released_with_odd_owners(players: list[Node]) -> None:
    with remotes(players) as (holder, *waiters):
        before = holder.ask(op="status")["counters"]
        keeper = main_process(players[0])
        began = time.monotonic()
        for first in range(0, TAKES, AT_ONCE):
            owner = OWNERS[first // AT_ONCE % len(OWNERS)]
            names = [f"odd{first + number}" for number in range(AT_ONCE)]
            answer = holder.ask(op="take", names=names, wait=30, owner=owner)
            assert answer.get("held"), f"owner {owner!r}: {answer}"
            for waiter in waiters:
                waiter.ask(op="block", name=names[0])
            if first % (10 * AT_ONCE) == 0:
                refused = holder.ask(op="take", name="long", owner=TOO_LONG[first // AT_ONCE % 2])
                assert "bytes" in refused["error"]
                time.sleep(0.6)
                assert not any(ended(waiter) for waiter in waiters)
            released = holder.ask(op="release", names=names, wait=30)
            assert released.get("released"), f"owner {owner!r}: {released}"
            wait_until(lambda: all(ended(waiter) for waiter in waiters), 20, lambda: "a waiter does not get its lock")
        print(f"\n{TAKES} locks in {time.monotonic() - began:.0f} s", flush=True)
        after = holder.ask(op="status")["counters"]
    assert after["granted"] - before["granted"] == TAKES
    assert after["workers died"] == before["workers died"]
    assert main_process(players[0]) == keeper, "o2keep was not even restarted"


def test_a_lock_is_converted_very_often(players: list[Node]) -> None:
    """From EX to PR and back; two foreign programs that wait to write get it in the end."""
    with remotes(players) as (holder, *waiters):
        before: dict[str, Any] = holder.ask(op="status")
        assert holder.ask(op="take", name="turned", wait=10)["held"]
        began = time.monotonic()
        done = 0
        while done < CONVERSIONS:
            for _turn in range(ROUND // 2):
                for mode in ("PR", "EX"):
                    answer = holder.ask(op="take", name="turned", mode=mode, wait=10)
                    assert answer.get("held"), answer
                    done += 1
        print(f"\n{done} conversions in {time.monotonic() - began:.0f} s", flush=True)
        for waiter in waiters:
            waiter.ask(op="block", name="turned")
        time.sleep(0.6)
        assert not any(ended(waiter) for waiter in waiters)
        assert holder.ask(op="release", name="turned", wait=10)["released"]
        wait_until(lambda: all(ended(waiter) for waiter in waiters), 20, lambda: "a waiter does not get the lock")
        after: dict[str, Any] = holder.ask(op="status")
    assert after["counters"]["converted"] - before["counters"]["converted"] == done
    assert (after["locks"], after["unreadable"]) == (0, [])
