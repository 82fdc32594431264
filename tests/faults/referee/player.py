# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node does in a test of locks. Runs on the node, with the installed program as its library.

    race N PREFIX START         from this time on (seconds of the epoch) try N locks, a new one every 0.2 s, each until
                                the answer is known; print the numbers of those that were got
    count TIMES OFFSET          under a process lock, read a counter from the shared disk, add one, write it back
    load SECONDS OFFSET         the same for so long, also where o2keep is started anew meanwhile
    release PREFIX              release this node's locks whose names begin so
    fresh TIMES PREFIX          acquire and release so many locks of which nobody has ever heard; print what it took
    verdict OFFSET              print the counter and the number of times a token fell
    serve                       answer requests, one JSON object a line: those of o2keep, with `as`, a name for the
                                descriptors of a process lock, and {"op": "drop", "as": NAME}, which closes them;
                                {"op": "spawn", "name": LOCK}: a shell and its child under `o2ctl lock run`;
                                {"op": "kill", "whom": "shell" or "group"}: as SIGKILL does; {"op": "block", "name":
                                FILE}: a blocking open by a foreign program, {"op": "blocks"}: whether it still waits;
                                {"op": "now"}: the time by this node's clock

The counter stands on /dev/mapper/data, in one block, with the largest token of all writers and how often one was not
larger than the one before. Everything is read and written past the page cache.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time

PROGRAM = "/usr/local/lib/ocfs2.o2cb/o2cb.pyz"
DISK = "/dev/mapper/data"
BLOCK = struct.Struct("<QQQ")

sys.path.insert(0, PROGRAM)
from ocfs2_o2cb.base.errors import O2cbError  # noqa: E402
from ocfs2_o2cb.client.keep import Client  # noqa: E402


def take(name: str, kind: str, wait: float) -> tuple[dict[str, object], list[int]]:
    answer: tuple[dict[str, object], list[int]] = Client().ask(
        {"op": "take", "name": name, "kind": kind, "wait": wait, "owner": f"pid {os.getpid()}"}, wait
    )
    return answer


def race(rounds: int, prefix: str, start: float) -> None:
    got, other = [], []
    for number in range(rounds):
        time.sleep(max(0.0, start + number * 0.2 - time.time()))
        for _attempt in range(20):
            answer, _descriptors = take(f"{prefix}{number}", "node", 0)
            if answer["held"] or answer["reason"] != "unknown":
                break
        if answer["held"]:
            got.append(number)
        elif answer["reason"] != "busy":
            other.append(answer["reason"])
    print(json.dumps({"got": got, "other": other}))


def release(prefix: str) -> None:
    names = [lock["name"] for lock in Client().locks() if lock["name"].startswith(prefix)]
    for name in names:
        Client().ask({"op": "release", "name": name}, 10)
    print(json.dumps({"released": len(names)}))


def fresh(times: int, prefix: str) -> None:
    """Milliseconds from the request to the answer, and the largest token."""
    client, took, token = Client(), [], 0
    for number in range(times):
        began = time.perf_counter()
        answer, _descriptors = client.ask({"op": "take", "name": f"{prefix}{number}", "kind": "node", "wait": 5}, 5)
        took.append((time.perf_counter() - began) * 1000)
        if not answer.get("held"):
            raise O2cbError(f"take {number}: {answer}")
        token = max(token, answer["token"])
        client.ask({"op": "release", "name": f"{prefix}{number}"}, 10)
    took.sort()
    found = {"p50": took[times // 2], "p99": took[min(times - 1, times * 99 // 100)], "most": took[-1]}
    print(json.dumps({**{key: round(value, 2) for key, value in found.items()}, "token": token}))


def block(offset: int) -> tuple[int, mmap.mmap]:
    return os.open(DISK, os.O_RDWR | os.O_DIRECT | os.O_DSYNC), mmap.mmap(-1, 4096)


def add_one(disk: int, buffer: mmap.mmap, offset: int) -> dict[str, object] | None:
    """Under the lock; the answer of o2keep where it is refused."""
    answer, descriptors = take(f"counter{offset}", "process", 120)
    if not answer["held"]:
        return answer
    token = int(str(answer["token"]))
    os.preadv(disk, [buffer], offset)
    value, largest, falls = BLOCK.unpack_from(buffer)
    time.sleep(random.uniform(0, 0.002))
    BLOCK.pack_into(buffer, 0, value + 1, max(token, largest), falls + (token <= largest))
    os.pwritev(disk, [buffer], offset)
    for descriptor in descriptors:
        os.close(descriptor)
    return None


def count(times: int, offset: int) -> None:
    disk, buffer = block(offset)
    for done in range(times):
        refused = add_one(disk, buffer, offset)
        if refused:
            print(json.dumps({"done": done, "refused": refused}))
            return
    print(json.dumps({"done": times}))


def load(seconds: float, offset: int) -> None:
    """A request that an ending o2keep has not answered is asked anew: what it may have won went with its connection."""
    disk, buffer = block(offset)
    done = unanswered = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            refused = add_one(disk, buffer, offset)
        except O2cbError:
            unanswered += 1
            time.sleep(0.1)
            continue
        if refused:
            print(json.dumps({"done": done, "unanswered": unanswered, "refused": refused}))
            return
        done += 1
    print(json.dumps({"done": done, "unanswered": unanswered}))


def verdict(offset: int) -> None:
    disk, buffer = block(offset)
    os.preadv(disk, [buffer], offset)
    value, _largest, falls = BLOCK.unpack_from(buffer)
    print(json.dumps({"value": value, "falls": falls}))


def spawn(name: str) -> subprocess.Popen[str]:
    """A shell with a child, both in one new process group, which have the lock when this returns."""
    command = ["o2ctl", "lock", "run", name, "--wait", "5", "--", "sh", "-c", "sleep 1000 & echo has it; wait"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    if not process.stdout or process.stdout.readline() != "has it\n":
        raise O2cbError(f"o2ctl lock run {name} ended with {process.wait()}")
    return process


def serve() -> None:
    kept: dict[str, list[int]] = {}
    spawned: list[subprocess.Popen[str]] = []
    blocked: list[subprocess.Popen[str]] = []
    for line in sys.stdin:
        request = json.loads(line)
        owner = request.pop("as", "")
        if request["op"] == "spawn":
            spawned.append(spawn(request["name"]))
            answer: dict[str, object] = {"pid": spawned[-1].pid}
        elif request["op"] == "kill":
            kill = os.killpg if request["whom"] == "group" else os.kill
            kill(spawned[-1].pid, signal.SIGKILL)
            answer = {}
        elif request["op"] == "block":
            blocked.append(subprocess.Popen([sys.executable, "/root/foreign.py", "wait", request["name"]], text=True))
            answer = {}
        elif request["op"] == "blocks":
            answer = {"blocks": blocked[-1].poll() is None, "code": blocked[-1].poll()}
        elif request["op"] == "now":
            answer = {"now": time.time()}
        elif request["op"] == "drop":
            for descriptor in kept.pop(owner, []):
                os.close(descriptor)
            answer = {}
        else:
            try:
                answer, descriptors = Client().ask(request, request.get("wait", 10))
                kept.setdefault(owner, []).extend(descriptors)
            except O2cbError as error:
                answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    verb, first, *rest = [*sys.argv[1:], ""]
    if verb == "serve":
        serve()
    elif verb == "race":
        race(int(first), rest[0], float(rest[1]))
    elif verb == "release":
        release(first)
    elif verb == "count":
        count(int(first), int(rest[0]))
    elif verb == "fresh":
        fresh(int(first), rest[0])
    elif verb == "load":
        load(float(first), int(rest[0]))
    else:
        verdict(int(first))
