# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the record is on volumes that the real mkfs.ocfs2 makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.marks import place
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import superblock
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.state import LiveRegion

MKFS = shutil.which("mkfs.ocfs2", path="/usr/sbin:/sbin")
UUID = "6617721D55364FF1B01FB7259C85410E"

needs_mkfs = pytest.mark.skipif(MKFS is None, reason="mkfs.ocfs2 is not installed (package ocfs2-tools)")


def make(tmp_path: Path, block: int, cluster: str) -> Path:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(96 * 1024 * 1024)
    command = [str(MKFS), "-F", "-b", str(block), "-C", cluster, "-N", "1", "-J", "size=4M", "-U", UUID, "-q"]
    command += ["--cluster-stack=o2cb", "--cluster-name=lab", "--global-heartbeat", str(image)]
    done = subprocess.run(command, input="y\n" * 9999, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return image


def read(image: Path, offset: int, size: int) -> bytes:
    with image.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def walk(image: Path) -> tuple[int, int]:
    found = superblock.parse(read(image, 0, superblock.READ_BYTES))
    assert found is not None
    size = found.block_size
    steps = place.walk(size, read(image, 2 * size, size))
    number = next(steps)
    while True:
        try:
            number = steps.send(read(image, number * size, size))
        except StopIteration as end:
            return end.value


@needs_mkfs
@pytest.mark.parametrize("cluster", ["4K", "64K"])
@pytest.mark.parametrize("block", [512, 1024, 2048, 4096])
def test_the_heartbeat_file_is_found_from_the_superblock(tmp_path, block, cluster):
    image = make(tmp_path, block, cluster)
    found = walk(image)
    start, size = found[0], found[1]
    assert size >= 256 * block
    assert start % block == 0
    assert not any(read(image, start, 256 * block)), "mkfs leaves zeros there"


@needs_mkfs
@pytest.mark.parametrize("block", [1024, 2048, 4096])
def test_every_slot_is_inside_the_file_and_beyond_what_the_kernel_uses(tmp_path, block):
    found = walk(make(tmp_path, block, "4K"))
    start, size = found[0], found[1]
    where = place.find(LiveRegion(UUID, "dm-0", 512, start // 512, 255), block)
    assert where is not None
    place.check(where, start, size)
    offset, length = where.record(place.NODES)
    assert offset >= start + 256 * 512
    assert where.slot(254) + 512 == offset + length <= start + size


@pytest.mark.parametrize(("sector", "block"), [(512, 512), (4096, 4096)])
def test_there_is_no_place_where_a_block_is_a_sector(sector, block):
    assert place.find(LiveRegion(UUID, "dm-0", sector, 273, 255), block) is None


def test_a_file_that_is_too_short_or_elsewhere_is_refused():
    where = place.Place(UUID, "dm-0", 1118208, 512)
    place.check(where, 1118208, 1048576)
    with pytest.raises(O2cbError, match="too few"):
        place.check(where, 1118208, 131072)
    with pytest.raises(O2cbError, match="starts at"):
        place.check(where, 1114112, 1048576)


def test_no_slot_meets_another_or_the_heartbeat():
    where = place.Place(UUID, "dm-0", 1118208, 512)
    slots = [where.slot(node) for node in range(place.NODES)]
    header = where.record(0)[0]
    assert len({*slots, header}) == 256
    assert min(header, *slots) > where.start + 255 * 512
    assert max(slots) + 512 == where.start + place.END * 512
