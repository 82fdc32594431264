# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing one heartbeat block past the page cache, if it is still what it was: by a child process with a deadline.

The child reads the block, compares it and writes, with nothing in between that could wait but the disk. A path that
queues keeps it asleep in the kernel, where a signal does not reach it: then it is left behind, killed, so that it
writes nothing after a read that took too long. What it has written already may still land, long after. Until it has
ended, it holds the lock of PATH, which tells every later process of this machine (`pending`).
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import Sequence

from ..base.deadline import Child
from ..base.errors import DeadlineExceeded, O2cbError
from .earlier_life import Outcome, Written

PATH = "/run/lock/ocfs2.o2cb.slots"

SECONDS = 5.0
"""Deadline of the writes; a healthy disk takes milliseconds."""

_DIRECT = os.O_DIRECT | os.O_DSYNC
_CHANGED = errno.ESTALE
"""How the child says that the block was not what it should be, before the write or after it: no block device has this
error."""


@dataclass(frozen=True)
class Slot:
    """A block at a byte offset of a device, what has to be in it, and what shall be."""

    path: str
    offset: int
    expected: bytes
    block: bytes


def write(slots: Sequence[Slot], seconds: float = SECONDS, lock: str = PATH) -> list[Written]:
    """Write all of them at the same time, and say what became of each."""
    deadline = time.monotonic() + seconds
    children = [Child(partial(_replace, slot, lock), slot.path) for slot in slots]
    return [_outcome(child, deadline, seconds) for child in children]


def _outcome(child: Child, deadline: float, seconds: float) -> Written:
    try:
        child.wait(deadline, seconds)
    except DeadlineExceeded as error:
        os.kill(child.pid, signal.SIGKILL)
        return Written(Outcome.HUNG, str(error))
    except OSError as error:
        if error.errno == _CHANGED:
            return Written(Outcome.CHANGED)
        return Written(Outcome.FAILED, error.strerror or str(error))
    except O2cbError as error:
        # It was killed by somebody, at whatever point.
        return Written(Outcome.FAILED, str(error))
    return Written(Outcome.WRITTEN)


def pending(lock: str = PATH) -> bool:
    """Whether a write of this or an earlier process has not returned."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _replace(slot: Slot, lock: str) -> None:
    """The child's work. Its lock ends with it, and not before."""
    held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(held, fcntl.LOCK_SH)
    size = len(slot.block)
    device = os.open(slot.path, os.O_RDWR | os.O_CLOEXEC | _DIRECT)
    with mmap.mmap(-1, size) as page:
        _expect(device, page, slot.offset, slot.expected)
        page[:] = slot.block
        _whole(os.pwritev(device, [page], slot.offset), size)
        _expect(device, page, slot.offset, slot.block)


def _expect(device: int, page: mmap.mmap, offset: int, block: bytes) -> None:
    _whole(os.preadv(device, [page], offset), len(block))
    if page[:] != block:
        raise OSError(_CHANGED, os.strerror(_CHANGED))


def _whole(done: int, size: int) -> None:
    if done != size:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
