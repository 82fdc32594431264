# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules record and record_info: what is written once, foretold in check mode, and left alone with a warning."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import record as deciding
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import creating, looking
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.format import BLANK, TORN, VALID, Header, Slot, View
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import devices
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live, LiveRegion
from ansible_collections.ocfs2.o2cb.plugins.modules import record, record_info

A, B, C, D = UUIDS = [letter * 32 for letter in "ABCD"]
NODES = tuple(Node(f"node{number}", number, f"10.0.0.{number}") for number in (1, 2, 3))
EMPTY = View(BLANK, None, {}, {})
TOLD = [{"name": node.name, "mark": 10 * node.number, "problem": ""} for node in NODES]
TABLE = [{"name": node.name, "number": node.number, "address": node.address, "port": 7777} for node in NODES]


class Disks(dict):
    """What the regions hold, by UUID. Stands in for looking and creating."""

    silent = ""

    def __init__(self, *uuids: str) -> None:
        super().__init__(dict.fromkeys(uuids, EMPTY))
        self.log: list[Any] = []

    def look(self, regions: list[LiveRegion]) -> looking.Look:
        return looking.Look({region.uuid: self[region.uuid] for region in regions}, {}, frozenset())

    def look_at_volumes(self, paths: dict[str, str]) -> looking.Look:
        assert paths == {uuid: f"/dev/{uuid}" for uuid in paths}
        return looking.Look({uuid: self[uuid] for uuid in paths}, {}, frozenset())

    def find(self, uuids: list[str]) -> dict[str, devices.Device]:
        if uuids[0] not in self:
            raise O2cbError(f"region {uuids[0]} is on no block device here")
        return {uuid: devices.Device(f"/dev/{uuid}", uuid, None) for uuid in uuids}  # type: ignore[arg-type]

    def refuse_silent(self, live: Live, wanted: list[str], first: bool) -> None:
        self.log.append(("beats", list(wanted), first))
        if self.silent:
            raise creating.SilentError(self.silent)

    def create(self, live: Live, known: creating.Known, among: list[str]) -> list[str]:
        if self.silent:
            raise creating.SilentError(self.silent)
        self.log.append(("create", max(known.marks), list(among)))
        self.give(*among)
        return list(among)

    def give(self, *uuids: str) -> None:
        for uuid in uuids:
            self[uuid] = View(VALID, Header(uuid, "lab", 1, 5000), {1: Slot(uuid, 1, "00" * 16, 1, 6000)}, {})


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> Disks:
    made = Disks(A, B, C)
    monkeypatch.setattr(looking, "look", made.look)
    monkeypatch.setattr(looking, "look_at_volumes", made.look_at_volumes)
    monkeypatch.setattr(devices, "find_regions", made.find)
    monkeypatch.setattr(creating, "refuse_silent", made.refuse_silent)
    monkeypatch.setattr(creating, "create", made.create)
    monkeypatch.setattr(creating, "known_here", lambda above: creating.Known([0, above], [0.0]))
    return made


def live(*uuids: str, mode: str = "global") -> Live:
    cluster = Cluster("lab", NODES, uuids, heartbeat_mode=mode)
    return Live(cluster, tuple(LiveRegion(uuid, "dm-0") for uuid in uuids), "node1")


def run(found: Live | None, check: bool = False, told: Any = TOLD, **foreseen: Any) -> dict[str, Any]:
    return record.run({"nodes": told, "foreseen": foreseen or None}, found, check)


def test_the_record_is_made_once_with_the_largest_mark_of_all_nodes(disks):
    found = run(live(A, B, C))
    assert disks.log == [("create", 30, [A, B, C])]
    assert (found["changed"], found["created"], found["reasons"]) == (True, [A, B, C], [])
    assert found["actions"] == [f"write the header of the record on region {uuid}" for uuid in (A, B, C)]
    assert [entry["after"] for entry in found["diff"]] == ["a header\n"] * 3
    assert (found["usable"], [one["header"] for one in found["regions"]]) == (True, ["valid"] * 3)
    again = run(live(A, B, C))
    assert (again["changed"], again["actions"], again["diff"], again["warnings"]) == (False, [], [], [])
    assert len(disks.log) == 1


def test_check_mode_looks_at_the_heartbeats_and_writes_nothing(disks):
    found = run(live(A, B, C), check=True)
    assert disks.log == [("beats", [A, B, C], True)]
    assert (found["changed"], found["created"], found["usable"]) == (True, [A, B, C], False)


@pytest.mark.parametrize("check", [True, False])
def test_a_run_without_all_nodes_changes_nothing_and_warns(disks, check):
    found = run(live(A, B, C), check, TOLD[:1])
    assert disks.log == []
    assert (found["changed"], found["created"], found["usable"]) == (False, [], False)
    assert "this run leaves out node2, node3" in found["reasons"][0]
    assert found["warnings"][0].startswith("there is no record of fencing tokens: clocks decide")


@pytest.mark.parametrize("check", [True, False])
def test_a_node_that_does_not_beat_is_a_reason_and_no_failure(disks, check):
    disks.silent = "node3 does not heartbeat on region A"
    found = run(live(A, B, C), check)
    assert (found["changed"], found["created"], found["reasons"]) == (False, [], [disks.silent])
    assert "clocks decide" in found["warnings"][0]


def test_a_new_region_gets_its_header_and_the_others_keep_theirs(disks):
    disks.give(A, B, C)
    disks[D] = EMPTY
    found = run(live(*UUIDS), told=TOLD[:2])
    assert disks.log == [("create", 20, [D])]
    assert (found["created"], found["warnings"]) == ([D], [])


def test_what_is_not_ours_fails_and_is_left(disks):
    disks[A] = View(TORN, None, {}, {})
    with pytest.raises(O2cbError, match="is torn"):
        run(live(A, B, C))
    assert disks.log == []


def test_with_a_local_heartbeat_clocks_decide(disks):
    found = run(live(A, B, C, mode="local"))
    assert (found["changed"], found["usable"], disks.log) == (False, False, [])
    assert "local" in found["warnings"][0]


@pytest.mark.parametrize("check", [True, False])
def test_a_node_that_is_not_online_is_refused(disks, check):
    for found in (None, replace(live(A, B, C), local=None)):
        with pytest.raises(O2cbError, match="not online"):
            run(found, check)


# Foretold, before the run brings the nodes online

PENDING = [f"pending:/dev/mapper/hb{number}" for number in (1, 2, 3)]


def unwilling(count: int = 3) -> list[dict[str, Any]]:
    return [{**one, "problem": "it is not online"} for one in TOLD[:count]]


def test_on_virgin_hosts_every_region_gets_a_header(disks):
    found = run(None, True, unwilling(), name="lab", nodes=TABLE, regions=PENDING)
    assert (found["changed"], found["created"], found["warnings"]) == (True, PENDING, [])
    assert disks.log == []


def test_on_some_of_the_virgin_hosts_there_will_be_none(disks):
    found = run(None, True, unwilling(2), name="lab", nodes=TABLE, regions=PENDING)
    assert (found["changed"], found["created"]) == (False, [])
    assert "this run leaves out node3" in found["reasons"][0]


def test_a_region_that_will_be_added_will_get_a_header(disks):
    disks.give(A, B, C)
    found = run(live(A, B, C), True, name="lab", nodes=TABLE, regions=[A, B, C, PENDING[0]])
    assert found["created"] == [PENDING[0]]


def test_volumes_of_a_cluster_that_is_offline_are_looked_at(disks):
    disks.give(A, B, C)
    found = run(None, True, unwilling(), name="lab", nodes=TABLE, regions=[A, B, C])
    assert (found["changed"], found["usable"]) == (False, True)
    del disks[A]
    disks[B] = EMPTY
    found = run(None, True, unwilling(), name="lab", nodes=TABLE, regions=[A, B, C])
    assert found["created"] == []
    assert "on no block device here" in found["reasons"][0]


def test_a_region_that_will_be_removed_does_not_count(disks):
    disks.give(A)
    found = run(live(A, B, C), True, name="lab", nodes=TABLE, regions=[A])
    assert (found["created"], found["usable"]) == ([], True)


def test_outside_of_check_mode_nothing_is_foreseen(disks):
    with pytest.raises(O2cbError, match="not online"):
        run(None, False, unwilling(), name="lab", nodes=TABLE, regions=PENDING)


# As Ansible calls them


def call(capsys: pytest.CaptureFixture[str], module: Any, **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_reasons_are_a_warning_of_ansible(capsys, disks, monkeypatch):
    monkeypatch.setattr(record.observe, "live", lambda: live(A, B, C))
    result = call(capsys, record, nodes=TOLD[:2])
    assert result["changed"] is False
    assert "this run leaves out node3" in json.dumps(result["warnings"])
    assert "node3" in result["reasons"][0]


def test_a_refusal_is_a_failure_in_words(capsys, disks, monkeypatch):
    disks[A] = View(TORN, None, {}, {})
    monkeypatch.setattr(record.observe, "live", lambda: live(A, B, C))
    result = call(capsys, record, nodes=TOLD)
    assert result["failed"] is True
    assert "is torn" in result["msg"]


@pytest.mark.parametrize("online", [True, False])
def test_record_info_tells_of_regions_and_of_this_node(capsys, disks, monkeypatch, online):
    disks.give(A, B)
    monkeypatch.setattr(record_info.observe, "live", lambda: live(A, B, C) if online else None)
    monkeypatch.setattr(deciding, "keeper_problem", lambda seconds: "")
    monkeypatch.setattr(deciding.local, "read", lambda: deciding.local.Local(12))
    result = call(capsys, record_info)
    assert result["changed"] is False
    assert result["usable"] is online
    assert [one["header"] for one in result["regions"]] == (["valid", "valid", "blank"] if online else [])
    assert result["member"]["mark"] == 12
    assert ("not online" in result["member"]["problem"]) is not online
