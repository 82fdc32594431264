# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks on real nodes: exclusion, fencing tokens, the death of holders and of the keeper, foreign programs."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from faults.controller import Controller, wait_until
from faults.referee.remote import TAKES_A_LOCK, Remote, main_process, remotes, wait_for
from lab import Lab
from lab.node import Node

PLAYS = int(os.environ.get("O2_PLAYS", "200"))
ROUNDS = int(os.environ.get("O2_ROUNDS", "200"))
INCREMENTS = int(os.environ.get("O2_INCREMENTS", "10000"))
WORKERS = 4
KILLS = int(os.environ.get("O2_KILLS", "100"))
PROCESS_ROUNDS = int(os.environ.get("O2_PROCESS_ROUNDS", "100"))
NODE_KILLS = int(os.environ.get("O2_NODE_KILLS", "20"))
STAMP_SECONDS = 4
"""How often o2keep reads the heartbeats."""

ENDS = int(os.environ.get("O2_ENDS", "200")) // 3
BLOCKING_SECONDS = 0.6
"""After this a foreign program has begun its blocking open."""

BLOCKS = iter(range(0, 2**20, 4096))


def play(node: Node, words: str, seconds: float) -> Any:
    done = node.run(f"timeout {seconds:.0f} python3 /root/player.py {words}", timeout=seconds + 30)
    assert done.ok, f"{node.name}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def o2ctl(node: Node, words: str, seconds: float = 30) -> Any:
    return node.run(f"o2ctl {words}", timeout=seconds)


def test_of_three_nodes_exactly_one_gets_each_lock(lab: Lab, players: list[Node]) -> None:
    prefix = f"race{time.time():.0f}-"
    start = time.time() + 5
    results = lab.each(lambda node: play(node, f"race {ROUNDS} {prefix} {start}", 60 + 3 * ROUNDS))
    assert all(result["other"] == [] for result in results)
    winners = [number for result in results for number in result["got"]]
    assert sorted(winners) == list(range(ROUNDS))
    lab.each(lambda node: node.run("systemctl kill --kill-who=main o2keep", timeout=30))
    lab.each(lambda node: wait_for(node, "o2ctl keep status", 30))
    kept = lab.each(lambda node: play(node, f"release {prefix}", 300)["released"])
    assert kept == [len(result["got"]) for result in results], "an upgrade of o2keep keeps every lock"


def test_by_playbook_exactly_one_node_acquires_each_lock_while_another_play_asks_who(
    controller: Controller, players: list[Node]
) -> None:
    names = [f"play{time.time():.0f}-{number}" for number in range(PLAYS)]
    seconds = 120 + 6 * PLAYS
    take = {"name": "{{ item }}", "on_busy": "skip"}
    with (
        controller.start_loop("lock_info", {"name": "{{ item }}"}, names, players[0].name) as looking,
        controller.start_loop("lock", take, names) as taking,
    ):
        taken, looked = taking.finish(seconds), looking.finish(seconds)
    assert (taken.rc, looked.rc) == (0, 0), taken.output + looked.output
    results = {node.number: taken.of(node.name)["results"] for node in players}
    asked = looked.of(players[0].name)["results"]
    for turn, name in enumerate(names):
        winners = [number for number, found in results.items() if found[turn]["acquired"]]
        assert len(winners) == 1, f"{name}: nodes {winners}"
        holder = asked[turn]["holder"]
        assert holder is None or holder["node"] in winners, f"{name}: {holder}, but node {winners[0]} has it"
    assert any(found["holder"] for found in asked), "it was never asked in time"
    reasons = Counter(found["reason"] for each in results.values() for found in each if not found["acquired"])
    assert reasons["busy"] > 0.95 * reasons.total(), f"a busy machine may not know in time, but mostly does: {reasons}"
    released = controller.module("lock", {"names": names, "state": "released"})
    assert sum(len(released.actions(node.name)) for node in players) == PLAYS


FREEZES = """
for turn in $(seq {times}); do
  victim=$(pgrep -f '^python3 /root/player.py count' | shuf -n 1) || break
  kill -STOP $victim; sleep $(shuf -i 1-{seconds} -n 1); kill -CONT $victim
done
"""
"""Stops a random holder or waiter of the node, again and again."""


def count_together(lab: Lab, counting: list[Node], increments: int, freezes: str = "") -> None:
    """Let all workers of these nodes count on the shared disk; nothing may be lost, and no token fall."""
    offset = next(BLOCKS)
    counting[0].run(
        f"dd if=/dev/zero of=/dev/mapper/data bs=4096 count=1 seek={offset // 4096} oflag=direct",
        check=True,
        timeout=30,
    )
    share = increments // (WORKERS * len(counting))
    words = f"count {share} {offset}"
    many = " ".join([f"timeout 3000 python3 /root/player.py {words} &"] * WORKERS)
    results = lab.each(lambda node: node.run(f"{many}{freezes} wait", timeout=3100), counting)
    for result in results:
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert lines == [{"done": share}] * WORKERS, result.stderr
    assert play(counting[0], f"verdict {offset}", 30) == {"value": share * WORKERS * len(counting), "falls": 0}


def test_a_counter_under_the_lock_loses_nothing_and_no_token_falls(lab: Lab, players: list[Node]) -> None:
    count_together(lab, players, INCREMENTS)


def test_a_counter_loses_nothing_while_processes_are_frozen(lab: Lab, players: list[Node]) -> None:
    count_together(lab, players[:2], INCREMENTS // 10, FREEZES.format(times=20, seconds=10))


def answers(remote: Remote) -> bool:
    """Whether o2keep answers on this node."""
    return "locks" in remote.ask(op="status")


def test_a_lock_survives_the_keeper_while_another_node_waits_with_a_blocking_open(players: list[Node]) -> None:
    """The keeper is killed, or ended as by an upgrade; systemd starts it again."""
    chance = random.Random(KILLS)
    with remotes(players) as (holder, waiter, third):
        for turn in range(KILLS):
            name = f"kept{turn}"
            assert holder.ask(op="take", name=name, wait=5)["held"]
            waiter.ask(op="block", name=name)
            time.sleep(BLOCKING_SECONDS)
            before = main_process(holder.node)
            number = chance.choice(["KILL", "TERM"])
            holder.node.run(f"systemctl kill --kill-who=main --signal={number} o2keep", timeout=30, check=True)
            wait_until(
                lambda before=before: main_process(holder.node) not in ("0", before) and answers(holder),  # type: ignore[misc]
                30,
                lambda turn=turn: f"round {turn}: o2keep is not back",  # type: ignore[misc]
            )
            refused = third.ask(op="take", name=name, wait=0)
            assert (refused["held"], refused["reason"]) == (False, "busy"), f"round {turn}: {refused}"
            assert [lock["name"] for lock in holder.ask(op="list")["locks"]] == [name]
            assert waiter.ask(op="blocks")["blocks"], f"round {turn}: the waiter must not get it before the release"
            assert holder.ask(op="release", name=name)["released"]
            wait_until(
                lambda: not waiter.ask(op="blocks")["blocks"],
                10,
                lambda turn=turn: f"round {turn}: the waiter does not get it",  # type: ignore[misc]
            )


@pytest.mark.parametrize("end", ["release", "drop", "kill"])
def test_a_lock_that_ends_while_another_node_waits_with_a_blocking_open_panics_nobody(
    players: list[Node], end: str
) -> None:
    """A node lock released, a process lock whose descriptors are closed, one whose processes are killed."""
    for node in players:
        node.run("while :; do find /dlm; sleep 0.2; done > /dev/null 2>&1 & echo $! > /run/finding", timeout=30)
    try:
        with remotes(players[:2]) as (holder, waiter):
            for turn in range(ENDS):
                name = f"end-{end}{turn}"
                if end == "kill":
                    holder.ask(op="spawn", name=name)
                else:
                    kind = "node" if end == "release" else "process"
                    assert holder.ask(**{"op": "take", "name": name, "kind": kind, "as": name, "wait": 5})["held"]
                waiter.ask(op="block", name=name)
                time.sleep(BLOCKING_SECONDS)
                assert waiter.ask(op="blocks")["blocks"], f"round {turn}: before the end"
                holder.ask(**{"op": end, "name": name, "as": name, "whom": "group"})
                wait_until(
                    lambda: not waiter.ask(op="blocks")["blocks"],
                    10,
                    lambda turn=turn: f"round {turn}: after the end",  # type: ignore[misc]
                )
                assert waiter.ask(op="blocks")["code"] == 0
    finally:
        for node in players:
            node.run("kill $(cat /run/finding)", timeout=30)


def waits_for(pool: ThreadPoolExecutor, remote: Remote, name: str) -> Future[tuple[dict[str, Any], float]]:
    """A request for a process lock that waits by now; its answer, and when it came."""

    def ask() -> tuple[dict[str, Any], float]:
        answer = remote.ask(**{"op": "take", "name": name, "kind": "process", "as": name, "wait": 10})
        return answer, time.monotonic()

    asked = pool.submit(ask)
    time.sleep(0.3)
    return asked


@pytest.mark.parametrize("victim", ["group", "shell, then its child"])
def test_a_process_lock_is_granted_elsewhere_within_a_second_of_the_death_of_its_last_process(
    players: list[Node], victim: str
) -> None:
    """The process that asked has become the shell. Its parent, the player, is ended in the end, and nothing follows."""
    with remotes(players[:2]) as (holder, other), ThreadPoolExecutor(1) as pool:
        for turn in range(PROCESS_ROUNDS):
            name = f"process-{len(victim)}-{turn}"
            holder.ask(op="spawn", name=name)
            asked = waits_for(pool, other, name)
            if victim != "group":
                holder.ask(op="kill", whom="shell")
                time.sleep(0.5)
                assert not asked.done(), f"round {turn}: its child has the descriptors still"
            holder.ask(op="kill", whom="group")
            killed = time.monotonic()
            answer, at = asked.result(30)
            assert answer["held"], f"round {turn}: {answer}"
            assert at - killed < 1, f"round {turn}"
            other.ask(**{"op": "drop", "as": name})


def test_a_process_lock_outlives_the_parent_of_its_process(players: list[Node]) -> None:
    orphans = "pkill -9 -f '^sleep 1000'; pkill -9 -f 'echo has it'"
    with remotes([players[1]]) as (other,):
        for turn in range(PROCESS_ROUNDS):
            name = f"orphan{turn}"
            with remotes([players[0]]) as (holder,):
                holder.ask(op="spawn", name=name)
                players[0].run("pkill -9 -f '^python3 /root/player.py serve'", timeout=30)
                refused = other.ask(op="take", name=name, kind="process", wait=0.5)
                players[0].run(orphans, timeout=30)
            assert (refused["held"], refused["reason"]) == (False, "busy"), f"round {turn}: {refused}"
            got = other.ask(**{"op": "take", "name": name, "kind": "process", "as": name, "wait": 1})
            assert got["held"], f"round {turn}: {got}"
            other.ask(**{"op": "drop", "as": name})


def test_two_processes_of_one_node_exclude_each_other(players: list[Node]) -> None:
    with remotes([players[0], players[0]]) as (one, other), ThreadPoolExecutor(1) as pool:
        take = {"op": "take", "name": "same", "kind": "process", "as": "same"}
        for turn in range(PROCESS_ROUNDS):
            assert one.ask(**take, wait=5)["held"], f"round {turn}"
            refused = other.ask(**take, wait=0)
            assert (refused["held"], refused["reason"]) == (False, "busy"), f"round {turn}"
            assert refused["holder"]["node"] == players[0].number
            asked = waits_for(pool, other, "same")
            one.ask(**{"op": "drop", "as": "same"})
            assert asked.result(30)[0]["held"], f"round {turn}"
            other.ask(**{"op": "drop", "as": "same"})


def test_a_foreign_program_is_excluded_and_excludes(players: list[Node]) -> None:
    holder, other, _third = players
    assert o2ctl(holder, "lock hold foreign").ok
    for node in (holder, other):
        tried = node.run("python3 /root/foreign.py try foreign", timeout=30)
        assert "Text file busy" in tried.stderr
        node.run("rm -f /dlm/o2cb/foreign", timeout=30)
    assert o2ctl(holder, "lock release foreign").ok
    other.run("python3 /root/foreign.py try foreign 5 > /dev/null 2>&1 & sleep 1", timeout=30)
    assert o2ctl(holder, "lock hold foreign").rc == 75
    assert o2ctl(holder, "lock hold foreign --wait 10").rc == 0
    assert o2ctl(holder, "lock release foreign").ok


def test_a_holder_can_change_what_others_are_told_of_it(players: list[Node]) -> None:
    with remotes(players[:2]) as (holder, other):
        assert holder.ask(op="take", name="label", owner="before", wait=5)["held"]
        assert holder.ask(op="label", name="label", owner="after")["changed"]
        assert not holder.ask(op="label", name="label", owner="after")["changed"]
        wait_until(
            lambda: (other.ask(op="who", name="label")["holder"] or {}).get("owner") == "after", 10, lambda: "not told"
        )
        assert "not held by this node" in other.ask(op="label", name="label", owner="mine")["error"]
        assert holder.ask(op="release", name="label")["released"]


def test_a_busy_lock_is_refused_at_the_deadline(players: list[Node]) -> None:
    holder, other, _third = players
    assert o2ctl(holder, "lock hold slow").ok
    started = time.monotonic()
    refused = o2ctl(other, "lock hold slow --wait 5")
    assert refused.rc == 75
    assert f"node {holder.number} holds it" in refused.stderr
    assert 5 <= time.monotonic() - started < 9, "5 s, the look at the holder, and ssh"
    assert o2ctl(holder, "lock release slow").ok


def test_a_node_with_locks_does_not_leave_the_cluster(players: list[Node]) -> None:
    holder = players[0]
    assert o2ctl(holder, "lock hold precious").ok
    refused = holder.run("/usr/bin/python3 /usr/local/lib/ocfs2.o2cb/o2cb.pyz offline", timeout=60)
    assert (refused.rc, "o2keep holds 1 lock(s): precious" in refused.stderr) == (1, True)
    assert o2ctl(holder, "lock release precious").ok


def test_after_the_death_of_its_node_a_lock_is_granted_with_a_larger_token(players: list[Node]) -> None:
    first, second, _third = players
    held = json.loads(o2ctl(first, "lock hold mortal --json").stdout)
    boots = second.boots()
    first.kill()
    refused = o2ctl(second, "lock hold mortal --wait 1", 60)
    assert refused.rc == 75
    granted = o2ctl(second, "lock hold mortal --wait 90 --json", 120)
    assert granted.ok, granted.stderr
    assert json.loads(granted.stdout)["token"] > held["token"]
    assert second.boots() == boots
    assert o2ctl(second, "lock release mortal").ok
    first.boot()
    wait_for(first, "o2ctl keep status", 120)


def test_no_token_falls_when_holders_die_one_after_another(players: list[Node]) -> None:
    last = 0
    for turn in range(NODE_KILLS):
        holder, other = players[turn % 3], players[(turn + 1) % 3]
        for node in (holder, other):
            granted = o2ctl(node, "lock hold deaths --wait 90 --json", 150)
            assert granted.ok, f"turn {turn}: {granted.stderr}"
            token = json.loads(granted.stdout)["token"]
            assert token > last, f"turn {turn}: {node.name}"
            last = token
            if node is holder:
                holder.kill()
        assert o2ctl(other, "lock release deaths").ok
        holder.boot()
        wait_for(holder, TAKES_A_LOCK, 120)


@contextmanager
def clock_off_by(node: Node, seconds: int) -> Iterator[None]:
    node.run(f"date --set @$(($(date +%s) + {seconds}))", check=True)
    try:
        yield
    finally:
        node.boot()
        node.run(f"date --set @{time.time():.3f}", check=True)


def test_no_token_falls_where_clocks_are_an_hour_apart(players: list[Node]) -> None:
    """The holder's clock is an hour ahead when it dies, another's an hour behind. Nobody can know the token then."""
    ahead, right, behind = players
    held = json.loads(o2ctl(ahead, "lock hold clocks --wait 5 --json").stdout)
    with clock_off_by(ahead, 3600), clock_off_by(behind, -3600):
        time.sleep(3 * STAMP_SECONDS)
        for node, why in ((ahead, "s ahead of the newest"), (right, "s behind the newest"), (behind, "s behind the")):
            refused = o2ctl(node, f"lock hold clocks-{node.name} --wait 1")
            assert (refused.rc, why in refused.stderr) == (1, True), refused.stderr
        ahead.kill()
        for node in (right, behind):
            refused = o2ctl(node, "lock hold clocks --wait 60", 120)
            assert (refused.rc, "s behind the newest" in refused.stderr) == (1, True), refused.stderr
    granted = o2ctl(right, "lock hold clocks --wait 90 --json", 120)
    assert granted.ok, granted.stderr
    assert json.loads(granted.stdout)["token"] > held["token"]
    assert o2ctl(right, "lock release clocks").ok
    wait_for(ahead, TAKES_A_LOCK, 120)
