# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fencing tokens on real nodes: none falls, whatever becomes of holders, clocks and the record on disk.

Holders die by power cuts, with clocks two hours apart; the record is blanked, set back and moved to other regions; a
write hangs for seconds and lands then. All the while no node is refused a lock for its clock as long as the record can
be read. Where it cannot, what is refused says so, and where there is no room for it, clocks decide.

    O2_NODE_KILLS   16      power cuts of holders with clocks apart; other tests add theirs, one each
    O2_COST         200     locks that nobody has heard of, for what the first acquisition costs
    O2_DOMAINS      5       new domains
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from faults import kernel
from faults.controller import Controller, wait_until
from faults.referee.regions import Region, watched
from faults.referee.remote import TAKES_A_LOCK, Remote, wait_for
from lab import Lab, disks
from lab.node import Node

NODE_KILLS = int(os.environ.get("O2_NODE_KILLS", "16"))
COST = int(os.environ.get("O2_COST", "200"))
NEW_DOMAINS = int(os.environ.get("O2_DOMAINS", "5"))

HOURS = 7200
CLOCKS = {
    "the survivors' are two hours ahead and five seconds ahead": (0, HOURS, 5),
    "the survivors' are two hours behind and five seconds behind": (0, -HOURS, -5),
    "the survivors' are two hours ahead and two hours behind": (0, HOURS, -HOURS),
    "that of the dead node was two hours ahead": (HOURS, 0, 5),
}
"""Seconds by which the clocks of the holder, its heir and the third node are off."""

BEATS_SECONDS = 10
RECOVERY_SECONDS = 90
"""Within this a lock of a dead node is granted, with the timeouts of these tests, on a busy machine."""

CATCH_UP_SECONDS = 200
"""Within this each node has seen that a region is behind."""

WAIT = 5
MOST = 6.0
"""Seconds in which a request that waits for WAIT has to be answered."""

HANG_SECONDS = 5
RESTART_SECONDS = 30
"""So long a path hangs while o2keep starts anew."""

MANY = 100
"""So many names, acquired in turn by two nodes, are all forgotten by the lock manager between two acquisitions."""

RECORD = f"/usr/bin/python3 {kernel.PROGRAM} record"
LOCK = "tokens"
FREED = "tokens-freed"
"""A lock that is held when its node dies, and one that was released just before."""


class Grants:
    """The largest token of each lock, over all tests of this file; and a player on each node, to acquire them."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.kills = 0
        self._lock = threading.Lock()
        self._players: dict[str, Remote] = {}

    def note(self, name: str, token: int, who: str) -> bool:
        """A new grant, told before the lock is released. Whether its token is another than the one after the last."""
        with self._lock:
            last = self.last.get(name, 0)
            assert token > last, f"{who}: the token of {name} fell from {last} to {token}"
            self.last[name] = token
            return token != last + 1

    def player(self, node: Node) -> Remote:
        if node.name not in self._players:
            self._players[node.name] = Remote(node)
        return self._players[node.name]

    def tries(self, node: Node, name: str, wait: float = WAIT) -> dict[str, Any]:
        """The answer to a request for a node lock. One that is granted has a larger token than all before."""
        answer = self.player(node).ask(op="take", name=name, wait=wait, fresh=True)
        if answer.get("held"):
            self.note(name, answer["token"], node.name)
        return answer

    def holds(self, node: Node, name: str, wait: float = WAIT) -> None:
        answer = self.tries(node, name, wait)
        assert answer.get("held"), f"{node.name} is refused {name}: {answer}"

    def releases(self, node: Node, name: str) -> None:
        assert self.player(node).ask(op="release", name=name).get("released"), f"{node.name} does not release {name}"

    def has_in_turn(self, node: Node, *names: str, wait: float = WAIT) -> None:
        """Acquire each of these locks, and release it."""
        for name in names:
            self.holds(node, name, wait)
            self.releases(node, name)

    def refused(self, node: Node, name: str, wait: float = 1) -> str:
        """Why this node cannot have the lock, where no waiting would help."""
        answer = self.tries(node, name, wait)
        assert "error" in answer, f"{node.name}, {name}: {answer}"
        return str(answer["error"])

    def kill(self, node: Node) -> None:
        """A power cut."""
        node.kill()
        self.kills += 1
        player = self._players.pop(node.name, None)
        if player:
            player.kill()

    def close(self) -> None:
        for player in self._players.values():
            player.close()
        self._players.clear()


def new_name() -> str:
    """A lock of which nobody has heard."""
    return f"{LOCK}-{time.time()}"


@pytest.fixture(scope="module")
def grants() -> Iterator[Grants]:
    found = Grants()
    yield found
    found.close()
    print(f"\n{found.kills} holders were killed; {len(found.last)} locks, no token fell")


@pytest.fixture(scope="module")
def regions(lab: Lab, provisioned: list[Node]) -> Iterator[list[Region]]:
    """The three regions as this machine sees them."""
    found = [Region(provisioned[0].machine.disks / name) for name in disks.HEARTBEAT]
    yield found
    for region in found:
        region.close()


def make_record(lab: Lab, nodes: Sequence[Node]) -> list[str]:
    """As by hand: all nodes' marks, and headers on one node. The regions that got one."""
    marks = lab.each(lambda node: int(node.run(f"{RECORD} mark", timeout=60, check=True).stdout), nodes)
    made = nodes[0].run(f"{RECORD} create {max(marks)}", timeout=120, check=True).stdout
    return re.findall(r"^([0-9A-F]{32})  has a header now$", made, re.MULTILINE)


@pytest.fixture
def recorded(lab: Lab, players: list[Node], regions: list[Region]) -> list[Node]:
    """The nodes, with a record that is whole on all regions."""
    if not all(region.view().answers for region in regions):
        make_record(lab, players)
    assert [region.view().trouble() for region in regions] == [""] * 3
    for node in players:
        wait_for(node, TAKES_A_LOCK, 180)
    return players


@contextmanager
def clocks_off(offsets: Mapping[Node, int]) -> Iterator[None]:
    """Nodes with clocks that are off by so many seconds. Those that are down at the end are booted."""
    for node, seconds in offsets.items():
        node.run(f"date --set @{time.time() + seconds:.3f}", check=True)
    try:
        yield
    finally:
        for node in offsets:
            node.start()
        for node in offsets:
            node.boot()
            node.run(f"date --set @{time.time():.3f}", check=True)


def wait_for_beats(regions: Sequence[Region], offsets: Mapping[Node, int]) -> None:
    """Until the heartbeats of these nodes have the time of their clocks on all regions."""
    wait_until(
        lambda: all(
            abs(region.beat(node.number) - time.time() - seconds) < BEATS_SECONDS
            for region in regions
            for node, seconds in offsets.items()
        ),
        60,
        lambda: "the heartbeats have not the time of the clocks",
    )


def holders_die(
    regions: Sequence[Region], grants: Grants, nodes: Sequence[Node], offsets: Sequence[int], deaths: int = 1
) -> None:
    """A power cut of the first node, which has two locks, and of the second once it has got them, where two are to die.

    The others acquire them, and the dead do once they are back.
    """
    third = nodes[2]
    dead, alive = nodes[:deaths], nodes[deaths:]
    with clocks_off(dict(zip(nodes, offsets, strict=True))):
        wait_for_beats(regions, dict(zip(nodes, offsets, strict=True)))
        for holder in dead:
            grants.holds(holder, LOCK, RECOVERY_SECONDS)
            grants.has_in_turn(holder, FREED, wait=RECOVERY_SECONDS)
            grants.kill(holder)
            assert grants.tries(third, LOCK, 1).get("reason") in ("busy", "recovering", "unknown"), "and for no clock"
        for node in alive:
            grants.has_in_turn(node, LOCK, FREED, new_name(), wait=RECOVERY_SECONDS)
    for holder in dead:
        wait_for(holder, TAKES_A_LOCK, 180)
        grants.has_in_turn(holder, LOCK, FREED)


@pytest.mark.parametrize("clocks", CLOCKS)
def test_no_token_falls_and_no_clock_refuses_when_holders_die_and_the_clocks(
    recorded: list[Node], regions: list[Region], grants: Grants, clocks: str
) -> None:
    for turn in range(NODE_KILLS // (2 * len(CLOCKS))):
        nodes = recorded[turn % 3 :] + recorded[: turn % 3]
        holders_die(regions, grants, nodes, CLOCKS[clocks], deaths=2)


def test_a_blank_region_of_three_changes_nothing_and_gets_its_header_back(
    lab: Lab, recorded: list[Node], regions: list[Region], grants: Grants
) -> None:
    first, second, _third = regions
    first.blank()
    holders_die(regions, grants, recorded, (0, HOURS, -HOURS))
    assert first.view().header is None, "nobody but `record create` gives a region its header"
    largest = max(region.view().top() for region in regions)
    assert make_record(lab, recorded) == [first.uuid]
    assert first.view().top() >= largest
    second.blank()
    for node in recorded:
        grants.has_in_turn(node, LOCK, new_name())
    assert make_record(lab, recorded) == [second.uuid]


def test_with_all_regions_blank_unknown_tokens_are_refused_in_words_until_the_record_is_made_again(
    lab: Lab, recorded: list[Node], regions: list[Region], grants: Grants
) -> None:
    """A node that was switched off meanwhile remembers that there was a record, and does not go by its clock."""
    words = "0 of 3 heartbeat regions can tell"
    holder, heir, third = recorded
    grants.holds(holder, LOCK)
    grants.holds(heir, f"{LOCK}-known")
    with clocks_off({heir: -HOURS, third: HOURS}):
        wait_for_beats(regions, {heir: -HOURS, third: HOURS})
        for region in regions:
            region.blank()
        grants.releases(heir, f"{LOCK}-known")
        grants.has_in_turn(heir, f"{LOCK}-known")
        for node in recorded:
            assert words in grants.refused(node, new_name())
        grants.kill(holder)
        assert words in grants.refused(heir, LOCK, RECOVERY_SECONDS)
        holder.boot()
        wait_for(holder, "o2ctl lock list", 180)
        assert words in grants.refused(holder, LOCK, 20)
        assert sorted(make_record(lab, [heir, third, holder])) == sorted(region.uuid for region in regions)
        for node in (heir, third, holder):
            grants.has_in_turn(node, LOCK, f"{LOCK}-known", new_name(), wait=10)


def raise_marks(nodes: Sequence[Node], grants: Grants, turns: int = 2) -> None:
    """Let each node give out a token above the marks of all others, so that it has to write."""
    for _turn in range(turns):
        for node in nodes:
            grants.has_in_turn(node, new_name())


def test_a_region_that_was_set_back_changes_nothing_and_catches_up(
    recorded: list[Node], regions: list[Region], grants: Grants
) -> None:
    first, second, third = regions
    old = first.image()
    raise_marks(recorded, grants)
    grants.has_in_turn(recorded[1], LOCK)
    first.put(old)
    behind = first.view().top()
    assert behind < second.view().top()
    raise_marks(recorded, grants, turns=1)
    first.put(old)
    holders_die(regions, grants, recorded, (HOURS, -HOURS, 0))
    first.put(old)
    began = time.monotonic()
    wait_until(
        lambda: first.view().top() >= max(second.view().top(), third.view().top()),
        CATCH_UP_SECONDS,
        lambda: f"it does not catch up: {first.view()}",
    )
    print(f"\nnobody acquired a lock, and the region had all marks {time.monotonic() - began:.0f} s later")
    second.blank()
    for node in recorded:
        grants.has_in_turn(node, LOCK, new_name())


def test_where_all_regions_were_set_back_every_node_with_a_mark_above_refuses_until_it_is_raised(
    lab: Lab, recorded: list[Node], regions: list[Region], grants: Grants
) -> None:
    old = [region.image() for region in regions]
    raise_marks(recorded, grants)
    grants.has_in_turn(recorded[0], LOCK)
    for region, image in zip(regions, old, strict=True):
        region.put(image)
    for node in recorded:
        assert "restored or replaced by older ones" in grants.refused(node, new_name())
    marks = lab.each(lambda node: int(node.run(f"{RECORD} mark", timeout=60, check=True).stdout), recorded)
    assert max(marks) >= max(grants.last.values())
    recorded[1].run(f"{RECORD} raise {max(marks)}", timeout=60, check=True)
    for node in recorded:
        grants.has_in_turn(node, LOCK, new_name())


class Takers:
    """Two nodes that acquire many locks in turn, each of which the lock manager has forgotten by then."""

    def __init__(self, nodes: Sequence[Node], grants: Grants, prefix: str) -> None:
        self._grants = grants
        self._over = threading.Event()
        self._ready = threading.Barrier(len(nodes) + 1)
        self.granted: list[tuple[float, int, bool]] = []
        """When a lock was granted, in monotonic seconds, to which node, and whether its last token was unknown."""
        self.refused: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        """What each answer took."""
        self.problems: list[BaseException] = []
        self._names = [f"{prefix}{number}" for number in range(MANY)]
        self._threads = [
            threading.Thread(target=self._run, args=(node, turn * MANY // len(nodes)))
            for turn, node in enumerate(nodes)
        ]

    def _run(self, node: Node, first: int) -> None:
        remote = Remote(node)
        try:
            remote.ask(op="now")
            self._ready.wait(60)
            while not self._over.is_set():
                self._take(remote, self._names[first % MANY])
                first += 1
        except BaseException as error:  # noqa: BLE001
            self.problems.append(error)
        finally:
            remote.close()

    def _take(self, remote: Remote, name: str) -> None:
        began = time.monotonic()
        answer = remote.ask(op="take", name=name, wait=WAIT, owner=remote.node.name)
        self.seconds.append(time.monotonic() - began)
        if not answer.get("held"):
            self.refused.append(answer)
            return
        anew = self._grants.note(name, answer["token"], remote.node.name)
        self.granted.append((time.monotonic(), remote.node.number, anew))
        assert remote.ask(op="release", name=name).get("released"), name

    def __enter__(self) -> Takers:
        for thread in self._threads:
            thread.start()
        self._ready.wait(60)
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        anew = sum(unknown for _at, _node, unknown in self.granted)
        print(
            f"\n{len(self.granted)} grants, {anew} of locks whose last token was unknown, {len(self.refused)} refused, "
            f"the longest answer took {max(self.seconds, default=0):.1f} s"
        )
        if self.problems:
            raise self.problems[0]


SSH_SECONDS = 1.5
"""What the end of a command on a node may take to be known here, on a busy machine."""


def hang(node: Node, devices: Sequence[str], seconds: float, meanwhile: str = "true") -> tuple[float, float]:
    """Let the paths of these disks stand still on this node; two moments at which they did, in monotonic seconds."""
    words = [disks.script(list(devices), "hang"), f"{meanwhile}; sleep {seconds}", disks.script(list(devices), "ok")]
    done = node.run("\ndate +%s.%N\n".join([*words, "true"]), timeout=90, check=True)
    ended = time.monotonic()
    hung, woken, over = map(float, done.stdout.split())
    return ended - (over - hung), ended - (over - woken) - SSH_SECONDS


@pytest.mark.parametrize(
    ("meanwhile", "seconds"),
    [("true", HANG_SECONDS), ("systemctl kill --kill-who=main --signal=KILL o2keep", RESTART_SECONDS)],
    ids=["", "and o2keep is killed"],
)
def test_a_write_that_hangs_for_seconds_and_lands_then_lets_no_token_fall(
    recorded: list[Node], regions: list[Region], grants: Grants, meanwhile: str, seconds: float
) -> None:
    """One path of three that hangs keeps no o2keep from starting either."""
    node, other, _third = recorded
    slow, fast = regions[0], regions[1]
    with watched(regions) as watch, Takers([node, other], grants, f"hang{seconds}{time.time():.0f}-") as taking:
        time.sleep(3)
        began, ended = hang(node, [slow.name], seconds, meanwhile)
        wait_until(
            lambda: watch.at(slow, node.number, time.monotonic()) > watch.at(slow, node.number, ended),
            30,
            lambda: "no write came after the hanging one",
        )
        time.sleep(3)
    assert watch.falls == []
    still = [watch.at(slow, node.number, at) for at in (began, ended)]
    moved = [watch.at(fast, node.number, at) for at in (began, ended)]
    assert still[0] == still[1], "nothing came through while it hung"
    assert moved[0] < moved[1], "the node wrote to the other regions meanwhile"
    late = [at for at, who, _anew in taking.granted if who == node.number and began < at < ended]
    assert late, "it was granted locks meanwhile"
    if seconds == HANG_SECONDS:
        assert max(taking.seconds) <= MOST
        assert taking.refused == []
    else:
        assert ended - late[-1] < RESTART_SECONDS / 2, "also by the o2keep that was started meanwhile"
    assert any(anew for _at, _who, anew in taking.granted)


def test_while_all_paths_of_a_node_hang_who_acquires_is_answered_by_the_deadline(
    recorded: list[Node], regions: list[Region], grants: Grants
) -> None:
    node, other, _third = recorded
    with Takers([node, other], grants, f"all{time.time():.0f}-") as taking:
        time.sleep(3)
        began, ended = hang(node, disks.HEARTBEAT, HANG_SECONDS)
        time.sleep(5)
    assert max(taking.seconds) <= MOST
    assert any(began < at < ended and who == other.number for at, who, _anew in taking.granted)
    assert any(at > ended and who == node.number for at, who, _anew in taking.granted), "it goes on afterwards"
    assert {answer.get("reason") for answer in taking.refused} <= {"unknown", "recovering", "busy"}


FOURTH = "/dev/mapper/hb4"
FOURTH_PLACE = 1048576
"""Where a fourth region begins on the disk `data`, in sectors."""


@pytest.fixture
def fourth_disk(recorded: list[Node], controller: Controller) -> Iterator[str]:
    """A further shared disk, blank; until the next boot of each node."""
    make = f'[ -e {FOURTH} ] || dmsetup create hb4 --table "0 524288 linear /dev/ubde {FOURTH_PLACE}"'
    for node in recorded:
        node.run(make, check=True)
    kernel.blank(recorded[0], FOURTH)
    yield FOURTH
    controller.site(o2cb_locks=True)
    for node in recorded:
        node.run("dmsetup remove --retry hb4", check=True)


def test_a_region_is_replaced_and_comes_back_later_while_locks_are_acquired(
    lab: Lab,
    controller: Controller,
    recorded: list[Node],
    regions: list[Region],
    grants: Grants,
    fourth_disk: str,
) -> None:
    """Added to all nodes, `record create`, then the old one is removed. It comes back with the marks of that time."""
    old = regions[0]
    three = [{"device": f"/dev/mapper/{name}"} for name in disks.HEARTBEAT]
    largest = max(region.view().top() for region in regions)
    with Takers(recorded[:2], grants, f"replace{time.time():.0f}-") as taking:
        controller.site(o2cb_regions=[*three, {"device": fourth_disk}], o2cb_locks=True)
        new = Region(recorded[0].machine.disks / "data", FOURTH_PLACE * 512)
        make_record(lab, recorded)
        assert new.view().answers
        assert new.view().top() >= largest, "no token so far is above the floor of a new region"
        gone = {"cluster": "lab", "regions": [{"uuid": old.uuid}], "state": "absent"}
        removed = controller.module("heartbeat", gone)
        assert removed.rc == 0, removed.output
        time.sleep(15)
    words = [answer.get("error") or answer.get("reason") for answer in taking.refused]
    assert words == [], "nobody was refused meanwhile"
    # Its holder is not booted before the regions are as they were: hb4 is not there after a boot.
    before = old.view().top()
    raise_marks(recorded, grants)
    assert old.view().top() == before < new.view().top()
    holder, heir, third = recorded
    grants.holds(holder, LOCK)
    grants.kill(holder)
    grants.has_in_turn(heir, LOCK, wait=RECOVERY_SECONDS)
    holder.boot()
    holder.run(f'dmsetup create hb4 --table "0 524288 linear /dev/ubde {FOURTH_PLACE}"', check=True)
    holder.run("systemctl restart o2cb", timeout=120, check=True)
    wait_for(holder, TAKES_A_LOCK, 180)
    with Takers([heir, third], grants, f"back{time.time():.0f}-") as taking:
        controller.site(o2cb_regions=[*three, {"device": fourth_disk}], o2cb_locks=True)
        make_record(lab, recorded)
        gone = {"cluster": "lab", "regions": [{"uuid": new.uuid}], "state": "absent"}
        removed = controller.module("heartbeat", gone)
        assert removed.rc == 0, removed.output
        time.sleep(15)
    assert [answer.get("error") or answer.get("reason") for answer in taking.refused] == []
    for node in recorded:
        grants.has_in_turn(node, LOCK, new_name())
    new.close()


def test_the_first_lock_of_a_new_domain_is_granted_without_waiting_or_refused_as_joining(
    recorded: list[Node], grants: Grants
) -> None:
    answers = []
    with ExitStack() as stack:
        found = []
        for node in recorded:
            found.append(Remote(node))
            stack.callback(found[-1].close)
        for turn in range(NEW_DOMAINS):
            domain = f"new{time.time():.0f}{turn}"
            remote = found[turn % 3]
            began = time.monotonic()
            answer = remote.ask(op="take", name="first", domain=domain, wait=0)
            answers.append((answer.get("reason", "granted"), round(time.monotonic() - began, 1)))
            assert answer.get("held") or answer.get("reason") == "joining", answer
            if answer.get("held"):
                grants.note(f"{domain}/first", answer["token"], remote.node.name)
                assert remote.ask(op="release", name="first", domain=domain)["released"]
    print(f"\nfirst locks of new domains: {answers}")


def acquire(remote: Remote, **request: Any) -> dict[str, Any]:
    """The answer that grants a lock which another program of the cluster caches."""
    answers = []

    def granted() -> bool:
        answers.append(remote.ask(op="take", wait=WAIT, recall=True, **request))
        return bool(answers[-1].get("held"))

    wait_until(granted, 30, lambda: f"{request} is not had: {answers}")
    return answers[-1]


@pytest.mark.parametrize("where", ["on the same node", "on another node"])
@pytest.mark.parametrize("mode", ["exclusive", "shared"])
def test_the_value_block_of_a_foreign_program_is_left_alone(
    recorded: list[Node], grants: Grants, where: str, mode: str
) -> None:
    domain = f"foreign{mode[0]}{len(where)}"
    owner = recorded[0]
    node = owner if where == "on the same node" else recorded[1]
    text = f"mine since {time.time()}"
    owner.run(f"python3 /root/foreign.py write {domain}/block '{text}'", check=True)
    before = owner.run(f"python3 /root/foreign.py read {domain}/block", check=True).stdout
    assert bytes.fromhex(before) == text.encode().ljust(64, b".")
    with ExitStack() as stack:
        remote = Remote(node)
        stack.callback(remote.close)
        for _turn in range(2):
            answer = acquire(remote, name="block", domain=domain, mode=mode)
            if mode == "exclusive":
                grants.note(f"{domain}/block", answer["token"], node.name)
            assert remote.ask(op="release", name="block", domain=domain)["released"]
            after = owner.run(f"python3 /root/foreign.py read {domain}/block", check=True).stdout
            assert after == before
    owner.run(f"rm /dlm/{domain}/block && rmdir /dlm/{domain}", check=True)


def cost(node: Node, prefix: str) -> dict[str, float]:
    done = node.run(f"python3 /root/player.py fresh {COST} {prefix}", timeout=60 + COST, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_what_the_first_lock_of_an_idle_name_costs_with_the_record(recorded: list[Node], grants: Grants) -> None:
    found = [cost(node, f"cost{time.time():.0f}-") for node in recorded[:2]]
    assert found[1]["token"] > found[0]["token"], "a lock of which nobody knows has a token above all marks"
    print(f"\nfirst acquisition with the record, ms: {found}")
    print(recorded[0].run(f"{RECORD} try 500", timeout=120, check=True).stdout)


MARK = "/var/lib/o2keep/token"
LOOPS = [f"/dev/loop{number}" for number in range(1, 4)]


@contextmanager
def large_sectors(controller: Controller, nodes: Sequence[Node]) -> Iterator[None]:
    """The cluster on three regions with 4096-byte sectors; afterwards on the usual ones. All are formatted anew.

    Nobody remembers the tokens of the record: they may be ahead of all clocks, and then clocks refuse every lock.
    """
    controller.teardown()
    raw = [disks.UNITS[name] for name in disks.HEARTBEAT]
    for unit in raw:
        kernel.blank(nodes[0], unit)
    with ExitStack() as stack:
        stack.callback(controller.site, o2cb_locks=True)
        for node in nodes:
            stack.enter_context(kernel.disk_gone(node, *disks.HEARTBEAT))
            stack.enter_context(node.changed(f"mv {MARK} {MARK}.kept && sync", f"mv {MARK}.kept {MARK}"))
            for unit, loop in zip(raw, LOOPS, strict=True):
                change = f"modprobe loop && losetup --sector-size 4096 --direct-io=on {loop} {unit}"
                stack.enter_context(node.changed(change, f"losetup --detach {loop} || ! losetup {loop}"))
        try:
            controller.site(o2cb_regions=[{"device": loop} for loop in LOOPS], o2cb_locks=True)
            yield
        finally:
            for node in nodes:
                node.boot()
                node.run("systemctl unmask o2cb", check=True)
            controller.teardown()
            for unit in raw:
                kernel.blank(nodes[0], unit)


def test_on_regions_with_4096_byte_sectors_clocks_decide(controller: Controller, recorded: list[Node]) -> None:
    """The dead node starts no heartbeat at its boot: it would find the volumes on disks with 512-byte sectors."""
    holder, heir, third = recorded
    with large_sectors(controller, recorded), closing(Grants()) as grants:
        sizes = holder.run(f"cat {kernel.TREE}/lab/heartbeat/*/block_bytes", check=True).stdout.split()
        assert sizes == ["4096"] * 3
        made = holder.run(f"{RECORD} create", timeout=60)
        assert (made.rc, "only 0 of 3 regions have room" in made.stderr) == (1, True), made.stderr
        print(f"\nfirst acquisition by clocks, ms: {cost(holder, f'cost{time.time():.0f}-')}")
        grants.holds(holder, LOCK)
        grants.has_in_turn(holder, FREED)
        holder.run("systemctl mask o2cb && sync", check=True)
        grants.kill(holder)
        grants.has_in_turn(heir, LOCK, FREED, wait=RECOVERY_SECONDS)
        with clocks_off({third: -HOURS}):
            assert "s behind the newest heartbeat" in grants.refused(third, new_name(), WAIT)
        grants.has_in_turn(third, LOCK, FREED)
