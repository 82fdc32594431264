# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs at events: which are run, what they are told, and that none of them holds up anything."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import hooks
from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent.hooks import Hooks
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import journal

DOWN = {"event": "node_down", "node": 2, "name": "node2", "incarnation": 17, "position": 40}
QUORUM = {"event": "quorum", "quorate": False}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to the journal; the programs' own output is thrown away."""
    lines: list[str] = []
    monkeypatch.setattr(journal, "write", lambda text, *_more, **_fields: lines.append(text))
    monkeypatch.setattr(hooks, "JOURNAL_STREAM", "/nonexistent")
    return lines


def program(path: Path, *lines: str) -> str:
    """A shell program."""
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def with_programs(*paths: str, seconds: float = 20.0) -> Hooks:
    def listed() -> Iterator[tuple[str, str]]:
        yield from ((path, "") for path in paths)

    return Hooks(lambda: True, listed, seconds)


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "name", [".hidden", "10-mail~", "10-mail.dpkg-old", "10-mail.dpkg-dist", "x.rpmsave", "x.rpmnew", "x.rpmorig"]
)
def test_what_editors_and_package_managers_leave_is_not_run(name, tmp_path):
    program(tmp_path / name, "true")
    assert list(hooks.found(str(tmp_path))) == []


def test_only_executable_files_are_run_in_the_order_of_names(tmp_path):
    for name in ("20-b", "10-a", "100-c"):
        program(tmp_path / name, "true")
    (tmp_path / "README").write_text("no program")
    (tmp_path / "directory").mkdir()
    assert [os.path.basename(path) for path, _problem in hooks.found(str(tmp_path))] == ["10-a", "100-c", "20-b"]


def test_no_directory_is_no_program(tmp_path):
    assert list(hooks.found(str(tmp_path / "absent"))) == []


def test_a_link_into_nothing_is_told(tmp_path):
    (tmp_path / "10-gone").symlink_to(tmp_path / "nothing")
    assert [problem for _path, problem in hooks.found(str(tmp_path))] == ["No such file or directory"]


def test_programs_of_the_system_may_be_run():
    assert "" in {problem for _path, problem in hooks.found("/usr/bin")}


def test_a_program_that_others_can_write_is_refused(tmp_path):
    Path(program(tmp_path / "10-open", "true")).chmod(0o775)
    ((_path, problem),) = hooks.found(str(tmp_path))
    assert "10-open can be written by others" in problem or "belongs to user" in problem


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_program_of_another_user_is_refused(tmp_path):
    os.chown(program(tmp_path / "10-theirs", "true"), 65534, 0)
    ((_path, problem),) = hooks.found(str(tmp_path))
    assert "10-theirs belongs to user 65534" in problem


@pytest.mark.skipif(os.geteuid() != 0, reason="whose file it is comes first for others")
def test_a_program_is_refused_for_a_directory_above_it(tmp_path):
    inner = tmp_path / "events.d"
    inner.mkdir()
    program(inner / "10-mail", "true")
    tmp_path.chmod(0o777)
    ((_path, problem),) = hooks.found(str(inner))
    assert problem.startswith(f"{tmp_path} can be written")


def test_a_program_is_told_by_arguments_environment_and_standard_input(tmp_path, said):
    one = program(tmp_path / "one", f'{{ echo "$*"; env | grep ^O2_ | sort; cat; }} > {tmp_path}/told')
    told = with_programs(one)
    told.event(DOWN)
    told.start()
    told._waiting.join()
    lines = (tmp_path / "told").read_text().splitlines()
    assert lines[:-1] == [
        "node_down node2 2",
        "O2_EVENT=node_down",
        "O2_INCARNATION=17",
        "O2_NODE=2",
        "O2_NODE_NAME=node2",
        "O2_POSITION=40",
        "O2_QUORATE=1",
    ]
    facts = json.loads(lines[-1])
    assert abs(facts.pop("time") - time.time()) < 30
    assert facts == {**DOWN, "name": "node2", "quorate": True}
    assert said == []


def test_an_event_without_a_node_leaves_its_variables_empty():
    assert hooks.arguments(QUORUM) == ["quorum", "", ""]
    assert hooks.variables(QUORUM) == {
        "O2_EVENT": "quorum",
        "O2_INCARNATION": "",
        "O2_NODE": "",
        "O2_NODE_NAME": "",
        "O2_POSITION": "",
        "O2_QUORATE": "0",
    }


def test_what_systemd_says_to_the_agent_is_not_handed_on(tmp_path, said, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    with_programs(program(tmp_path / "one", f"env > {tmp_path}/told")).run_all(DOWN)
    assert "NOTIFY_SOCKET" not in (tmp_path / "told").read_text()


def test_events_are_told_one_after_the_other_in_their_order(tmp_path, said):
    slow = program(tmp_path / "10", f"echo begin $1 >> {tmp_path}/log", "sleep 0.1", f"echo end $1 >> {tmp_path}/log")
    next_one = program(tmp_path / "20", f"echo next $1 >> {tmp_path}/log")
    told = with_programs(slow, next_one)
    told.start()
    for event in ("suspect", "node_down"):
        told.event({**DOWN, "event": event})
    told._waiting.join()
    expected = [f"{word} {event}" for event in ("suspect", "node_down") for word in ("begin", "end", "next")]
    assert (tmp_path / "log").read_text().splitlines() == expected


def test_one_that_fails_is_logged_and_the_next_one_runs(tmp_path, said):
    fails = program(tmp_path / "10-fails", "exit 3")
    killed = program(tmp_path / "20-killed", "kill -9 $$")
    broken = tmp_path / "30-broken"
    broken.write_text("#!/nonexistent\n")
    broken.chmod(0o755)
    last = program(tmp_path / "40-last", f"touch {tmp_path}/done")
    with_programs(fails, killed, str(broken), last).run_all(DOWN)
    assert (tmp_path / "done").exists()
    assert [line.partition(": ")[2] for line in said] == [
        "ended with 3",
        "ended by signal 9",
        "cannot be run: No such file or directory",
    ]


def test_one_that_hangs_is_ended_with_all_it_has_started(tmp_path, said):
    hangs = program(tmp_path / "10-hangs", "sleep 1000 &", f"echo $! > {tmp_path}/pid", "wait")
    last = program(tmp_path / "20-last", f"touch {tmp_path}/done")
    with_programs(hangs, last, seconds=0.5).run_all(DOWN)
    assert said == [f"{hangs} at node_down node2 2: had not ended after 0.5 s, and was made to"]
    assert (tmp_path / "done").exists()
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())


def test_one_that_does_not_listen_is_killed(tmp_path, said, monkeypatch):
    monkeypatch.setattr(hooks, "KILL_SECONDS", 0.2)
    with_programs(program(tmp_path / "10", "trap '' TERM", "while :; do sleep 0.05; done"), seconds=0.2).run_all(DOWN)
    assert said[0].endswith("had not ended after 0.2 s, and was made to")


def test_one_that_leaves_a_process_behind_is_not_waited_for(tmp_path, said):
    began = time.monotonic()
    with_programs(program(tmp_path / "10", "sleep 30 & exit 0")).run_all(DOWN)
    assert time.monotonic() - began < 10
    assert said == []


def test_a_refusal_is_told_once_and_again_when_it_changes(said):
    answers = iter(["it is open", "it is open", "", "it is open"])
    told = Hooks(lambda: True, lambda: iter([("/bin/true", next(answers))]))
    for _turn in range(4):
        told.run_all(DOWN)
    assert said == ["/bin/true is not run: it is open"] * 2


def test_too_many_events_are_left_out_counted_and_never_waited_for(said):
    let_go = threading.Event()
    seen: list[Any] = []

    def blocks() -> Iterator[tuple[str, str]]:
        let_go.wait(20)
        return iter(())

    told = Hooks(lambda: True, blocks)
    run_all = told.run_all
    told.run_all = lambda facts: (seen.append(facts), run_all(facts))  # type: ignore[method-assign,assignment]
    told.start()
    told.event(DOWN)
    wait_until(lambda: seen)
    for _event in range(hooks.MOST_WAITING + 5):
        told.event(DOWN)
    let_go.set()
    told._waiting.join()
    told.event(QUORUM)
    told.event(QUORUM)
    told._waiting.join()
    assert len(seen) == 1 + hooks.MOST_WAITING + 2
    assert (seen[-2]["lost"], "lost" in seen[-1]) == (5, False)
    assert len(said) == 1


def test_a_fault_of_the_program_itself_does_not_end_it(said):
    answers = iter([ValueError("a fault"), None])
    done = threading.Event()

    def listed() -> Iterator[tuple[str, str]]:
        error = next(answers)
        if error:
            raise error
        done.set()
        return iter(())

    told = Hooks(lambda: True, listed)
    told.start()
    told.event(DOWN)
    told.event(DOWN)
    assert done.wait(20)
    assert said == ["programs at events: ValueError('a fault')"]
