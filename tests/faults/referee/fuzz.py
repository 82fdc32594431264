# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throws nonsense at the agent's socket: fuzz.py SEED REQUESTS. Runs on a node; prints what came back, and memory.

Most requests are JSON objects that mean nothing, so that the connection goes on; some are cut, too long, or no JSON.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys

SOCKET = "/run/o2agent/socket"
BATCH = 200
VERBS: list[object] = ["resources", "status", "move", "clear", "reload", "", "x" * 50, None, 7, [], {}]
"""Not drain and resume: those do what they say."""


def nonsense(chance: random.Random, depth: int = 0) -> object:
    kind = chance.randrange(8 if depth < 3 else 5)
    if kind < 5:
        text = "".join(chr(chance.randrange(1, 0x2FF)) for _number in range(chance.randrange(20)))
        return [None, True, chance.randrange(-(2**70), 2**70), chance.uniform(-1e300, 1e300), text][kind]
    if kind == 5:
        return [nonsense(chance, depth + 1) for _number in range(chance.randrange(4))]
    return {str(nonsense(chance, 3)): nonsense(chance, depth + 1) for _number in range(chance.randrange(4))}


def request(chance: random.Random) -> bytes:
    keys = chance.sample(["name", "node", "x", "op"], chance.randrange(4))
    return json.dumps({"op": chance.choice(VERBS), **{key: nonsense(chance) for key in keys}}).encode() + b"\n"


def batch(chance: random.Random) -> tuple[int, int]:
    """Requests sent over one connection, and answers that are JSON objects."""
    lines = [request(chance) for _number in range(BATCH)]
    end = chance.randrange(20)
    if end == 0:
        lines[-1] = b"x" * 70000 + b"\n"
    elif end == 1:
        lines[-1] = bytes(chance.randrange(256) for _number in range(300)) + b"\n"
    elif end == 2:
        lines[-1] = lines[-1][: len(lines[-1]) // 2]
    answers = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(60)
        sock.connect(SOCKET)
        pid = os.fork()
        if pid == 0:
            try:
                sock.sendall(b"".join(lines))
                sock.shutdown(socket.SHUT_WR)
            finally:
                os._exit(0)
        with sock.makefile("rb") as stream:
            for line in stream:
                answers += isinstance(json.loads(line), dict)
        os.waitpid(pid, 0)
    return len(lines), answers


def memory() -> tuple[str, int]:
    """Process id and resident KiB of the agent."""
    show = ["systemctl", "show", "o2agent", "--property=MainPID", "--value"]
    pid = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return pid, int(statm.read().split()[1]) * 4


def main() -> None:
    chance = random.Random(int(sys.argv[1]))
    wanted = int(sys.argv[2])
    batch(chance)
    pid, before = memory()
    asked = answered = 0
    while asked < wanted:
        sent, answers = batch(chance)
        asked, answered = asked + sent, answered + answers
    later, after = memory()
    print(json.dumps({"asked": asked, "answered": answered, "same": pid == later, "before": before, "after": after}))


if __name__ == "__main__":
    main()
