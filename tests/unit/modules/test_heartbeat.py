# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module heartbeat: all regions are known before one is formatted, and each state does what it says once."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install.regions import Region
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, sysconfig
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have, Live, LiveRegion
from ansible_collections.ocfs2.o2cb.plugins.modules import heartbeat
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.fake_system import FakeSystem

FOUR = tuple(letter * 32 for letter in "ABCD")
NEW = "E" * 32
LAB = Cluster("lab", (Node("n1", 1, "10.0.0.1"),), FOUR)


class Disks(dict):
    """Path to UUID, or to None for a blank one; stands in for `regions.resolve`."""

    def resolve(self, system, region, cluster, may_format, check) -> Region:
        path = region["device"] or next((path for path, uuid in self.items() if uuid == region["uuid"]), None)
        if path not in self:
            raise O2cbError(f"{path or region['uuid']} is not here")
        if self[path]:
            return Region(self[path], path, "")
        if not may_format:
            raise O2cbError(f"{path} is blank")
        if check:
            return Region(f"pending:{path}", path, "", formatted=True)
        self[path] = NEW
        return Region(NEW, path, "", formatted=True)


@pytest.fixture
def disks(monkeypatch) -> Disks:
    disks = Disks({f"/dev/{uuid[0]}": uuid for uuid in FOUR})
    monkeypatch.setattr(heartbeat, "resolve", disks.resolve)
    return disks


def node(live: bool = True, domains: tuple[str, ...] = ()) -> FakeSystem:
    regions = tuple(LiveRegion(uuid, "dm-0") for uuid in FOUR)
    return FakeSystem(
        Have(
            "n1",
            conf=conf.Document().with_cluster(LAB).render(),
            sysconfig=sysconfig.merged("", sysconfig.wanted(LAB)),
            live=Live(LAB, regions, "n1", frozenset(), domains) if live else None,
            stack="o2cb",
        )
    )


def run(system: FakeSystem, state: str, *names: str, check: bool = False, may_format: bool = False) -> dict:
    regions = [
        {"device": name, "uuid": None, "label": None}
        if name.startswith("/")
        else {"device": None, "uuid": name, "label": None}
        for name in names
    ]
    return heartbeat.run({"cluster": "lab", "regions": regions, "format": may_format, "state": state}, system, check)


def configured(system: FakeSystem) -> tuple[str, ...]:
    found = conf.parse(system.have.conf or "").cluster("lab")
    return found.regions if found else ()


def test_a_blank_disk_is_formatted_once(disks):
    disks["/dev/new"] = None
    foretold = run(node(), "present", "/dev/new", check=True, may_format=True)
    assert disks["/dev/new"] is None
    assert foretold["regions"][0]["uuid"] == "pending:/dev/new"
    first = run(node(), "present", "/dev/new", may_format=True)
    assert first["actions"] == foretold["actions"] == ["format /dev/new as heartbeat region"]
    second = run(node(), "present", "/dev/new", may_format=True)
    assert (second["changed"], second["regions"][0]["uuid"]) == (False, NEW)


def test_nothing_is_formatted_when_another_region_is_missing_and_all_are_named(disks):
    disks["/dev/new"] = None
    with pytest.raises(O2cbError, match="/dev/x is not here; /dev/y is not here"):
        run(node(), "present", "/dev/new", "/dev/x", "/dev/y", may_format=True)
    assert disks["/dev/new"] is None


def test_two_paths_of_one_disk_are_refused(disks):
    disks["/dev/other"] = FOUR[0]
    with pytest.raises(O2cbError, match="the same region"):
        run(node(), "present", "/dev/A", "/dev/other")


@pytest.mark.parametrize("domains", [(), ("vm",)])
def test_a_region_is_started_once_and_stays_in_the_file(disks, domains):
    disks["/dev/new"] = NEW
    system = node(domains=domains)
    assert run(system, "started", "/dev/new", check=True)["changed"]
    assert system.log == []
    assert run(system, "started", "/dev/new")["changed"]
    assert system.log == ["write /etc/ocfs2/cluster.conf", f"start region {NEW}"]
    assert configured(system) == (*FOUR, NEW)
    assert not run(system, "started", "/dev/new")["changed"]


def test_a_stopped_region_stays_in_the_file_and_an_absent_one_goes():
    system = node()
    run(system, "stopped", FOUR[0])
    assert (system.log, configured(system)) == ([f"stop region {FOUR[0]}"], FOUR)
    assert not run(system, "stopped", FOUR[0])["changed"]
    run(system, "absent", FOUR[0])
    assert (system.log[1:], configured(system)) == (["write /etc/ocfs2/cluster.conf"], FOUR[1:])
    assert not run(system, "absent", FOUR[0])["changed"]


def test_a_lost_disk_is_removed_by_its_uuid_and_asked_for_by_it(disks):
    disks.clear()
    system = node(domains=("vm",))
    run(system, "absent", FOUR[0])
    assert configured(system) == FOUR[1:]
    with pytest.raises(O2cbError, match="give the uuid of /dev/B"):
        run(system, "absent", "/dev/B")


def test_the_last_three_regions_stay_while_a_domain_is_joined():
    system = node(domains=("vm",))
    run(system, "absent", FOUR[0])
    system.log.clear()
    with pytest.raises(O2cbError, match="cannot be done online"):
        run(system, "absent", FOUR[1])
    assert system.log == []


def test_on_a_node_that_is_offline_only_the_file_changes(disks):
    system = node(live=False)
    run(system, "absent", FOUR[0])
    assert (system.log, configured(system)) == (["write /etc/ocfs2/cluster.conf"], FOUR[1:])


def test_a_cluster_name_that_cannot_be_is_refused_before_any_disk_is_touched(disks):
    disks["/dev/new"] = None
    options = {"cluster": "my-lab", "regions": [{"device": "/dev/new"}], "format": True, "state": "present"}
    with pytest.raises(O2cbError, match="no dash"):
        heartbeat.run(options, node(), False)
    assert disks["/dev/new"] is None
