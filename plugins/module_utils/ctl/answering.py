# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2ctl answer: a command answers the questions of a channel.

Theory of operation. One question after the other: while the command runs for one, the next ones wait with the agent,
which ends the stream when they get too many. The question is the command's standard input, as a file in memory, so
nobody has to feed it. Its output is read up to the size of the largest answer. A command that fails, or runs into its
deadline, gives no answer, so that the one who asked is told so; with --report every one is answered with a report.

A signal that asks it to end lets the command that runs come to its end, and its answer be sent. A second one does not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Iterator, NamedTuple, Sequence

from ..base.errors import O2cbError
from .output import in_json

USAGE, NOT_RUN, NOT_FOUND = 64, 126, 127
KILL_SECONDS = 2.0
TURN_SECONDS = 0.1
READ_BYTES = 1 << 18


class Done(NamedTuple):
    """What became of a command. `why` says what is wrong with it, or is empty; `code` is None where it has none."""

    code: int | None
    output: bytes
    why: str


class Ending:
    """Whether this program was asked to end. A descriptor can be waited for, and `now` is for the impatient."""

    def __init__(self) -> None:
        self.asked = self.now = False
        self.wakes, self._wake = socket.socketpair()
        self._wake.setblocking(False)

    def asks(self, *_signal: object) -> None:
        self.now = self.asked
        self.asked = True

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT as long as this lasts."""
        before = {number: signal.signal(number, self.asks) for number in (signal.SIGTERM, signal.SIGINT)}
        descriptor = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(options: argparse.Namespace) -> int:
    """Until the signal, or so many questions. Raises O2cbError when the agent ends, or lets this reader go."""
    from ..client.agent import Client

    command: list[str] = options.command
    if not command:
        sys.stderr.write("o2ctl: give a command after --\n")
        return USAGE
    if shutil.which(command[0]) is None:
        exists = os.path.exists(command[0])
        sys.stderr.write(f"o2ctl: {command[0]}: {'cannot be run' if exists else 'there is no such program'}\n")
        return NOT_RUN if exists else NOT_FOUND
    ending, left = Ending(), options.count
    with ending.heard(), Client() as client:
        listening = client.listen([options.channel])
        while left is None or left > 0:
            event = _next(listening, ending)
            if event is None:
                break
            if "error" in event.facts:
                raise O2cbError(str(event.facts["error"]))
            if event.question:
                done = run(command, event.data, _variables(event.facts), options.seconds, ending)
                _tell(options, event, done, _reply(options, event, done))
                left = None if left is None else left - 1
    return 0


def _next(listening: Any, ending: Ending) -> Any:
    """The next message, or None when this program is to end."""
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(ending.wakes, selectors.EVENT_READ)
        while not ending.asked:
            event = listening.ready()
            if event is not None:
                return event
            if any(key.fileobj is listening for key, _mask in selector.select()):
                listening.receive()
    return None


def _variables(facts: dict[str, Any]) -> dict[str, str]:
    return {
        "O2_CHANNEL": str(facts["channel"]),
        "O2_NODE": str(facts["node"]),
        "O2_POSITION": str(facts["position"]),
    }


def run(command: Sequence[str], data: bytes, more: dict[str, str], seconds: float, ending: Ending) -> Done:
    """Run the command for one question, in a session of its own, so that it ends with all it has started."""
    from ..bus.pieces import LARGEST

    with open(os.memfd_create("question"), "w+b") as question:
        question.write(data)
        question.seek(0)
        try:
            process = subprocess.Popen(
                list(command),
                stdin=question,
                stdout=subprocess.PIPE,
                env={**os.environ, **more},
                start_new_session=True,
            )
        except OSError as error:
            return Done(None, b"", f"cannot be run: {error.strerror}")
    output, why = bytearray(), ""
    deadline = time.monotonic() + seconds
    pipe: Any = process.stdout
    os.set_blocking(pipe.fileno(), False)
    try:
        while not why:
            ended = process.poll() is not None
            while _read_some(pipe, output) and len(output) <= LARGEST:
                pass
            if len(output) > LARGEST:
                why = f"printed more than {LARGEST} bytes"
            elif ended:
                break
            elif time.monotonic() > deadline:
                why = f"had not ended after {seconds:g} s"
            elif ending.now:
                why = "was ended by a signal"
            else:
                _wait(pipe, min(TURN_SECONDS, max(deadline - time.monotonic(), 0.0)))
    finally:
        pipe.close()
        code = process.poll()
        if code is None:
            _end(process)
    if not why and code:
        why = f"ended by signal {-code}" if code < 0 else f"ended with {code}"
    return Done(code, bytes(output), why)


def _read_some(pipe: Any, output: bytearray) -> bool:
    """Whether there was something to read."""
    try:
        data = os.read(pipe.fileno(), READ_BYTES)
    except BlockingIOError:
        return False
    output += data
    return bool(data)


def _wait(pipe: Any, seconds: float) -> None:
    """For output, or a moment: a pipe at its end is always ready, while its process may still live."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        if selector.select(seconds):
            time.sleep(min(0.005, seconds))


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_SECONDS)


def _reply(options: argparse.Namespace, event: Any, done: Done) -> str:
    """Send the answer, if there is to be one. Why none went out, or an empty text."""
    from ..client.agent import Client

    if options.report:
        data = json.dumps({"code": done.code, "output": in_json(done.output), "error": done.why}).encode()
    elif done.why:
        return done.why
    else:
        data = done.output
    try:
        with Client() as client:
            client.answer(options.channel, event.question, data)
    except O2cbError as error:
        return str(error)
    return ""


def _tell(options: argparse.Namespace, event: Any, done: Done, unsent: str) -> None:
    facts = event.facts
    told = {"position": facts["position"], "node": facts["node"], "code": done.code, "bytes": len(done.output)}
    if options.json:
        sys.stdout.write(json.dumps({**told, "error": done.why or unsent}) + "\n")
    elif not unsent:
        sys.stdout.write(f"{facts['position']}  {event.name}: answered with {len(done.output)} bytes\n")
    sys.stdout.flush()
    if unsent:
        sys.stderr.write(f"o2ctl: {facts['position']}  {event.name}: no answer: {unsent}\n")
