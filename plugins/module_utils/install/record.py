# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the record of tokens is to be made by this run, and on which regions: what the modules of the record decide.

Theory of operation. The record begins only when every node of the cluster has said in the same run that it goes by one
as soon as there is one: a node whose o2keep does not know the record would go on by its clock, beside nodes that do
not, and tokens would fall. So a run that does not see all nodes makes none, says why, and fails nobody: clocks decide
as before. A region that joins a record needs no such answer, since every node that runs has seen the record; that it
beats there is looked at when the header is written (`marks.creating`).

What is on a region and is not ours, or of somebody newer, is never written over by a playbook. That is an error.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..base.errors import O2cbError, join_problems
from ..marks import creating, local
from ..marks.asking import Asker
from ..marks.format import BLANK, FOREIGN, TORN, View, majority
from ..marks.looking import Look
from ..marks.refusals import RefusedError, UnreachableError
from ..o2cb import units
from ..o2cb.state import Live

KNOWS_SECONDS = 30.0
"""An o2keep that was just started, or upgraded, needs a second or two before it can be asked for the record."""

BY_HAND = "run `o2cb.pyz record create MARK` on one node, with the largest of what `o2cb.pyz record mark` says on each"


class Member(NamedTuple):
    """What a node says of itself. `problem`: why it would not go by a record that is made now; empty when it would."""

    name: str
    mark: int
    problem: str = ""


def member(live: Live | None, hostname: str, seconds: float = KNOWS_SECONDS) -> Member:
    """This node."""
    try:
        mark, problem = local.read().mark, ""
    except (O2cbError, OSError) as error:
        mark, problem = 0, str(error)
    if live is None or live.local is None or not live.online:
        return Member(hostname, mark, "it is not online: see `systemctl status o2cb` there")
    return Member(live.local, mark, problem or keeper_problem(seconds))


def keeper_problem(seconds: float) -> str:
    """Why the o2keep of this node would not go by a record; empty when it would."""
    if not os.path.exists(units.KEEPER):
        return "o2keep is not installed there: set o2cb_locks to true for it, too"
    deadline = time.monotonic() + seconds
    asker = Asker(seconds=seconds)
    try:
        while True:
            try:
                asker.ask({"verb": "state"})
                return ""
            except UnreachableError as error:
                if time.monotonic() > deadline:
                    return f"its o2keep does not run, or is of a version that does not know the record: {error}"
            except RefusedError as error:
                return f"its o2keep is of a version that does not know the record: {error}"
            time.sleep(0.2)
    finally:
        asker.close()


def regions(uuids: Sequence[str], look: Look) -> list[dict[str, Any]]:
    """What each region holds, as the modules return it."""
    found = []
    for uuid in uuids:
        view = look.views.get(uuid)
        header = view.header if view else None
        slots = view.slots if view else {}
        found.append(
            {
                "uuid": uuid,
                "header": "no room" if uuid in look.placeless else view.kind if view else "unreadable",
                "cluster": header.cluster if header else None,
                "floor": header.floor if header else None,
                "generation": header.generation if header else None,
                "answers": bool(view and view.answers),
                "marks": [{"node": node, "mark": slot.mark} for node, slot in sorted(slots.items())],
                "problem": look.problems.get(uuid, "") or (view.trouble() if view else ""),
            }
        )
    return found


def usable(uuids: Sequence[str], look: Look) -> bool:
    """Whether tokens come from the record: a majority of the regions answers."""
    return sum(view.answers for view in look.views.values()) >= majority(uuids)


class Verdict(NamedTuple):
    """`wanting` are the regions that are to get a header now. `reasons` say why others do not, each with its remedy.

    `first`: there is no record yet.
    """

    wanting: Sequence[str]
    reasons: Sequence[str]
    first: bool


def judge(
    cluster: str,
    nodes: Mapping[int, str],
    uuids: Sequence[str],
    look: Look,
    members: Sequence[Member],
) -> Verdict:
    """Decide. Pure. `nodes` are the names of the cluster's nodes, by number; `uuids` its regions.

    Raises O2cbError for what must not be written over.
    """
    _refuse(cluster, look.views)
    with_header = [uuid for uuid, view in look.views.items() if view.header]
    first = len(with_header) < majority(uuids)
    reasons = [f"region {uuid} cannot be looked at ({why}): mend its storage" for uuid, why in look.problems.items()]
    room = len(uuids) - len(look.placeless)
    if look.placeless:
        reasons.append(
            f"the record has no room on region {', '.join(sorted(look.placeless))}, where blocks are as small as the "
            f"disk's sectors: {'clocks decide' if room < majority(uuids) else 'it has the fewer spare regions'}; a "
            "region on a disk of 512-byte sectors, with blocks of 1 KiB or more, has room"
        )
    if first and room < majority(uuids):
        return Verdict((), reasons, first)
    wanting = [uuid for uuid in uuids if uuid in look.views and (first or _wants(look.views[uuid], nodes))]
    waits = list(look.problems) if wanting else []
    if first and wanting:
        absent = _absent(nodes, members)
        reasons += absent
        waits += absent
    if not first:
        reasons += [
            f"region {uuid} does not count until its node has written anew: {view.trouble()}; see `o2ctl keep status` "
            "there"
            for uuid, view in look.views.items()
            if not view.answers and uuid not in wanting
        ]
    return Verdict(() if waits else wanting, reasons, first)


def _refuse(cluster: str, views: Mapping[str, View]) -> None:
    problems = []
    for uuid, view in views.items():
        if view.later:
            problems.append(
                f"region {uuid} has a record of a later version: upgrade ocfs2.o2cb where the playbook is run"
            )
        elif view.kind in (TORN, FOREIGN):
            what = "is torn" if view.kind == TORN else "is of another region or program, as on a copied volume"
            problems.append(f"the header of the record on region {uuid} {what}: to have it written anew, {BY_HAND}")
        elif view.header and view.header.cluster != cluster:
            problems.append(
                f"region {uuid} has the record of cluster {view.header.cluster!r}, and this one is {cluster!r}: make "
                f"sure that no node of the other beats there; to take the record over, {BY_HAND}"
            )
    if problems:
        raise O2cbError(f"the record of tokens is left as it is: {join_problems(problems)}")


def _wants(view: View, nodes: Mapping[int, str]) -> bool:
    """Whether a region is to join a record that there is: it is new, or the torn slot of a node that left is in it."""
    return view.kind == BLANK or any(node not in nodes for node in view.bad)


def _absent(nodes: Mapping[int, str], members: Sequence[Member]) -> list[str]:
    """Who has not said, in this run, that it would go by a record."""
    told = {one.name: one for one in members}
    unheard = [name for name in nodes.values() if name not in told]
    reasons = [f"{name}: {told[name].problem}" for name in nodes.values() if name in told and told[name].problem]
    if unheard:
        reasons.append(
            f"this run leaves out {', '.join(unheard)}: run it on all nodes, without --limit; "
            "o2cb_purge removes a node from cluster.conf that is no more"
        )
    return reasons


def warning(reasons: Sequence[str], none: bool) -> str:
    """All reasons in one text; `none`: there is no record at all."""
    what = "the record of fencing tokens has gaps"
    if none:
        what = "there is no record of fencing tokens: clocks decide, and a node that has seen one refuses locks"
    return f"{what}: {join_problems(reasons)}"


def shown(uuid: str) -> dict[str, str]:
    """The header of a region, as `--diff` shows it."""
    where = f"record of fencing tokens on region {uuid}"
    return {"before_header": where, "after_header": where, "before": "no header\n", "after": "a header\n"}


def make(live: Live, members: Sequence[Member], wanting: Sequence[str]) -> list[str]:
    """Write the headers. Raises creating.SilentError while a node does not beat on one of them."""
    above = max((one.mark for one in members), default=0)
    return creating.create(live, creating.known_here(above), wanting)
