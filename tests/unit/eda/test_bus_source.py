# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source for ansible-rulebook: what it asks the agent, what a rulebook is told, and that it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import runpy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3] / "extensions/eda/plugins/event_source/bus.py"
BUS = runpy.run_path(str(SOURCE))
"""As ansible-rulebook loads it."""

NAMES = {"1": "node1", "2": "node2"}
BEGUN = {"listening": True, "node": 1, "position": 4, "members": {"1": 7, "2": 8}, "names": NAMES, "quorate": True}
CONNECTED = {"type": "connected", "members": ["node1", "node2"], "quorate": True, "position": 4}

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def agent(*lines: tuple[dict[str, Any], bytes], seen: list[Any] | None = None, begun: Any = None) -> Talk:
    """One that gives these lines with their data to who listens, and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            if seen is not None:
                seen.append(request)
            writer.write(json.dumps(begun or BEGUN).encode() + b"\n")
            for facts, data in lines:
                length = {"length": len(data)} if facts["event"] == "message" else {}
                writer.write(json.dumps({**length, **facts}).encode() + b"\n" + data)
            await writer.drain()
            break
        writer.close()

    return talk


def follow(args: dict[str, Any], count: int, path: Path, *talks: Talk) -> list[dict[str, Any]]:
    """The first events that a rulebook gets; each connection is to the next of these agents."""
    waiting = list(talks)

    async def run() -> list[dict[str, Any]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(reader, writer)

        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        server = await asyncio.start_unix_server(serve, str(path)) if talks else None
        task = asyncio.ensure_future(BUS["main"](queue, args))
        try:
            return [await asyncio.wait_for(queue.get(), 20) for _event in range(count)]
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            if server:
                server.close()

    return asyncio.run(run())


def without_via(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key != "via"} for event in events]


def message(data: bytes, **more: Any) -> tuple[dict[str, Any], bytes]:
    return {"event": "message", "channel": "deploy", "node": 2, "name": "node2", "position": 5, **more}, data


def test_a_rulebook_is_told_in_order_who_goes_and_what_is_said(tmp_path):
    path = tmp_path / "socket"
    seen: list[Any] = []
    down = ({"event": "node_down", "node": 2, "name": "node2", "incarnation": 8, "position": 6}, b"")
    side = ({"event": "quorum", "quorate": False}, b"")
    args = {"socket": str(path), "channels": ["deploy"], "retry": 0.01}
    events = follow(args, 5, path, agent(message(b"go"), down, side, seen=seen))
    assert seen[:1] == [{"op": "listen", "channels": ["deploy"], "events": True}]
    assert {event["via"] for event in events} == {str(path)}
    said = {"type": "message", "channel": "deploy", "node": 2, "name": "node2", "position": 5, "length": 2}
    assert without_via(events) == [
        CONNECTED,
        {**said, "data": "go"},
        {"type": "node_down", "node": 2, "name": "node2", "incarnation": 8, "position": 6},
        {"type": "quorum", "quorate": False},
        {"type": "disconnected", "error": "o2agent is gone", "attempt": 1, "retry_in": 0.01},
    ]


def test_data_are_text_or_json_or_base64_and_left_out_when_they_are_many(tmp_path):
    path = tmp_path / "socket"
    lines = [message(data) for data in (b'{"a": 1}', b"\xff", b"", b"x" * 3000000, b"end")]
    events = follow({"socket": str(path), "channels": ["*"], "largest": 100}, 6, path, agent(*lines))[1:]
    assert (events[0]["data"], events[0]["json"]) == ('{"a": 1}', {"a": 1})
    assert (events[1]["data"], "json" in events[1]) == ({"base64": "/w=="}, False)
    assert events[2]["data"] == ""
    assert ("data" in events[3], events[3]["length"]) == (False, 3000000)
    assert events[4]["data"] == "end"


def test_all_channels_are_asked_for_by_a_star_and_events_can_be_left_out(tmp_path):
    path = tmp_path / "socket"
    seen: list[Any] = []
    lines = [({"event": "suspect", "node": 2, "incarnation": 8}, b""), message(b"go")]
    events = follow({"socket": str(path), "channels": ["*"], "events": False}, 2, path, agent(*lines, seen=seen))
    assert seen[0]["channels"] is None
    assert [event["type"] for event in events] == ["connected", "message"]


def test_what_cannot_be_understood_ends_the_connection(tmp_path):
    path = tmp_path / "socket"
    events = follow({"socket": str(path)}, 2, path, agent(({"event": "message", "length": -1}, b"")))
    assert (events[1]["type"], events[1]["error"]) == ("disconnected", "a length of -1")


def test_it_tells_the_end_and_begins_anew_and_waits_longer_each_time(tmp_path):
    path = tmp_path / "socket"
    events = follow({"socket": str(path), "retry": 0.01, "retry_most": 0.03}, 4, path)
    assert [event["attempt"] for event in events] == [1, 2, 3, 4]
    assert [event["retry_in"] for event in events] == [0.01, 0.02, 0.03, 0.03]
    assert all("No such file or directory" in event["error"] for event in events)


def test_an_attempt_that_takes_long_is_no_connection(tmp_path):
    ssh = program(tmp_path / "ssh", "sleep 0.3; exit 255\n")
    events = follow_with_lived(0.2, {"nodes": ["node1"], "ssh": [ssh], "retry": 0.01}, 2, tmp_path)
    assert [event["attempt"] for event in events] == [1, 2]


def test_a_connection_that_lasted_is_followed_by_a_first_attempt(tmp_path):
    view = json.dumps({"event": "view", "position": 4, "members": [], "quorate": True, "names": {}})
    ssh = program(tmp_path / "ssh", f"echo '{view}'; sleep 0.3\n")
    events = follow_with_lived(0.2, {"nodes": ["node1"], "ssh": [ssh], "retry": 0.01}, 4, tmp_path)
    assert [event.get("attempt") for event in events] == [None, 1, None, 1]


def follow_with_lived(seconds: float, *what: Any) -> list[dict[str, Any]]:
    """What `follow` gives where a connection of so many seconds counts."""
    before = BUS["main"].__globals__["LIVED_SECONDS"]
    BUS["main"].__globals__["LIVED_SECONDS"] = seconds
    try:
        return follow(*what)
    finally:
        BUS["main"].__globals__["LIVED_SECONDS"] = before


@pytest.mark.parametrize("what", ["overrun", "left"])
def test_being_let_go_is_told_and_followed_by_a_new_beginning(tmp_path, what):
    path = tmp_path / "socket"
    last = ({"event": what, "error": "you read too slowly"}, b"")
    events = follow({"socket": str(path), "retry": 0.01}, 4, path, agent(last), agent(message(b"go")))
    assert [event["type"] for event in events] == ["connected", "disconnected", "connected", "message"]
    assert events[1]["error"] == "you read too slowly"


def test_a_refusal_is_told(tmp_path):
    path = tmp_path / "socket"
    (event,) = follow({"socket": str(path)}, 1, path, agent(begun={"error": "you may not ask o2agent"}))
    assert event["error"] == "you may not ask o2agent"


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return str(path)


def test_over_ssh_the_words_are_quoted_and_the_lines_told(tmp_path):
    view = {"event": "view", "position": 4, "members": [1, 2], "quorate": True, "names": {"1": "node1", "2": "node2"}}
    lines = [view, {**message(b"")[0], "name": "node2", "length": 2, "data": "go"}]
    (tmp_path / "lines").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ssh = program(tmp_path / "ssh", f'printf "%s\\n" "$@" > {tmp_path}/words\ncat {tmp_path}/lines\necho gone >&2\n')
    args = {"nodes": ["root@node1"], "ssh": [ssh, "-q"], "channels": ["a b", "c"], "become": True, "retry": 0.01}
    events = follow(args, 3, tmp_path)
    assert (tmp_path / "words").read_text().splitlines() == [
        "-q",
        "root@node1",
        "sudo -n o2ctl listen --events --json 'a b' c",
    ]
    assert without_via(events[:1]) == [CONNECTED]
    assert (events[1]["data"], events[1]["name"], events[1]["via"]) == ("go", "node2", "root@node1")
    assert (events[2]["type"], events[2]["error"]) == ("disconnected", "gone")


def test_the_next_node_is_tried_when_one_fails(tmp_path):
    ssh = program(tmp_path / "ssh", 'echo "$1 is off" >&2\nexit 255\n')
    events = follow({"nodes": ["node1", "node2"], "ssh": [ssh], "retry": 0.01}, 3, tmp_path)
    assert [event["error"] for event in events] == ["node1 is off", "node2 is off", "node1 is off"]


def test_one_that_cannot_be_run_is_told(tmp_path):
    (event,) = follow({"nodes": ["node1"], "ssh": [str(tmp_path / "absent")]}, 1, tmp_path)
    assert "No such file" in event["error"]


def test_an_end_of_the_rulebook_ends_ssh(tmp_path):
    view = json.dumps({"event": "view", "position": 4, "members": [], "quorate": True, "names": {}})
    ssh = program(
        tmp_path / "ssh",
        f"trap 'touch {tmp_path}/ended; exit' TERM\necho '{view}'\nsleep 0.1\nwhile :; do sleep 0.1; done\n",
    )
    follow({"nodes": ["node1"], "ssh": [ssh]}, 1, tmp_path)
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "o2ctl events --follow --json"),
        ({"channels": ["*"]}, "o2ctl listen --events --json"),
        ({"channels": ["c"]}, "o2ctl listen --events --json c"),
    ],
)
def test_what_is_run_on_a_node(args, words):
    command = BUS["remote_command"](BUS["options_of"](args), "node1")
    assert command[0] == "ssh"
    assert command[-2:] == ["node1", words]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"chanels": ["x"]}, "no option 'chanels'"),
        ({"channels": "x"}, "channels has to be a list"),
        ({"channels": [""]}, "channels has to be a list"),
        ({"nodes": [1]}, "nodes has to be a list"),
        ({"events": False}, "nothing to follow"),
        ({"ssh": []}, "ssh is a command"),
        ({"retry": 0}, "retry more than 0"),
        ({"nodes": ["-oProxyCommand=x"]}, "begins with -"),
        ({"channels": ["--raw"]}, "begins with -"),
    ],
)
def test_what_cannot_be_followed_is_refused(args, why):
    with pytest.raises(ValueError, match=why):
        BUS["options_of"](args)


def test_what_ansible_rulebook_adds_is_no_option():
    assert BUS["options_of"]({"eda_feedback_queue": None}) == BUS["Options"]()


def test_the_defaults_are_those_of_the_documentation():
    import yaml

    documented = yaml.safe_load(BUS["DOCUMENTATION"])["options"]
    defaults = BUS["Options"]._field_defaults
    assert {key: option["default"] for key, option in documented.items()} == {
        key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()
    }
