# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throws nonsense at the agent of another node: fuzz_frames.py FROM NUMBER ADDRESS PORT SEED FRAMES. Runs on a node
whose own agent is off, and has its certificate, so that the frames are read. FROM is its address, the rest the other's.

Most frames are of a kind that there is, with fields that mean nothing, and come from an incarnation that is long dead:
the connection goes on. The last one of each connection is broken: cut, too long, of no kind, or with bytes changed. One
connection in sixteen is without TLS or without a certificate. In the end it claims to be a later incarnation than this
node's agent will be by its clock. Prints what was sent, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import ssl
import struct
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

sys.path.insert(0, "/usr/local/lib/ocfs2.o2cb/o2cb.pyz")

from ocfs2_o2cb.bus import frames, view
from ocfs2_o2cb.transport import credentials

BATCH = 1000
SECONDS = 30.0
LONG_DEAD = 1
CLAIMED = 1 << 50

_FIELDS: dict[str, Callable[[random.Random], Any]] = {
    "node": lambda dice: dice.randrange(frames.MAX_NODE + 1),
    "bool": lambda dice: dice.random() < 0.5,
    "u64": lambda dice: dice.choice((0, 1, dice.randrange(1000), dice.getrandbits(64))),
    "ident": lambda dice: (dice.randrange(4), dice.choice((0, LONG_DEAD, dice.getrandbits(64)))),
    "epoch": lambda dice: (dice.choice((0, 1, dice.randrange(1000), dice.getrandbits(64))), dice.randrange(4), 1),
    "entry": lambda dice: view.Entry(view.MESSAGE, dice.randrange(4), LONG_DEAD, dice.randrange(99), "t", bytes(9)),
    "members": lambda dice: tuple((dice.randrange(4), dice.randrange(99), 0) for _member in range(dice.randrange(9))),
    "idents": lambda dice: tuple((dice.randrange(4), dice.randrange(99)) for _member in range(dice.randrange(9))),
    "channel": lambda dice: "".join(chr(dice.randrange(1, 0x2FF)) for _letter in range(dice.randrange(20))),
    "payload": lambda dice: dice.randbytes(dice.randrange(200)),
}


def senseless(dice: random.Random) -> bytes:
    """A frame that can be read. A Hello would bring the node back to life, but for one that is long dead."""
    kind, form = dice.choice(frames._FORMS)
    if kind is frames.Hello:
        frame = frames.Hello(LONG_DEAD, (0, 0))
    else:
        frame = kind(*[_FIELDS[word](dice) for word in form.split()])
    packed: bytes = frames.pack(frame)
    return packed


def broken(dice: random.Random) -> bytes:
    """A frame that cannot be read, or the half of one."""
    whole = bytearray(senseless(dice))
    how = dice.randrange(5)
    if how == 0:
        return struct.pack("<I", 0)
    if how == 1:
        return struct.pack("<I", 0xFFFFFFFF) + dice.randbytes(100)
    if how == 2:
        return bytes(whole[: len(whole) // 2])
    if how == 3:
        whole[4:6] = dice.randbytes(2)
    else:
        whole[dice.randrange(len(whole))] = dice.randrange(256)
    return bytes(whole)


def call(own: str, address: str, port: int) -> socket.socket:
    return socket.create_connection((address, port), SECONDS, (own, 0))


def stranger(dice: random.Random, own: str, address: str, port: int) -> str:
    """Without TLS, or with it and without a certificate; and the frames besides."""
    with contextlib.suppress(OSError), call(own, address, port) as sock:
        if dice.random() < 0.5:
            sock.sendall(b"".join(senseless(dice) for _frame in range(16)))
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
            return "without TLS"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(sock) as wrapped:
            wrapped.sendall(senseless(dice))
            while wrapped.recv(4096):
                pass
    return "without a certificate"


def peer(dice: random.Random, context: ssl.SSLContext, name: str, own: str, address: str, port: int) -> int:
    """Frames that were sent over one connection. The other side ends it; how does not matter."""
    batch = [senseless(dice) for _frame in range(BATCH - 1)]
    with call(own, address, port) as sock, context.wrap_socket(sock, server_hostname=name) as wrapped:
        wrapped.sendall(b"".join(batch))
        with contextlib.suppress(OSError):
            wrapped.sendall(broken(dice))
            wrapped.unwrap()
    return BATCH


def main(own: str, number: str, address: str, port: str, seed: str, wanted: str) -> None:
    dice = random.Random(int(seed))
    context = credentials.load().dialling
    name = credentials.common_name(int(number))
    sent = 0
    connections: Counter[str] = Counter()
    while sent < int(wanted):
        if dice.randrange(16) == 0:
            connections[stranger(dice, own, address, int(port))] += 1
        sent += peer(dice, context, name, own, address, int(port))
        connections["with a certificate"] += 1
    with call(own, address, int(port)) as sock, context.wrap_socket(sock, server_hostname=name) as wrapped:
        wrapped.sendall(frames.pack(frames.Hello(CLAIMED, (0, 0))))
        wrapped.settimeout(SECONDS)
        with contextlib.suppress(OSError):
            wrapped.unwrap()
    print(json.dumps({"frames": sent, "connections": connections, "claimed": CLAIMED}))


if __name__ == "__main__":
    main(*sys.argv[1:])
