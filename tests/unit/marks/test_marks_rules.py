# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node makes of the record: one schedule at a time. The simulator has all at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import rules
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.format import (
    BLANK,
    FOREIGN,
    LATER,
    TORN,
    VALID,
    Header,
    Slot,
    View,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.rules import (
    STEP,
    Asked,
    Lane,
    Ledger,
    NoRecordError,
    Read,
    Reading,
    RefusedError,
    RetakeError,
)
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.blocks import Beat
from simulator.marks import mutants

A, B, C = "0A" * 16, "0B" * 16, "0C" * 16
BOOT = "00" * 16
FLOOR = 5000


@dataclass
class Disks:
    """Regions in memory that always answer, but for those that are taken away."""

    views: dict[str, View] = field(default_factory=dict)
    beats: dict[int, int] = field(default_factory=lambda: {2: 1000})
    gone: set[str] = field(default_factory=set)
    deaf: set[str] = field(default_factory=set)
    """Regions that acknowledge no write."""
    number: int = 0
    log: list[str] = field(default_factory=list)

    def run(self, steps, between=None):
        fact = None
        while True:
            try:
                wish = steps.send(fact)
            except StopIteration as end:
                return end.value
            if isinstance(wish, Read):
                self.log.append("read")
                fact = self.reading()
            else:
                self.log.append("write")
                for uuid, slot in wish.slots.items():
                    if uuid not in self.deaf | self.gone:
                        view = self.views[uuid]
                        bad = {node: kind for node, kind in view.bad.items() if node != slot.node}
                        self.views[uuid] = view._replace(slots={**view.slots, slot.node: slot}, bad=bad)
                fact = frozenset(wish.slots) - self.deaf - self.gone
                if between:
                    between()

    def reading(self) -> Reading:
        self.number += 1
        here = {uuid: view for uuid, view in self.views.items() if uuid not in self.gone}
        beats = {node: Beat(node, sequence, 1, 62000, True) for node, sequence in self.beats.items()}
        gone = dict.fromkeys(self.gone, "Input/output error")
        return Reading(self.number, float(self.number), here, dict.fromkeys(here, beats), gone)


def view(uuid: str, marks: dict[int, int] | None = None, floor: int = FLOOR, **more) -> View:
    slots = {node: Slot(uuid, node, BOOT, 1, mark) for node, mark in (marks or {}).items()}
    return View(VALID, Header(uuid, "lab", 1, floor), slots, more.get("bad", {}))


@pytest.fixture
def disks() -> Disks:
    return Disks({uuid: view(uuid) for uuid in (A, B, C)})


def ledger(node: int = 1, regions=(A, B, C), kind: type[Ledger] = Ledger, **more) -> Ledger:
    return kind(node, BOOT, regions, 62000, **more)


def begun(disks: Disks, **more) -> Ledger:
    """One that has read: its next tokens have a reading before the grant."""
    made = ledger(**more)
    disks.run(made.refresh())
    return made


def token(disks: Disks, own: Ledger, previous: int | None = None, granted: int = 0, since: int | None = None, **more):
    asked = Asked(previous, granted, disks.number if since is None else since)
    (found,) = disks.run(own.sign([asked]), **more)
    if isinstance(found, RefusedError):
        raise found
    return found


def test_the_first_token_is_above_the_floor_and_below_a_committed_mark(disks):
    own = begun(disks)
    assert token(disks, own) == FLOOR + 1
    assert own.mark == FLOOR + 1 + STEP
    assert all(found.mark(1) == own.mark for found in disks.views.values())


def test_tokens_below_the_own_mark_need_no_write(disks):
    own = begun(disks)
    token(disks, own)
    disks.log.clear()
    assert token(disks, own) == FLOOR + 2
    assert disks.log == ["read"]


def test_a_token_is_above_the_marks_of_all_others(disks):
    disks.views[B] = view(B, {2: 9000})
    disks.views[C] = view(C, {2: 9000})
    assert token(disks, begun(disks)) == 9001


def test_a_known_token_is_followed_by_the_next_and_needs_a_mark_above_it(disks):
    own = begun(disks)
    assert token(disks, own, previous=70_000) == 70_001
    assert own.mark == 70_001 + STEP
    assert disks.log[-2:] == ["write", "read"]


def test_many_locks_cost_one_reading(disks):
    own = begun(disks)
    token(disks, own)
    disks.log.clear()
    found = disks.run(own.sign([Asked(None, 0, disks.number)] * 100))
    assert found == [FLOOR + 2] * 100
    assert disks.log == ["read"]


def test_the_own_mark_counts_after_a_restart(disks):
    token(disks, begun(disks))
    assert token(disks, begun(disks)) == FLOOR + 1 + STEP + 1


def test_what_was_read_once_counts_also_when_the_region_that_said_it_forgets(disks):
    disks.views[A] = view(A, {2: 9000})
    own = begun(disks)
    disks.views[A] = view(A)
    assert token(disks, own) == 9001


@pytest.mark.parametrize("gone", [{A}, {B}, {C}])
def test_a_minority_that_is_gone_changes_nothing(disks, gone):
    disks.gone = gone
    assert token(disks, begun(disks)) == FLOOR + 1


def test_fewer_than_a_majority_is_refused_with_every_reason(disks):
    own = begun(disks)
    disks.gone = {A}
    disks.views[B] = view(B, bad={3: TORN})
    with pytest.raises(RefusedError, match="only 1 of 3") as caught:
        token(disks, own)
    assert f"{A}: Input/output error" in str(caught.value)
    assert "the slot of node 3 is torn" in str(caught.value)


def test_a_write_that_too_few_acknowledge_is_refused(disks):
    own = begun(disks)
    disks.deaf = {A, B}
    with pytest.raises(RefusedError, match="is on 1 of 3"):
        token(disks, own)


def test_a_mark_is_read_back_before_it_counts(disks):
    own = begun(disks)
    disks.deaf = {C}

    def blanked() -> None:
        disks.views[A] = View(BLANK, None, {}, {})

    with pytest.raises(RefusedError):
        token(disks, own, between=blanked)
    assert own.mark == 0


def unreadable(kind: str) -> View:
    """Region A after it lost what it had."""
    return view(A, bad={2: TORN}) if kind == TORN else View(kind, None, {}, {})


COUNTING = {
    TORN: mutants.TornIsBlank,
    BLANK: mutants.BlankIsZero,
    FOREIGN: mutants.ForeignIsZero,
}


@pytest.mark.parametrize("kind", COUNTING)
def test_a_region_that_lost_its_marks_counts_for_nobody(disks, kind):
    """Node 2's mark is on A and B, C did not get it; A loses it, and B is away."""
    disks.views[B] = view(B, {2: 9000})
    disks.views[A] = unreadable(kind)
    disks.gone = {B}
    with pytest.raises(RefusedError):
        token(disks, ledger(seen=True))
    guessing = begun(disks, seen=True, kind=COUNTING[kind])
    assert guessing.lower < 9000, "without the rule this node would go below node 2"


def test_a_later_version_is_refused_loudly(disks):
    disks.views[A] = View(LATER, None, {}, {})
    with pytest.raises(RefusedError, match="later version: upgrade"):
        begun(disks)
    disks.views[A] = view(A, bad={4: LATER})
    with pytest.raises(RefusedError, match="later version: upgrade"):
        begun(disks)


def test_blank_regions_mean_clocks_unless_this_node_has_seen_a_record(disks):
    disks.views = {uuid: View(BLANK, None, {}, {}) for uuid in (A, B, C)}
    with pytest.raises(NoRecordError):
        begun(disks)
    with pytest.raises(RefusedError):
        begun(disks, seen=True)


def test_one_header_among_blank_regions_is_no_reason_for_clocks(disks):
    disks.views[B] = disks.views[C] = View(BLANK, None, {}, {})
    with pytest.raises(RefusedError):
        begun(disks)


def test_storage_that_was_set_back_is_refused(disks):
    with pytest.raises(RefusedError, match="restored or replaced"):
        begun(disks, local=FLOOR + STEP + 1)
    begun(disks, local=FLOOR + STEP)


def test_marks_that_get_lost_in_between_are_refused(disks):
    own = begun(disks)
    token(disks, own)
    disks.views = {uuid: view(uuid) for uuid in (A, B, C)}
    with pytest.raises(RefusedError, match="has lost the mark"):
        token(disks, own)


# The pause check


def set_back(disks: Disks, mark: int = FLOOR) -> None:
    """All regions as they were when node 1 had this mark."""
    disks.views.update({uuid: view(uuid, {1: mark}) for uuid in (A, B, C)})


@pytest.mark.parametrize("before", ["before its first reading", "while it runs"])
def test_a_mark_that_is_raised_by_hand_ends_the_refusal_and_is_above_all_that_this_node_gave_out(disks, before):
    own = begun(disks)
    token(disks, own, previous=70_000)
    mark = own.mark
    set_back(disks)
    if before != "while it runs":
        own = ledger(local=mark, seen=True)
    with pytest.raises(RefusedError, match="older"):
        disks.run(own.refresh())
    disks.run(own.raise_above(80_000))
    assert all(found.mark(1) == 80_000 + STEP for found in disks.views.values())
    assert token(disks, own) == 80_001
    assert token(disks, begun(disks, node=2)) == 80_001 + STEP
    set_back(disks)
    with pytest.raises(RefusedError, match="older"):
        disks.run(own.refresh())
    disks.run(own.raise_above(1))
    assert all(found.mark(1) > 80_000 + STEP for found in disks.views.values())


def test_a_raise_by_hand_that_fails_leaves_the_refusal(disks):
    own = ledger(local=90_000, seen=True)
    disks.gone.update((A, B))
    with pytest.raises(RefusedError, match="only 1 of 3"):
        disks.run(own.raise_above(95_000))
    disks.gone.clear()
    with pytest.raises(RefusedError, match="older"):
        disks.run(own.refresh())


def test_after_a_raise_to_less_than_its_own_file_a_node_gives_out_no_token_again(disks):
    own = ledger(local=90_000, seen=True)
    disks.run(own.raise_above(80_000))
    assert own.mark == 90_000 + STEP
    disks.run(own.refresh())
    assert token(disks, own) == 90_001


def test_a_pause_between_grant_and_answer_is_found_by_the_beats_of_others(disks):
    own = begun(disks)
    disks.beats[2] += 31
    with pytest.raises(RetakeError, match="node 2 is 31 s further"):
        token(disks, own)
    assert token(disks, own) == FLOOR + 2


def test_a_pause_before_the_first_reading_after_the_grant_is_found(disks):
    own, wrong = begun(disks), begun(disks, kind=mutants.ChecksFromReading)
    since = disks.number
    disks.beats[2] += 40
    with pytest.raises(RetakeError):
        token(disks, own, since=since - 1)
    assert token(disks, wrong, since=since), "a check since a later reading misses it"


def test_a_node_that_begins_to_beat_or_vanishes_is_a_pause(disks):
    own = begun(disks)
    disks.beats[3] = 1000
    with pytest.raises(RetakeError, match="node 3 has begun"):
        token(disks, own)
    del disks.beats[3]
    with pytest.raises(RetakeError, match="node 3 cannot"):
        token(disks, own)


def test_beats_of_two_regions_may_differ_by_a_little(disks):
    own = begun(disks)
    disks.beats[2] -= 2
    assert token(disks, own) == FLOOR + 1


def test_a_grant_from_before_the_first_reading_is_to_be_repeated(disks):
    own = ledger()
    with pytest.raises(RetakeError, match="not known any more"):
        token(disks, own, since=0)
    assert token(disks, own)


def test_a_dead_time_in_which_a_pause_could_hide_is_refused():
    with pytest.raises(O2cbError, match="7 or more"):
        Ledger(1, BOOT, [A], 12_000)


# Catching up


def test_a_region_that_was_away_gets_the_marks_of_dead_nodes_too(disks):
    disks.views[A], disks.views[B] = view(A, {2: 9000}), view(B, {2: 9000})
    disks.run(ledger().catch_up())
    assert disks.views[C].mark(1) == 9000
    assert disks.views[A].mark(1) == 9000
    disks.log.clear()
    disks.run(ledger().catch_up())
    assert disks.log == ["read"], "where nothing is missing nothing is written"


def test_the_own_mark_comes_to_every_region_also_where_another_node_has_one_as_large(disks):
    """Node 2 does not count its own mark: on C it would not see that node 1 has one too."""
    for uuid in (A, B, C):
        disks.views[uuid] = view(uuid, {2: 9000} if uuid == C else {1: 9000, 2: 9000})
    disks.run(ledger().catch_up())
    assert disks.views[C].mark(1) == 9000


def test_a_torn_own_slot_is_mended(disks):
    disks.views[A] = view(A, bad={1: TORN})
    disks.views[B] = view(B, {1: 7000})
    disks.run(ledger().catch_up())
    assert disks.views[A].answers
    assert disks.views[A].mark(1) == 7000


def test_a_torn_slot_of_another_node_is_left_to_it(disks):
    disks.views[A] = view(A, bad={2: TORN})
    disks.run(ledger().catch_up())
    assert disks.views[A].bad == {2: TORN}


# Lanes


def test_a_write_that_does_not_return_is_not_repeated():
    lane = Lane()
    first, second, third = (Slot(A, 1, BOOT, number, number) for number in (1, 2, 3))
    assert lane.want(first) == first
    assert lane.want(second) is None
    assert lane.want(third) is None
    assert lane.written < 1
    assert lane.returned(True) == third
    assert lane.written == 1
    assert lane.returned(False) is None
    assert lane.written == 1
    assert lane.want(third) == third


# Definitions


def test_definitions_rise_and_the_newest_is_what_exists(disks):
    one, other = begun(disks), begun(disks, node=2)
    disks.run(one.publish(1, "aa" * 16))
    assert disks.run(other.look()) == (1, "aa" * 16, ())
    disks.run(other.publish(2, "bb" * 16))
    with pytest.raises(RefusedError, match="not newer"):
        disks.run(one.publish(1, "cc" * 16))
    assert disks.run(begun(disks).look())[:2] == (2, "bb" * 16)


def test_definitions_survive_a_mark_that_is_raised_after_a_restart(disks):
    disks.run(begun(disks).publish(3, "aa" * 16))
    token(disks, begun(disks))
    assert disks.run(begun(disks, node=2).look())[:2] == (3, "aa" * 16)


def test_one_generation_with_two_digests_is_a_split(disks):
    for uuid in (A, B):
        slots = {node: Slot(uuid, node, BOOT, 1, 6000, 4, digit * 32) for node, digit in ((1, "a"), (2, "b"))}
        disks.views[uuid] = view(uuid)._replace(slots=slots)
    assert set(disks.run(begun(disks, node=3).look()).split) == {1, 2}


# Regions that join


def test_a_header_of_a_region_that_joins_has_the_largest_floor():
    headers = [Header(A, "lab", 4, 7000), Header(B, "lab", 6, 5000)]
    assert rules.admission(C, "lab", 6500, headers) == Header(C, "lab", 7, 7000)


def test_a_mark_that_was_carried_for_another_node_still_counts_when_that_one_is_lost(disks):
    """Node 2's mark was on A alone and came to the others by this node's own slot; then A is set back."""
    for kind, right in ((Ledger, True), (mutants.ForgetsWhatItCarries, False)):
        disks.views = {A: view(A, {2: 9000}), B: view(B), C: view(C)}
        own = begun(disks, kind=kind)
        disks.run(own.catch_up())
        assert disks.views[C].mark(1) == 9000
        disks.views[A] = view(A)
        assert (token(disks, own) > 9000) is right


def test_a_region_is_not_written_before_it_was_read(disks):
    disks.gone = {C}
    own = begun(disks)
    token(disks, own)
    disks.gone = set()
    disks.views[C] = view(C, {1: 50_000})
    assert token(disks, own, previous=own.mark) > FLOOR
    assert disks.views[C].mark(1) >= 50_000


def test_a_region_that_did_not_acknowledge_is_read_before_it_is_written_again(disks):
    own = begun(disks)
    disks.deaf = {C}
    token(disks, own)
    disks.deaf = set()
    assert own.writable == {A, B, C}, "it was read after the write"
    disks.gone = {C}
    token(disks, own, previous=own.mark)
    assert own.writable == {A, B}


def test_a_dead_nodes_mark_outlives_two_faults_with_a_time_of_catching_up_between(disks):
    """C was away when node 2 wrote; it comes back; then A is set back and B goes away."""
    for kind, right in ((Ledger, True), (mutants.NeverCatchesUp, False)):
        disks.views = {A: view(A, {2: 9000}), B: view(B, {2: 9000}), C: view(C)}
        disks.gone = set()
        disks.run(ledger(kind=kind).catch_up())
        disks.views[A] = view(A)
        disks.gone = {B}
        assert (token(disks, begun(disks, node=3)) > 9000) is right
