# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock manager does its work between nodes, for a program that knows nothing of this collection."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import Node, ssh

DOMAIN = "/dlm/molecule"
HOLD = f"import os; os.open('{DOMAIN}/lock', os.O_CREAT | os.O_RDWR); print('held', flush=True); input()"
TRY = f"import os; os.open('{DOMAIN}/lock', os.O_CREAT | os.O_RDWR | os.O_NONBLOCK)"


@pytest.fixture
def domain(nodes: list[Node]) -> Iterator[None]:
    for node in nodes:
        node.run(f"mkdir {DOMAIN}", check=True)
    yield
    for node in nodes:
        node.run(f"rm -f {DOMAIN}/lock && rmdir {DOMAIN}", check=True)


@contextmanager
def holder(node: Node) -> Iterator[subprocess.Popen[str]]:
    """A program on the node that takes the lock, says so, and holds it until its input ends."""
    call = ssh.command(node.lab, node.number, [f'python3 -c "{HOLD}"'])
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def test_a_lock_is_exclusive_between_nodes(nodes: list[Node], domain: None) -> None:
    with holder(nodes[0]) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        refused = nodes[1].run(f'python3 -c "{TRY}"')
        assert "[Errno 26] Text file busy" in refused.stderr
        with holder(nodes[2]) as second:
            assert second.stdout is not None
            refused = nodes[1].run(f'python3 -c "{TRY}"')
            assert "[Errno 26] Text file busy" in refused.stderr
            assert first.poll() is None
            first.communicate("\n", timeout=20)
            assert second.stdout.readline() == "held\n"
            second.communicate("\n", timeout=20)
