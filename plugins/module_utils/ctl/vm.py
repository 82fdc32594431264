# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""o2ctl vm: which virtual machines this node runs and guards, and what to do about those that it does not.

What looks at machines is imported when it is used: every other command of o2ctl starts without it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..locks.token import SECOND
from .output import table, tell, when

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
    lines = [_table(found), *(f"{row.name}: {row.remedy}" for row in found if row.remedy)]
    return tell(options, {"machines": [asdict(row) for row in found]}, "\n".join(lines))


def check(options: argparse.Namespace) -> int:
    """Exit code 1 where something is still wrong."""
    from ..vm import looking

    wrong = looking.unsettled(looking.here())
    problems = {one: looking.check(one) for one in wrong}
    machines = [{"uuid": one.uuid, "name": one.name, "problem": text} for one, text in problems.items()]
    lines = [text or f"{one}: in order now" for one, text in problems.items()] or ["all is in order"]
    tell(options, {"machines": machines}, "\n".join(lines))
    return FAILED if any(problems.values()) else 0


def release(options: argparse.Namespace) -> int:
    from ..vm import looking

    one, released = looking.release(options.name, options.force)
    text = f"{one}: {'released' if released else 'was not held by this node'}"
    return tell(options, {"uuid": one.uuid, "name": one.name, "released": released}, text)


def _table(rows: list[Row]) -> str:
    since = [None if row.since is None else when(row.since / SECOND) for row in rows]
    return table(
        ("machine", "uuid", "state", "node", "since", "token"),
        [(row.name, row.uuid, row.state, row.node, moment, row.token) for row, moment in zip(rows, since)],
    )
