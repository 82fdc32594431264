# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making the record: headers on the regions of a cluster, with a floor that no token was ever above.

Theory of operation. A header is written on one host at a time, by a play that has all nodes before its eyes: all of
cluster.conf are online, and all run a version that knows the record. Where no majority of the regions has a header yet,
clocks gave out the tokens so far, so the floor is above all clocks, all heartbeats and the nodes' own marks, and a
minute more. Where a majority has, a region without one is new, or was blanked, or has a slot torn whose node is no
more: it gets M of the others (rule R11). A region is added to cluster.conf on all nodes before it gets its header, and
only then may another be removed. M is read when every node goes by the new set of regions: until it has looked, a node
that takes a majority of the old set could commit a mark where nobody looks any more.

A node that has seen a header never goes back to clocks: `all or none` is therefore not needed of the headers, only that
whoever began ends it. Until a majority has them such a node refuses locks whose last token is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ..base import deadline
from ..base.errors import O2cbError, join_problems
from ..o2cb import blocks, devices, heartbeats
from ..o2cb.state import Live
from . import disks, local, looking, place
from .disks import Disks
from .format import LATER, Header, View, encode_header, majority
from .place import Place
from .recorder import SHAPE_SECONDS, places_of
from .rules import Read, Reading, admission

SECOND = 1_000_000
"""Tokens of clocks count microseconds."""

MARGIN = 60 * SECOND
SECONDS = 20.0


SETTLE_SECONDS = SHAPE_SECONDS + 2.0
"""By then every node has noticed that its regions have changed, and goes by them."""


class SilentError(O2cbError):
    """A node does not beat where it must: bring it online, and try again."""


class Known(NamedTuple):
    """What the floor of a first header has to be above, from all nodes of the cluster. Tokens are as they are."""

    marks: Sequence[int]
    """Of the nodes' own files, /var/lib/o2keep/token."""

    clocks: Sequence[float]
    """Of the nodes, in seconds since the epoch."""


def plan(cluster: str, regions: Sequence[str], reading: Reading, known: Known) -> dict[str, Header]:
    """The headers to be written, by region; none where all answer. Pure. Raises O2cbError with all that is in the way.

    A region that has a header keeps its floor or gets a larger one. A header of another cluster becomes one of this.
    """
    missing = [f"region {uuid}: {why}" for uuid, why in reading.problems.items()]
    later = [f"region {uuid} has a record of a later version" for uuid, view in reading.views.items() if view.later]
    if missing or later:
        raise O2cbError(f"the record of tokens cannot be made: {join_problems([*missing, *later])}")
    answering = {uuid: view for uuid, view in reading.views.items() if view.answers}
    foreign = {uuid for uuid, view in answering.items() if view.header and view.header.cluster != cluster}
    wanting = [uuid for uuid in regions if uuid in reading.views and (uuid not in answering or uuid in foreign)]
    headers = [view.header for view in reading.views.values() if view.header]
    if len(answering) >= majority(regions):
        floor = max(view.top() for view in answering.values())
    else:
        if len(reading.views) < majority(regions):
            raise O2cbError(
                f"only {len(reading.views)} of {len(regions)} regions have room for the record of tokens, "
                f"{majority(regions)} are needed: clocks decide. Regions with 512-byte sectors and blocks of 1 KiB or "
                "more have room"
            )
        wanting = [uuid for uuid in regions if uuid in reading.views]
        floor = first_floor(reading.views, reading, known)
    return {uuid: admission(uuid, cluster, floor, headers) for uuid in wanting}


def first_floor(views: Mapping[str, View], reading: Reading, known: Known) -> int:
    """Above every token that can have been given out without a record, or by one that is lost."""
    beats = [beat.sequence * SECOND for found in reading.beats.values() for beat in found.values() if beat.valid]
    clocks = [int(clock * SECOND) for clock in known.clocks]
    marks = [view.top() for view in views.values()]
    return max([*known.marks, *clocks, *beats, *marks]) + MARGIN


def look(live: Live, seconds: float = SECONDS) -> tuple[Reading, list[Place]]:
    """All regions of the cluster, whole. Raises O2cbError for a region that is not started, or has no superblock."""
    places, placeless = places_of(live)
    lost = [region.uuid for region in live.regions if region.uuid not in {p.uuid for p in places} | set(placeless)]
    regions = Disks(disks.hands(places), place.NODES, placeless)
    try:
        wish = Read(frozenset(region.uuid for region in live.regions), whole=True, everyone=True)
        reading = regions.read(wish, seconds, lambda view: view.answers, len(live.regions))
    finally:
        regions.close()
    problems = {**reading.problems, **dict.fromkeys(lost, "it is not started, or carries no OCFS2 volume")}
    return reading._replace(problems=problems), places


def verify(where: Place, seconds: float = SECONDS) -> None:
    """That the place is inside the volume's heartbeat file, by its inode. Raises O2cbError."""
    path = devices.preferred_path(where.device)
    _block, start, size = looking.heartbeat_file(path, where.uuid, seconds)
    try:
        place.check(where, start, size)
    except O2cbError as error:
        raise O2cbError(f"region {where.uuid} on {path}: {error}") from None


def write(
    headers: Mapping[str, Header],
    places: Sequence[Place],
    strangers: Mapping[str, Sequence[int]],
    seconds: float = SECONDS,
) -> None:
    """Write these headers, and then blank the slots of `strangers`, by region, on all regions at once.

    Raises O2cbError or OSError; what was written stays.
    """
    wanted = [where for where in places if where.uuid in headers]
    for where in wanted:
        verify(where)

    def one(where: Place) -> None:
        region = disks.Region(where, devices.preferred_path(where.device))
        offset, _size = where.record(0)
        region.write(offset, encode_header(headers[where.uuid], where.sector))
        for node in strangers.get(where.uuid, ()):
            region.write(where.slot(node), bytes(where.sector))

    calls = [lambda where=where: one(where) for where in wanted]
    deadline.call_all(calls, seconds, [f"writing the header of region {where.uuid}" for where in wanted])


def strangers(live: Live, views: Mapping[str, View]) -> dict[str, list[int]]:
    """The slots that cannot be read and whose node is not in the cluster any more, by region.

    A node that is in it mends its own slot, and nobody else may: the write would take its next mark away.
    """
    members = {node.number for node in live.cluster.nodes}
    return {
        uuid: [node for node, kind in view.bad.items() if node not in members and kind != LATER]
        for uuid, view in views.items()
    }


def missing(nodes: Mapping[int, str], alive: Mapping[str, set[int]], wanted: Sequence[str], first: bool) -> str:
    """Who does not beat on a region that is to get a header, in words; empty when all do. Pure.

    A node that beats there has the region in its cluster.conf. For the record's beginning every node of the cluster is
    needed, else those that beat anywhere: one that is down has to agree about the regions before it can join a domain.
    """
    anywhere = set(nodes) if first else set().union(*alive.values())
    problems = []
    for uuid in wanted:
        names = [nodes[number] for number in sorted(anywhere - alive.get(uuid, set())) if number in nodes]
        if names:
            problems.append(f"{', '.join(names)} does not heartbeat on region {uuid}")
    return join_problems(problems)


def beating(live: Live) -> dict[str, set[int]]:
    """The nodes that are proved alive, by region. Takes two beats."""
    numbers = [node.number for node in live.cluster.nodes]
    before = heartbeats.read(live.regions, numbers).beats
    time.sleep(blocks.PROBE_SECONDS)
    after = heartbeats.read(live.regions, numbers).beats
    return {uuid: set(blocks.alive(before[uuid], after[uuid])) for uuid in before.keys() & after.keys()}


def refuse_silent(live: Live, wanted: Sequence[str], first: bool) -> None:
    """Raises SilentError with the nodes that do not beat on regions that are to get a header. Takes two beats."""
    names = {node.number: node.name for node in live.cluster.nodes}
    problem = missing(names, beating(live), wanted, first)
    if problem:
        raise SilentError(f"the record of tokens is made when all nodes beat on all regions: {problem}")


def create(live: Live, known: Known, among: Collection[str] | None = None) -> list[str]:
    """Give every region that needs one its header, or those of `among`. Returns those that got one, and reads all back.

    To be called on one node, when all nodes of the cluster know the record. Raises SilentError for nodes that do not
    beat where they must.
    """
    regions = [region.uuid for region in live.regions]

    def planned(reading: Reading) -> dict[str, Header]:
        found = plan(live.cluster.name, regions, reading, known)
        return {uuid: header for uuid, header in found.items() if among is None or uuid in among}

    reading, places = look(live)
    headers = planned(reading)
    if headers:
        first = sum(view.answers for view in reading.views.values()) < majority(regions)
        refuse_silent(live, sorted(headers), first)
        if not first:
            time.sleep(SETTLE_SECONDS)
        reading, places = look(live)  # M is read after every node has the region.
        headers = planned(reading)
        write(headers, places, strangers(live, reading.views))
        reading, places = look(live)
        wrong = [uuid for uuid, header in headers.items() if reading.views[uuid].header != header]
        if wrong:
            raise O2cbError(f"the header of region {wrong[0]} was written and is not read back: check its storage")
    return sorted(headers)


def known_here(above: int = 0) -> Known:
    """What this node knows, and the largest mark of the others' own files. Their clocks show in their beats."""
    return Known([own_mark(), above], [time.time()])


def own_mark() -> int:
    """The mark in this node's own file; 0 when there is none."""
    return local.read().mark
