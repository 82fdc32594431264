# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2ctl resource, node and agent: what runs where, and orders about it.

The agent's client is imported when it is used: every other command of o2ctl starts without it.
"""

from __future__ import annotations

import argparse
from typing import Any

from .output import table, tell


def add(areas: Any, verb: Any) -> None:
    """The commands of these areas; `verb` adds one."""
    verbs = areas.add_parser("resource", help="what runs on one node at a time")
    verbs = verbs.add_subparsers(required=True, metavar="VERB")
    verb(verbs, "list", show, "list the resources, where each runs, and what is wrong")
    moving = verb(verbs, "move", move, "move a resource to a node: here when it is to come, or where it runs")
    moving.add_argument("name", metavar="NAME", help="name of the resource")
    moving.add_argument("node", metavar="NODE", help="name of the node that is to run it")
    clearing = verb(verbs, "clear", clear, "forget a resource's failures on this node, and try again at once")
    clearing.add_argument("name", metavar="NAME", help="name of the resource")
    verbs = areas.add_parser("node", help="this node as a place to run things").add_subparsers(
        required=True, metavar="VERB"
    )
    verb(verbs, "drain", drain, "stop all resources here, so that they run elsewhere, and take none until resumed")
    verb(verbs, "resume", resume, "take resources again")
    verbs = areas.add_parser("agent", help="the agent that runs resources").add_subparsers(
        required=True, metavar="VERB"
    )
    verb(verbs, "status", status, "what the agent of this node does")
    verb(verbs, "reload", reload, "read /etc/o2agent again; what is broken changes nothing")


def _ask(op: str, **more: Any) -> dict[str, Any]:
    from ..client.agent import Client

    return Client().ask(op, **more)


def show(options: argparse.Namespace) -> int:
    answer = _ask("resources")
    rows = []
    for one in answer["resources"]:
        parts = ", ".join(f"{part['part']} {part['state']}" for part in one["parts"]) if one["held"] else None
        rows.append((one["name"], one["state"], one["node"], one["token"] or None, parts))
    lines = [table(("resource", "state", "node", "token", "parts"), rows)]
    lines += [f"{one['name']}: {one['error']}" for one in answer["resources"] if one["error"]]
    return tell(options, answer, "\n".join(lines))


def move(options: argparse.Namespace) -> int:
    answer = _ask("move", name=options.name, node=options.node)
    text = f"is going to {options.node}" if answer["changed"] else f"runs on {options.node} already"
    return tell(options, answer, f"{options.name} {text}")


def clear(options: argparse.Namespace) -> int:
    answer = _ask("clear", name=options.name)
    return tell(options, answer, f"{options.name}: {'cleared' if answer['changed'] else 'nothing was wrong'}")


def drain(options: argparse.Namespace) -> int:
    answer = _ask("drain")
    return tell(options, answer, f"drained: {answer['held']} resource(s) still have to stop here")


def resume(options: argparse.Namespace) -> int:
    answer = _ask("resume")
    return tell(options, answer, "this node takes resources" + (" again" if answer["changed"] else ""))


def status(options: argparse.Namespace) -> int:
    answer = _ask("status")
    node = answer["node"] or "a node that is offline"
    lines = [
        f"o2agent of {node} runs {answer['held']} of {answer['resources']} resource(s)",
        "it is drained: `o2ctl node resume` ends that" if answer["drained"] else "it takes resources",
        *(f"{name}: {text}" for name, text in answer["errors"].items()),
    ]
    return tell(options, answer, "\n".join(lines))


def reload(options: argparse.Namespace) -> int:
    answer = _ask("reload")
    return tell(options, answer, "reloaded" if answer["changed"] else "nothing has changed")
