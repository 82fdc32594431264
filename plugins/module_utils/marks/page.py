# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every worker looks at before it tries for a lock: the last reading, and this node's committed mark.

One small file in /run, written in place by the process that keeps the record and read in one system call by workers. A
look that meets a write shows by its checksum and is made again.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from typing import NamedTuple

PATH = "/run/o2keep/marks"

UNKNOWN, RECORD, NONE = 0, 1, 2
"""Nothing was read yet, or no majority answered; there is a record; there is none, and clocks decide."""

_PAGE = struct.Struct("<4sIQQd")
_CRC = struct.Struct("<I")
_MAGIC = b"O2MP"
_TRIES = 100


class Page(NamedTuple):
    """`reading` is the number of the last one that a majority answered, `seconds` when it ended (CLOCK_BOOTTIME)."""

    state: int = UNKNOWN
    reading: int = 0
    mark: int = 0
    seconds: float = 0.0


def clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def create(path: str = PATH) -> int:
    """A descriptor to write by."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def write(descriptor: int, page: Page) -> None:
    fields = _PAGE.pack(_MAGIC, page.state, page.reading, page.mark, page.seconds)
    os.pwrite(descriptor, fields + _CRC.pack(zlib.crc32(fields)), 0)


def look(descriptor: int) -> Page:
    """The page by a descriptor that is open for reading; one that says UNKNOWN when none was written."""
    for _try in range(_TRIES):
        data = os.pread(descriptor, _PAGE.size + _CRC.size, 0)
        if len(data) < _PAGE.size + _CRC.size:
            break
        fields = data[: _PAGE.size]
        if _CRC.unpack(data[_PAGE.size :])[0] == zlib.crc32(fields):
            magic, state, reading, mark, seconds = _PAGE.unpack(fields)
            return Page(state, reading, mark, seconds) if magic == _MAGIC else Page()
    return Page()
