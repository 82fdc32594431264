# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node does in tests/bench/bus. Runs there, with the installed program as its library; prints one JSON object.

ours SIZE SECONDS WINDOW          messages of SIZE bytes through this node's agent, WINDOW of them under way at a time:
                                  each counts when every member that is up has it
cpg SIZE SECONDS WINDOW GROUP     the same through corosync's group, without the bus: each counts when it comes back
                                  here, which says nothing of the others
member SECONDS GROUP              be a member of that group, and take what comes
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import deque

sys.path.insert(0, "/usr/local/lib/ocfs2.o2cb/o2cb.pyz")
from ocfs2_o2cb.o2cb.keeping import AGENT_SOCKET
from ocfs2_o2cb.transport import libcpg

ANSWER_SECONDS = 60.0
DISPATCHED = 64


def told(latencies: list[float], seconds: float) -> dict[str, float]:
    ordered = sorted(latencies)
    return {
        "rate": len(ordered) / seconds,
        "p50": 1000 * ordered[len(ordered) // 2],
        "p99": 1000 * ordered[int(len(ordered) * 0.99)],
    }


def ours(size: int, seconds: float, window: int) -> dict[str, float]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_SECONDS)
    sock.connect(AGENT_SOCKET)
    lines = sock.makefile("rb")
    request = json.dumps({"op": "send", "channel": "bench", "length": size}).encode() + b"\n" + bytes(size)
    begun: deque[float] = deque()
    latencies = []
    started = now = time.monotonic()
    while begun or now - started < seconds:
        while len(begun) < window and now - started < seconds:
            begun.append(time.monotonic())
            sock.sendall(request)
        answer = json.loads(lines.readline())
        now = time.monotonic()
        if "position" not in answer:
            raise SystemExit(answer["error"])
        latencies.append(now - begun.popleft())
    return told(latencies, now - started)


def cpg(size: int, seconds: float, window: int, group: str) -> dict[str, float]:
    connection = libcpg.connect(group)
    begun: deque[float] = deque()
    latencies = []
    data = bytes(size)
    started = now = time.monotonic()
    while begun or now - started < seconds:
        while len(begun) < window and now - started < seconds:
            moment = time.monotonic()
            if not connection.multicast(data):
                break
            begun.append(moment)
        select.select([connection.fileno()], [], [], 0.01)
        for happened in connection.dispatch(DISPATCHED):
            if isinstance(happened, libcpg.Delivered) and happened.sender == connection.me:
                latencies.append(time.monotonic() - begun.popleft())
        now = time.monotonic()
        if now - started > seconds + ANSWER_SECONDS:
            raise SystemExit("corosync does not deliver")
    connection.close()
    return told(latencies, now - started)


def member(seconds: float, group: str) -> dict[str, float]:
    connection = libcpg.connect(group)
    taken = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        select.select([connection.fileno()], [], [], 0.1)
        taken += sum(isinstance(happened, libcpg.Delivered) for happened in connection.dispatch(DISPATCHED))
    connection.close()
    return {"taken": taken}


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    if verb == "ours":
        found = ours(int(words[0]), float(words[1]), int(words[2]))
    elif verb == "cpg":
        found = cpg(int(words[0]), float(words[1]), int(words[2]), words[3])
    else:
        found = member(float(words[0]), words[1])
    print(json.dumps(found))
