# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls into the kernel that may sleep for ever and must not be broken off, made in a child process of their own.

Starting a heartbeat region is one: the kernel wants a descriptor of the process that asks, and keeps it asleep until
the region is steady. The parent waits until its deadline and then leaves the child behind, to end by itself; it holds
nothing that the parent needs: not its output either, for whose end a remote shell waits.

What a program can do, a program does (`programs`, `direct`): a fork costs this process more than starting one.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any, Callable, Sequence

from .errors import DeadlineExceeded, O2cbError

Call = Callable[[], None]


class Child:
    """One call in a child process. An OSError keeps its errno."""

    def __init__(self, function: Call, what: str) -> None:
        self._what = what
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            _run(function, writer)
        os.close(writer)
        self._reader = reader

    def wait(self, deadline: float, seconds: float) -> None:
        """Wait until `deadline` (monotonic), `seconds` in all. Raises DeadlineExceeded, OSError or O2cbError."""
        answer = b""
        try:
            while True:
                # A child that has answered by then has, however long its elder siblings were waited for.
                wait = max(0.0, deadline - time.monotonic())
                if not select.select([self._reader], [], [], wait)[0]:
                    raise DeadlineExceeded(self._what, seconds)
                data = os.read(self._reader, 65536)
                answer += data
                if not data:
                    # The end of its answer is the end of the child: nothing is left on which it could sleep.
                    os.waitpid(self.pid, 0)
                    return self._conclude(answer)
        finally:
            os.close(self._reader)

    def _conclude(self, text: bytes) -> None:
        if not text.endswith(b"\n"):
            raise O2cbError(f"{self._what} ended without an answer: its process was killed")
        answer: dict[str, Any] = json.loads(text)
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]), answer.get("path"))
        if "error" in answer:
            raise O2cbError(answer["error"])


def _run(function: Call, writer: int) -> None:
    """The child's whole life. It never returns and never runs the parent's clean-up."""
    try:
        _let_go_of_output()
        answer: dict[str, Any] = {}
        try:
            function()
        except OSError as error:
            answer = {"errno": error.errno, "path": error.filename}
        except O2cbError as error:
            answer = {"error": str(error)}
        os.write(writer, (json.dumps(answer) + "\n").encode())
        os._exit(0)
    finally:
        os._exit(1)


def _let_go_of_output() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def call_all(functions: Sequence[Call], seconds: float, what: Sequence[str]) -> None:
    """Make several calls at the same time; the first error is raised after all have ended, or are left behind."""
    deadline = time.monotonic() + seconds
    children = [Child(function, text) for function, text in zip(functions, what)]
    first: Exception | None = None
    for child in children:
        try:
            child.wait(deadline, seconds)
        except (OSError, O2cbError) as error:
            first = first or error
    if first:
        raise first
