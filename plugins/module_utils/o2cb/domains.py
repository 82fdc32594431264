# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains of the lock manager o2dlm, as dlmfs shows them: which are joined, joining and leaving
(fs/ocfs2/dlmfs/dlmfs.c).

A directory in a dlmfs mount is a joined domain. Each mount has its own directories, so a domain may be joined through a
mount that nobody sees (a detached mount, a container); its recovery thread in the kernel gives it away.
"""

from __future__ import annotations

import errno
import os
import re
import time
from dataclasses import dataclass
from typing import Sequence

from ..base import files, programs
from ..base.errors import DeadlineExceeded, O2cbError
from . import keeping

DEFAULT_MOUNT = "/dlm"
FILE_SYSTEM = "ocfs2_dlmfs"
MAX_NAME_BYTES = 63

_RECOVERY_THREAD = "dlm_reco-"
_CUT = (15 - len(_RECOVERY_THREAD), 63 - len(_RECOVERY_THREAD))
"""A thread's name in /proc has 15 characters at most, 63 since Linux 5.17; a domain's of this length may be cut."""

_JOIN_WORDS = {
    errno.EINVAL: (
        "the heartbeat is not started, this node is not in the cluster's table, or a member of the domain has other "
        "nodes, regions or another heartbeat mode than this node: compare with cluster_info on all nodes"
    ),
    errno.ENOENT: "no cluster stack is loaded: bring the cluster online first",
    errno.ENOTCONN: (
        "a node that heartbeats is not connected to this one: check its timeouts, address and firewall (TCP port)"
    ),
    errno.EHOSTDOWN: "a member died while this node was joining: try again",
    errno.EPROTO: "a member speaks another version of the locking protocol: run the same kernel series on all nodes",
    errno.EBUSY: "another cluster stack is active: see /sys/fs/ocfs2/cluster_stack",
    errno.EEXIST: "it is joined already",
    errno.EROFS: "dlmfs is mounted read-only: remount it",
    errno.EACCES: "this needs root",
    errno.EPERM: "a domain is made at the top of the mount, not below another one",
    errno.EINTR: "it was interrupted, or the members were busy for 90 s: try again",
    512: "it was interrupted, or the members were busy for 90 s: try again",
}

_REMOVED_AT_ONCE = 200
"""Names on one command line."""

RETRIED = frozenset((errno.EHOSTDOWN, errno.EINTR, 512))
"""After these, joining again helps: a member died in the middle, or a signal came (512 is ERESTARTSYS)."""


@dataclass(frozen=True)
class Domain:
    """A joined domain. `locks` are the lock files under `mount`; `mount` is empty when no visible mount shows it."""

    name: str
    mount: str
    locks: tuple[str, ...] = ()


def name_problem(name: str) -> str:
    """Why dlmfs would not take this name for a domain, or an empty string."""
    size = len(name.encode("utf-8", "surrogateescape"))
    if not 1 <= size <= MAX_NAME_BYTES:
        return f"domain name {name!r} has {size} bytes: use 1 to {MAX_NAME_BYTES}"
    if "/" in name or "\0" in name or name in (".", ".."):
        return f"domain name {name!r} cannot be a directory name: leave out '/', NUL, '.' and '..'"
    return ""


def mounts(file_system: str = FILE_SYSTEM) -> list[str]:
    """The mount points of a kind of file system in this mount namespace."""
    found = []
    for line in (files.read("/proc/self/mounts") or "").splitlines():
        fields = line.split(" ")
        if len(fields) > 2 and fields[2] == file_system:
            found.append(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[1]))
    return found


def joined() -> list[Domain]:
    """Every domain this node has joined, once for each mount that shows it.

    Those of mounted OCFS2 volumes and of unseen mounts are included.
    """
    found = [
        Domain(name, mount, tuple(files.names(f"{mount}/{name}"))) for mount in mounts() for name in files.names(mount)
    ]
    seen = {domain.name for domain in found}
    for name in _in_kernel():
        cut = len(name) in _CUT
        if name not in seen and not (cut and any(known.startswith(name) for known in seen)):
            found.append(Domain(name, ""))
    return sorted(found, key=lambda domain: (domain.name, domain.mount))


def _in_kernel() -> list[str]:
    """The names in the recovery threads' names, cut where those are too long."""
    if not os.path.isdir("/sys/module/ocfs2_dlm"):
        return []
    names = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            command = files.read_line(f"/proc/{pid}/comm")
            if command.startswith(_RECOVERY_THREAD):
                names.append(command[len(_RECOVERY_THREAD) :])
    return names


def in_use() -> list[str]:
    """Why this node must not leave the cluster now, in words.

    Mounted file systems, locks, those of o2keep too, unseen members of a domain.
    """
    volumes = mounts("ocfs2")
    reasons = [f"an OCFS2 file system is mounted on {path}" for path in volumes]
    kept: list[str] = []
    try:
        kept, count, held = keeping.domains_and_locks()
        if count:
            reasons.append(f"o2keep holds {count} lock(s): {_few(held)}")
    except O2cbError as error:
        reasons.append(str(error))
    for domain in joined():
        if domain.locks:
            reasons.append(
                f"domain {domain.name} has {len(domain.locks)} lock(s) under {domain.mount}: {_few(domain.locks)}"
            )
        elif (
            not domain.mount
            and not any(name.startswith(domain.name) for name in kept)
            and not (volumes and re.fullmatch(r"[0-9A-F]{6,32}", domain.name))
        ):
            reasons.append(f"domain {domain.name} is joined by a program through a mount of its own")
    return reasons


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def join(name: str, mount: str = DEFAULT_MOUNT, seconds: float = 130.0) -> None:
    """Join a domain, within a deadline. The caller makes sure that it is not joined yet.

    Raises O2cbError with the errno in words; ENOTCONN comes after the kernel's own 60 s.
    """
    problem = name_problem(name)
    if problem:
        raise O2cbError(problem)
    if mount not in mounts():
        raise O2cbError(f"no {FILE_SYSTEM} is mounted on {mount}: run the role ocfs2.o2cb.dlmfs, or mount it")

    try:
        code, _output, error = programs.run(["mkdir", "--mode=755", "--", f"{mount}/{name}"], seconds)
    except DeadlineExceeded:
        raise O2cbError(
            f'joining domain "{name}" did not come back within {seconds:g} s: a node is being recovered, or a member '
            "does not answer; look at cluster_info on all nodes"
        ) from None
    if code:
        raise explain_join(programs.errno_in(error), name)


def explain_join(number: int, name: str) -> O2cbError:
    """What the kernel means when it does not let this node join a domain, in words."""
    name_of_errno = errno.errorcode.get(number, f"error {number}")
    words = _JOIN_WORDS.get(number, os.strerror(number))
    return O2cbError(f'{name_of_errno} joining domain "{name}": {words}', errno=number)


def join_within(name: str, mount: str, seconds: float) -> None:
    """Join a domain, and try again as long as the kernel says that this helps and the deadline allows.

    Raises O2cbError as `join` does.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            join(name, mount, max(1.0, deadline - time.monotonic()))
        except O2cbError as error:
            if error.facts.get("errno") not in RETRIED or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.5)


def locks_problem(name: str, locks: Sequence[str]) -> str:
    shown = ", ".join(locks[:5]) + (", …" if len(locks) > 5 else "")
    return f'domain "{name}" still has {len(locks)} lock(s), {shown}: release them first, or use force'


def leave(name: str, mount: str = DEFAULT_MOUNT, force: bool = False, seconds: float = 60.0) -> None:
    """Leave a domain, within a deadline. With `force`, the lock files in it are removed first.

    Raises O2cbError when locks are there and `force` is not given, or when a process holds one of them.
    """

    path = f"{mount}/{name}"
    deadline = time.monotonic() + seconds
    if force:
        _remove_locks(name, [f"{path}/{lock}" for lock in files.names(path)], deadline)
    code, _output, error = programs.run(["rmdir", "--", path], max(0.0, deadline - time.monotonic()))
    number = programs.errno_in(error) if code else 0
    if number == errno.ENOTEMPTY:
        raise O2cbError(locks_problem(name, files.names(path)))
    if number not in (0, errno.ENOENT):
        raise O2cbError(f'leaving domain "{name}": {os.strerror(number)}', errno=number)


def _remove_locks(name: str, paths: Sequence[str], deadline: float) -> None:
    """Raises O2cbError for the first that a process holds."""
    for first in range(0, len(paths), _REMOVED_AT_ONCE):
        command = ["rm", "--force", "--", *paths[first : first + _REMOVED_AT_ONCE]]
        code, _output, error = programs.run(command, max(0.0, deadline - time.monotonic()))
        if code:
            what = error.strip().partition("\n")[0]
            raise O2cbError(
                f'domain "{name}": {what}: end the process that holds the lock first', errno=programs.errno_in(what)
            )
