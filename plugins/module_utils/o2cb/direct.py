# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading devices past the page cache, with a deadline: each extent by a dd(1) of its own, many at the same time.

Heartbeat I/O bypasses the page cache, in which a region's blocks stay as old as the first look; so whoever looks has to
read with O_DIRECT. A device whose path is gone does not answer, and its reader sleeps until it does: that must not be
this process. A reader that is still asleep at the deadline is killed and left to init; it holds nothing of ours.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from typing import Sequence

from ..base import programs
from ..base.errors import O2cbError

ALIGNMENT = 4096
"""An extent's offset is a multiple of this, and its size too, unless it ends with its device: O_DIRECT takes whole
logical blocks only."""

MOST = 32
"""So many readers at a time; a host may have hundreds of disks, and 1024 descriptors."""

_FLAGS = "direct,skip_bytes,count_bytes"
_END_SECONDS = 1.0
_END_ATTEMPTS = 200

_left_behind: list[int] = []
"""Killed readers that may still be asleep. A process that lives on collects them with its next reading."""


@dataclass(frozen=True)
class Extent:
    """What to read, in bytes."""

    path: str
    offset: int
    size: int


@dataclass(frozen=True)
class Answer:
    """What was read, less than was asked for at the device's end; or why it was not."""

    data: bytes = b""
    problem: str = ""
    hung: bool = False


class _Reader:
    """A dd(1) at work.

    Started by posix_spawn(3), in half the time of subprocess. What it says of an error comes after what it has read.
    """

    def __init__(self, extent: Extent) -> None:
        self.path = extent.path
        self.output = bytearray()
        arguments = [f"if={extent.path}", f"iflag={_FLAGS}", "bs=64K", f"skip={extent.offset}", f"count={extent.size}"]
        self.pipe, writer = os.pipe()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, writer, 1),
            (os.POSIX_SPAWN_DUP2, writer, 2),
        ]
        try:
            command = ["dd", *arguments, "status=none"]
            self._pid = os.posix_spawnp("dd", command, programs.environment(), file_actions=actions)
        except OSError:
            os.close(self.pipe)
            raise
        finally:
            os.close(writer)

    def answer(self) -> Answer:
        """To be called when its pipe is closed: it has ended, or is about to."""
        for _attempt in range(_END_ATTEMPTS):
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                break
            time.sleep(_END_SECONDS / _END_ATTEMPTS)
        else:
            return self.hung(_END_SECONDS)
        if os.WIFSIGNALED(status):
            return Answer(problem=f"{self.path}: its reader was killed")
        if status:
            # dd: error reading 'PATH': Input/output error
            words = bytes(self.output).rpartition(b": ")[2].strip().decode("utf-8", "replace")
            return Answer(problem=f"{self.path}: {words}")
        return Answer(bytes(self.output))

    def hung(self, seconds: float) -> Answer:
        """Kill it, and leave it behind: to wait for one that sleeps would be the very thing to avoid."""
        os.kill(self._pid, signal.SIGKILL)
        _left_behind.append(self._pid)
        return Answer(problem=f"{self.path} did not answer within {seconds:g} s", hung=True)


def read(extents: Sequence[Extent], seconds: float) -> list[Answer]:
    """Read all of them within `seconds`, in any order. Raises O2cbError when there is no dd(1) here."""
    deadline = time.monotonic() + seconds
    answers = [Answer(problem=f"{extent.path} was not read within {seconds:g} s", hung=True) for extent in extents]
    running: dict[int, tuple[int, _Reader]] = {}
    left = list(range(len(extents)))[::-1]
    _left_behind[:] = [pid for pid in _left_behind if not os.waitpid(pid, os.WNOHANG)[0]]
    poll = select.poll()
    while running or left:
        while left and len(running) < MOST:
            index = left.pop()
            reader = _start(extents[index])
            running[reader.pipe] = index, reader
            poll.register(reader.pipe, select.POLLIN)
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            break
        for pipe, _event in ready:
            index, reader = running[pipe]
            chunk = os.read(pipe, 65536)
            reader.output.extend(chunk)
            if not chunk:
                poll.unregister(pipe)
                os.close(pipe)
                del running[pipe]
                answers[index] = reader.answer()
    for pipe, (index, reader) in running.items():
        os.close(pipe)
        answers[index] = reader.hung(seconds)
    return answers


def _start(extent: Extent) -> _Reader:
    try:
        return _Reader(extent)
    except FileNotFoundError:
        raise O2cbError("there is no program dd here: install the package coreutils") from None


def read_one(extent: Extent, seconds: float) -> bytes:
    """Read one extent. Raises O2cbError with the path and the reason."""
    (answer,) = read([extent], seconds)
    if answer.problem:
        raise O2cbError(answer.problem)
    return answer.data
