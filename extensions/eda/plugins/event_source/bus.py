# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Event-Driven Ansible: what comes and goes in an o2cb cluster, and what is said there.

ansible-rulebook runs this file by itself, so it imports nothing of the collection. The agent's protocol, which needs
nothing of it either, is loaded from its place beside this one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import json
import shlex
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

DOCUMENTATION = r"""
short_description: Events and messages of an o2cb cluster
description:
  - Follows the agent of one node, C(o2agent), and hands on what comes and goes, and the messages of channels.
  - It reads the agent's socket on the node on which ansible-rulebook runs, or runs C(o2ctl) on a node over ssh.
  - When that ends, it begins anew, on the next node where several are named, and waits longer each time. It tells that
    by events of its own. What happened in the meantime is not told later.
options:
  events:
    description: Whether to tell who comes and goes.
    type: bool
    default: true
  channels:
    description: Whose messages to hand on. C(*) is all of them. By default none.
    type: list
    elements: str
    default: []
  socket:
    description: The agent's socket. Its reader is root, or a member of C(o2cb_agent_read_group).
    type: str
    default: /run/o2agent/socket
  nodes:
    description:
      - Where ssh goes to, one at a time, the next one when it fails. By default the agent of this very node is read.
    type: list
    elements: str
    default: []
  ssh:
    description: The command and its options, as a list. The node and C(o2ctl) come behind it.
    type: list
    elements: str
    default: [ssh, -o, BatchMode=yes, -o, ConnectTimeout=10, -o, ServerAliveInterval=5, -o, ServerAliveCountMax=3]
  become:
    description: Run C(o2ctl) by C(sudo -n) there.
    type: bool
    default: false
  largest:
    description: Bytes of data up to which a message is handed on with them. A larger one comes without.
    type: int
    default: 65536
  retry:
    description: Seconds before the second attempt. They double with each one more.
    type: float
    default: 1
  retry_most:
    description: The most seconds between two attempts.
    type: float
    default: 60
notes:
  - Each event has C(type) and C(via), the node or socket that it comes from.
  - The types agent_up, agent_down, node_down, suspect and back have C(node), a number, C(name), and C(incarnation);
    quorum has C(quorate). What has C(position) has the same one on every node.
  - The type message has C(channel), C(node), C(name), C(position), C(length), and C(data), as a text or, where that is
    no UTF-8, as a table with C(base64). Where the text is JSON, C(json) has what it says.
  - The type connected has C(members), C(quorate) and C(position). The type disconnected has C(error), C(retry_in)
    seconds, and C(attempt), which is 1 at the start and after a connection of ten seconds or more.
"""

EXAMPLES = r"""
- name: Follow the agent of this node
  ocfs2.o2cb.bus:
    channels: [deploy]

- name: Follow one of three nodes from elsewhere
  ocfs2.o2cb.bus:
    nodes: [root@node1, root@node2, root@node3]
"""

PROTOCOL = "plugins/module_utils/client/protocol.py"
"""Below the collection."""

RECEIVE_BYTES = 1 << 20
SOCKET = "/run/o2agent/socket"
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3".split()
LARGEST = 65536
RETRY, RETRY_MOST = 1.0, 60.0
LIVED_SECONDS = 10.0
"""A connection that has lasted so long is followed by a first attempt."""

ANSWER_SECONDS = 30.0
LONGEST_LINE = 512 << 20
"""The largest message, as JSON."""

EVERYTHING = "*"


class Options(NamedTuple):
    """What the rulebook says."""

    events: bool = True
    channels: tuple[str, ...] = ()
    socket: str = SOCKET
    nodes: tuple[str, ...] = ()
    ssh: tuple[str, ...] = tuple(SSH)
    become: bool = False
    largest: int = LARGEST
    retry: float = RETRY
    retry_most: float = RETRY_MOST


class Ended(Exception):
    """The connection is at its end, for the reason in the text."""


def options_of(args: dict[str, Any]) -> Options:
    """Raises ValueError for what cannot be followed."""
    given = {key: value for key, value in args.items() if not key.startswith("eda_")}
    unknown = sorted(set(given) - set(Options._fields))
    if unknown:
        raise ValueError(f"ocfs2.o2cb.bus has no option {unknown[0]!r}: there are {', '.join(Options._fields)}")
    for key in ("channels", "nodes", "ssh"):
        value = given.get(key, [])
        if not isinstance(value, (list, tuple)) or not all(isinstance(word, str) and word for word in value):
            raise ValueError(f"ocfs2.o2cb.bus: {key} has to be a list of texts")
        if key in given:
            given[key] = tuple(value)
    for key in ("largest", "retry", "retry_most"):
        if key in given:
            given[key] = float(given[key]) if key != "largest" else int(given[key])
    found = Options(**given)
    if not found.events and not found.channels:
        raise ValueError("ocfs2.o2cb.bus: events is false and channels are none: there is nothing to follow")
    if not found.ssh or found.retry <= 0:
        raise ValueError("ocfs2.o2cb.bus: ssh is a command, and retry more than 0 seconds")
    if any(word.startswith("-") for word in (*found.nodes, *found.channels)):
        raise ValueError("ocfs2.o2cb.bus: a name in nodes or channels begins with -, and would be taken for an option")
    return found


def remote_command(options: Options, node: str) -> list[str]:
    """What follows a node over ssh. A shell on the node reads the last word, so each word in it is quoted."""
    words = ["sudo", "-n"] if options.become else []
    if EVERYTHING in options.channels:
        words += ["o2ctl", "listen", "--events", "--json"]
    elif options.channels:
        words += ["o2ctl", "listen", "--events", "--json", *options.channels]
    else:
        words += ["o2ctl", "events", "--follow", "--json"]
    return [*options.ssh, node, shlex.join(words)]


def waits(options: Options, attempt: int) -> float:
    """Seconds before the next attempt."""
    return float(min(options.retry * 2 ** min(attempt - 1, 30), options.retry_most))


def told(facts: dict[str, Any], data: Any, options: Options, via: str) -> dict[str, Any] | None:
    """What a rulebook is told of a line, or None where it did not ask for that. Raises Ended at the last one."""
    if "error" in facts:
        raise Ended(str(facts["error"]))
    kind = facts.get("event")
    if kind == "view":
        return None
    if kind != "message" and not options.events:
        return None
    event = {"type": kind, "via": via, **{key: value for key, value in facts.items() if key not in ("event", "data")}}
    if kind != "message" or int(facts.get("length", 0)) > options.largest:
        return event
    event["data"] = _as_text(data) if isinstance(data, bytes) else data
    if isinstance(event["data"], str):
        with contextlib.suppress(ValueError):
            event["json"] = json.loads(event["data"])
    return event


def _as_text(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def begun(facts: dict[str, Any], via: str) -> dict[str, Any]:
    """What a rulebook is told when a connection is there."""
    members = [facts["names"].get(str(node), str(node)) for node in facts["members"]]
    view = {"members": members, "quorate": facts["quorate"], "position": facts["position"]}
    return {"type": "connected", "via": via, **view}


def _protocol() -> Any:
    """The module of the agent's protocol, as it is in this collection."""
    path = Path(__file__).resolve().parents[4] / PROTOCOL
    spec = importlib.util.spec_from_file_location("ocfs2_o2cb_protocol", path)
    assert spec is not None and spec.loader is not None  # noqa: PT018 -- a path with this ending has both
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def follow_socket(options: Options) -> AsyncIterator[dict[str, Any]]:
    """The agent of this node. Raises Ended, OSError and ValueError at its end."""
    protocol = _protocol()
    talk = protocol.Conversation(options.largest)
    channels = None if EVERYTHING in options.channels else list(options.channels)
    reader, writer = await asyncio.open_unix_connection(options.socket, limit=RECEIVE_BYTES)
    try:
        writer.write(talk.ask(protocol.listen(channels, True), None))
        first = await asyncio.wait_for(_come(reader, talk), ANSWER_SECONDS)
        if "error" in first.facts:
            raise Ended(str(first.facts["error"]))
        yield begun(first.facts, options.socket)
        while True:
            come = await _come(reader, talk)
            event = told(come.facts, come.data, options, options.socket)
            if event is not None:
                yield event
    finally:
        writer.close()


async def _come(reader: asyncio.StreamReader, talk: Any) -> Any:
    """The next that the agent says. Raises Ended at the end."""
    while True:
        come = talk.next()
        if come is not None:
            return come[1]
        data = await reader.read(RECEIVE_BYTES)
        if not data:
            raise Ended("o2agent is gone")
        talk.receive(data)


async def follow_node(options: Options, node: str) -> AsyncIterator[dict[str, Any]]:
    """The agent of another node, over ssh. Raises Ended, OSError and ValueError at its end."""
    process = await asyncio.create_subprocess_exec(
        *remote_command(options, node),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    assert process.stdout is not None and process.stderr is not None  # noqa: PT018 -- both are pipes
    errors = asyncio.ensure_future(_last_line(process.stderr))
    try:
        while True:
            line = await process.stdout.readline()
            if not line.endswith(b"\n"):
                code = await process.wait()
                raise Ended(await errors or f"{options.ssh[0]} to {node} ended with {code}")
            facts = json.loads(line)
            if facts.get("event") == "view":
                yield begun(facts, node)
            event = told(facts, facts.get("data"), options, node)
            if event is not None:
                yield event
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        errors.cancel()


async def _last_line(errors: asyncio.StreamReader) -> str:
    """The last line of what a program complains about."""
    last = ""
    while True:
        line = await errors.readline()
        if not line:
            return last
        last = line.decode(errors="replace").strip() or last


async def main(queue: asyncio.Queue, args: dict[str, Any]) -> None:
    """Follow the cluster, until this is cancelled."""
    options = options_of(args)
    attempt, turn = 0, 0
    while True:
        connected, node = float("inf"), ""
        if options.nodes:
            node = options.nodes[turn % len(options.nodes)]
        try:
            async for event in follow_node(options, node) if node else follow_socket(options):
                if event["type"] == "connected":
                    connected = time.monotonic()
                await queue.put(event)
            error = "the stream has ended"
        except asyncio.TimeoutError:
            error = f"o2agent has not answered within {ANSWER_SECONDS:g} s"
        except (Ended, OSError, ValueError, KeyError) as caught:
            error = str(caught) or repr(caught)
        attempt, turn = 1 if time.monotonic() - connected > LIVED_SECONDS else attempt + 1, turn + 1
        wait = waits(options, attempt)
        via = node or options.socket
        await queue.put(
            {"type": "disconnected", "via": via, "error": error, "attempt": attempt, "retry_in": round(wait, 3)}
        )
        await asyncio.sleep(wait)


if __name__ == "__main__":
    import sys

    class Printing:
        """Shows on a terminal what a rulebook would get: python3 bus.py '{"nodes": ["root@node1"]}'."""

        async def put(self, event: dict[str, Any]) -> None:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Printing(), json.loads(sys.argv[1]) if sys.argv[1:] else {}))  # type: ignore[arg-type]
