# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One call of cluster_info against one of ansible.builtin.ping: same run, same hosts, turn by turn.

Both are tasks of one playbook on warm connections, so what differs is the module alone. The time of a call is the time
until a host's result is there. Each call of the one is divided by the call of the other before it on the same host, and
the median of these counts: whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PING = "ansible.builtin.ping"
INFO = "ocfs2.o2cb.cluster_info"
TARGET = 1.3
CALLBACKS = Path(__file__).parent / "callback"


def playbook(module: str, arguments: Sequence[Mapping[str, object]], times: int) -> str:
    """The pair of tasks, `times` times, after one of each that warms connections and caches."""
    tasks = []
    for turn in range(times + 1):
        what = "warm up" if turn == 0 else ""
        tasks.append({"name": what or PING, PING: {}})
        tasks.append({"name": what or module, module: arguments[turn % len(arguments)]})
    return json.dumps([{"hosts": "nodes", "gather_facts": False, "tasks": tasks}])


def measure_pair(
    module: str, arguments: Sequence[Mapping[str, object]], times: int, command: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Seconds of each call, by module, in the order of hosts and turns; `arguments` are taken in turn.

    Raises SystemExit when a call fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        book = Path(directory, "task.yml")
        book.write_text(playbook(module, arguments, times))
        environment = {
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_STDOUT_CALLBACK": "task_seconds",
        }
        done = subprocess.run(
            [*command, "ansible-playbook", str(book)], env=environment, capture_output=True, text=True, check=False
        )
    calls = [json.loads(line) for line in done.stdout.splitlines()]
    for call in calls:
        if not call["ok"]:
            raise SystemExit(f"{call['task']} failed on {call['host']}: {call['msg']}")
    calls.sort(key=lambda call: call["host"])
    seconds = {name: [call["seconds"] for call in calls if call["task"] == name] for name in (PING, module)}
    if done.returncode or not seconds[module]:
        raise SystemExit(f"ansible-playbook ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="calls of each module (default: %(default)s)")
    parser.add_argument("--module", default=INFO, help="what to measure (default: %(default)s)")
    options = parser.parse_args()
    seconds = measure_pair(options.module, [{}], options.times)
    ping, info = (statistics.median(seconds[name]) for name in (PING, options.module))
    ratio = statistics.median(mine / other for mine, other in zip(seconds[options.module], seconds[PING], strict=True))
    print(
        f"{options.module} {info * 1000:.0f} ms, {PING} {ping * 1000:.0f} ms: {ratio:.2f} x "
        f"(target {TARGET} x; medians of {len(seconds[PING])} calls each)"
    )
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
