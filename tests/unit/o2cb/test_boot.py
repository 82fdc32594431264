# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program behind o2cb.service: what it waits for, and what it refuses."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import boot, conf, online, sysconfig
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Have, Live, LiveRegion
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts
from ansible_collections.ocfs2.o2cb.tests.unit.o2cb.fake_system import Clock, FakeSystem

UUID = "A" * 32
LAB = Cluster(
    "lab",
    (Node("n1", 1, "127.0.0.1"), Node("n2", 2, "127.0.0.2")),
    (UUID,),
    timeouts=Timeouts(61),
    fence_method="panic",
)
ENABLED = sysconfig.merged("", sysconfig.wanted(LAB))
ONLINE = Live(LAB, (LiveRegion(UUID, "dm-0"),), "n1")


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(boot, "time", clock)
    monkeypatch.setattr(online, "time", clock)
    return clock


class Machine(FakeSystem):
    """A node with its two files."""

    def __init__(self, live: Live | None = None, settings: str = ENABLED, cluster: Cluster = LAB, **have) -> None:
        text = conf.Document().with_cluster(cluster).render()
        super().__init__(Have("n1", conf=text, sysconfig=settings, live=live, stack="o2cb", **have))

    def hostname(self) -> str:
        return self.have.hostname

    def sysconfig_path(self) -> str:
        return "/etc/default/o2cb"


@pytest.fixture
def start(monkeypatch):
    """Starts a machine of which the devices are there from the given look on."""

    def go(machine: Machine, looks: int = 0) -> None:
        found = iter([O2cbError("region A is on no block device here")] * looks)

        def find_regions(uuids) -> None:
            error = next(found, None)
            if error:
                raise error

        texts = {conf.PATH: machine.have.conf, "/etc/default/o2cb": machine.have.sysconfig}
        monkeypatch.setattr(boot, "find_regions", find_regions)
        monkeypatch.setattr(boot.files, "read", texts.__getitem__)
        boot.go_online(machine, 120)

    return go


def test_a_node_comes_online_as_its_files_say(start):
    machine = Machine()
    start(machine)
    assert machine.have.live is not None
    assert machine.have.live.online
    assert machine.have.live.cluster == LAB


def test_a_disk_that_comes_late_is_waited_for(start, clock, capsys):
    machine = Machine()
    start(machine, looks=21)
    assert machine.have.live is not None
    assert clock.now == 1021
    out = capsys.readouterr().out
    assert "waiting, 120 s more: region A is on no block device here" in out
    assert out.count("waiting") == 3, "every 10 s, not every second"


def test_a_disk_that_never_comes_fails_the_unit_and_changes_nothing(start, clock):
    machine = Machine()
    with pytest.raises(O2cbError, match="gave up after 120 s: region A is on no block device"):
        start(machine, looks=1000)
    assert (machine.log, clock.now) == ([], 1120)


@pytest.mark.parametrize("settings", ["", ENABLED.replace("true", "false")])
def test_a_node_that_is_not_to_be_online_stays_offline_without_an_error(start, settings):
    machine = Machine(settings=settings)
    start(machine)
    assert machine.log == []


def test_a_node_that_is_online_stays_so(start):
    machine = Machine(ONLINE)
    start(machine)
    assert machine.log == []


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine(settings=ENABLED.replace("=lab", "=new")), "names the cluster 'new', and /etc/ocfs2/cluster.conf has"),
        (Machine(settings=ENABLED.replace("=61", "=6")), "at least 7"),
        (Machine(cluster=Cluster("lab", (LAB.nodes[1],), (UUID,))), "n1 is not a node of cluster lab"),
        (Machine(ONLINE, settings=ENABLED.replace("=61", "=62")), "differs from the files"),
    ],
    ids=["other name", "unsound", "not a node", "running cluster differs"],
)
def test_files_that_contradict_themselves_or_the_kernel_change_nothing(start, machine, words):
    with pytest.raises(O2cbError, match=words):
        start(machine)
    assert machine.log == []


def test_what_is_missing_is_all_told_at_once(monkeypatch):
    def find_regions(uuids) -> None:
        raise O2cbError(f"{len(uuids)} region is missing")

    monkeypatch.setattr(boot, "find_regions", find_regions)
    elsewhere = Cluster("lab", (Node("n1", 1, "192.0.2.1"),), (UUID,))
    assert boot.missing(elsewhere, "n1") == "no interface has the address 192.0.2.1 yet; 1 region is missing"
    assert boot.missing(LAB, "n1") == "1 region is missing"
    local = Cluster("lab", LAB.nodes, (UUID,), heartbeat_mode="local")
    assert boot.missing(local, "n1") == ""


@pytest.mark.parametrize(("down", "in_use"), [(False, ()), (True, ()), (True, ("domain vm has 1 lock(s)",))])
def test_a_node_leaves_when_it_is_free_and_always_at_shutdown(monkeypatch, down, in_use):
    monkeypatch.setattr(boot, "shutting_down", lambda: down)
    machine = Machine(ONLINE, in_use=in_use)
    boot.go_offline(machine)
    assert machine.have.live is None


def test_a_node_in_use_does_not_leave_while_the_machine_runs(monkeypatch):
    monkeypatch.setattr(boot, "shutting_down", lambda: False)
    machine = Machine(ONLINE, in_use=("domain vm has 1 lock(s)",))
    with pytest.raises(O2cbError, match="domain vm has 1 lock"):
        boot.go_offline(machine)
    assert machine.log == []


def test_leaving_twice_is_no_error():
    machine = Machine()
    boot.go_offline(machine)
    assert machine.log == []


def test_an_error_is_one_line_and_an_exit_code(monkeypatch, capsys):
    def fail(system) -> None:
        raise O2cbError("this node is in use")

    monkeypatch.setattr(boot, "go_offline", fail)
    assert boot.main(["offline"]) == 1
    assert capsys.readouterr().err == "o2cb: this node is in use\n"
