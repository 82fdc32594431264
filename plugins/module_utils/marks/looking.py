# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at the record without a process for each region, and without the lock of who writes: for modules.

All regions are read at once, each by dd(1), as the heartbeat is (`o2cb.direct`). Nothing is written, and nothing that
o2keep does at the time is held up. Tokens never come from such a look: it may be of a moment before a write that is
under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..base.errors import O2cbError
from ..o2cb import devices, direct, superblock
from ..o2cb.direct import ALIGNMENT, Extent
from ..o2cb.state import LiveRegion
from . import place
from .format import View, decode_record
from .place import Place

SECONDS = 20.0


class Look(NamedTuple):
    """What was found, by region: what it holds, why it cannot be told, or that it has no room for the record."""

    views: Mapping[str, View]
    problems: Mapping[str, str]
    placeless: frozenset[str]


NOTHING = Look({}, {}, frozenset())


def look(regions: Sequence[LiveRegion], seconds: float = SECONDS) -> Look:
    """All regions of the running cluster."""
    started = [region for region in regions if region.started]
    problems = {region.uuid: "it is not started: see `systemctl status o2cb`" for region in regions}
    paths = [devices.preferred_path(region.device) for region in started]
    heads = direct.read([Extent(path, 0, superblock.READ_BYTES) for path in paths], seconds)
    places: list[tuple[Place, str]] = []
    placeless: set[str] = set()
    for region, path, head in zip(started, paths, heads):
        volume = None if head.problem else superblock.parse(head.data)
        problems[region.uuid] = head.problem
        if volume is None or volume.uuid != region.uuid:
            problems[region.uuid] = head.problem or f"{path} does not carry it any more"
            continue
        where = place.find(region, volume.block_size)
        if where is None:
            placeless.add(region.uuid)
        else:
            places.append((where, path))
    views, failed = _read(places, seconds)
    problems.update(failed)
    return Look(views, {uuid: problem for uuid, problem in problems.items() if problem}, frozenset(placeless))


def look_at_volumes(paths: Mapping[str, str], seconds: float = SECONDS) -> Look:
    """Regions that this node does not beat on, by UUID and device: the volume's inode tells where it is."""
    places: list[tuple[Place, str]] = []
    problems: dict[str, str] = {}
    placeless: set[str] = set()
    for uuid, path in paths.items():
        try:
            size = devices.logical_block_size(devices.kernel_name(path))
            block, start = heartbeat_file(path, uuid, seconds)[:2]
        except O2cbError as error:
            problems[uuid] = str(error)
            continue
        if not place.has_room(block, size):
            placeless.add(uuid)
        else:
            places.append((Place(uuid, "", start, size), path))
    views, failed = _read(places, seconds)
    return Look(views, {**problems, **failed}, frozenset(placeless))


def _read(places: Sequence[tuple[Place, str]], seconds: float) -> tuple[dict[str, View], dict[str, str]]:
    views: dict[str, View] = {}
    problems: dict[str, str] = {}
    extents = []
    for where, path in places:
        offset, size = where.record(place.NODES)
        skipped = offset % ALIGNMENT
        extents.append(Extent(path, offset - skipped, -(-(skipped + size) // ALIGNMENT) * ALIGNMENT))
    for (where, path), extent, answer in zip(places, extents, direct.read(extents, seconds)):
        offset, size = where.record(place.NODES)
        data = answer.data[offset - extent.offset :][:size]
        if answer.problem or len(data) < size:
            problems[where.uuid] = answer.problem or f"{path} ends before the record"
        else:
            views[where.uuid] = decode_record(data, where.uuid, where.sector)
    return views, problems


def heartbeat_file(path: str, uuid: str, seconds: float = SECONDS) -> tuple[int, int, int]:
    """Bytes of a block of the volume, the byte at which its heartbeat file starts, and the file's bytes.

    Raises O2cbError, also where the device carries another volume.
    """
    head = direct.read_one(Extent(path, 0, superblock.READ_BYTES), seconds)
    volume = superblock.parse(head)
    if volume is None or volume.uuid != uuid:
        raise O2cbError(f"{path} does not carry region {uuid} any more")
    size = volume.block_size
    steps = place.walk(size, head[2 * size : 3 * size])
    try:
        number = next(steps)
        while True:
            start = number * size
            skipped = start % ALIGNMENT
            data = direct.read_one(Extent(path, start - skipped, ALIGNMENT), seconds)
            number = steps.send(data[skipped : skipped + size])
    except StopIteration as end:
        found: tuple[int, int] = end.value
        return size, found[0], found[1]


def together(looks: Iterable[Look]) -> Look:
    views: dict[str, View] = {}
    problems: dict[str, str] = {}
    placeless: frozenset[str] = frozenset()
    for one in looks:
        views.update(one.views)
        problems.update(one.problems)
        placeless |= one.placeless
    return Look(views, problems, placeless)
