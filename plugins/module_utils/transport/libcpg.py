# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""libcpg, corosync's closed process groups, by ctypes: as much of corosync/cpg.h (corosync 3) as one group needs.

The callbacks of libcpg only append to a list: what one of them raised would be printed and forgotten, and the message
with it. `connect`, `multicast` and `close` ask the daemon and wait for its answer, so they belong into a thread;
`dispatch` takes what is there, and does not wait.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any, NamedTuple, Protocol, Sequence, Union

from ..base.errors import O2cbError

LIBRARY = "libcpg.so.4"

OK, TRY_AGAIN, EXIST = 1, 6, 14
"""cs_error_t."""

LEAVE, NODEDOWN, PROCDOWN = 2, 3, 5
"""cpg_reason_t: why a process is no member any more."""

MAX_MEMBERS = 128
"""CPG_MEMBERS_MAX: corosync tells no more members of one group."""

MAX_NAME = 128

_AGREED = 2
_DISPATCH_ONE_NONBLOCKING = 4
_JOIN_SECONDS = 30.0
_JOIN_PAUSE = 0.1

_WORDS = {
    2: "it has ended, or does not run",
    3: "it speaks another version of its protocol",
    5: "it did not answer in time",
    TRY_AGAIN: "it is busy forming its ring",
    9: "it has ended the connection",
    11: "it does not let this process in",
    EXIST: "it still knows this process as a member",
    18: "it has no resources left",
    20: "it is still starting",
    26: "the message is too long for it",
    100: "it does not let this process in",
}


class CpgError(O2cbError):
    """corosync on this node does not do what it was asked for."""


class Process(NamedTuple):
    """A member of the group."""

    node_id: int
    pid: int


class Departure(NamedTuple):
    """A process that is no member any more, and the reason that corosync gives."""

    process: Process
    reason: int


class Changed(NamedTuple):
    """The group has changed. It stands between the messages, at the same place for all who stay together."""

    members: Sequence[Process]
    left: Sequence[Departure]
    joined: Sequence[Process]


class Delivered(NamedTuple):
    """A message, one's own too, in the order that is the same for all who stay together."""

    sender: Process
    data: bytes


Happening = Union[Changed, Delivered]


class Connection(Protocol):
    """A membership of one group."""

    me: Process

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to dispatch."""

    def dispatch(self, most: int) -> list[Happening]:
        """What has happened, `most` things at a time. Raises CpgError when the connection is at its end."""

    def multicast(self, data: bytes) -> bool:
        """Hand a message over, to all members. False: not now, try again. Raises CpgError. Waits for the daemon."""

    def close(self) -> None:
        """Leave the group. Waits for the daemon."""


class _Name(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("value", ctypes.c_char * MAX_NAME)]


class _Address(ctypes.Structure):
    _fields_ = [("nodeid", ctypes.c_uint32), ("pid", ctypes.c_uint32), ("reason", ctypes.c_uint32)]


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


_DELIVER = ctypes.CFUNCTYPE(
    None,
    *(ctypes.c_uint64, ctypes.POINTER(_Name), ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t),
)
_ADDRESSES = (ctypes.POINTER(_Address), ctypes.c_size_t)
_CHANGE = ctypes.CFUNCTYPE(None, *(ctypes.c_uint64, ctypes.POINTER(_Name), *_ADDRESSES, *_ADDRESSES, *_ADDRESSES))


class _Callbacks(ctypes.Structure):
    _fields_ = [("deliver", _DELIVER), ("change", _CHANGE)]


def connect(group: str) -> Connection:
    """Become a member of a group. Raises CpgError; waits for the daemon."""
    return _Connection(_library(), group.encode())


def require() -> None:
    """Raises CpgError when libcpg is not installed."""
    _library()


def _library() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise CpgError(
            f"{LIBRARY} is not on this node: install the package corosync, or run role ocfs2.o2cb.agent"
        ) from None
    handle, size = ctypes.c_uint64, ctypes.c_size_t
    library.cpg_initialize.argtypes = [ctypes.POINTER(handle), ctypes.POINTER(_Callbacks)]
    library.cpg_finalize.argtypes = [handle]
    library.cpg_fd_get.argtypes = [handle, ctypes.POINTER(ctypes.c_int)]
    library.cpg_local_get.argtypes = [handle, ctypes.POINTER(ctypes.c_uint)]
    library.cpg_dispatch.argtypes = [handle, ctypes.c_int]
    library.cpg_join.argtypes = [handle, ctypes.POINTER(_Name)]
    library.cpg_mcast_joined.argtypes = [handle, ctypes.c_int, ctypes.POINTER(_Vector), ctypes.c_uint]
    library.cpg_max_atomic_msgsize_get.argtypes = [handle, ctypes.POINTER(size)]
    return library


class _Connection:
    """The real one."""

    def __init__(self, library: Any, group: bytes) -> None:
        self._library = library
        self._handle = ctypes.c_uint64()
        self._happened: list[Happening] = []
        self._fault = ""
        self._callbacks = _Callbacks(_DELIVER(self._deliver), _CHANGE(self._change))
        self._check(library.cpg_initialize(ctypes.byref(self._handle), ctypes.byref(self._callbacks)))
        try:
            node_id, descriptor = ctypes.c_uint(), ctypes.c_int()
            self._check(library.cpg_local_get(self._handle, ctypes.byref(node_id)))
            self._check(library.cpg_fd_get(self._handle, ctypes.byref(descriptor)))
            self.me = Process(node_id.value, os.getpid())
            self._descriptor = descriptor.value
            self._join(_Name(len(group), group))
        except BaseException:
            self.close()
            raise

    def _join(self, name: _Name) -> None:
        """While the ring forms there is no joining, and an earlier membership of this process may be in its end."""
        deadline = time.monotonic() + _JOIN_SECONDS
        while True:
            code = self._library.cpg_join(self._handle, ctypes.byref(name))
            if code not in (TRY_AGAIN, EXIST) or time.monotonic() > deadline:
                return self._check(code)
            time.sleep(_JOIN_PAUSE)

    def fileno(self) -> int:
        return self._descriptor

    def dispatch(self, most: int) -> list[Happening]:
        while len(self._happened) < most:
            code = self._library.cpg_dispatch(self._handle, _DISPATCH_ONE_NONBLOCKING)
            if code == TRY_AGAIN:
                break
            self._check(code)
        if self._fault:
            raise CpgError(f"what corosync has delivered is lost: {self._fault}")
        happened, self._happened = self._happened, []
        return happened

    def multicast(self, data: bytes) -> bool:
        vector = _Vector(data, len(data))
        code = self._library.cpg_mcast_joined(self._handle, _AGREED, ctypes.byref(vector), 1)
        if code == TRY_AGAIN:
            return False
        self._check(code)
        return True

    def close(self) -> None:
        self._library.cpg_finalize(self._handle)

    def _check(self, code: int) -> None:
        if code != OK:
            raise CpgError(f"corosync on this node: {_WORDS.get(code, f'error {code}')}")

    def _deliver(self, _handle: int, _group: Any, node_id: int, pid: int, message: int, length: int) -> None:
        try:
            self._happened.append(Delivered(Process(node_id, pid), ctypes.string_at(message, length)))
        except BaseException as error:  # noqa: BLE001 -- see above
            self._fault = repr(error)

    def _change(self, _handle: int, _group: Any, *lists: Any) -> None:
        try:
            members, left, joined = (
                [(Process(one.nodeid, one.pid), one.reason) for one in (found[:count] if count else ())]
                for found, count in zip(lists[::2], lists[1::2])
            )
            self._happened.append(
                Changed(
                    [process for process, _reason in members],
                    [Departure(*one) for one in left],
                    [process for process, _reason in joined],
                )
            )
        except BaseException as error:  # noqa: BLE001 -- see above
            self._fault = repr(error)
