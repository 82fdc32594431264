# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What site.yml takes on virgin nodes and again, one line for each number of nodes.

Each size is a lab of its own, taken down afterwards. Packages are installed by a run of their own first (`--tags
install`), since a real site's mirror would be measured otherwise; its time is printed beside. The peer in the same run
is as many calls of ansible.builtin.ping as the second run has tasks for the nodes: what Ansible itself costs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lab import Lab

ROOT = Path(__file__).parents[2]
SIZES = (1, 3, 5, 8)
FIRST_TARGET, SECOND_TARGET = 90, 15
TARGET_SIZE = 3
DEADLINE = 1200

_RECAP = re.compile(
    r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+skipped=(\d+)", re.MULTILINE
)


@dataclass(frozen=True)
class Run:
    """One run: seconds, and per host at most so many tasks that ran and that changed something."""

    seconds: float
    tasks: int
    changed: int


def play(lab: str, *words: str) -> Run:
    """Run a command of Ansible on the lab. Raises SystemExit with its end when it fails."""
    started = time.monotonic()
    done = subprocess.run(
        [str(ROOT / "bin/lab"), "exec", "--name", lab, "--", *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    hosts = [[int(number) for number in found[1:]] for found in _RECAP.findall(done.stdout)]
    return Run(
        time.monotonic() - started,
        max((ok for ok, *_rest in hosts), default=0),
        max((host[1] for host in hosts), default=0),
    )


def measure(size: int) -> tuple[str, bool]:
    """The line of one size, and whether it meets the targets, which are for three nodes."""
    name = f"bench{size}"
    lab = Lab(name)
    lab.up(nodes=size, fresh=True)
    try:
        site = ("ansible-playbook", "ocfs2.o2cb.site")
        install = play(name, *site, "--tags", "install")
        first = play(name, *site)
        second = play(name, *site)
        started = time.monotonic()
        pings = "\n".join(["- hosts: nodes", "  gather_facts: false", "  tasks:", *["    - ping:"] * second.tasks])
        book = Path(os.environ.get("TMPDIR", "/tmp"), f"{name}-pings.yml")
        book.write_text(pings + "\n", encoding="utf-8")
        play(name, "ansible-playbook", str(book))
        peer = time.monotonic() - started
        book.unlink()
    finally:
        lab.down()
    sound = second.changed == 0 and (
        size != TARGET_SIZE or (first.seconds <= FIRST_TARGET and second.seconds <= SECOND_TARGET)
    )
    line = (
        f"{size} node(s): packages {install.seconds:.0f} s; first run {first.seconds:.0f} s, {first.tasks} tasks, "
        f"{first.changed} changed; second run {second.seconds:.1f} s, {second.tasks} tasks, {second.changed} changed, "
        f"{second.seconds / peer:.1f} x as many pings ({peer:.1f} s)"
    )
    return line, sound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES), help="numbers of nodes (default: 1 3 5 8)")
    sound = True
    for size in parser.parse_args().sizes:
        line, good = measure(size)
        print(line, flush=True)
        sound = sound and good
    print(f"targets for {TARGET_SIZE} nodes: first run {FIRST_TARGET} s, second run {SECOND_TARGET} s and changed=0")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
