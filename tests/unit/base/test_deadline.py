# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls in a child process: their errors, and that nobody waits for one beyond its deadline."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.deadline import Call, call_all
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import DeadlineExceeded, O2cbError

LONG = 60.0
SHORT = 0.05


def succeed() -> None:
    """Do nothing."""


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise OSError(errno.EBUSY, "busy", "/dlm/vm/lock")


def complain() -> None:
    raise O2cbError("the disk is gone: attach it")


@pytest.fixture
def hang() -> Iterator[Call]:
    """A call that does not come back before the end of the test."""
    reader, writer = os.pipe()

    def sleep() -> None:
        os.close(writer)
        os.read(reader, 1)

    yield sleep
    os.close(writer)
    os.close(reader)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def test_what_a_child_changes_is_its_own():
    here: list[int] = []
    call_all([lambda: here.append(1)], LONG, ["it"])
    assert here == []


def test_an_oserror_keeps_its_errno_and_its_file():
    with pytest.raises(OSError, match="Device or resource busy") as caught:
        call_all([refuse], LONG, ["it"])
    assert (caught.value.errno, caught.value.filename) == (errno.EBUSY, "/dlm/vm/lock")


def test_an_error_of_ours_keeps_its_words():
    with pytest.raises(O2cbError, match=r"^the disk is gone: attach it$"):
        call_all([complain], LONG, ["it"])


def test_a_child_that_is_killed_is_told_from_one_that_is_late(hang):
    with pytest.raises(O2cbError, match=r"^opening /dev/odd ended without an answer") as caught:
        call_all([be_killed], LONG, ["opening /dev/odd"])
    assert not isinstance(caught.value, DeadlineExceeded)
    with pytest.raises(DeadlineExceeded, match=r"^opening /dev/odd did not come back within 0\.05 s$"):
        call_all([hang], SHORT, ["opening /dev/odd"])


@pytest.mark.parametrize("function", [succeed, be_killed, refuse, complain])
def test_no_child_and_no_descriptor_is_left(function):
    before = sorted(os.listdir("/proc/self/fd"))
    with suppress(OSError, O2cbError):
        call_all([function], LONG, ["it"])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_one_that_is_late_is_left_to_end_by_itself_and_no_descriptor_is_kept(hang):
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(DeadlineExceeded):
        call_all([hang], SHORT, ["it"])
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)


def test_several_calls_run_at_the_same_time():
    """Each waits for the other, so one after the other would hang."""
    (read_one, write_one), (read_two, write_two) = os.pipe(), os.pipe()

    def meet(write: int, read: int) -> Call:
        def call() -> None:
            os.write(write, b"x")
            assert os.read(read, 1) == b"x"

        return call

    try:
        call_all([meet(write_one, read_two), meet(write_two, read_one)], LONG, ["one", "two"])
    finally:
        for descriptor in (read_one, write_one, read_two, write_two):
            os.close(descriptor)


def test_the_first_error_of_several_is_raised_when_all_have_ended():
    with pytest.raises(O2cbError, match="the disk is gone"):
        call_all([complain, succeed, refuse], LONG, ["one", "two", "three"])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_deadline_is_one_for_all(hang):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"^one did not"):
        call_all([hang, hang, hang], 0.5, ["one", "two", "three"])
    assert time.monotonic() - started < 1.2
