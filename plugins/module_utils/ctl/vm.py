# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2ctl vm: which virtual machines this node runs and guards, and what to do about those that it does not.

What looks at machines is imported when it is used: every other command of o2ctl starts without it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..locks.token import SECOND

if TYPE_CHECKING:
    from ..vm.overview import Row

FAILED = 1


def add(areas: Any, verb: Any) -> None:
    """The commands of this area; `verb` adds one."""
    verbs = areas.add_parser("vm", help="virtual machines of libvirt").add_subparsers(required=True, metavar="VERB")
    listing = verb(verbs, "list", show, "list the virtual machines of this node, and who holds their locks")
    listing.add_argument("names", nargs="*", metavar="NAME", help="name or UUID of a machine, wherever it runs")
    verb(verbs, "check", check, "take locks that are missing on this node, and release those that are left over")
    releasing = verb(verbs, "release", release, "release the lock of a machine that does not run on this node any more")
    releasing.add_argument("name", metavar="NAME", help="name or UUID of the machine")
    releasing.add_argument("--force", action="store_true", help="though it runs here, or is just being started")


def show(options: argparse.Namespace) -> int:
    from ..vm import looking

    found = looking.rows(options.names)
    if options.json:
        return _print(json.dumps({"machines": [asdict(row) for row in found]}))
    lines = [table(found), *(f"{row.name}: {row.remedy}" for row in found if row.remedy)]
    return _print("\n".join(lines))


def check(options: argparse.Namespace) -> int:
    """Exit code 1 where something is still wrong."""
    from ..vm import looking

    wrong = looking.unsettled(looking.here())
    problems = {one: looking.check(one) for one in wrong}
    if options.json:
        machines = [{"uuid": one.uuid, "name": one.name, "problem": text} for one, text in problems.items()]
        _print(json.dumps({"machines": machines}))
    else:
        _print("\n".join([text or f"{one}: in order now" for one, text in problems.items()] or ["all is in order"]))
    return FAILED if any(problems.values()) else 0


def release(options: argparse.Namespace) -> int:
    from ..vm import looking

    one, released = looking.release(options.name, options.force)
    if options.json:
        return _print(json.dumps({"uuid": one.uuid, "name": one.name, "released": released}))
    return _print(f"{one}: {'released' if released else 'was not held by this node'}")


def table(rows: list[Row]) -> str:
    lines = [("machine", "uuid", "state", "node", "since", "token")]
    for row in rows:
        since = "-" if row.since is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.since / SECOND))
        node = "-" if row.node is None else str(row.node)
        lines.append((_shown(row.name), row.uuid, row.state, node, since, "-" if row.token is None else str(row.token)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def _shown(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)


def _print(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0
