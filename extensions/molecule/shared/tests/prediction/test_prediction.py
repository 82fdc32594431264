# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run in check mode, the run that followed it, and the second run: what each changed on each host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def runs() -> list[dict[str, Any]]:
    """The runs since the hosts were virgin."""
    record = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "changes.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in record]
    newest = max(number for number, run in enumerate(found) if run["playbook"] == "virgin.yml")
    return [run for run in found[newest:] if run["playbook"] not in ("virgin.yml", "unchanged.yml")]


def test_check_mode_predicts_what_changes_on_each_host(runs: list[dict[str, Any]]) -> None:
    check, run = runs[:2]
    assert (check["check"], run["check"]) == (True, False)
    assert all(check["changed"].values())
    assert check["changed"] == run["changed"]


def test_the_second_run_changes_nothing(runs: list[dict[str, Any]]) -> None:
    assert list(runs[2]["changed"].values()) == [[], [], []]
