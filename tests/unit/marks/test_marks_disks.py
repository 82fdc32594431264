# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes that read and write regions, on files that stand for devices: one that sleeps holds up no other."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import time
import zlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import (
    asking,
    creating,
    disks,
    format,
    local,
    page,
    recorder,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.disks import Disks, Hand, Region
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.format import Header, Slot
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.place import Place
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.recorder import Recorder
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.rules import (
    STEP,
    Asked,
    Ledger,
    NoRecordError,
    Read,
    Reading,
    RefusedError,
    RetakeError,
    Write,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import direct
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live, LiveRegion

UUIDS = ["0A" * 16, "0B" * 16, "0C" * 16]
START, BLOCK = 8192, 4096
EVERY = frozenset(UUIDS)
FLOOR = 5000


def volume(uuid: str) -> bytes:
    """What of a volume is looked at: its superblock, in block 2."""
    block = bytearray(BLOCK)
    block[:8] = b"OCFSV2\0\0"
    block[0x150:0x160] = bytes.fromhex(uuid)
    return bytes(2 * BLOCK) + bytes(block) + bytes(BLOCK)


def beat(node: int, sequence: int) -> bytes:
    raw = bytearray(512)
    struct.pack_into("<QB3xIQI", raw, 0, sequence, node, 0, 7, 62000)
    struct.pack_into("<I", raw, 12, zlib.crc32(raw, 0xFFFFFFFF) ^ 0xFFFFFFFF)
    return bytes(raw)


@pytest.fixture
def places(tmp_path):
    for uuid in UUIDS:
        data = bytearray(START * 2 + 512 * 512)
        data[: 4 * BLOCK] = volume(uuid)
        data[2 * START + 2 * 512 : 2 * START + 3 * 512] = beat(2, 1000)
        where = Place(uuid, uuid, 2 * START, 512)
        offset = where.record(0)[0]
        data[offset : offset + 512] = format.encode_header(Header(uuid, "lab", 1, FLOOR), 512)
        (tmp_path / uuid).write_bytes(bytes(data))
    return [Place(uuid, uuid, 2 * START, 512) for uuid in UUIDS]


@pytest.fixture
def regions(tmp_path, places):
    """Three regions, each with its process. O_DIRECT is left out: not every file system takes it."""
    made = Disks([Hand(w, disks.fork(w, str(tmp_path / w.uuid), str(tmp_path / "locks"), 0)) for w in places], 4)
    yield made
    for hand in made.hands:
        if hand.pid:
            os.kill(hand.pid, signal.SIGCONT)
    made.close()


def read(regions: Disks, seconds: float = 5.0, **wish) -> Reading:
    return regions.read(Read(EVERY, **wish), seconds, lambda view: view.answers, 2)


def slots(mark: int, sequence: int) -> Write:
    return Write({uuid: Slot(uuid, 1, "00" * 16, sequence, mark) for uuid in UUIDS})


def sleep(hand: Hand) -> None:
    """What a disk does to it that does not answer."""
    os.kill(hand.pid, signal.SIGSTOP)
    os.waitpid(hand.pid, os.WUNTRACED)


def quiet(regions: Disks) -> None:
    """Nothing is under way any more."""
    until = time.monotonic() + 5
    while any(hand.busy or hand.reading for hand in regions.hands) and time.monotonic() < until:
        regions.pump(0.1)


def test_what_is_written_is_read_on_all_regions(regions):
    assert read(regions, everyone=True).views[UUIDS[0]].header.floor == FLOOR
    assert regions.write(slots(7000, 1), 5, 3) == EVERY
    found = read(regions, everyone=True)
    assert {view.mark(1) for view in found.views.values()} == {7000}
    assert found.beats[UUIDS[0]][2].sequence == 1000


@pytest.mark.parametrize("by_devices", [True, False])
def test_a_change_by_another_is_seen_at_once(regions, places, tmp_path, by_devices):
    if not by_devices:
        regions._queue = None
    for mark in (6000, 6001, 6001, 6002):
        other = Region(places[0], str(tmp_path / UUIDS[0]), str(tmp_path / "other"), 0)
        other.write(places[0].slot(3), format.encode_slot(Slot(UUIDS[0], 3, "00" * 16, 1, mark), 512))
        assert read(regions, everyone=True).views[UUIDS[0]].mark(3) == mark


def test_a_region_that_sleeps_holds_up_no_reading(regions):
    read(regions, everyone=True)
    sleep(regions.hands[1])
    began = time.monotonic()
    assert len(read(regions, seconds=10).views) >= 2
    assert time.monotonic() - began < 5


def test_a_region_that_sleeps_holds_up_no_write_and_is_not_written_again(regions):
    read(regions, everyone=True)
    sleep(regions.hands[1])
    began = time.monotonic()
    assert regions.write(slots(7000, 1), 10, 2) == {UUIDS[0], UUIDS[2]}
    assert regions.write(slots(8000, 2), 10, 2) == {UUIDS[0], UUIDS[2]}
    assert time.monotonic() - began < 5
    assert regions.hands[1].lane.under_way.mark == 7000
    assert UUIDS[1] in regions.hung(0.0)
    os.kill(regions.hands[1].pid, signal.SIGCONT)
    quiet(regions)
    assert regions.hands[1].lane.written == 2
    assert read(regions, everyone=True).views[UUIDS[1]].mark(1) == 8000


def test_a_write_of_a_life_before_that_has_not_returned_keeps_this_one_from_writing(regions, tmp_path):
    read(regions, everyone=True)
    lock = os.open(tmp_path / "locks" / UUIDS[0], os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert regions.write(slots(7000, 1), 5, 3) == {UUIDS[1], UUIDS[2]}
    assert "earlier process" in regions.hands[0].problem
    os.close(lock)
    assert regions.write(slots(7001, 2), 5, 3) == EVERY


def test_nothing_is_read_while_a_write_of_a_life_before_is_under_way(regions, tmp_path):
    (tmp_path / "locks").mkdir()
    lock = os.open(tmp_path / "locks" / UUIDS[0], os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    found = read(regions, everyone=True)
    assert set(found.views) == {UUIDS[1], UUIDS[2]}
    assert "earlier process" in found.problems[UUIDS[0]]
    os.close(lock)
    assert set(read(regions, everyone=True).views) == EVERY


def test_a_process_that_ends_is_started_again(regions):
    read(regions, everyone=True)
    os.kill(regions.hands[0].pid, signal.SIGKILL)
    os.waitpid(regions.hands[0].pid, 0)
    assert set(read(regions, everyone=True).views) == EVERY
    assert regions.write(slots(7000, 1), 5, 3) == EVERY


def test_a_device_that_carries_another_volume_is_no_region(regions, tmp_path):
    with (tmp_path / UUIDS[2]).open("r+b") as file:
        file.seek(2 * BLOCK + 0x150)
        file.write(bytes(16))
    found = read(regions, everyone=True)
    assert found.problems == {UUIDS[2]: os.strerror(errno.ENODEV)}


def test_no_half_sector_is_written(places, tmp_path):
    region = Region(places[0], str(tmp_path / UUIDS[0]), str(tmp_path / "locks"), 0)
    with pytest.raises(OSError, match="Invalid"):
        region.write(places[0].slot(1), bytes(256))


# The process that keeps the record


@pytest.fixture
def keeps(regions, tmp_path):
    ledger = Ledger(1, "00" * 16, UUIDS, 62000)
    made = Recorder(ledger, regions, page.create(str(tmp_path / "page")), local.File(str(tmp_path / "token")))
    made.catch_up()
    return made


def test_tokens_rise_and_the_page_shows_the_mark(keeps, tmp_path):
    seen = page.look(os.open(tmp_path / "page", os.O_RDONLY))
    assert seen.state == page.RECORD
    (first,) = keeps.run(keeps.ledger.sign([Asked(None, 0, seen.reading)]))
    after = page.look(os.open(tmp_path / "page", os.O_RDONLY))
    assert (first, after.mark) == (FLOOR + 1, keeps.ledger.mark)
    assert local.File(str(tmp_path / "token")).local.mark == keeps.ledger.mark
    assert local.File(str(tmp_path / "token")).local.knows(UUIDS)


def test_the_own_file_is_written_only_when_the_mark_rises(keeps, tmp_path):
    writes = keeps.own.local.writes
    for _token in range(5):
        keeps.run(keeps.ledger.sign([Asked(None, 0, keeps.shown.reading)]))
    assert keeps.own.local.writes == writes + 1


def test_a_region_that_sleeps_holds_up_no_catching_up_and_is_caught_up_soon_after_it_wakes(keeps, monkeypatch):
    quiet(keeps.regions)
    hand = keeps.regions.hands[0]
    hand.forget_device()
    sleep(hand)
    began = time.monotonic()
    keeps.catch_up()
    assert time.monotonic() - began < 4 < recorder.SECONDS
    assert keeps.problem == ""
    keeps.run(keeps.ledger.sign([Asked(70_000, 0, keeps.shown.reading)]))
    calm = keeps.due
    os.kill(hand.pid, signal.SIGCONT)
    quiet(keeps.regions)
    monkeypatch.setattr(recorder, "AWAY_SECONDS", 0.0)
    keeps.run(keeps.ledger.refresh())
    assert keeps.due < calm
    keeps.catch_up()
    found = read(keeps.regions, everyone=True)
    assert {found.views[uuid].mark(1) for uuid in UUIDS} == {keeps.ledger.mark}


def test_workers_ask_by_a_socket(keeps, tmp_path):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        try:
            recorder.Server(keeps, str(tmp_path / "socket"), reader).serve()
        finally:
            os._exit(0)
    os.close(reader)
    asker = asking.Asker(str(tmp_path / "socket"), str(tmp_path / "page"), seconds=10)
    recorder.wait_for(str(tmp_path / "socket"))
    seen = asker.before()
    first = asker.token(None, 0, seen)
    assert asker.token(first, first, asker.before()) == first + 1
    assert asker.tokens([(None, first + 1)] * 3, asker.before()) == [first + 2] * 3
    assert asker.ask({"verb": "state"})["problem"] == ""
    asker.ask({"verb": "keep", "token": 10**9})
    assert local.File(str(tmp_path / "token")).local.mark == 10**9
    assert asker.is_there()
    tried = [recorder.Trial(**asker.ask({"verb": "try"})) for _number in range(2)]
    assert [one.token for one in tried] == [first + 3, first + 4]
    assert [one.written for one in tried] == [False, False]
    assert 0 < tried[0].seconds < 5
    assert asker.ask({"verb": "raise", "token": 70_000}) == {"mark": 70_000 + STEP}
    assert asker.token(None, 0, asker.before()) == 70_001
    os.close(writer)
    assert os.waitpid(pid, 0)[0] == pid


def test_who_asks_while_the_regions_change_waits_for_the_recorder_that_follows(keeps, places, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "SHAPE_SECONDS", 0.2)
    (tmp_path / "shape").write_text("three regions")
    reader, writer = os.pipe()

    def renew(before: Recorder) -> Recorder:
        before.close()
        time.sleep(1.0)
        (tmp_path / "renewed").touch()
        hands = [Hand(w, disks.fork(w, str(tmp_path / w.uuid), str(tmp_path / "locks"), 0)) for w in places[:2]]
        regions = [where.uuid for where in places[:2]]
        ledger = Ledger(1, "00" * 16, regions, 62000, local=before.own.local.mark, seen=True)
        return Recorder(ledger, Disks(hands, 4), page.create(str(tmp_path / "page")), before.own)

    pid = os.fork()
    if pid == 0:
        os.close(writer)
        try:
            shape = (tmp_path / "shape").read_text
            recorder.Server(keeps, str(tmp_path / "socket"), reader, shape, renew).serve()
        finally:
            os._exit(0)
    os.close(reader)
    recorder.wait_for(str(tmp_path / "socket"))
    asker = asking.Asker(str(tmp_path / "socket"), str(tmp_path / "page"), seconds=20)
    first = asker.token(None, 0, asker.before())
    (tmp_path / "shape").write_text("two regions")
    until = time.monotonic() + 20
    while not (tmp_path / "renewed").exists() and time.monotonic() < until:
        asker.ask({"verb": "refresh"})
    assert asker.token(None, 0, asker.before()) > first
    (tmp_path / "shape").write_text("none")
    os.close(writer)
    assert os.waitpid(pid, 0)[0] == pid


def test_only_regions_that_are_new_are_looked_at_when_they_change(monkeypatch):
    looked = []
    monkeypatch.setattr(recorder.direct, "read", lambda extents, _seconds: looked.extend(extents) or [direct.Answer()])
    monkeypatch.setattr(recorder.devices, "preferred_path", lambda device: f"/dev/{device}")
    stays, new = LiveRegion(UUIDS[0], "dm-0", 512, 16, 255), LiveRegion(UUIDS[1], "dm-1", 512, 16, 255)
    known = [Place(UUIDS[0], "dm-0", 16 * 512, 512), Place(UUIDS[1], "dm-0", 16 * 512, 512)]
    assert recorder.places_of(SimpleNamespace(regions=[stays, new]), known=known) == ([known[0]], [])
    assert [extent.path for extent in looked] == ["/dev/dm-1"]


def test_a_record_that_is_made_counts_for_the_next_lock(regions, tmp_path, places):
    """However long a node has gone by clocks: it looks each time, after the grant."""
    for where in places:
        with (tmp_path / where.uuid).open("r+b") as file:
            file.seek(where.record(0)[0])
            file.write(bytes(512))
    own = local.File(str(tmp_path / "token"))
    keeps = Recorder(Ledger(1, "00" * 16, UUIDS, 62000), regions, page.create(str(tmp_path / "page")), own)
    for previous in (None, 7):
        with pytest.raises(NoRecordError):
            keeps.run(keeps.ledger.sign([Asked(previous, 0, 0)]))
        assert keeps.shown.state == page.NONE
    for where in places:
        with (tmp_path / where.uuid).open("r+b") as file:
            file.seek(where.record(0)[0])
            file.write(format.encode_header(Header(where.uuid, "lab", 1, FLOOR), 512))
    answer = keeps.run(keeps.ledger.sign([Asked(None, 0, 0)]))[0]
    assert isinstance(answer, RetakeError)
    assert keeps.run(keeps.ledger.sign([Asked(None, 0, keeps.shown.reading)])) == [FLOOR + 2]


def test_a_known_token_needs_nobody_below_the_mark_of_before_the_try(tmp_path):
    asker = asking.Asker(str(tmp_path / "nobody"), str(tmp_path / "page"))
    assert not asker.is_there()
    seen = page.Page(page.RECORD, 7, 9000, 0.0)
    assert asker.token(8999, 0, seen) == 9000
    with pytest.raises(RefusedError, match="does not answer"):
        asker.token(9000, 0, seen)


@pytest.mark.parametrize("problem", ["/dev/dm-0 did not answer within 2 s", "/dev/dm-0: Input/output error"])
def test_a_region_that_does_not_answer_at_the_start_keeps_no_other_from_being_used(monkeypatch, problem):
    """It has a place until it turns out to have none."""
    room, none = volume(UUIDS[1]), bytes(1024) + volume(UUIDS[2])[2 * BLOCK : 3 * BLOCK]
    answers = [direct.Answer(problem=problem), direct.Answer(room), direct.Answer(none), direct.Answer(bytes(16384))]
    monkeypatch.setattr(recorder.direct, "read", lambda _extents, _seconds: answers)
    monkeypatch.setattr(recorder.devices, "preferred_path", lambda device: f"/dev/{device}")
    regions = [LiveRegion(uuid, "dm-0", 512, 16, 255) for uuid in [*UUIDS, "0D" * 16]]
    found, placeless = recorder.places_of(SimpleNamespace(regions=[*regions, LiveRegion("0E" * 16)]))
    assert [where.uuid for where in found] == UUIDS[:2]
    assert placeless == UUIDS[2:]


def test_a_region_that_turns_out_to_have_no_room_is_told_from_one_that_hangs(regions, tmp_path, places):
    small = bytes(1024) + volume(UUIDS[0])[2 * BLOCK : 3 * BLOCK]
    with (tmp_path / UUIDS[0]).open("r+b") as file:
        file.write(small)
    assert not regions.crowded()
    found = read(regions, everyone=True)
    assert (set(found.views), regions.crowded()) == (set(UUIDS[1:]), True)


# Creation


def test_first_headers_have_a_floor_above_all_clocks_beats_and_marks(regions, tmp_path, places):
    for where in places:
        with (tmp_path / where.uuid).open("r+b") as file:
            file.seek(where.record(0)[0])
            file.write(bytes(512))
    blank = read(regions, everyone=True, whole=True)
    headers = creating.plan("lab", UUIDS, blank, creating.Known([40 * 10**6, 7], [20.0, 30.0]))
    assert set(headers) == EVERY
    assert {header.floor for header in headers.values()} == {1000 * 10**6 + creating.MARGIN}
    late = creating.plan("lab", UUIDS, blank, creating.Known([2000 * 10**6], [20.0]))
    assert {header.floor for header in late.values()} == {2000 * 10**6 + creating.MARGIN}


def test_a_region_that_is_blank_among_others_gets_their_largest_mark(regions, tmp_path, places):
    regions.write(slots(9000, 1), 5, 3)
    with (tmp_path / UUIDS[1]).open("r+b") as file:
        file.seek(places[1].record(0)[0])
        file.write(bytes(1024))
    found = read(regions, everyone=True, whole=True)
    headers = creating.plan("lab", UUIDS, found, creating.Known([], []))
    assert headers == {UUIDS[1]: Header(UUIDS[1], "lab", 2, 9000)}


def test_nothing_is_made_while_a_region_does_not_answer(regions):
    found = read(regions, everyone=True)
    missing = found._replace(problems={UUIDS[0]: "Input/output error"})
    with pytest.raises(O2cbError, match="Input/output error"):
        creating.plan("lab", UUIDS, missing, creating.Known([], []))


def test_nothing_is_made_where_most_regions_have_no_room(regions):
    found = read(regions, everyone=True)
    found = found._replace(views={UUIDS[0]: format.View(format.BLANK, None, {}, {})}, placeless=frozenset(UUIDS[1:]))
    with pytest.raises(O2cbError, match="clocks decide"):
        creating.plan("lab", UUIDS, found, creating.Known([], []))


def test_a_header_of_another_cluster_becomes_one_of_this_and_loses_nothing(regions):
    regions.write(slots(9000, 1), 5, 3)
    found = read(regions, everyone=True, whole=True)
    headers = creating.plan("renamed", UUIDS, found, creating.Known([], []))
    assert headers == {uuid: Header(uuid, "renamed", 2, 9000) for uuid in UUIDS}


NODES = {1: "node1", 2: "node2"}


@pytest.mark.parametrize(
    ("alive", "first", "problem"),
    [
        ({UUIDS[0]: {1, 2}}, True, ""),
        ({UUIDS[0]: {1}}, True, "node2 does not heartbeat"),
        ({UUIDS[0]: {1}}, False, ""),
        ({UUIDS[0]: {1}, UUIDS[1]: {1, 2}}, False, "node2 does not heartbeat"),
        ({}, True, "node1, node2 does not heartbeat"),
    ],
)
def test_a_header_needs_every_node_to_beat_on_its_region(alive, first, problem):
    found = creating.missing(NODES, alive, UUIDS[:1], first)
    assert found.startswith(problem) if problem else found == ""


class Steps:
    """What `create` does to a cluster of these regions, in its order."""

    def __init__(self, with_header: Sequence[str], silent: str = "") -> None:
        self.log: list[Any] = []
        self._views = {uuid: self._view(uuid) if uuid in with_header else NOTHING for uuid in UUIDS}
        self._silent = silent

    def _view(self, uuid: str) -> format.View:
        return format.View(format.VALID, Header(uuid, "lab", 1, FLOOR), {}, {})

    def look(self, live: Live) -> tuple[Reading, list[Place]]:
        self.log.append("look")
        return Reading(1, 0.0, dict(self._views), {}), []

    def beating(self, live: Live) -> dict[str, set[int]]:
        self.log.append("beats")
        return {uuid: {1} if uuid == self._silent else {1, 2} for uuid in UUIDS}

    def write(self, headers: dict[str, Header], places: list[Place], strangers: object) -> None:
        self.log.append(sorted(headers))
        self._views.update({uuid: format.View(format.VALID, header, {}, {}) for uuid, header in headers.items()})

    def sleep(self, seconds: float) -> None:
        assert seconds > recorder.SHAPE_SECONDS
        self.log.append("wait")


NOTHING = format.View(format.BLANK, None, {}, {})
CLUSTER = Cluster("lab", (Node("node1", 1, "10.0.0.1"), Node("node2", 2, "10.0.0.2")), tuple(UUIDS))
LIVE = Live(CLUSTER, tuple(LiveRegion(uuid, "dm-0") for uuid in UUIDS), "node1")


def made(monkeypatch: pytest.MonkeyPatch, steps: Steps, among: Sequence[str] | None = None) -> list[str]:
    for name in ("look", "beating", "write"):
        monkeypatch.setattr(creating, name, getattr(steps, name))
    monkeypatch.setattr(creating.time, "sleep", steps.sleep)
    return creating.create(LIVE, creating.Known([7], [1000.0]), among)


def test_the_first_headers_are_written_when_all_beat(monkeypatch):
    steps = Steps([])
    assert made(monkeypatch, steps) == UUIDS
    assert steps.log == ["look", "beats", "look", UUIDS, "look"]
    assert made(monkeypatch, steps) == []


def test_a_new_region_gets_the_marks_as_they_are_when_every_node_goes_by_it(monkeypatch):
    steps = Steps(UUIDS[:2])
    assert made(monkeypatch, steps) == UUIDS[2:]
    assert steps.log == ["look", "beats", "wait", "look", UUIDS[2:], "look"]


def test_only_the_regions_that_are_asked_for_get_a_header(monkeypatch):
    assert made(monkeypatch, Steps([]), UUIDS[1:]) == UUIDS[1:]
    assert made(monkeypatch, Steps(UUIDS[:2]), UUIDS[:1]) == []


def test_nothing_is_written_while_a_node_is_silent(monkeypatch):
    steps = Steps([], silent=UUIDS[1])
    with pytest.raises(creating.SilentError, match=f"node2 does not heartbeat on region {UUIDS[1]}"):
        made(monkeypatch, steps)
    assert steps.log == ["look", "beats"]


def test_the_process_of_a_region_keeps_no_output_of_its_starter_open(regions):
    """A remote shell waits for its end, and it may sleep for ever."""
    read(regions, everyone=True)
    for hand in regions.hands:
        assert {os.readlink(f"/proc/{hand.pid}/fd/{number}") for number in (0, 1, 2)} == {os.devnull}
