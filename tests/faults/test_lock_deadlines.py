# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whoever asks for a lock is answered in time, whatever has become of its holder; and nothing stays behind."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from typing import Any

import pytest

from faults.referee.remote import TAKES_A_LOCK, Remote, remotes, wait_for
from lab.node import Node

WAIT = 5
MOST = 6.0
"""Seconds in which a request that waits for WAIT has to be answered."""

RECOVERED = 90.0
"""Seconds after which a dead node's locks are free, with the timeouts of these tests."""

CLIENT_KILLS = int(os.environ.get("O2_CLIENT_KILLS", "100"))


def asked(remote: Remote, name: str) -> dict[str, Any]:
    """The answer to a request for a node lock, which has to come in time."""
    started = time.monotonic()
    answer = remote.ask(op="take", name=name, wait=WAIT)
    seconds = time.monotonic() - started
    assert seconds <= MOST, f"{seconds:.1f} s: {answer}"
    return answer


def assert_free_for_all(found: list[Remote], names: list[str]) -> None:
    """Every node can take each of these locks that nobody holds, and then it excludes all others.

    No call of ours sleeps in the kernel.
    """
    deadline = time.monotonic() + RECOVERED
    for remote in found:
        for name in names:
            while not remote.ask(op="take", name=name, wait=WAIT).get("held"):
                assert time.monotonic() < deadline, f"{remote.node.name} cannot take {name}"
            for other in found:
                if other is not remote:
                    both = f"{name} is held by {remote.node.name} and by {other.node.name}"
                    assert not other.ask(op="take", name=name, wait=0).get("held"), both
            assert remote.ask(op="release", name=name)["released"]
        sleeping = remote.node.run("ps -eo stat,comm | grep '^D.*o2keep-worker'", timeout=30).stdout
        assert sleeping == "", f"{remote.node.name}: {sleeping}"


def held(node: Node, name: str, how: str) -> AbstractContextManager[None]:
    """The lock in some hands on this node."""
    mark = f"/run/{name}"
    stopped = f"echo $$ > {mark}; exec sleep 1000"
    run = f"o2ctl lock run {name} --wait 5 -- sh -c '{stopped}' > /dev/null 2>&1 &"
    begin, end = {
        "free": ("true", "true"),
        "busy": (f"o2ctl lock hold {name} --wait 5", f"o2ctl lock release {name}"),
        "merely cached by a foreign program": (
            f"python3 /root/foreign.py cache {name}",
            f"rm -f /dlm/o2cb/{name}",
        ),
        "of a frozen process": (
            f"{run} until test -s {mark}; do sleep 0.1; done; kill -STOP $(cat {mark})",
            f"kill -KILL $(cat {mark}); rm {mark}",
        ),
    }[how]
    return node.changed(begin, end)


@pytest.mark.parametrize("how", ["free", "busy", "merely cached by a foreign program", "of a frozen process"])
def test_a_request_is_answered_in_time_when_the_lock_is(players: list[Node], how: str) -> None:
    name = f"deadline{len(how)}"
    with remotes(players) as found:
        with held(players[0], name, how):
            answer = asked(found[1], name)
            assert answer["held"] is (how == "free"), answer
            if answer["held"]:
                found[1].ask(op="release", name=name)
            else:
                assert answer["reason"] == "busy"
        assert_free_for_all(found, [name])


@pytest.mark.parametrize("how", ["dies", "is cut off"])
def test_a_request_is_answered_in_time_when_the_node_of_the_holder(provisioned: list[Node], how: str) -> None:
    victim, one, other = provisioned
    names = [f"gone{len(how)}-{number}" for number in range(3)]
    resets = [node.resets() for node in (one, other)]
    with remotes([one, other]) as found:
        for name in names:
            victim.run(f"o2ctl lock hold {name} --wait 5", check=True, timeout=30)
        boots = victim.boots()
        (victim.kill if how == "dies" else victim.cut)()
        reasons = []
        for turn in range(6):
            answer = asked(found[turn % 2], names[turn % 3])
            reasons.append("held" if answer["held"] else answer["reason"])
            if answer["held"]:
                found[turn % 2].ask(op="release", name=names[turn % 3])
        assert reasons[0] in ("busy", "recovering", "unknown"), "its locks are not given away before it is fenced"
        assert_free_for_all(found, names)
    if how == "is cut off":
        victim.heal()
        victim.wait_for_boot(boots)
    else:
        victim.boot()
    wait_for(victim, TAKES_A_LOCK, 120)
    with remotes(provisioned) as found:
        assert_free_for_all(found, names)
    assert [node.resets() for node in (one, other)] == resets


def test_a_node_that_is_asked_for_locks_while_it_comes_online_joins_the_domain_of_the_others(
    provisioned: list[Node],
) -> None:
    """It boots without network, so its first attempt to come online fails and o2keep is there before the heartbeat."""
    victim, one, other = provisioned
    asks = "while :; do o2ctl lock hold early --wait 1; o2ctl lock release early; sleep 0.1; done"
    with remotes([one, other]) as found:
        victim.kill()
        assert_free_for_all(found, ["early"])
        victim.cut()
        try:
            victim.start()
            time.sleep(30)
        finally:
            victim.heal()
        victim.wait()
        victim.run(f"({asks}) > /dev/null 2>&1 & echo $! > /run/asking", timeout=60)
        wait_for(victim, "systemctl is-active o2cb", 120)
        victim.run("kill $(cat /run/asking)", timeout=30)
    wait_for(victim, TAKES_A_LOCK, 120)
    with remotes(provisioned) as found:
        assert_free_for_all(found, ["early"])


KILLS = """
for turn in $(seq {times}); do
  o2ctl lock hold {name} --wait 30 > /dev/null 2>&1 & client=$!
  sleep 0.$(shuf -i 0-9 -n 1)$(shuf -i 0-9 -n 1); kill -KILL $client; wait $client
done 2> /dev/null
true
"""


@pytest.mark.parametrize("busy", [True, False])
def test_a_client_that_is_killed_leaves_nothing_behind(players: list[Node], busy: bool) -> None:
    """Killed while it waits, and at the moment of the grant: then it may have got the lock, which is the node's."""
    name = f"killed-{busy}"
    with remotes(players) as found:
        if busy:
            assert found[0].ask(op="take", name=name, wait=WAIT)["held"]
        players[1].run(KILLS.format(times=CLIENT_KILLS, name=name), check=True, timeout=60 + 3 * CLIENT_KILLS)
        if busy:
            time.sleep(WAIT)
            assert name not in [lock["name"] for lock in found[1].ask(op="list")["locks"]]
            assert found[0].ask(op="release", name=name)["released"]
        else:
            found[1].ask(op="release", name=name)
        assert_free_for_all(found, [name])
