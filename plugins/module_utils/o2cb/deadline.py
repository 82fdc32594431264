# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls into the kernel that may sleep for ever, made in a child process that can be left behind.

Reading a device whose path is gone, starting a heartbeat region and joining a domain all sleep, some of them
uninterruptibly. The parent waits until its deadline and then kills the child; one in state D stays until the kernel
lets go of it, and holds nothing that the parent needs: not its output either, for whose end a remote shell waits.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import time
from typing import Any, Callable, Sequence

from .errors import O2cbError

Progress = Callable[[str], None]
"""What a call uses to say what it is about to do. It costs nothing: the words stay in shared memory until asked for."""

_PROGRESS_BYTES = 512

Call = Callable[[Progress], Any]


class DeadlineExceeded(O2cbError):
    """The call did not come back in time; `progress` is the last thing it said it was doing."""

    def __init__(self, seconds: float, progress: str) -> None:
        super().__init__(f"{progress or 'the call'} did not come back within {seconds:g} s")
        self.progress = progress


class Child:
    """One call in a child process. Its result has to be JSON; an OSError keeps its errno.

    `kill` says whether it may be killed at the deadline, or is left to end by itself.
    """

    def __init__(self, function: Call, what: str, kill: bool = True) -> None:
        self._what = what
        self._kill = kill
        self._reaped = False
        progress = mmap.mmap(-1, _PROGRESS_BYTES)
        self._progress = progress
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            _run(function, progress, writer)
        os.close(writer)
        self._reader = reader

    def result(self, deadline: float) -> Any:
        """Wait until `deadline` (monotonic seconds). Raises DeadlineExceeded, OSError or O2cbError."""
        started = time.monotonic()
        answer = b""
        try:
            while True:
                wait = deadline - time.monotonic()
                if wait <= 0 or not select.select([self._reader], [], [], wait)[0]:
                    raise DeadlineExceeded(max(0.0, round(deadline - started, 1)), self._last_words())
                data = os.read(self._reader, 65536)
                answer += data
                if not data:
                    self._reap()
                    return self._outcome(answer)
        finally:
            self._end()

    def _last_words(self) -> str:
        return self._progress[:].split(b"\0")[0].decode(errors="replace") or self._what

    def _outcome(self, text: bytes) -> Any:
        if not text.endswith(b"\n"):
            raise O2cbError(f"{self._last_words()} ended without an answer: its process was killed")
        answer: dict[str, Any] = json.loads(text)
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]), answer.get("path"))
        if "error" in answer:
            raise O2cbError(answer["error"])
        return answer["result"]

    def _reap(self) -> None:
        """The end of its answer is the end of the child: nothing is left on which it could sleep."""
        os.waitpid(self.pid, 0)
        self._reaped = True

    def _end(self) -> None:
        """Kill a child that did not answer, and leave it to init.

        Waiting for one in state D would be the very thing to avoid.
        """
        os.close(self._reader)
        for _attempt in range(20):
            if self._reaped or os.waitpid(self.pid, os.WNOHANG)[0] or not self._kill:
                return
            os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)


def _run(function: Call, progress: mmap.mmap, writer: int) -> None:
    """The child's whole life. It never returns and never runs the parent's clean-up."""

    def tell(text: str) -> None:
        progress[:] = text.encode()[: _PROGRESS_BYTES - 1].ljust(_PROGRESS_BYTES, b"\0")

    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _let_go_of_output()
        try:
            answer: dict[str, Any] = {"result": function(tell)}
        except OSError as error:
            answer = {"errno": error.errno, "path": error.filename}
        except O2cbError as error:
            answer = {"error": str(error)}
        _write(writer, json.dumps(answer) + "\n")
        os._exit(0)
    finally:
        os._exit(1)


def _let_go_of_output() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _write(descriptor: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(descriptor, data) :]


def call(function: Call, seconds: float, what: str) -> Any:
    """Run `function(progress)` with a deadline, and return its result."""
    return Child(function, what).result(time.monotonic() + seconds)


def call_all(functions: Sequence[Call], seconds: float, what: Sequence[str], kill: bool = True) -> list[Any]:
    """Run several at the same time; the first error is raised after all have ended, or are left behind."""
    deadline = time.monotonic() + seconds
    children = [Child(function, text, kill) for function, text in zip(functions, what)]
    results: list[Any] = []
    first: Exception | None = None
    for child in children:
        try:
            results.append(child.result(deadline))
        except (OSError, O2cbError) as error:
            first = first or error
    if first:
        raise first
    return results
