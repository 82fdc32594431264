# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operations of a clvmd-like daemon, on agents and keepers that are played."""

from __future__ import annotations

import errno
import itertools
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client import cluster_ops
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.cluster_ops import (
    LCK_CR,
    LCK_CW,
    LCK_EX,
    LCK_NL,
    LCK_NONBLOCK,
    LCK_PR,
    LCK_PW,
    LCKF_CONVERT,
    LCKF_NOQUEUE,
    ClusterOps,
    LeftBus,
    csid,
    node_of,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.lock_requests import LockError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode, compatible

MODES = {LCK_NL: Mode.NL, LCK_CR: Mode.CR, LCK_PR: Mode.PR, LCK_PW: Mode.PW, LCK_EX: Mode.EX}


class Program:
    """One on a node, and what it was told."""

    def __init__(self, node: int, agents: Any, keepers: Any, **more: Any) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.nodes: list[tuple[int, bool, str]] = []
        self.all: list[Any] = []
        self.ops = ClusterOps(
            "clvmd",
            lambda data, sender: self._say(self.messages, (node_of(sender), data)),
            lambda other, up, why: self._say(self.nodes, (node_of(other), up, why)),
            agent=agents.socket(node),
            keeper=keepers.socket(node),
            **more,
        )

    def _say(self, kind: list[Any], what: Any) -> None:
        kind.append(what)
        self.all.append(what)

    def run(self, until: Callable[[], Any], seconds: float = 5) -> None:
        """The select loop that this library is for."""
        ends = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < ends, f"{self.all}"
            timeout = self.ops.timeout()
            select.select([self.ops.get_main_fd()], [], [], 0.05 if timeout is None else min(timeout, 0.05))
            self.ops.fd_callback()

    def knows(self, *nodes: int) -> None:
        """Until it knows that these run the program."""
        self.run(lambda: all((node, True, "program") in self.nodes for node in nodes))


@pytest.fixture
def start(agents: Any, keepers: Any) -> Iterator[Callable[..., Program]]:
    programs = []

    def begin(node: int, keep_locks: bool = False, **more: Any) -> Program:
        program = Program(node, agents, keepers, **more)
        programs.append(program)
        program.ops.initialise(5, keep_locks=keep_locks)
        return program

    yield begin
    for program in programs:
        program.ops.closedown()


@pytest.fixture
def three(start: Callable[..., Program]) -> list[Program]:
    programs = [start(node) for node in (1, 2, 3)]
    for node, program in enumerate(programs, 1):
        program.knows(*{1, 2, 3} - {node})
    return programs


def crash(program: Program) -> None:
    """It is gone, without a word; what the kernel would close is closed."""
    ops = program.ops
    ops._leave_bus()
    ops._locks.close()
    cluster_ops.wire.close_all(ops._claim)
    ops._closed = True


# identity


def test_a_csid_is_the_number_in_network_order():
    assert csid(1) == b"\x00\x00\x00\x01"
    assert [node_of(csid(number)) for number in range(255)] == list(range(255))
    with pytest.raises(O2cbError, match="4 bytes"):
        node_of(b"\x01")


def test_all_have_the_names_of_struct_cluster_ops():
    for name in (
        "init_cluster cluster_send_message name_from_csid csid_from_name get_num_nodes cluster_fd_callback "
        "get_main_cluster_fd cluster_do_node_callback is_quorate get_our_csid add_up_node reread_config "
        "cluster_closedown get_cluster_name sync_lock sync_unlock"
    ).split():
        assert callable(getattr(ClusterOps, name)), name


def test_names_and_csids_belong_together(start):
    ops = start(2).ops
    assert ops.name_from_csid(csid(3)) == "node3"
    assert ops.csid_from_name("node1") == csid(1)
    assert ops.get_our_csid() == csid(2)
    assert ops.get_num_nodes() == 3
    assert ops.is_quorate()
    ops.reread_config()
    with pytest.raises(O2cbError, match="not in the cluster"):
        ops.name_from_csid(csid(9))
    with pytest.raises(O2cbError, match="no node 'nobody'"):
        ops.csid_from_name("nobody")


def test_a_program_name_is_one_of_a_domain_and_of_a_channel(agents, keepers):
    for name in ("", "a b", "ä", "x" * 61):
        with pytest.raises(O2cbError, match="program name"):
            ClusterOps(name, lambda _data, _csid: None)


# who runs the program


def ups(program: Program) -> dict[int, bool]:
    found: dict[int, bool] = {}
    program.all.append(program.ops.do_node_callback(lambda identity, up: found.update({node_of(identity): up})))
    return found


def test_programs_find_one_another(start):
    first = start(1)
    assert ups(first) == {1: True, 2: False, 3: False}
    assert first.all[-1] == -1
    second = start(2)
    first.knows(2)
    second.knows(1)
    third = start(3)
    for program in (first, second):
        program.knows(3)
    third.knows(1, 2)
    for program in (first, second, third):
        assert ups(program) == {1: True, 2: True, 3: True}
        assert program.all[-1] == 0


def test_one_that_ends_in_good_order_says_so(three):
    three[1].ops.closedown()
    for program in (three[0], three[2]):
        program.run(lambda program=program: (2, False, "program") in program.nodes)
        assert ups(program) == {1: True, 2: False, 3: True}


def test_the_successor_of_one_that_crashed_tells_of_both(three, start):
    crash(three[1])
    again = start(2)
    for program in (three[0], three[2]):
        program.run(lambda program=program: program.nodes[-2:] == [(2, False, "program"), (2, True, "program")])
    again.knows(1, 3)


def test_agents_and_nodes_that_go_down_are_told_in_their_place_of_the_order(three, agents):
    three[0].ops.send_message(b"before")
    three[1].run(lambda: three[1].messages)
    agents.end(3, node_too=True)
    three[0].ops.send_message(b"after")
    three[1].run(lambda: len(three[1].messages) == 2)
    wanted = [(1, b"before"), (3, False, "agent_down"), (3, False, "node_down"), (1, b"after")]
    assert three[1].all[-4:] == wanted
    assert ups(three[1]) == {1: True, 2: True}
    assert three[1].ops.get_num_nodes() == 2


def test_a_node_whose_agent_alone_is_down_still_counts(three, agents):
    agents.end(3)
    three[0].run(lambda: (3, False, "agent_down") in three[0].nodes)
    assert ups(three[0]) == {1: True, 2: True, 3: False}
    assert three[0].all[-1] == -1


def test_add_up_node_marks_one_as_clvmd_did(start):
    program = start(1)
    program.ops.add_up_node(csid(3))
    assert ups(program) == {1: True, 2: False, 3: True}


def test_a_second_program_of_the_name_on_a_node_is_refused(start, agents, keepers):
    start(1)
    with pytest.raises(O2cbError, match="runs on this node already"):
        Program(1, agents, keepers).ops.initialise(0.1)


# messages


def test_messages_come_in_one_order_to_all_and_not_to_their_sender(three):
    sent = []
    for number in range(50):
        for program in three:
            program.ops.send_message(b"%d" % number, on_sent=lambda position, error: sent.append((position, error)))
    for program in three:
        program.run(lambda program=program: len(program.messages) == 100)
        program.run(lambda program=program: not program.ops._pipeline.under_way())
    assert len(sent) == 150
    assert all(error is None and position for position, error in sent)
    assert [one for one in three[0].messages if one[0] == 3] == [one for one in three[1].messages if one[0] == 3]
    assert not any(node == 1 for node, _data in three[0].messages)


def test_with_loopback_the_sender_sees_its_own_in_its_place(start):
    one, other = start(1, loopback=True), start(2, loopback=True)
    for number in range(20):
        one.ops.send_message(b"a%d" % number)
        other.ops.send_message(b"b%d" % number)
    one.run(lambda: len(one.messages) == 40)
    other.run(lambda: len(other.messages) == 40)
    assert one.messages == other.messages


def test_a_message_to_one_node_is_for_that_one_only(three):
    three[0].ops.send_message(b"for 2", csid(2))
    three[0].ops.send_message(b"for all")
    three[1].run(lambda: len(three[1].messages) == 2)
    three[2].run(lambda: three[2].messages)
    assert three[1].messages == [(1, b"for 2"), (1, b"for all")]
    assert three[2].messages == [(1, b"for all")]


def test_sending_does_not_wait_and_tells_when_it_was_not_known(three, agents):
    agents.hold_back(True)
    told = []
    started = time.monotonic()
    three[0].ops.send_message(b"x", on_sent=lambda position, error: told.append((position, str(error))), seconds=0.3)
    assert time.monotonic() - started < 0.2
    three[0].run(lambda: told)
    assert told[0][0] is None
    assert "may still do so" in told[0][1]
    agents.hold_back(False)
    three[1].run(lambda: three[1].messages == [(1, b"x")])


def test_large_messages_go_through_the_select_loop(three):
    data = bytes(range(256)) * 8192
    three[0].ops.send_message(data)
    sender, receiver = three[0], three[1]
    ends = time.monotonic() + 20
    while not receiver.messages and time.monotonic() < ends:
        sender.ops.fd_callback()
        receiver.ops.fd_callback()
        time.sleep(0.001)
    assert receiver.messages == [(1, data)]


def test_a_call_that_raises_loses_nothing(start, three):
    def once(data: bytes, _sender: bytes) -> None:
        three[0].messages.append((2, data))
        if data == b"1":
            raise ValueError("a bug")

    three[0].ops._on_message = once
    for number in range(3):
        three[1].ops.send_message(b"%d" % number)
    three[1].run(lambda: not three[1].ops._pipeline.under_way())
    three[2].run(lambda: len(three[2].messages) == 3)
    with pytest.raises(ValueError, match="a bug"):
        three[0].run(lambda: len(three[0].messages) == 3)
    three[0].run(lambda: len(three[0].messages) == 3)


def test_the_end_of_the_agent_is_told_and_a_new_beginning_keeps_the_locks(three, agents, keepers):
    lockid = three[0].ops.sync_lock("r", LCK_EX)
    agents.end(1)
    with pytest.raises(LeftBus, match="begin anew"):
        three[0].run(lambda: False)
    with pytest.raises(O2cbError, match="initialise"):
        three[0].ops.send_message(b"x")
    assert not three[0].ops.is_quorate()
    agents.join(1)
    three[0].ops.initialise(5)
    assert keepers.modes("r") == {1: "EX"}
    three[0].knows(2, 3)
    three[0].ops.sync_unlock("r", lockid)
    assert keepers.modes("r") == {}


def test_initialise_waits_for_the_agent_at_most_so_long(agents, keepers):
    agents.end(1)
    started = time.monotonic()
    with pytest.raises(O2cbError, match="not on the bus"):
        Program(1, agents, keepers).ops.initialise(0.6)
    assert 0.3 < time.monotonic() - started < 3


# locks


def test_every_pair_of_modes_on_two_nodes_is_as_the_table_says(three):
    one, other = three[0].ops, three[1].ops
    for first, second in itertools.product(MODES, MODES):
        held = one.sync_lock("r", first)
        if compatible(MODES[first], MODES[second]):
            other.sync_unlock("r", other.sync_lock("r", second, LCKF_NOQUEUE))
        else:
            with pytest.raises(LockError) as caught:
                other.sync_lock("r", second, LCK_NONBLOCK)
            assert caught.value.errno == errno.EAGAIN
        one.sync_unlock("r", held)


def test_every_conversion_is_made_and_undone(three, keepers):
    ops = three[0].ops
    for old, new in itertools.product(MODES, MODES):
        lockid = ops.sync_lock("r", old)
        assert ops.sync_lock("r", new, LCKF_CONVERT, lockid) == lockid
        assert keepers.modes("r") == ({} if new == LCK_NL else {1: MODES[new].value})
        ops.sync_unlock("r", lockid)
        assert keepers.modes("r") == {}


def test_a_conversion_that_is_refused_leaves_the_lock_as_it_was(three, keepers):
    one, other = three[0].ops, three[1].ops
    mine, theirs = one.sync_lock("r", LCK_PR), other.sync_lock("r", LCK_PR)
    with pytest.raises(LockError, match="stays in mode PR") as caught:
        one.sync_lock("r", LCK_EX, LCKF_CONVERT | LCKF_NOQUEUE, mine)
    assert caught.value.errno == errno.EAGAIN
    assert keepers.modes("r") == {1: "PR", 2: "PR"}
    other.sync_unlock("r", theirs)
    one.sync_lock("r", LCK_EX, LCKF_CONVERT | LCKF_NOQUEUE, mine)
    assert keepers.modes("r") == {1: "EX"}


def test_a_lock_that_is_waited_for_ends_at_its_deadline(three):
    three[0].ops.sync_lock("r", LCK_EX)
    started = time.monotonic()
    with pytest.raises(LockError, match=r"could not be had within 1\.3 s") as caught:
        three[1].ops.sync_lock("r", LCK_EX, seconds=1.3)
    assert caught.value.errno == errno.ETIMEDOUT
    assert 1.2 < time.monotonic() - started < 3


def test_a_program_that_would_wait_for_itself_is_told_at_once(three):
    ops = three[0].ops
    ops.sync_lock("r", LCK_EX)
    for flags, number in ((0, errno.EDEADLK), (LCK_NONBLOCK, errno.EAGAIN)):
        started = time.monotonic()
        with pytest.raises(LockError) as caught:
            ops.sync_lock("r", LCK_PR, flags)
        assert caught.value.errno == number
        assert time.monotonic() - started < 0.5


def test_two_locks_of_one_program_share_the_node_lock(three, keepers):
    ops = three[0].ops
    reading, writing = ops.sync_lock("r", LCK_CR), ops.sync_lock("r", LCK_PW)
    assert keepers.modes("r") == {1: "PW"}
    ops.sync_unlock("r", writing)
    assert keepers.modes("r") == {1: "CR"}
    ops.sync_unlock("r", reading)
    assert keepers.modes("r") == {}


def test_what_is_wrong_with_a_request_is_said(three):
    ops = three[0].ops
    for call in (
        lambda: ops.sync_lock("r", LCK_CW),
        lambda: ops.sync_lock("r", 17),
        lambda: ops.sync_lock("", LCK_EX),
        lambda: ops.sync_lock("r", LCK_EX, 0x100),
        lambda: ops.sync_lock("r", LCK_EX, LCKF_CONVERT, 99),
        lambda: ops.sync_unlock("r", 99),
    ):
        with pytest.raises(LockError) as caught:
            call()
        assert caught.value.errno == errno.EINVAL


def test_a_lock_is_waited_for_beside_the_loop_and_the_queue_is_kept(three):
    got: list[tuple[str, int, Any]] = []
    ops = three[0].ops
    held = ops.sync_lock("r", LCK_EX)
    for name in ("first", "second"):
        ops.begin_lock("r", LCK_EX, lambda lockid, error, token, name=name: got.append((name, lockid, error)))
    three[1].ops.send_message(b"meanwhile")
    three[0].run(lambda: three[0].messages)
    assert got == []
    ops.sync_unlock("r", held)
    three[0].run(lambda: got)
    assert [name for name, _lockid, _error in got] == ["first"]
    ops.begin_unlock(got[0][1])
    three[0].run(lambda: len(got) == 2)
    assert got[1][0] == "second"
    assert got[1][2] is None


def test_a_lock_of_another_node_is_waited_for_beside_the_loop(three):
    got: list[Any] = []
    held = three[1].ops.sync_lock("r", LCK_EX)
    three[0].ops.begin_lock("r", LCK_EX, lambda lockid, error, token: got.append((error, token)), seconds=5)
    three[0].ops.begin_lock("q", LCK_EX, lambda lockid, error, token: got.append("q"))
    three[0].run(lambda: got == ["q"])
    three[1].ops.sync_unlock("r", held)
    three[0].run(lambda: len(got) == 2)
    assert got[1][0] is None
    assert got[1][1] > 0


def test_the_deadline_of_a_lock_is_told_beside_the_loop(three):
    got: list[Any] = []
    three[1].ops.sync_lock("r", LCK_EX)
    three[0].ops.begin_lock("r", LCK_PR, lambda _lockid, error, _token: got.append(error), seconds=0.5)
    three[0].run(lambda: got)
    assert got[0].errno == errno.ETIMEDOUT


def test_a_conversion_does_not_wait_behind_new_locks(three, keepers):
    """The new lock waits for this program's own; the conversion is what lets it in."""
    got: list[Any] = []
    ops = three[0].ops
    held = ops.sync_lock("r", LCK_EX)
    ops.begin_lock("r", LCK_PR, lambda _lockid, error, _token: got.append(error))
    ops.sync_lock("r", LCK_PR, LCKF_CONVERT, held)
    three[0].run(lambda: got == [None])
    assert keepers.modes("r") == {1: "PR"}


def test_o2keep_that_is_started_again_is_waited_for(three, keepers):
    got: list[Any] = []
    keepers.shut(1)
    three[0].ops.begin_lock("r", LCK_EX, lambda _lockid, error, _token: got.append(error), seconds=10)
    ends = time.monotonic() + 0.5
    three[0].run(lambda: time.monotonic() > ends)
    assert got == []
    keepers.open(1)
    three[0].run(lambda: got == [None])


def test_o2keep_that_stays_away_is_told_at_the_deadline(three, keepers):
    keepers.shut(1)
    started = time.monotonic()
    with pytest.raises(LockError, match="o2keep does not answer") as caught:
        three[0].ops.sync_lock("r", LCK_EX, seconds=0.7)
    assert caught.value.errno == errno.EIO
    assert time.monotonic() - started < 2


def test_o2keep_that_hangs_is_told_at_the_deadline(three, keepers, monkeypatch):
    monkeypatch.setattr("ansible_collections.ocfs2.o2cb.plugins.module_utils.client.lock_requests.GRACE", 0.3)
    keepers.deaf = True
    started = time.monotonic()
    with pytest.raises(LockError, match="has not answered") as caught:
        three[0].ops.sync_lock("r", LCK_EX, seconds=0.3)
    assert caught.value.errno == errno.EIO
    assert time.monotonic() - started < 3
    keepers.deaf = False


def test_locks_outlive_a_crash_until_the_successor_begins(three, start, keepers):
    three[0].ops.sync_lock("r", LCK_EX)
    crash(three[0])
    with pytest.raises(LockError):
        three[1].ops.sync_lock("r", LCK_PR, LCKF_NOQUEUE)
    start(1)
    three[1].ops.sync_lock("r", LCK_PR, LCKF_NOQUEUE)


def test_a_successor_can_keep_the_locks_and_give_them_up_one_by_one(three, start, keepers):
    for name, mode in (("r", LCK_EX), ("q", LCK_PR)):
        three[0].ops.sync_lock(name, mode)
    crash(three[0])
    again = start(1, keep_locks=True).ops
    assert set(again.kept) == {"r", "q"}
    assert keepers.modes("r") == {1: "EX"}
    again.sync_lock("r", LCK_PR, LCKF_CONVERT, again.kept["r"])
    assert keepers.modes("r") == {1: "PR"}
    again.sync_unlock("q", again.kept["q"])
    assert keepers.modes("q") == {}


def test_closedown_releases_everything(three, keepers):
    for name in "abc":
        three[0].ops.sync_lock(name, LCK_EX)
    three[0].ops.closedown()
    three[0].ops.closedown()
    assert [keepers.modes(name) for name in "abc"] == [{}, {}, {}]
