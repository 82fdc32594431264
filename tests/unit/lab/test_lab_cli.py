# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, the table, and what is refused before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import cli, state, table
from lab.node import Report

HEALTHY = Report("node1", "10.22.0.11", "running", 42.0, "ok", True, {"hb1": "ok", "data": "ok"}, 1, "")
BROKEN = Report(
    "node2", "10.22.0.12", "running", 7505.0, "cut in", True, {"hb1": "hang", "data": "slow"}, 3, "fenced 1:02"
)
OFF = Report("node3", "10.22.0.13", "off", None, "ok", False, {}, 1, "")


def test_the_table_shows_what_is_wrong_and_lines_up():
    lines = table.render([HEALTHY, BROKEN, OFF]).splitlines()
    assert len(lines) == 4
    assert "data slow, hb1 hang" in lines[2]
    assert "cut in" in lines[2]
    assert lines[1].index("running") == lines[0].index("state") == lines[3].index("off")


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (59.9, "59s"), (61, "1m01s"), (7505, "2h05m")])
def test_durations_are_short(seconds: float | None, text: str):
    assert table.duration(seconds) == text


@pytest.mark.parametrize(
    "words", [["--name", "x", "status"], ["status", "--name", "x"], ["kill", "node1", "--name", "x"]]
)
def test_the_labs_name_may_stand_anywhere(words: list[str]):
    assert cli.parser().parse_args(words).name == "x"


def test_the_default_lab_is_called_lab():
    assert cli.parser().parse_args(["status"]).name == "lab"


def test_a_disk_fault_takes_nodes_then_mode_then_devices():
    options = cli.parser().parse_args(["disk", "node1", "node2", "hang", "--device", "hb1", "--device", "hb2"])
    assert (options.nodes, options.mode, options.device) == (["node1", "node2"], "hang", ["hb1", "hb2"])


def test_a_missing_lab_is_named_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(state, "STATE", tmp_path)
    assert cli.main(["inventory", "--name", "nix"]) == 1
    assert "bin/lab up --name nix" in capsys.readouterr().err
