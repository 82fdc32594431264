# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detached dlmfs mounts: one for each lock, seen by nobody, gone with its last descriptor.

A dlmfs lock belongs to the mount it was taken through, and everything in one mount shares it. In a mount of its own a
lock excludes other holders on the same node as it excludes other nodes. fsopen(2) and fsmount(2) (Linux 5.2) make one
without a mount point, in a fraction of a millisecond.

Two rules, both measured, both against kernel panics and lost locks:

* fsmount returns an O_PATH descriptor, which systemd does not keep. `Mount.directory` is an ordinary one, and holds the
  mount.
* A mount must not go in the same breath as a lock on which another node waits with a blocking open: first the lock's
  descriptors die, then the file is unlinked, and a second or more later the mount goes. `Mount` never closes itself.

Every call here may sleep in the kernel, so only worker processes make them.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass

from ..base.errors import O2cbError
from ..o2cb import domains

_FSOPEN_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6
_FSMOUNT_CLOEXEC = 1
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
"""The same on every architecture that Linux 5.2 or later supports (include/uapi/asm-generic/unistd.h)."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Mount:
    """A detached mount, held by an open directory."""

    directory: int

    def join(self, domain: str) -> None:
        """Join a domain in this mount. Quick where the node is a member already, by another mount."""
        try:
            os.mkdir(domain, 0o700, dir_fd=self.directory)
        except FileExistsError:
            pass
        except OSError as error:
            raise domains.explain_join(error.errno or 0, domain) from None

    def open(self, domain: str, name: str, exclusive: bool) -> int:
        """Try to take a lock, once and without waiting for its holder. Returns its descriptor.

        Raises BusyError when it cannot be had now. May still sleep while a dead node is recovered.
        """
        flags = (os.O_RDWR if exclusive else os.O_RDONLY) | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(f"{domain}/{name}", flags, 0o600, dir_fd=self.directory)
        except OSError as error:
            if error.errno in (errno.ETXTBSY, errno.EAGAIN):
                raise BusyError(name) from None
            raise

    def names(self, domain: str) -> list[str]:
        """The files of this mount: of this node only, and of no other mount."""
        directory = os.open(domain, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory)
        try:
            return os.listdir(directory)
        finally:
            os.close(directory)

    def unlink(self, domain: str, name: str) -> None:
        """Forget a lock whose descriptors are closed, so that another node's try succeeds."""
        os.unlink(f"{domain}/{name}", dir_fd=self.directory)


class BusyError(Exception):
    """Somebody else has the lock, at a level that excludes ours."""


def create() -> Mount:
    """A new detached mount. Raises O2cbError on a kernel before 5.2, without dlmfs, or without root."""
    context = _call(_SYS_FSOPEN, ctypes.c_char_p(domains.FILE_SYSTEM.encode()), _FSOPEN_CLOEXEC)
    try:
        _call(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mounted = _call(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)
    try:
        return Mount(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mounted))
    finally:
        os.close(mounted)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result >= 0:
        return result
    code = ctypes.get_errno()
    words = {
        errno.ENOSYS: f"this kernel ({os.uname().release}) has no detached mounts: Linux 5.2 or later is needed",
        errno.ENODEV: "this kernel has no dlmfs loaded: run the role ocfs2.o2cb.dlmfs, or `modprobe ocfs2_dlmfs`",
        errno.EPERM: "mounting dlmfs needs root in the initial user namespace",
    }
    raise O2cbError(words.get(code, f"mounting dlmfs: {os.strerror(code)}"), errno=code)
