# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading from several devices at once in one process that does not sleep: the kernel's own asynchronous I/O.

io_submit(2) with O_DIRECT and RWF_NOWAIT (Linux 4.13): what cannot be issued at once is refused with EAGAIN instead.
A process that ends while a reading is under way lingers until the device answers, so one that uses this must hold
nothing that others wait for.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import struct
from collections.abc import Sequence

_CALLS = {
    "x86_64": (206, 208, 209),
    "aarch64": (0, 4, 2),
    "ppc64le": (227, 229, 230),
    "s390x": (243, 245, 246),
    "riscv64": (0, 4, 2),
}
"""io_setup, io_getevents and io_submit, by machine (arch/*/include of Linux)."""

_PREAD, _NOWAIT, _RESFD = 0, 0x8, 1
_LITTLE = struct.Struct("<QIiHhIQQqQII")
_BIG = struct.Struct(">QiIHhIQQqQII")
"""struct iocb: data, key and rw_flags (in an order that depends on the machine's), opcode, priority, descriptor,
buffer, bytes, offset, reserved, flags, descriptor to be told by."""

_EVENT = struct.Struct("=QQqq")
_MOST = 128


class Unsupported(Exception):
    """This kernel or machine cannot do it."""


class Queue:
    """Reads under way. `fileno` is readable when one has ended."""

    def __init__(self) -> None:
        try:
            setup, self._get, self._submit = _CALLS[os.uname().machine]
        except KeyError:
            raise Unsupported(os.uname().machine) from None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._context = ctypes.c_ulong(0)
        if self._libc.syscall(ctypes.c_long(setup), ctypes.c_long(_MOST), ctypes.byref(self._context)):
            raise Unsupported(os.strerror(ctypes.get_errno()))
        self._events = ctypes.create_string_buffer(_EVENT.size * _MOST)
        self._told = self._eventfd()

    def _eventfd(self) -> int:
        told = int(self._libc.eventfd(0, os.O_CLOEXEC | os.O_NONBLOCK))
        if told < 0:
            raise Unsupported(os.strerror(ctypes.get_errno()))
        return told

    def fileno(self) -> int:
        return self._told

    def submit(self, reads: Sequence[tuple[int, Buffer, int, int, int]]) -> int:
        """Begin these reads: identity, buffer, descriptor, offset and bytes of each. Returns how many were begun."""
        blocks = [
            ctypes.create_string_buffer(self._block(identity, buffer.address, descriptor, offset, size))
            for identity, buffer, descriptor, offset, size in reads
        ]
        pointers = (ctypes.c_void_p * len(blocks))(*[ctypes.addressof(block) for block in blocks])
        begun = 0
        while begun < len(blocks):
            rest = ctypes.byref(pointers, begun * ctypes.sizeof(ctypes.c_void_p))
            done = int(
                self._libc.syscall(ctypes.c_long(self._submit), self._context, ctypes.c_long(len(blocks) - begun), rest)
            )
            if done <= 0:
                break
            begun += done
        return begun

    def _block(self, identity: int, address: int, descriptor: int, offset: int, size: int) -> bytes:
        rest = (_PREAD, 0, descriptor, address, size, offset, 0, _RESFD, self._told)
        if struct.pack("=H", 1) == struct.pack("<H", 1):
            return _LITTLE.pack(identity, 0, _NOWAIT, *rest)
        return _BIG.pack(identity, _NOWAIT, 0, *rest)

    def ended(self) -> list[tuple[int, int]]:
        """Identity and result (bytes, or minus an errno) of the reads that have ended since. Does not wait."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._told, 8)
        no_time = (ctypes.c_long * 2)(0, 0)
        count = int(
            self._libc.syscall(
                ctypes.c_long(self._get), self._context, ctypes.c_long(0), ctypes.c_long(_MOST), self._events, no_time
            )
        )
        found = []
        for index in range(max(0, count)):
            identity, _block, result, _more = _EVENT.unpack_from(self._events, index * _EVENT.size)
            found.append((identity, result))
        return found


class Buffer:
    """Memory that begins on a page. It belongs to the kernel while a read into it is under way."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def bytes(self, size: int) -> bytes:
        return self._map[:size]


def refused(result: int) -> bool:
    """Whether it was not even begun, since it would have had to wait."""
    return result in (-errno.EAGAIN, -errno.EOPNOTSUPP)
