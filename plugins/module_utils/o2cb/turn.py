# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change at a time on a node.

A run whose controller died leaves modules behind that are still at work. The next run, or o2cb.service at boot, must
neither plan from what they are half way through nor take down what they are building: so whoever changes the cluster
takes a turn, from before it looks until it is done.

It is a POSIX record lock: it ends with its process, and a child asleep in the kernel on a hanging disk does not keep
it. What such a child still does to a region, configfs serialises: its rmdir waits for the write.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..base.errors import O2cbError

PATH = "/run/lock/ocfs2.o2cb"

SECONDS = 240.0
"""Longer than coming online takes with all its waits, at the default timeouts."""


@contextmanager
def taken(path: str = PATH, seconds: float = SECONDS) -> Iterator[None]:
    """Hold the turn. Raises O2cbError, naming the process that has it, when it does not end within `seconds`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait(descriptor, path, time.monotonic() + seconds, seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, path: str, deadline: float, seconds: float) -> None:
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if time.monotonic() >= deadline:
                owner = os.pread(descriptor, 32, 0).decode().strip() or "another process"
                raise O2cbError(
                    f"process {owner} has been changing the cluster on this node for more than {seconds:g} s "
                    f"({path}): wait for its end, or end it"
                ) from None
            time.sleep(0.1)
        else:
            return
