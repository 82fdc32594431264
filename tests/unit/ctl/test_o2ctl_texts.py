# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What comes with o2ctl: a manual page that names all of it, and a completion that knows all of it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.ctl import commands
from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import zipapp

MAN_PAGE = Path(zipapp.LIBRARY, "ctl/o2ctl.8")
COMPLETION = Path(zipapp.LIBRARY, "ctl/o2ctl.bash")


def verbs(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Each command of o2ctl, in words, and its options."""
    below = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for name, child in (item for choices in below for item in choices.items()):
        yield from verbs(child, (*words, name))
    if not below:
        yield words, {option for action in parser._actions for option in action.option_strings}


VERBS = dict(verbs(commands._parser()))


def complete(directory: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words behind o2ctl."""
    script = f'. {COMPLETION}; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _o2ctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", "o2ctl", *words],
        env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.fixture
def holding(tmp_path: Path) -> Path:
    """A directory with an o2ctl that lists these locks."""
    names = {"maintenance": "node", "my lock": "node", "m$(touch evil)": "node", "mine": "process", "m\n": "node"}
    locks = {"locks": [{"name": name, "kind": kind} for name, kind in names.items()]}
    (tmp_path / "list").write_text(json.dumps(locks))
    (tmp_path / "o2ctl").write_text(f'#!/bin/sh\n[ "$*" = "lock list --json" ] && cat {tmp_path}/list\n')
    (tmp_path / "o2ctl").chmod(0o755)
    return tmp_path


def test_there_are_commands_to_compare_with():
    assert VERBS.keys() >= {("lock", "run"), ("lock", "release"), ("keep", "status")}
    assert VERBS["lock", "run"] >= {"--wait", "--mode", "--help"}


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_the_manual_page_names_each_command_and_each_option(words):
    text = MAN_PAGE.read_text().replace("\\-", "-")
    assert f'.SY "o2ctl {" ".join(words)}"' in text
    options = text[text.index(".SH OPTIONS") : text.index(".SH EXIT STATUS")]
    entries = " ".join(re.findall(r"^\.TP\n(.*)", options, re.MULTILINE))
    named = set(re.findall(r"(?<!\S)--?[a-z-]+", entries))
    assert named >= VERBS[words]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_completion_offers_each_command_and_each_option(words, tmp_path):
    for number, word in enumerate(words):
        assert word in complete(tmp_path, *words[:number], "")
    assert set(complete(tmp_path, *words, "-")) >= VERBS[words] - {"-h"}


@pytest.mark.parametrize("verb", ["release", "who"])
def test_completion_offers_the_node_locks_that_are_held(holding, verb):
    assert complete(holding, "lock", verb, "ma") == ["maintenance"]
    assert complete(holding, "lock", verb, "m") == ["maintenance", r"my\ lock", r"m\$\(touch\ evil\)"]
    assert complete(holding, "lock", verb, "maintenance", "--dom") == ["--domain"]
    assert not (holding / "evil").exists()


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A directory with an o2ctl that lists these machines."""
    machines = {"machines": [{"name": name} for name in ("web", "my web", "w$(touch evil)", "mail", "w\n")]}
    (tmp_path / "list").write_text(json.dumps(machines))
    (tmp_path / "o2ctl").write_text(f'#!/bin/sh\n[ "$*" = "vm list --json" ] && cat {tmp_path}/list\n')
    (tmp_path / "o2ctl").chmod(0o755)
    return tmp_path


def test_completion_offers_the_machines_of_this_node(running):
    assert complete(running, "vm", "release", "w") == ["web", r"w\$\(touch\ evil\)"]
    assert complete(running, "vm", "list", "web", "m") == [r"my\ web", "mail"]
    assert complete(running, "vm", "check", "w") == [""]
    assert not (running / "evil").exists()


def test_completion_offers_the_resources(tmp_path):
    listed = {"resources": [{"name": name} for name in ("web", "mail")]}
    (tmp_path / "list").write_text(json.dumps(listed))
    (tmp_path / "o2ctl").write_text(f'#!/bin/sh\n[ "$*" = "resource list --json" ] && cat {tmp_path}/list\n')
    (tmp_path / "o2ctl").chmod(0o755)
    assert complete(tmp_path, "resource", "move", "w") == ["web"]
    assert complete(tmp_path, "resource", "clear", "") == ["web", "mail"]


def test_completion_offers_the_nodes(tmp_path):
    listed = {"members": [{"name": name} for name in ("node1", "node2", None)]}
    (tmp_path / "list").write_text(json.dumps(listed))
    (tmp_path / "o2ctl").write_text(f'#!/bin/sh\n[ "$*" = "members --json" ] && cat {tmp_path}/list\n')
    (tmp_path / "o2ctl").chmod(0o755)
    assert complete(tmp_path, "send", "deploy", "--to", "") == ["node1", "node2"]
    assert complete(tmp_path, "ask", "--to", "node2") == ["node2"]
    assert complete(tmp_path, "resource", "move", "web", "n") == ["node1", "node2"]
    assert complete(tmp_path, "send", "deploy", "n") == [""]


def test_completion_is_silent_where_o2keep_is(tmp_path):
    assert complete(tmp_path, "lock", "release", "") == [""]


def test_completion_offers_modes_and_no_values_of_free_options(tmp_path):
    assert complete(tmp_path, "lock", "hold", "name", "--mode", "P") == ["PR", "PW"]
    assert complete(tmp_path, "lock", "hold", "name", "--owner", "") == [""]


def test_completion_offers_programs_behind_the_dashes(tmp_path):
    assert "true" in complete(tmp_path, "lock", "run", "name", "--", "tru")
    assert "true" in complete(tmp_path, "answer", "deploy", "--", "tru")


@pytest.mark.skipif(not (shutil.which("groff") and shutil.which("tbl")), reason="groff is not installed")
def test_groff_finds_no_fault_in_the_manual_page(tmp_path):
    def faults(page: Path) -> str:
        command = ["groff", "-t", "-man", "-ww", "-Tutf8", str(page)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    assert faults(MAN_PAGE) == ""
    bad = tmp_path / "bad.8"
    bad.write_text(MAN_PAGE.read_text() + ".NOSUCHMACRO\n")
    assert "NOSUCHMACRO" in faults(bad), "it would have found one"
