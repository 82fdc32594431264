# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nursery's children are processes of their own, and outlive it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import processes, wire
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.loop import Loop
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.processes import Process
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import recording
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.recording import Recording
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.starter import Starter

TREE = Path(__file__).parents[3] / ".ansible/tree"
NURSERY = f"""
import os, random, resource, socket, sys
sys.path.insert(0, {str(TREE)!r})
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import wire
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import nursery

def echo(sock):
    while True:
        received = wire.receive(sock)
        if received is None:
            return
        wire.send(sock, {{**received[0], "dice": random.random(), "open": len(os.listdir("/proc/self/fd")) - 1}})

def fails(sock):
    raise ZeroDivisionError

def refuses(sock):
    raise O2cbError("the reason, and the remedy")

nursery.serve(
    socket.socket(fileno=int(sys.argv[1])), {{"echo": echo, "fails": fails, "refuses": refuses, "ends": lambda sock: 0}}
)
"""


@pytest.fixture
def starter() -> Iterator[Starter]:
    starter = Starter([sys.executable, "-c", NURSERY])
    yield starter
    starter.end()
    for process in starter._processes:
        process.wait(60)


def hello(sock: socket.socket) -> Process:
    sock.settimeout(60)
    received = wire.receive(sock)
    assert received is not None
    return Process(**received[0])


def ask(sock: socket.socket) -> dict[str, object]:
    wire.send(sock, {"number": 7})
    received = wire.receive(sock)
    assert received is not None
    return received[0]


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_a_child_says_who_it_is_and_has_a_name_and_nothing_open_but_its_channel(starter):
    with starter.start("echo") as sock:
        process = hello(sock)
        assert processes.find(process.pid) == process
        assert Path(f"/proc/{process.pid}/comm").read_text() == "o2keep-echo\n"
        assert ask(sock)["open"] == 4, "the standard three, and the channel"
    assert eventually(lambda: processes.is_gone(process))


def test_children_do_not_throw_the_same_dice(starter):
    with starter.start("echo") as one, starter.start("echo") as other:
        assert hello(one).pid != hello(other).pid
        assert ask(one)["dice"] != ask(other)["dice"]


@pytest.mark.parametrize("kind", ["fails", "refuses", "ends", "unknown"])
def test_a_child_that_ends_is_gone_and_its_channel_ends(starter, kind):
    with starter.start(kind) as sock, starter.start("echo") as other:
        process = hello(sock)
        assert wire.receive(sock) is None
        assert eventually(lambda: processes.is_gone(process)), "not even a zombie is left"
        hello(other)
        assert ask(other)["number"] == 7, "its parent goes on"


def test_children_outlive_the_nursery_and_the_next_one_is_started_when_it_is_needed(starter):
    with starter.start("echo") as old:
        hello(old)
        first = starter._processes[0]
        first.kill()
        first.wait()
        assert ask(old)["number"] == 7
        with starter.start("echo") as new:
            hello(new)
            assert ask(new)["number"] == 7
    assert len(starter._processes) == 1, "the one that was killed is forgotten"


def test_a_child_of_a_dead_nursery_is_seen_to_end(starter):
    with starter.start("echo") as sock:
        process = hello(sock)
        starter._processes[0].kill()
        starter._processes[0].wait()
    assert eventually(lambda: processes.is_gone(process))


def test_without_a_nursery_a_channel_ends_at_once():
    with Starter(["/nowhere/nursery"]).start("echo") as sock:
        assert wire.receive(sock) is None


def test_a_nursery_that_stands_still_is_never_waited_for(starter):
    with starter.start("echo") as first:
        hello(first)
        nursery = starter._processes[0]
        os.kill(nursery.pid, signal.SIGSTOP)
        started = time.monotonic()
        waiting = [starter.start("echo") for _number in range(600)]
        assert time.monotonic() - started < 30
        ended = [sock for sock in waiting if ends(sock)]
        assert ended, "those that it could not even be asked for have ended"
        for sock in waiting:
            sock.close()
        nursery.kill()


def test_a_nursery_that_stands_still_is_replaced(starter):
    with starter.start("echo") as first, starter.start("echo") as second:
        hello(first)
        hello(second)
        nursery = starter._processes[0]
        os.kill(nursery.pid, signal.SIGSTOP)
        with starter.start("echo") as never:
            starter.renew()
            never.settimeout(60)
            assert wire.receive(never) is None, "who waits for it is told"
        assert ask(first)["number"] == 7, "and its children go on"
        with starter.start("echo") as new:
            hello(new)
            assert ask(new)["number"] == 7


def ends(sock: socket.socket) -> bool:
    try:
        return not sock.recv(4096, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def test_a_process_that_has_ended_and_was_not_waited_for_is_gone():
    pid = os.fork()
    if not pid:
        os._exit(0)
    assert eventually(lambda: processes.find(pid) is None)
    os.waitpid(pid, 0)


def test_a_later_process_of_the_same_number_is_another(starter):
    me = processes.find("self")
    assert me is not None
    assert not processes.is_gone(me)
    assert processes.is_gone(me._replace(began=me.began - 1))


# the process of the record, as the nursery's child


class Endings:
    """Starts nothing, and notes when it was asked to; the other ends are here."""

    def __init__(self) -> None:
        self.theirs: list[socket.socket] = []
        self.at: list[float] = []

    def start(self, kind: str) -> socket.socket:
        assert kind == "record"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs.append(theirs)
        self.at.append(time.monotonic())
        return ours


def turn(loop: Loop, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not until() and time.monotonic() < deadline:
        loop.turn(0.01)
    assert until()


def test_the_record_is_started_again_ever_more_rarely_and_ends_when_it_is_not_wanted(monkeypatch):
    monkeypatch.setattr(recording, "SHORTEST_PAUSE", 0.1)
    loop, starter = Loop(), Endings()
    kept = Recording(loop, starter)  # type: ignore[arg-type]
    kept.begin()
    kept.begin()
    assert len(starter.theirs) == 1
    for number in (1, 2):
        wire.send(starter.theirs[-1], {"pid": 1, "began": 1})
        starter.theirs[-1].close()
        turn(loop, lambda number=number: len(starter.theirs) == number + 1)
    first, second, third = starter.at
    assert second - first >= 0.2
    assert third - second >= 0.4
    kept.end()
    assert wire.receive(starter.theirs[-1]) is None, "it hears that it is to end"
    starter.theirs[-1].close()
    for _turn in range(100):
        loop.turn(0.01)
    assert len(starter.theirs) == 3
