# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes what o2keep has in its slots, behind its back. Runs on a node, as root.

spoil LOCK future|truncated|random      replace the message in the slot of this lock; its descriptors stay in it
pass COUNT                              pass so many descriptors to itself, as any service may; print what comes
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import socket
import subprocess
import sys

PIDFD_OPEN, PIDFD_GETFD = 434, 438
RIGHTS = (socket.SOL_SOCKET, socket.SCM_RIGHTS)

_libc = ctypes.CDLL(None, use_errno=True)


def keeper() -> int:
    command = ["systemctl", "show", "o2keep", "-p", "MainPID", "--value"]
    shown = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return int(shown.stdout)


def sockets(pid: int) -> dict[int, socket.socket]:
    """Copies of all sockets of packets that the process has, by their inodes."""
    found = {}
    own = _libc.syscall(PIDFD_OPEN, pid, 0)
    for name in os.listdir(f"/proc/{pid}/fd"):
        descriptor = _libc.syscall(PIDFD_GETFD, own, int(name), 0)
        if descriptor < 0:
            continue
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            continue
        if sock.type & ~socket.SOCK_NONBLOCK == socket.SOCK_SEQPACKET:
            found[os.fstat(descriptor).st_ino] = sock
        else:
            sock.close()
    return found


def peek(sock: socket.socket, flags: int = socket.MSG_PEEK) -> tuple[bytes, list[int]] | None:
    try:
        data, ancillary, _flags, _address = sock.recvmsg(65536, 4096, flags | socket.MSG_DONTWAIT)
    except OSError:
        return None
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == RIGHTS:
            descriptors.frombytes(content)
    return data, list(descriptors)


def spoiled(data: bytes, how: str) -> bytes:
    if how == "future":
        message = json.loads(data)
        return json.dumps({**message, "v": 99, "lock": {"all": "is different"}}).encode()
    return data[: len(data) // 2] if how == "truncated" else os.urandom(300)


def spoil(name: str, how: str) -> None:
    """A slot is a pair of sockets that were made in one call: the sender's inode is the one before the receiver's."""
    found = sockets(keeper())
    for inode, sock in found.items():
        seen = peek(sock)
        if seen is None or b'"lock"' not in seen[0] or json.loads(seen[0]).get("lock", {}).get("name") != name:
            continue
        sender = found[inode - 1]
        data, descriptors = peek(sock, 0) or (b"", [])
        sender.sendmsg([spoiled(data, how)], [(*RIGHTS, array.array("i", descriptors))])
        after = peek(sock)
        assert after is not None
        assert len(after[1]) == len(descriptors)
        print(f"spoiled, with {len(descriptors)} descriptor(s)")
        return
    raise SystemExit(f"no slot has lock {name}")


def pass_on(count: int) -> None:
    """Keep so many descriptors in flight at once, and get them again."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    null = os.open(os.devnull, os.O_RDONLY)
    for _message in range(count // 10):
        sender.sendmsg([b"x"], [(*RIGHTS, array.array("i", [null] * 10))])
    came = 0
    for _message in range(count // 10):
        came += len((peek(receiver, 0) or (b"", []))[1])
    print(came)


if __name__ == "__main__":
    verb, first, *rest = sys.argv[1:]
    if verb == "spoil":
        spoil(first, rest[0])
    else:
        pass_on(int(first))
