# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of all scenarios share: the lab, Ansible as its administrator uses it, and a state to compare with."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.controller import Controller, wait_until
from lab import Lab, Node

SNAPSHOT = (Path(__file__).parent / "shared/snapshot.sh").read_text()
JOURNAL = "systemctl --no-pager status o2cb dlm.mount; journalctl --no-pager -b -n 40 -u o2cb -u o2keep; dmesg | tail"


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab(os.environ.get("O2CB_LAB", "test"))


@pytest.fixture(scope="session")
def nodes(lab: Lab) -> list[Node]:
    return lab.nodes()


@pytest.fixture(scope="session")
def controller(lab: Lab) -> Controller:
    return Controller(lab)


@pytest.fixture
def untouched(lab: Lab) -> Callable[..., AbstractContextManager[None]]:
    """No host may change while this context lasts. `disks=False` leaves out disks on which nodes beat."""

    def snapshot(disks: bool) -> dict[str, list[str]]:
        states = lab.each(lambda node: node.run(SNAPSHOT).stdout.splitlines())
        kept = [[line for line in state if disks or not line.startswith("disk ")] for state in states]
        return dict(zip([node.name for node in lab.nodes()], kept, strict=True))

    @contextmanager
    def unchanged(disks: bool = True) -> Iterator[None]:
        before = snapshot(disks)
        yield
        assert snapshot(disks) == before

    return unchanged


@pytest.fixture
def comes_online() -> Callable[[Node], None]:
    """Wait until a node is a member again, without any help, and dlmfs is mounted."""

    def wait(node: Node, seconds: float = 120) -> None:
        wait_until(
            lambda: node.run("mountpoint -q /dlm && o2cb cluster-status", timeout=10).ok,
            seconds,
            lambda: f"{node.name} is not online after {seconds:g} s",
        )

    return wait


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Where a test fails, show what the nodes say."""
    report = yield
    if report.failed:
        lab = Lab(os.environ.get("O2CB_LAB", "test"))
        for node, said in zip(lab.nodes(), lab.each(lambda node: node.run(JOURNAL, timeout=20)), strict=True):
            report.sections.append((f"o2cb on {node.name}", said.stdout))
    return report
