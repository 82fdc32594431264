# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules message and members_info: names for numbers, answers as texts, and nothing sent in check mode."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.protocol import Answers
from ansible_collections.ocfs2.o2cb.plugins.modules import members_info, message

STATES = {1: "up", 2: "suspect", 3: "node down", 12: "up"}


class FakeClient:
    """An agent that delivers everything, and has these answers."""

    def __init__(self, answers: dict[int, bytes] | None = None, down: tuple[int, ...] = ()) -> None:
        self.log: list[Any] = []
        self._answers, self._down = answers or {}, down

    def ask(self, op: str) -> dict[str, Any]:
        assert op == "members"
        rows = [{"node": node, "name": f"node{node}", "state": state} for node, state in STATES.items()]
        return {"node": 1, "sequencer": 2, "on_bus": True, "quorate": True, "position": 9, "members": rows, "waits": []}

    def send(self, *what: Any) -> int:
        self.log.append(("send", *what))
        return 10

    def question(self, channel: str, data: bytes, to: list[int] | None, seconds: float) -> Answers:
        self.log.append(("ask", channel, data, to, seconds))
        wanted = to or [1, 2, 12]
        missing = tuple(node for node in wanted if node not in self._answers and node not in self._down)
        return Answers(10, self._answers, self._down, missing)


def options(**changes: Any) -> dict[str, Any]:
    given = {"channel": "c", "data": None, "content": None, "to": None, "collect": False, "timeout": 5.0}
    return {**given, "on_missing": "fail", **changes}


def run(client: FakeClient, check: bool = False, **changes: Any) -> dict[str, Any]:
    return message.run(options(**changes), client, check)  # type: ignore[arg-type]


@pytest.mark.parametrize("collect", [False, True])
def test_check_mode_sends_nothing_and_says_what_it_would(collect):
    client = FakeClient()
    found = run(client, check=True, data="begin", collect=collect, to=["node1", "2"])
    assert client.log == []
    verb = "ask" if collect else "send"
    assert found == {"changed": True, "actions": [f"{verb} 5 bytes on channel c to node1, node2"]}


def test_a_text_is_sent_to_all():
    client = FakeClient()
    found = run(client, data="größer")
    assert client.log == [("send", "c", "größer".encode(), None, 5.0)]
    assert found["position"] == 10
    assert found["changed"] is True


def test_bytes_are_given_as_base64_however_it_is_broken_into_lines():
    client = FakeClient()
    run(client, content=base64.encodebytes(bytes(range(256))).decode())
    assert client.log == [("send", "c", bytes(range(256)), None, 5.0)]


def test_a_message_may_be_empty():
    client = FakeClient()
    run(client)
    assert client.log == [("send", "c", b"", None, 5.0)]


def test_what_is_no_base64_is_refused_in_check_mode_too():
    with pytest.raises(O2cbError, match="content is no base64"):
        run(FakeClient(), check=True, content="!")


def test_nodes_are_named_or_numbered():
    client = FakeClient()
    run(client, to=["node12", "2"])
    assert client.log == [("send", "c", b"", [12, 2], 5.0)]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("node4", "there is no node 'node4' in the cluster: known are node1, node2, node3, node12"),
        ("node3", "node3 would not get the message: node down"),
        ("3", "3 would not get the message: node down"),
    ],
)
def test_a_node_that_would_not_get_it_is_complained_about(check, to, why):
    client = FakeClient()
    with pytest.raises(O2cbError, match=why):
        run(client, check=check, to=["node1", to])
    assert client.log == []


def test_answers_come_by_name_as_text_or_as_base64():
    found = run(FakeClient({1: b"2.4\n", 2: b"\xff\x00", 12: b""}), collect=True)
    assert found["answers"] == {"node1": "2.4\n", "node2": "/wA=", "node12": ""}
    assert found["binary"] == ["node2"]
    assert (found["down"], found["missing"], found["changed"]) == ([], [], True)


def test_a_missing_answer_fails_with_the_others_in_the_result():
    with pytest.raises(O2cbError, match="no answer of node2, node12 within 5 s") as caught:
        run(FakeClient({1: b"yes"}), collect=True)
    assert caught.value.facts["answers"] == {"node1": "yes"}
    assert caught.value.facts["missing"] == ["node2", "node12"]
    assert caught.value.facts["position"] == 10


def test_a_missing_answer_can_be_ignored():
    found = run(FakeClient({1: b"yes"}), collect=True, on_missing="ignore")
    assert found["missing"] == ["node2", "node12"]


def test_a_node_that_went_down_is_told_and_no_failure():
    found = run(FakeClient({1: b"yes", 12: b"no"}, down=(2,)), collect=True)
    assert (found["down"], found["missing"]) == (["node2"], [])


def test_members_info_gives_names_for_numbers():
    found = members_info.run(FakeClient())  # type: ignore[arg-type]
    assert (found["node"], found["sequencer"]) == ("node1", "node2")
    assert [row["node"] for row in found["members"]] == list(STATES)


def test_members_info_knows_no_name_off_the_bus():
    client = FakeClient()
    off = {**client.ask("members"), "node": None, "sequencer": None, "on_bus": False}
    client.ask = lambda _op: off  # type: ignore[method-assign]
    found = members_info.run(client)  # type: ignore[arg-type]
    assert (found["node"], found["sequencer"]) == (None, None)
