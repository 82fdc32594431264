# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2ctl members, events, send, ask, answer and listen: messages to all nodes in one order, and who comes and goes.

The agent's client is imported when it is used: every other command of o2ctl starts without it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from .output import in_json, table, tell, when

if TYPE_CHECKING:
    from ..client.protocol import Event


def add(areas: Any, verb: Any) -> None:
    """These commands; `verb` adds one."""
    verb(areas, "members", members, "who is on the bus, and what it waits for")
    following = verb(areas, "events", events, "who comes and goes: nodes, agents, quorum")
    following.add_argument("--follow", action="store_true", help="go on, until interrupted")
    following.add_argument("--seconds", type=float, metavar="S", help="end after so many seconds")
    sending = verb(areas, "send", send, "send a message to all nodes; it ends when all that are up have it")
    _message_options(sending)
    asking = verb(areas, "ask", ask, "send a question, and print the answer of each node")
    _message_options(asking)
    answering = verb(areas, "answer", answer, "run a command for each question on a channel; it prints the answer")
    answering.add_argument("channel", metavar="CHANNEL", help="whose questions are answered")
    answering.add_argument("--count", type=int, metavar="N", help="end after so many questions")
    answering.add_argument(
        "--seconds", type=float, default=30.0, metavar="S", help="deadline of a command (default: %(default)s)"
    )
    answering.add_argument(
        "--report", action="store_true", help="answer with its exit code and output as JSON, also where it fails"
    )
    answering.usage = "o2ctl answer CHANNEL [--count N] [--seconds S] [--report] [--json] -- COMMAND..."
    listening = verb(areas, "listen", listen, "print the messages of channels as they come")
    listening.add_argument("channels", nargs="*", metavar="CHANNEL", help="all channels when none is named")
    listening.add_argument("--count", type=int, metavar="N", help="end after so many messages")
    listening.add_argument("--seconds", type=float, metavar="S", help="end after so many seconds")
    listening.add_argument("--events", action="store_true", help="tell who comes and goes, too")
    listening.add_argument("--raw", action="store_true", help="write the data only, as they are")


def _message_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", metavar="CHANNEL", help="who listens on it gets the message")
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the data; standard input when not given")
    parser.add_argument("--to", action="append", metavar="NODE", help="only for this node; can be repeated")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="deadline (default: %(default)s)")


def _data(options: argparse.Namespace) -> bytes:
    return sys.stdin.buffer.read() if options.text is None else options.text.encode()


def members(options: argparse.Namespace) -> int:
    from ..client.agent import Client

    answer = Client().ask("members")
    rows = []
    for one in answer["members"]:
        marks = [one["state"]]
        marks += ["this node"] if one["node"] == answer["node"] else []
        marks += ["sequencer"] if one["node"] == answer["sequencer"] else []
        rows.append((one["name"], one["node"], one["address"], ", ".join(marks), when(one["since"])))
    lines = [table(("node", "number", "address", "state", "since"), rows)]
    if answer["on_bus"]:
        side = "decides" if answer["quorate"] else "does not decide: most of the others are out of reach"
        lines.append(f"this node {side}")
    lines += [f"! {line}" for line in answer["waits"]]
    return tell(options, answer, "\n".join(lines))


def send(options: argparse.Namespace) -> int:
    from ..client.agent import Client

    client = Client()
    position = client.send(options.channel, _data(options), options.to, options.seconds)
    return tell(options, {"position": position}, f"delivered to all at position {position}")


def ask(options: argparse.Namespace) -> int:
    from ..client.agent import Client

    client = Client()
    found = client.question(options.channel, _data(options), options.to, options.seconds)
    of = found.name
    lines = [f"{of(node)}: {data.decode(errors='replace').rstrip()}" for node, data in found.answers.items()]
    lines += [f"{of(node)}: went down before it answered" for node in found.down]
    lines += [f"{of(node)}: no answer within {options.seconds:g} s" for node in found.missing]
    answer = {
        "position": found.position,
        "answers": {of(node): in_json(data) for node, data in found.answers.items()},
        "down": [of(node) for node in found.down],
        "missing": [of(node) for node in found.missing],
    }
    tell(options, answer, "\n".join(lines))
    return 1 if found.missing else 0


def answer(options: argparse.Namespace) -> int:
    from . import answering

    return answering.serve(options)


def events(options: argparse.Namespace) -> int:
    if not options.follow and options.seconds is None:
        options.seconds = 0.0
    return _listen(options, [], True, None)


def listen(options: argparse.Namespace) -> int:
    return _listen(options, options.channels or None, options.events, options.count)


def _listen(options: argparse.Namespace, channels: list[str] | None, with_events: bool, count: int | None) -> int:
    from ..client.agent import Client
    from ..client.protocol import called

    listening = Client().listen(channels, with_events)
    if with_events and not getattr(options, "raw", False):
        members = sorted(listening.members)
        side = "decides" if listening.quorate else "does not decide"
        begun = {"event": "view", "position": listening.position, "members": members, "quorate": listening.quorate}
        names = {node: listening.names.get(node) or called(node) for node in members}
        begun["names"] = {str(node): name for node, name in names.items()}
        there = ", ".join(names.values())
        text = f"at position {listening.position}: {there} on the bus; this node {side}"
        tell(options, begun, text)
    return _follow(options, listening, count)


def _follow(options: argparse.Namespace, listening: Any, count: int | None) -> int:
    deadline = None if options.seconds is None else time.monotonic() + options.seconds
    while count is None or count > 0:
        event = listening.next(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        if event is None:
            break
        if "error" in event.facts:
            sys.stderr.write(f"o2ctl: {event.facts['error']}\n")
            return 1
        is_message = event.facts["event"] == "message"
        if getattr(options, "raw", False):
            sys.stdout.buffer.write(event.data)
        elif options.json:
            more = {"data": in_json(event.data)} if is_message else {}
            name = {"name": event.name} if event.name else {}
            sys.stdout.write(json.dumps({**event.facts, **name, **more}) + "\n")
        else:
            sys.stdout.write((_message_words(event) if is_message else _event_words(event)) + "\n")
        sys.stdout.flush()
        count = None if count is None else count - is_message
    return 0


def _event_words(event: Event) -> str:
    facts = event.facts
    now = when(time.time())
    if facts["event"] == "quorum":
        return f"{now}  this node {'decides' if facts['quorate'] else 'does not decide any more'}"
    words = {
        "agent_up": "its agent is on the bus",
        "agent_down": "its agent is down",
        "node_down": "the node is down, and its locks are recovered",
        "suspect": "does not answer; everything waits",
        "back": "answers again",
    }
    place = f" at position {facts['position']}" if "position" in facts else ""
    return f"{now}  {event.name}: {words[facts['event']]}{place}"


def _message_words(event: Event) -> str:
    facts = event.facts
    data = event.data.decode(errors="replace")
    return f"{facts['position']}  {event.name}  {facts['channel']}: {data}"
