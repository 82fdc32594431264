# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record is made when every node is there and knows it, on what is blank, and never over what is not ours."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import record
from ansible_collections.ocfs2.o2cb.plugins.module_utils.install.record import Member
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import asking, local
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
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks.looking import Look
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import units
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.model import Cluster, Node
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import Live, LiveRegion

A, B, C, D = UUIDS = [letter * 32 for letter in "ABCD"]
THREE = (A, B, C)
NODES = {1: "node1", 2: "node2", 3: "node3"}
ALL = (Member("node1", 7), Member("node2", 0), Member("node3", 9))
EMPTY = View(BLANK, None, {}, {})


def good(uuid: str, cluster: str = "lab", bad: dict[int, str] | None = None) -> View:
    return View(VALID, Header(uuid, cluster, 1, 5000), {1: Slot(uuid, 1, "00" * 16, 3, 6000)}, bad or {})


def kind(text: str) -> View:
    return View(text, None, {}, {})


def look(views: dict[str, View], problems: dict[str, str] | None = None, placeless: tuple[str, ...] = ()) -> Look:
    return Look(views, problems or {}, frozenset(placeless))


def judge(found: Look, members: Sequence[Member] = ALL, uuids: Sequence[str] = THREE) -> record.Verdict:
    return record.judge("lab", NODES, uuids, found, members)


def blank(uuids: Sequence[str] = THREE) -> Look:
    return look(dict.fromkeys(uuids, EMPTY))


# The first headers


def test_all_blank_regions_get_a_header_when_every_node_has_said_that_it_knows_the_record():
    assert judge(blank()) == record.Verdict([A, B, C], [], True)


def test_one_region_is_enough():
    assert judge(blank([A]), uuids=[A]).wanting == [A]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (ALL[:1], "this run leaves out node2, node3: run it on all nodes"),
        ([*ALL[:2], Member("node3", 0, "its o2keep does not run")], "node3: its o2keep does not run"),
        ([Member("stranger", 0), *ALL[1:]], "this run leaves out node1:"),
    ],
)
def test_there_is_none_while_a_node_is_missing_or_does_not_know_it(members, reason):
    verdict = judge(blank(), members)
    assert (verdict.wanting, verdict.first) == ((), True)
    assert [text for text in verdict.reasons if reason in text] == list(verdict.reasons) != []


def test_all_that_stands_against_it_is_told_at_once():
    members = [Member("node1", 0, "it is not online"), Member("node2", 0, "o2keep is not installed there")]
    assert len(judge(blank(), members).reasons) == 3


def test_a_region_that_cannot_be_looked_at_waits_for_its_storage():
    verdict = judge(look({A: EMPTY, B: EMPTY}, {C: "Input/output error"}))
    assert verdict.wanting == ()
    assert "Input/output error" in verdict.reasons[0]
    assert C in verdict.reasons[0]


def test_headers_that_a_run_did_not_end_are_made_anew_with_the_rest():
    assert judge(look({A: good(A), B: EMPTY, C: EMPTY})) == record.Verdict([A, B, C], [], True)


# Without room


def test_where_no_majority_has_room_clocks_decide_and_nobody_has_to_be_there():
    verdict = judge(look({A: EMPTY}, placeless=(B, C)), [])
    assert verdict.wanting == ()
    assert len(verdict.reasons) == 1
    assert f"no room on region {B}, {C}" in verdict.reasons[0]
    assert "clocks decide" in verdict.reasons[0]


def test_a_minority_without_room_is_told_and_the_others_get_their_headers():
    verdict = judge(look({A: EMPTY, B: EMPTY}, placeless=(C,)))
    assert verdict.wanting == [A, B]
    assert "no room" in verdict.reasons[0]
    assert "clocks decide" not in verdict.reasons[0]


# A record that there is


def test_a_whole_record_wants_nothing_whoever_is_in_the_run():
    assert judge(look({uuid: good(uuid) for uuid in THREE}), []) == record.Verdict([], [], False)


def test_a_new_region_gets_its_header_although_a_node_is_not_in_the_run():
    found = look({**{uuid: good(uuid) for uuid in THREE}, D: EMPTY})
    assert judge(found, ALL[:1], UUIDS) == record.Verdict([D], [], False)


def test_a_new_region_waits_while_another_one_cannot_be_looked_at():
    verdict = judge(look({A: good(A), B: good(B), D: EMPTY}, {C: "it did not answer"}), uuids=UUIDS)
    assert verdict.wanting == ()
    assert "it did not answer" in verdict.reasons[0]


def test_a_region_that_cannot_be_looked_at_is_told_though_nothing_is_wanted():
    verdict = judge(look({A: good(A), B: good(B)}, {C: "it did not answer"}))
    assert (verdict.wanting, len(verdict.reasons)) == ([], 1)


def test_the_torn_slot_of_a_node_that_has_left_is_mended_and_that_of_a_member_is_left_to_it():
    views = {A: good(A), B: good(B, bad={9: TORN}), C: good(C, bad={2: TORN})}
    verdict = judge(look(views))
    assert verdict.wanting == [B]
    (reason,) = verdict.reasons
    assert reason.startswith(f"region {C} does not count until its node has written anew: the slot of node 2 is torn")


# What is never written over


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (kind(TORN), "is torn: to have it written anew, run `o2cb.pyz record create MARK`"),
        (kind(FOREIGN), "is of another region or program"),
        (kind(LATER), "has a record of a later version: upgrade"),
        (good(A, bad={2: LATER}), "has a record of a later version"),
        (good(A, "other"), "has the record of cluster 'other', and this one is 'lab'"),
    ],
)
@pytest.mark.parametrize("rest", [EMPTY, good(B)])
def test_what_is_not_ours_is_refused_with_the_remedy(view, reason, rest):
    with pytest.raises(O2cbError, match=reason):
        judge(look({A: view, B: rest, C: rest}))


# What is told


def test_each_region_is_told_as_it_is():
    found = look({A: good(A), B: kind(TORN)}, {D: "Input/output error"}, (C,))
    told = record.regions(UUIDS, found)
    assert [one["header"] for one in told] == ["valid", "torn", "no room", "unreadable"]
    assert told[0] == {
        "uuid": A,
        "header": "valid",
        "cluster": "lab",
        "floor": 5000,
        "generation": 1,
        "answers": True,
        "marks": [{"node": 1, "mark": 6000}],
        "problem": "",
    }
    assert [one["problem"] for one in told[1:]] == ["its header is torn", "", "Input/output error"]
    assert [one["answers"] for one in told[1:]] == [False, False, False]


@pytest.mark.parametrize(("views", "usable"), [((A,), False), ((A, B), True)])
def test_it_is_usable_when_a_majority_answers(views, usable):
    found = look({uuid: good(uuid) if uuid in views else EMPTY for uuid in THREE})
    assert record.usable(THREE, found) is usable


def test_a_warning_tells_whether_clocks_decide():
    none = record.warning(["a", "b"], True)
    assert none.startswith("there is no record of fencing tokens: clocks decide")
    assert none.endswith(": a; b")
    assert record.warning(["a"], False) == "the record of fencing tokens has gaps: a"


# What a node says of itself

LIVE = Live(
    Cluster("lab", (Node("node1", 1, "10.0.0.1"),), (A,)),
    (LiveRegion(A, "dm-0"),),
    local="node1",
)


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with o2keep; the path of the socket of its record."""
    (tmp_path / "o2keep.service").touch()
    monkeypatch.setattr(units, "KEEPER", str(tmp_path / "o2keep.service"))
    monkeypatch.setattr(record.Asker.__init__, "__defaults__", (str(tmp_path / "record"), "", 1.0))
    monkeypatch.setattr(local.read, "__defaults__", (str(tmp_path / "token"),))
    local.File(str(tmp_path / "token")).write(local.Local(77))
    return tmp_path / "record"


@pytest.fixture
def answering(keeper: Path) -> Any:
    """Answers the first question with this."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(keeper))
    listener.listen()
    asked: list[dict[str, Any]] = []

    def answer(text: dict[str, Any]) -> list[dict[str, Any]]:
        def serve() -> None:
            client, _address = listener.accept()
            with client:
                asked.append(json.loads(client.recv(asking.MOST_BYTES)))
                client.send(json.dumps(text).encode())

        threading.Thread(target=serve, daemon=True).start()
        return asked

    yield answer
    listener.close()


def test_a_node_whose_o2keep_answers_for_the_record_has_no_problem(answering):
    asked = answering({"mark": 5, "problem": "the heartbeat regions have no record of tokens"})
    assert record.member(LIVE, "host.example") == Member("node1", 77)
    assert asked == [{"verb": "state"}]


def test_an_o2keep_that_does_not_know_the_question_does_not_know_the_record(answering):
    answering({"error": "there is no verb 'state'", "kind": "refused"})
    assert "does not know the record: there is no verb" in record.member(LIVE, "host.example").problem


def test_an_o2keep_that_has_no_such_process_is_given_some_seconds(keeper):
    assert "of a version that does not know the record" in record.member(LIVE, "host.example", 0.3).problem


def test_an_o2keep_that_is_just_being_started_is_waited_for(keeper):
    def begin() -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(keeper))
        listener.listen()
        client, _address = listener.accept()
        client.recv(asking.MOST_BYTES)
        client.send(b"{}")

    later = threading.Timer(0.4, begin)
    later.start()
    assert record.member(LIVE, "host.example", 10).problem == ""
    later.join()


def test_without_o2keep_the_remedy_is_its_variable(keeper, monkeypatch):
    monkeypatch.setattr(units, "KEEPER", str(keeper.parent / "none"))
    assert "set o2cb_locks to true" in record.member(LIVE, "host.example").problem


@pytest.mark.parametrize("live", [None, Live(LIVE.cluster, LIVE.regions), Live(Cluster("lab"), (), "node1")])
def test_a_node_that_is_not_online_says_so_by_the_name_of_its_host(keeper, live):
    assert record.member(live, "node1")[:2] == ("node1", 77)
    assert "not online" in record.member(live, "node1").problem


def test_a_mark_that_cannot_be_read_is_a_problem(keeper, answering):
    (keeper.parent / "token").write_text("soon\n")
    assert "is damaged" in record.member(LIVE, "host.example").problem
