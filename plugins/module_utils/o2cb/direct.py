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
import selectors
import subprocess
import time
from dataclasses import dataclass
from typing import Sequence

from . import programs
from .errors import O2cbError

ALIGNMENT = 4096
"""Offset and size of an extent are multiples of this: O_DIRECT takes whole logical blocks only."""

MOST = 32
"""So many readers at a time; a host may have hundreds of disks, and 1024 descriptors."""

_FLAGS = "direct,skip_bytes,count_bytes"
_END_SECONDS = 1.0


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
    """A dd(1) at work."""

    def __init__(self, extent: Extent) -> None:
        self.path = extent.path
        self.data, self.errors = bytearray(), bytearray()
        self.process = subprocess.Popen(
            [
                "dd",
                f"if={extent.path}",
                f"iflag={_FLAGS}",
                "bs=64K",
                f"skip={extent.offset}",
                f"count={extent.size}",
                "status=none",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=programs.environment(),
        )

    def answer(self) -> Answer:
        """To be called when both its pipes are closed."""
        try:
            code = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return self.hung(_END_SECONDS)
        if code:
            return Answer(problem=f"{self.path}: {self._why()}")
        return Answer(bytes(self.data))

    def _why(self) -> str:
        """dd says "dd: failed to open 'PATH': No such file or directory"."""
        lines = self.errors.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].rpartition(": ")[2] if lines else "its reader was killed"

    def hung(self, seconds: float) -> Answer:
        self.process.kill()
        return Answer(problem=f"{self.path} did not answer within {seconds:g} s", hung=True)

    def close(self) -> None:
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


def read(extents: Sequence[Extent], seconds: float) -> list[Answer]:
    """Read all of them within `seconds`, in any order. Raises O2cbError when there is no dd(1) here."""
    deadline = time.monotonic() + seconds
    answers = [Answer(problem=f"{extent.path} was not read within {seconds:g} s", hung=True) for extent in extents]
    running: dict[int, _Reader] = {}
    left = list(range(len(extents)))[::-1]
    with selectors.DefaultSelector() as selector:
        while running or left:
            while left and len(running) < MOST:
                index = left.pop()
                running[index] = _start(extents[index], index, selector)
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            for key, _events in ready:
                index, into = key.data
                chunk = os.read(key.fd, 65536)
                into.extend(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
                    if not any(other.data[0] == index for other in selector.get_map().values()):
                        reader = running.pop(index)
                        answers[index] = reader.answer()
                        reader.close()
        for index, reader in running.items():
            answers[index] = reader.hung(seconds)
            reader.close()
    return answers


def _start(extent: Extent, index: int, selector: selectors.BaseSelector) -> _Reader:
    try:
        reader = _Reader(extent)
    except FileNotFoundError:
        raise O2cbError("there is no program dd here: install the package coreutils") from None
    for pipe, into in ((reader.process.stdout, reader.data), (reader.process.stderr, reader.errors)):
        if pipe:
            selector.register(pipe, selectors.EVENT_READ, (index, into))
    return reader


def read_one(extent: Extent, seconds: float) -> bytes:
    """Read one extent. Raises O2cbError with the path and the reason."""
    (answer,) = read([extent], seconds)
    if answer.problem:
        raise O2cbError(answer.problem)
    return answer.data
