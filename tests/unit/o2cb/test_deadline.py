# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls in a child process: their results, their errors, and that none outlives its deadline."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import deadline
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.deadline import Child, DeadlineExceeded, Progress
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.errors import O2cbError

LONG = 60.0
SHORT = 0.02


def hang(_progress: Progress) -> None:
    while True:
        signal.pause()


def be_killed(progress: Progress) -> None:
    progress("opening /dev/odd")
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(_progress: Progress) -> None:
    raise OSError(errno.EBUSY, "busy", "/dlm/vm/lock")


def complain(_progress: Progress) -> None:
    raise O2cbError("the disk is gone: attach it")


@pytest.mark.parametrize("result", [None, 0, "text\n", [1, {"a": [2]}], "x" * 1_000_000, {"errno": 1}])
def test_a_result_comes_back_whole(result):
    assert deadline.call(lambda progress: result, LONG, "it") == result


def test_progress_does_not_disturb_the_result():
    def talk(progress: Progress) -> int:
        for number in range(100):
            progress(f"step {number} of {{}}")
        return 7

    assert deadline.call(talk, LONG, "it") == 7


def test_what_a_child_changes_is_its_own():
    here: list[int] = []
    deadline.call(lambda progress: here.append(1), LONG, "it")
    assert here == []


def test_an_oserror_keeps_its_errno_and_its_file():
    with pytest.raises(OSError, match="Device or resource busy") as caught:
        deadline.call(refuse, LONG, "it")
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, "/dlm/vm/lock")


def test_an_error_of_ours_keeps_its_words():
    with pytest.raises(O2cbError, match=r"^the disk is gone: attach it$"):
        deadline.call(complain, LONG, "it")


def test_a_child_that_is_killed_is_told_from_one_that_is_late():
    with pytest.raises(O2cbError, match=r"^opening /dev/odd ended without an answer") as caught:
        deadline.call(be_killed, LONG, "it")
    assert not isinstance(caught.value, DeadlineExceeded)


@pytest.mark.parametrize(
    ("words", "last"), [([], "looking"), (["reading /dev/good", "reading /dev/bad"], "reading /dev/bad")]
)
def test_a_call_that_hangs_is_given_up_and_named_by_its_last_word(words, last):
    spoken, speak = os.pipe()

    def hang_after_words(progress: Progress) -> None:
        for word in words:
            progress(word)
        os.write(speak, b"x")
        hang(progress)

    child = Child(hang_after_words, "looking")
    os.read(spoken, 1)
    with pytest.raises(DeadlineExceeded, match=f"^{last} did not come back within"):
        child.result(time.monotonic() + SHORT)
    os.close(spoken)
    os.close(speak)


@pytest.mark.parametrize("function", [hang, be_killed, refuse, complain, lambda progress: 1])
def test_no_child_and_no_descriptor_is_left(function):
    before = sorted(os.listdir("/proc/self/fd"))
    child = Child(function, "it")
    with contextlib.suppress(OSError, O2cbError):
        child.result(time.monotonic() + (SHORT if function is hang else LONG))
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_several_calls_run_at_the_same_time():
    """Each waits for the other, so one after the other would hang."""
    (read_one, write_one), (read_two, write_two) = os.pipe(), os.pipe()

    def meet(write: int, read: int) -> deadline.Call:
        def call(_progress: Progress) -> str:
            os.write(write, b"x")
            return os.read(read, 1).decode()

        return call

    try:
        calls = [meet(write_one, read_two), meet(write_two, read_one)]
        assert deadline.call_all(calls, LONG, ["one", "two"]) == ["x", "x"]
    finally:
        for descriptor in (read_one, write_one, read_two, write_two):
            os.close(descriptor)


def test_the_first_error_of_several_is_raised_when_all_have_ended():
    with pytest.raises(O2cbError, match="the disk is gone"):
        deadline.call_all([complain, lambda progress: 1, refuse], LONG, ["one", "two", "three"])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_deadline_is_one_for_all():
    with pytest.raises(DeadlineExceeded, match=r"^one did not"):
        deadline.call_all([hang, hang, hang], SHORT, ["one", "two", "three"])


def test_a_child_that_is_left_behind_lets_go_of_the_output():
    def descriptors(_progress: Progress) -> list[str]:
        return [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)]

    assert deadline.call(descriptors, LONG, "it") == [os.devnull] * 3
