# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command that bin/test runs can be followed, and cannot hold it up once it is over."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from suite import stream


def run(program: str) -> int:
    return stream.run([sys.executable, "-c", program], Path("/"), dict(os.environ))


@pytest.mark.parametrize("code", [0, 3])
def test_output_and_exit_code_are_passed_on(code: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(f"print('one'); raise SystemExit({code})") == code
    assert capfd.readouterr().out == "one\n"


def test_a_long_silence_is_broken_by_a_note(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(stream, "SILENCE", 0.1)
    monkeypatch.setattr(stream, "POLL", 0.05)
    assert run("import time; time.sleep(0.4)") == 0
    assert "… 0 s: " in capfd.readouterr().out


def test_a_daemon_that_keeps_the_pipe_open_does_not_hold_the_step_up() -> None:
    started = time.monotonic()
    assert run("import subprocess; subprocess.Popen(['sleep', '5'])") == 0
    assert time.monotonic() - started < 4


def test_a_command_gets_no_input() -> None:
    assert run("import sys; raise SystemExit(len(sys.stdin.read()))") == 0
