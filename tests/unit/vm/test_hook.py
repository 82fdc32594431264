# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hook as libvirt starts it: its arguments, its standard input and output, its exit code."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.keep import Client
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import libvirt
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import units
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import hook, locks, machine, processes, system
from ansible_collections.ocfs2.o2cb.tests.unit.vm.world import UUID, xml


class Keeper:
    """o2keep of one node, without other nodes but those in `others`."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.others: dict[str, dict[str, Any]] = {}
        self.silent = False
        self.grace = 0.0
        self.log: list[str] = []

    def locks(self) -> list[dict[str, Any]]:
        self._speak()
        return list(self.held.values())

    def ask(self, message: dict[str, Any], seconds: float = 0.0) -> tuple[dict[str, Any], list[int]]:
        self._speak()
        operation, name = message["op"], message.get("name", "")
        self.log.append(f"{operation} {name}")
        holder = self.others.get(name) or self.held.get(name)
        if operation == "who":
            return {"holder": holder}, []
        if operation == "release":
            return {"changed": self.held.pop(name, None) is not None}, []
        if holder:
            return {"held": False, "reason": "busy", "holder": holder}, []
        facts = {"name": name, "kind": "node", "node": 1, "owner": message["owner"], "since": 0, "token": len(self.log)}
        self.held[name] = facts
        return {"held": True, **facts}, []

    def _speak(self) -> None:
        if self.silent:
            raise O2cbError("o2keep did not answer: timed out")


class Outcome(SimpleNamespace):
    code: int
    output: str
    errors: str


@pytest.fixture
def keeper(monkeypatch) -> Keeper:
    keeper = Keeper()
    monkeypatch.setattr(locks.Locks.__init__, "__defaults__", (lambda: keeper,))
    monkeypatch.setattr(locks.time, "time", lambda: 0.0)
    monkeypatch.setattr(processes, "of", lambda uuid: [])
    monkeypatch.setattr(system, "unguarded", lambda: ["test-*"])
    monkeypatch.setattr(locks.files, "read", lambda path: CLUSTER)
    return keeper


CLUSTER = """cluster:
  node_count = 1
  name = lab

node:
  ip_port = 7777
  ip_address = 10.0.0.2
  number = 2
  name = vmhost2
  cluster = lab
"""
ELSEWHERE = {"node": 2, "since": 1_000_000, "token": 17, "owner": "web", "boot": ""}


@pytest.fixture
def call(monkeypatch, capsys):
    said: list[tuple[str, bool]] = []
    monkeypatch.setattr(system, "say", lambda text, alarm=False: said.append((text, alarm)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def call(*arguments: str, description: str | bytes = xml()) -> Outcome:
        said.clear()
        data = description if isinstance(description, bytes) else description.encode()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        code = hook.main(arguments)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0), "no alarm is left behind"
        shown = capsys.readouterr()
        return Outcome(code=code, output=shown.out, errors=shown.err, said=list(said))

    return call


def test_a_start_takes_the_lock_and_an_end_releases_it(keeper, call):
    assert call("web", "prepare", "begin", "-").code == 0
    assert list(keeper.held) == [f"vm:{UUID}"]
    for operation in (("start", "begin"), ("started", "begin"), ("reconnect", "begin"), ("stopped", "end")):
        assert call("web", *operation, "-").code == 0
    assert list(keeper.held) == [f"vm:{UUID}"]
    for reason in ("-", "shutdown"):
        assert call("web", "release", "end", reason).code == 0
    assert keeper.held == {}


def test_a_refusal_is_one_line_that_names_the_machine_and_the_node_that_has_it(keeper, call):
    keeper.others[f"vm:{UUID}"] = ELSEWHERE
    found = call("web", "prepare", "begin", "-")
    assert (found.code, found.output) == (1, "")
    assert f"virtual machine 'web' ({UUID}) is not started here: node 2, vmhost2 (since " in found.errors
    assert found.errors.endswith(", token 17) holds its lock\n")
    assert found.errors.count("\n") == 1


def test_an_incoming_machine_is_permitted_by_the_description_that_it_is_given(keeper, call, monkeypatch):
    keeper.others[f"vm:{UUID}"] = ELSEWHERE
    units_started: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str, str]:
        units_started.append(list(command))
        return 0, "", ""

    monkeypatch.setattr(system.System.__init__, "__defaults__", (run,))
    found = call("web", "migrate", "begin", "-")
    assert found.code == 0
    assert units_started[0][-3:] == ["--", UUID, "web"]
    assert call("web", "prepare", "begin", "-").code == 1
    keeper.held[f"vm-in:{UUID}"] = {**ELSEWHERE, "name": f"vm-in:{UUID}", "kind": "node", "token": 1}
    permit = machine.parse(found.output.encode()).permit
    keeper.held[f"vm-in:{UUID}"]["token"] = permit
    assert call("web", "prepare", "begin", "-", description=found.output).code == 0
    assert call("web", "start", "begin", "-", description=found.output).code == 0


def test_a_migration_whose_waiting_cannot_be_started_is_refused_and_leaves_nothing(keeper, call, monkeypatch):
    keeper.others[f"vm:{UUID}"] = ELSEWHERE
    monkeypatch.setattr(system.System.__init__, "__defaults__", (lambda command: (1, "", "no bus"),))
    found = call("web", "migrate", "begin", "-")
    assert (found.code, found.output, keeper.held) == (1, "", {})
    assert "no bus" in found.errors


@pytest.mark.parametrize(("operation", "code"), [("prepare", 1), ("start", 1), ("migrate", 1), ("reconnect", 0)])
@pytest.mark.parametrize("trouble", ["silence", "no description"])
def test_whatever_is_wrong_a_start_is_refused_and_what_runs_is_left_alone(keeper, call, operation, code, trouble):
    keeper.silent = trouble == "silence"
    found = call("web", operation, "begin", "-", description=xml() if keeper.silent else b"")
    assert found.code == code
    assert bool(found.errors) == bool(code)
    assert found.said[0][1] == (not code), "what nobody is shown is an alarm in the journal"


def test_an_end_is_never_hindered(keeper, call):
    keeper.silent = True
    found = call("web", "release", "end", "crashed")
    assert (found.code, found.errors, found.said[0][1]) == (0, "", True)


def test_a_machine_that_is_left_out_starts_without_asking_and_its_lock_is_released(keeper, call):
    keeper.silent = True
    for operation in ("prepare", "start", "migrate", "reconnect"):
        assert call("test-1", operation, "begin", "-", description=xml(name="test-1")).code == 0
    keeper.silent = False
    keeper.held[f"vm:{UUID}"] = {**ELSEWHERE, "name": f"vm:{UUID}", "kind": "node"}
    assert call("test-1", "release", "end", "-", description=xml(name="test-1")).code == 0
    assert keeper.held == {}


def test_a_machine_of_a_session_is_refused_with_the_remedy(keeper, call, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = call("web", "prepare", "begin", "-")
    assert (found.code, "qemu:///system" in found.errors) == (1, True)
    assert call("web", "release", "end", "-").code == 0


@pytest.mark.parametrize("arguments", [[], ["web"], ["web", "prepare"], ["web", "brew", "begin", "-"], ["-", "start"]])
def test_other_operations_are_let_pass(keeper, call, arguments):
    keeper.silent = True
    assert call(*arguments).code == 0


def test_a_name_cannot_write_lines_of_its_own(keeper, call):
    keeper.others[f"vm:{UUID}"] = ELSEWHERE
    found = call("web", "prepare", "begin", "-", description=xml(name="web\n<3>all is lost"))
    assert found.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("operation", "code"),
    [("prepare", 1), ("start", 1), ("migrate", 1), ("started", 0), ("reconnect", 0), ("release", 0), ("restore", 0)],
)
def test_the_script_answers_in_place_of_a_program_that_is_not_there(tmp_path, operation, code):
    script = Path(tmp_path, "ocfs2.o2cb")
    script.write_text(libvirt.hook().replace(units.PROGRAM, f"{tmp_path}/none.pyz"))
    script.chmod(0o755)
    done = subprocess.run(
        [script, "web", operation, "begin", "-"], input=xml(), capture_output=True, text=True, check=False
    )
    assert bool(done.returncode) == bool(code)
    assert done.stdout == ""
    half = script.rename(Path(tmp_path, ".ocfs2.o2cb.x1y2z3"))
    done = subprocess.run(
        [half, "web", operation, "begin", "-"], input=xml(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_caller_can_wait_less_than_others(tmp_path):
    import socket

    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        client = Client(path, grace=0.05)
        with pytest.raises(O2cbError, match="did not answer"):
            client.ask({"op": "status"})
