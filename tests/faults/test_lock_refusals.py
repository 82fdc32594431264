# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a lock cannot be had at all, the reason is told, each its own, and nothing has changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from faults.referee.remote import TAKES_A_LOCK, wait_for
from lab.node import Node

MARKS = "/var/lib/o2keep"
LEAVES = 5
MARK_SECONDS = 6
"""A mark on disk is good for the tokens of the next 5 s, and for those of locks whose last token is known."""


def refusal(node: Node, command: str = "o2ctl lock hold refused --wait 1") -> str:
    """What is said on standard error. Exit code 1 is for what no waiting would help."""
    done = node.run(command, timeout=60)
    assert done.rc == 1, done.stdout + done.stderr
    assert node.run("o2ctl lock list --json", timeout=30).stdout.count('"refused"') == 0
    return done.stderr


def assert_works_again(node: Node) -> None:
    assert node.run("o2ctl lock hold refused --wait 5 && o2ctl lock release refused", timeout=60).ok


@contextmanager
def offline(node: Node) -> Iterator[None]:
    """The node out of the cluster, in good order."""
    node.run("systemctl stop o2cb", timeout=120, check=True)
    try:
        yield
    finally:
        node.run("systemctl start o2cb dlm.mount", timeout=180, check=True)
        wait_for(node, TAKES_A_LOCK, 60)


def test_nobody_but_root_gets_a_lock(players: list[Node]) -> None:
    done = players[0].run("runuser -u nobody -- o2ctl lock hold refused", timeout=30)
    assert (done.rc, "only root and the group o2keep may ask" in done.stderr) == (1, True), done.stderr


def test_an_offline_node_gets_no_lock_and_says_why(players: list[Node]) -> None:
    with offline(players[0]):
        assert "not online" in refusal(players[0])


def test_a_cluster_without_a_heartbeat_gives_no_lock(players: list[Node]) -> None:
    node = players[0]
    with offline(node), node.changed("o2cb register-cluster lab", "o2cb unregister-cluster lab"):
        assert "no heartbeat runs" in refusal(node)
    assert_works_again(node)


def test_another_cluster_stack_is_told_from_a_node_that_is_offline(players: list[Node]) -> None:
    node = players[0]
    stack = "/sys/fs/ocfs2/cluster_stack"
    with offline(node), node.changed(f"echo -n pcmk > {stack}", f"echo -n o2cb > {stack}"):
        assert "the cluster stack 'pcmk' is in use" in refusal(node)
    assert_works_again(node)


def test_a_kernel_without_dlmfs_is_told(players: list[Node]) -> None:
    """o2cb.service of this collection does not start there; so the cluster comes online by hand."""
    node = players[0]
    never = "/etc/modprobe.d/no-dlmfs.conf"
    take = f"echo 'install ocfs2_dlmfs /bin/false' > {never} && rmmod ocfs2_dlmfs"
    online, leave = (
        "o2cb register-cluster lab && o2cb start-heartbeat lab",
        "o2cb stop-heartbeat lab && o2cb unregister-cluster lab",
    )
    with offline(node), node.changed(take, f"rm {never}"), node.changed(online, leave):
        assert "no dlmfs loaded" in refusal(node)
    assert_works_again(node)


def test_a_kernel_without_detached_mounts_is_told(players: list[Node]) -> None:
    """fsopen(2) is unknown to o2keep and its workers, as before Linux 5.2."""
    node = players[0]
    drop_in = "/run/systemd/system/o2keep.service.d"
    again = "systemctl daemon-reload && systemctl kill --kill-who=main o2keep"
    old = f"mkdir -p {drop_in} && printf '[Service]\nSystemCallFilter=~fsopen:ENOSYS\n' > {drop_in}/old.conf"
    with node.changed(f"{old} && {again}", f"rm -r {drop_in} && {again}"):
        wait_for(node, "o2ctl keep status", 60)
        # The domains that it has joined already it has mounts for.
        said = refusal(node, "o2ctl lock hold refused --domain unmounted --wait 1")
        assert "has no detached mounts: Linux 5.2 or later is needed" in said
    wait_for(node, TAKES_A_LOCK, 60)


def test_a_node_leaves_in_the_same_breath_as_its_last_lock_is_released(players: list[Node]) -> None:
    node = players[0]
    with node.changed("true", "systemctl start o2cb dlm.mount"):
        done = node.run("o2ctl lock hold last --wait 5 && o2ctl lock release last && systemctl stop o2cb", timeout=120)
        assert done.ok, done.stderr
    wait_for(node, TAKES_A_LOCK, 60)


def test_a_node_leaves_while_its_programs_wait_for_locks_and_ask_for_their_holders(players: list[Node]) -> None:
    """They are told so. None brings the node into the domain again, whose members cannot stop their heartbeat."""
    holder, leaver, _third = players
    holder.run("o2ctl lock hold wanted", timeout=60, check=True)
    ask = "while test -e /run/asking; do o2ctl lock hold wanted; done"
    wait = "o2ctl lock hold wanted --wait 100 > /run/waited 2>&1; echo $? >> /run/waited"
    try:
        for turn in range(LEAVES):
            leaver.run("touch /run/asking; rm -f /run/waited", check=True)
            for words in (ask, ask, wait):
                leaver.run(f"setsid -f sh -c '{words}' > /dev/null 2>&1 < /dev/null", check=True)
            wait_for(leaver, "pgrep -f 'wanted --wai[t]'", 20)
            time.sleep(turn / LEAVES)
            with offline(leaver):
                wait_for(leaver, "grep -qx 1 /run/waited", 20)
                said = leaver.run("cat /run/waited; rm /run/asking", check=True).stdout
                assert "is leaving the cluster" in said or "is not online" in said, said
    finally:
        leaver.run("rm -f /run/asking")
        holder.run("o2ctl lock release wanted", timeout=60, check=True)


def test_a_node_without_the_keeper_says_which_role_brings_it(players: list[Node]) -> None:
    node = players[0]
    with node.changed("mv /run/o2keep/socket /run/o2keep/away", "mv /run/o2keep/away /run/o2keep/socket"):
        done = node.run("o2ctl lock hold refused", timeout=30)
        assert (done.rc, "run role ocfs2.o2cb.dlmfs" in done.stderr) == (1, True), done.stderr


def test_a_frozen_keeper_does_not_keep_its_caller(players: list[Node]) -> None:
    node = players[0]
    signal = "systemctl kill --kill-who=main o2keep --signal"
    with node.changed(f"{signal}=STOP", f"{signal}=CONT"):
        done = node.run("o2ctl lock hold refused", timeout=60)
        assert (done.rc, "o2keep did not answer" in done.stderr) == (1, True), done.stderr
    assert_works_again(node)


def test_a_full_disk_gives_out_no_token(players: list[Node]) -> None:
    node = players[0]
    fill = f"mount -t tmpfs -o size=4k none {MARKS} && head -c 4096 /dev/zero > {MARKS}/full"
    with node.changed(fill, f"umount {MARKS}"):
        time.sleep(MARK_SECONDS)
        said = refusal(node, f"o2ctl lock hold never-held-{time.time():.0f} --wait 1")
        assert "a later token might fall" in said
        assert "No space left on device" in said
    assert_works_again(node)


def test_a_full_run_directory_stops_no_lock(players: list[Node]) -> None:
    """The socket is there already, and what o2keep writes elsewhere is in /var."""
    node = players[0]
    with node.changed("head -c 1G /dev/zero > /run/full 2> /dev/null || true", "rm /run/full"):
        assert "100%" in node.run("df /run", timeout=30).stdout
        assert_works_again(node)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("lock hold ''", "0 bytes"),
        (f"lock hold {'x' * 256}", "256 bytes"),
        ("lock hold x --mode CW", "use PW"),
        (f"lock hold x --domain {'d' * 64}", "64 bytes"),
        ("lock hold x --domain a/b", "cannot be a directory name"),
    ],
)
def test_what_cannot_be_is_refused_in_words(players: list[Node], words: str, why: str) -> None:
    assert why in refusal(players[0], f"o2ctl {words}")
