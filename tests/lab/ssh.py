# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reach a node: the key, ssh's options, commands with a deadline, and waiting until ssh answers.

There is no connection sharing here: a master connection to a dead node hangs every later call.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import network, state

KEY = state.CACHE / "ssh" / "id_ed25519"
UNREACHABLE = 255
"""Exit status of ssh itself."""


@dataclass(frozen=True)
class Result:
    """What a command on a node did. `rc` is 255 when ssh did not get through and 124 when the deadline passed."""

    rc: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.rc == 0


def ensure_key() -> str:
    """Public half of the labs' root key, which is made once per cache."""
    public = KEY.with_suffix(".pub")
    with state.locked(state.CACHE / "ssh.lock", "the ssh key is being made"):
        if not KEY.exists() or not public.exists():
            KEY.parent.mkdir(parents=True, exist_ok=True)
            KEY.unlink(missing_ok=True)
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "o2cb-lab", "-f", str(KEY)]
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
    return public.read_text().strip()


def proxy_command(lab: str) -> str:
    """How ssh gets into the lab's namespace."""
    return " ".join(network.enter(lab, ["nc", "%h", "%p"]))


def options(lab: str) -> list[str]:
    """ssh options that every connection to a node needs, Ansible's too."""
    return [
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
        *("-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
        *("-o", f"ProxyCommand={proxy_command(lab)}"),
    ]


def command(lab: str, number: int, words: Sequence[str] = (), batch: bool = True) -> list[str]:
    """The ssh call; `words` are joined by blanks and run by the node's shell, as ssh always does."""
    mode = ["-o", "BatchMode=yes"] if batch else []
    own = ["-F", "/dev/null", "-i", str(KEY), "-o", "ControlPath=none", *mode]
    return ["ssh", *own, *options(lab), f"root@{network.address(number)}", *words]


def run(lab: str, number: int, script: str, timeout: float, stdin: str | None = None) -> Result:
    """Run a shell command on a node, for at most `timeout` seconds."""
    call = command(lab, number, [script])
    try:
        done = subprocess.run(call, capture_output=True, check=False, timeout=timeout, input=(stdin or "").encode())
    except subprocess.TimeoutExpired as expired:
        out, error = ((text or b"").decode(errors="replace") for text in (expired.stdout, expired.stderr))
        return Result(124, out, f"{error}no answer within {timeout:g} s")
    return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def port_open(lab: str, number: int) -> bool:
    """Does the node's sshd accept connections?"""
    probe = network.enter(lab, ["nc", "-z", "-w", "1", network.address(number), "22"])
    try:
        return (
            subprocess.run(probe, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=5).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False


def answers(lab: str, number: int) -> bool:
    """Does a command run on the node? The port first: a connection to a booting node costs it far more than a probe."""
    return port_open(lab, number) and run(lab, number, "true", timeout=15).ok


def quote(words: Sequence[str]) -> str:
    """Words as one shell command."""
    return shlex.join(words)


def close_shared(directory: Path) -> None:
    """End the connections that Ansible keeps open in this directory; they would outlive the nodes by a minute."""
    for socket in directory.glob("*"):
        end = ["ssh", "-F", "/dev/null", "-O", "exit", "-o", f"ControlPath={socket}", "node"]
        subprocess.run(end, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=10)


def tail(log: Path, lines: int = 15) -> str:
    """End of a console log, indented, for an error message."""
    try:
        text = log.read_bytes()[-20000:].decode(errors="replace").splitlines()
    except FileNotFoundError:
        return f"  ({log} does not exist)"
    return "\n".join(f"  | {line}" for line in text[-lines:])
