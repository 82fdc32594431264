# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a node, as root: calls the installed hook as libvirt does, with a stand-in for QEMU.

libvirt's order of calls, its arguments, its description on standard input and what it does on a refusal are those of
docs/hooks.rst and src/qemu/qemu_process.c (9.0.0). The stand-in has the command line of a QEMU that libvirt has
started, since that is how a machine is known to live. Every answer is one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

HOOK = "/etc/libvirt/hooks/qemu.d/ocfs2.o2cb"
ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
STAND_IN = "import time; time.sleep(100000)"


def description(uuid: str, name: str) -> str:
    return f"<domain type='qemu' id='1'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n</domain>\n"


def called(name: str, operation: str, sub: str) -> subprocess.Popen[str]:
    """The hook, which waits for the description of the machine."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [HOOK, name, operation, sub, "-"], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT
    )


def told(process: subprocess.Popen[str], xml: str) -> dict[str, Any]:
    begun = time.time()
    out, err = process.communicate(xml)
    return {"rc": process.returncode, "out": out, "err": err, "begun": begun, "seconds": time.time() - begun}


def hook(uuid: str, name: str, operation: str, sub: str, xml: str = "") -> dict[str, Any]:
    return told(called(name, operation, sub), xml or description(uuid, name))


def launch(uuid: str, name: str) -> int:
    words = [sys.executable, "-c", STAND_IN, "-name", "guest=" + name, "-uuid", uuid]
    null = subprocess.DEVNULL
    return subprocess.Popen(words, stdin=null, stdout=null, stderr=null, start_new_session=True).pid


def living(uuid: str) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if b"-uuid" in words and uuid.encode() in words:
            found.append(int(pid))
    return found


def start(uuid: str, name: str, xml: str = "") -> dict[str, Any]:
    """As libvirt starts a machine: where a call is refused, stopped and release follow."""
    return prepared(uuid, name, hook(uuid, name, "prepare", "begin", xml), xml)


def prepared(uuid: str, name: str, answer: dict[str, Any], xml: str = "") -> dict[str, Any]:
    """What follows the first call and its answer."""
    if answer["rc"] == 0:
        answer = {**hook(uuid, name, "start", "begin", xml), "begun": answer["begun"]}
    if answer["rc"]:
        hook(uuid, name, "stopped", "end")
        hook(uuid, name, "release", "end")
        return answer
    answer["pid"] = launch(uuid, name)
    answer["started"] = hook(uuid, name, "started", "begin")["rc"]
    return answer


def end(uuid: str, name: str) -> list[int]:
    """As libvirt ends one."""
    for pid in living(uuid):
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return [hook(uuid, name, operation, "end")["rc"] for operation in ("stopped", "release")]


def receive(uuid: str, name: str) -> dict[str, Any]:
    """As a destination of a live migration, until the machine is there and paused."""
    answer = hook(uuid, name, "migrate", "begin")
    return answer if answer["rc"] else start(uuid, name, answer["out"])


def race(prefix: str, rounds: str, begin: str, period: str) -> list[dict[str, Any]]:
    """Start a machine of its own in each round, at the same moment as the other nodes, and end it before the next.

    The hook has been started by then, and waits for its input: so it is the tries themselves that coincide, and not
    three starts of Python, which take their time.
    """
    found = []
    for number in range(int(rounds)):
        uuid, name = f"{prefix}{number + 1:012x}", f"race{number}"
        moment = float(begin) + number * float(period)
        waiting = called(name, "prepare", "begin")
        time.sleep(max(0.0, moment - time.time()))
        answer = prepared(uuid, name, told(waiting, description(uuid, name)))
        found.append({**answer, "round": number, "out": ""})
        time.sleep(max(0.0, moment + float(period) * 0.6 - time.time()))
        if answer["rc"] == 0:
            end(uuid, name)
    return found


VERBS: dict[str, Callable[..., Any]] = {
    verb.__name__: verb for verb in (hook, start, end, receive, race, launch, living)
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(VERBS[sys.argv[1]](*sys.argv[2:])) + "\n")
