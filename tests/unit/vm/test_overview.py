# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people are shown of machines, and what they can call them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.ctl import commands
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import looking, overview
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.machine import Machine
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.overview import Here
from ansible_collections.ocfs2.o2cb.tests.unit.vm.world import UUID

OTHER = UUID.replace("4", "5")
NOW = 1000.0


def lock(prefix: str = "vm:", age: float = 600.0, uuid: str = UUID, owner: str = "web") -> dict[str, Any]:
    since = int((NOW - age) * 1e6)
    return {"name": prefix + uuid, "kind": "node", "owner": owner, "since": since, "token": 17}


PROCESS = {UUID: [(40, Machine(UUID, "web"))]}
ELSEWHERE = {"node": 2, "since": 5_000_000, "token": 99, "owner": "web"}
STATES: list[tuple[str, list[dict[str, Any]], bool, Any]] = [
    ("running here", [lock()], True, None),
    ("running here", [lock(), lock("vm-in:")], True, None),
    ("being started here", [lock(age=10)], False, None),
    ("coming in", [lock("vm-in:", age=10)], False, ELSEWHERE),
    ("coming in", [lock("vm-in:")], True, ELSEWHERE),
    ("no machine", [lock()], False, None),
    ("no machine", [lock("vm-in:")], False, ELSEWHERE),
    ("not guarded", [], True, None),
    ("RUNS TWICE", [], True, ELSEWHERE),
    ("elsewhere", [], False, ELSEWHERE),
    ("nowhere", [], False, None),
]


@pytest.mark.parametrize(("state", "locks", "runs", "record"), STATES)
def test_a_machine_is_in_the_state_that_locks_and_processes_say(state, locks, runs, record):
    here = Here(locks, PROCESS if runs else {}, now=NOW, node=1)
    row = overview.row(here, UUID, record)
    assert row.state == state
    assert bool(row.remedy) == (state in ("no machine", "not guarded", "RUNS TWICE"))
    own = bool(locks) and locks[0]["name"].startswith("vm:")
    assert (row.node, row.token) == ((1, 17) if own or (locks and not record) else (2, 99) if record else (None, None))


def test_a_machine_that_is_left_out_needs_no_remedy_and_counts_as_in_order():
    here = Here([], PROCESS, ["w*"], NOW, 1)
    assert (overview.row(here, UUID, None).state, overview.row(here, UUID, None).remedy) == ("not guarded", "")
    assert looking.unsettled(here) == []


@pytest.mark.parametrize(
    ("locks", "runs", "settled"),
    [
        ([lock()], True, True),
        ([lock()], False, False),
        ([lock(age=10)], False, True),
        ([], True, False),
        ([lock("vm-in:")], True, False),
    ],
)
def test_what_is_not_in_order_is_found(locks, runs, settled):
    found = looking.unsettled(Here(locks, PROCESS if runs else {}, (), NOW, 1))
    assert found == ([] if settled else [Machine(UUID, "web")])


def test_a_process_that_is_ending_is_no_machine_of_its_own():
    here = Here([lock(age=10)], {"": [(41, Machine("", "qemu-system-x86"))]}, (), NOW, 1)
    assert here.uuids() == [UUID]


def test_a_person_gives_a_uuid_or_a_name():
    here = Here([lock(), lock(uuid=OTHER, owner="mail")], {}, (), NOW, 1)
    assert overview.chosen(here, UUID.upper(), {}) == UUID
    assert overview.chosen(here, "mail", {}) == OTHER
    assert overview.chosen(here, "idle", {"idle": OTHER}) == OTHER
    with pytest.raises(O2cbError, match="2 machines of this node are called 'web'"):
        overview.chosen(here, "web", {"web": OTHER})
    with pytest.raises(O2cbError, match="knows no machine 'none'"):
        overview.chosen(here, "none", {})


def test_the_list_is_a_table_with_remedies_or_json(monkeypatch, capsys):
    rows = [overview.row(Here([lock()], {}, (), NOW, 1), UUID, None)]
    monkeypatch.setattr(looking, "rows", lambda words: rows)
    assert commands.main(["vm", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["machine", "uuid", "state", "node", "since", "token"]
    assert lines[1].split()[:4] == ["web", UUID, "no", "machine"]
    assert lines[2] == "web: its lock is left over: `o2ctl vm check` releases it"
    assert commands.main(["vm", "list", "web", "--json"]) == 0
    machines = json.loads(capsys.readouterr().out)["machines"]
    assert (machines[0]["state"], machines[0]["node"], machines[0]["token"]) == ("no machine", 1, 17)


@pytest.mark.parametrize(
    ("locks", "runs", "force", "word"),
    [
        ([lock()], True, False, "end it first"),
        ([lock(age=10)], False, False, "try again in 300 s"),
        ([lock()], True, True, ""),
        ([lock(age=10)], False, True, ""),
        ([lock()], False, False, ""),
    ],
)
def test_a_lock_is_released_by_hand_only_of_what_does_not_run(monkeypatch, capsys, locks, runs, force, word):
    class Locks:
        def __init__(self, seconds: float) -> None: ...

        def release(self, name: str, token: int) -> None:
            assert token == 17
            released.append(name)

    released: list[str] = []
    monkeypatch.setattr(looking, "Locks", Locks)
    monkeypatch.setattr(looking, "here", lambda: Here(locks, PROCESS if runs else {}, (), NOW, 1))
    code = commands.main(["vm", "release", "web", *(["--force"] if force else [])])
    shown = capsys.readouterr()
    assert (code, released) == ((1, []) if word else (0, [f"vm:{UUID}"]))
    assert word in shown.err


def test_the_check_fails_where_something_is_still_wrong(monkeypatch, capsys):
    monkeypatch.setattr(looking, "here", lambda: Here([], PROCESS, (), NOW, 1))
    monkeypatch.setattr(looking, "check", lambda one: f"{one} RUNS TWICE")
    assert commands.main(["vm", "check"]) == 1
    assert "RUNS TWICE" in capsys.readouterr().out
    monkeypatch.setattr(looking, "check", lambda one: "")
    assert commands.main(["vm", "check"]) == 0
    assert "in order now" in capsys.readouterr().out
