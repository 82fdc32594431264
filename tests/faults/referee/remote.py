# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A player on a node that is asked over one connection: a request costs milliseconds, not an ssh login."""

from __future__ import annotations

import json
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from faults.controller import wait_until
from lab import ssh
from lab.node import Node

CLOCK_TRIES = 40

SECONDS = 20.0
"""What an answer may take beyond the wait of its request."""


TAKES_A_LOCK = "o2ctl lock hold back --wait 5 && o2ctl lock release back"
"""Succeeds on a node that is back: online, with o2keep, and with nobody in recovery."""


def wait_for(node: Node, command: str, seconds: float) -> None:
    """Wait until the command succeeds on the node."""
    wait_until(
        lambda: node.run(command, timeout=60).ok, seconds, lambda: f"{node.name}: not within {seconds} s: {command}"
    )


def main_process(node: Node) -> str:
    """The number of o2keep's main process, 0 where there is none."""
    return node.run("systemctl show o2keep -p MainPID --value", timeout=30, check=True).stdout.strip()


class Remote:
    """The player of one node, or another program there that answers in the same way."""

    def __init__(self, node: Node, command: str = "python3 /root/player.py serve") -> None:
        self.node = node
        self._process = subprocess.Popen(
            ssh.command(node.lab, node.number, [command]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request of o2keep's protocol. Raises AssertionError when there is no answer in time."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        seconds = float(request.get("wait", 0)) + SECONDS
        assert select.select([self._process.stdout], [], [], seconds)[0], f"{self.node.name}: no answer to {request}"
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def clock(self) -> float:
        """Seconds by which this node's clock is ahead of this machine's. A node's stays as it was at its boot."""
        best, ahead = float("inf"), 0.0
        for _try in range(CLOCK_TRIES):
            before = time.time()
            now = float(self.ask(op="now")["now"])
            after = time.time()
            if after - before < best:
                best, ahead = after - before, now - (before + after) / 2
        return ahead

    def kill(self) -> None:
        """For a node that was killed: the connection does not end by itself."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextmanager
def remotes(nodes: Sequence[Node]) -> Iterator[list[Remote]]:
    """One on each node. Locks of their processes end with them."""
    with ExitStack() as stack:
        found = []
        for node in nodes:
            remote = Remote(node)
            stack.callback(remote.close)
            found.append(remote)
        yield found
