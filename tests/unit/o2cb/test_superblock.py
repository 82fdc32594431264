# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Superblocks of volumes that the real mkfs.ocfs2 makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import superblock
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.superblock import Superblock

MKFS = shutil.which("mkfs.ocfs2", path="/usr/sbin:/sbin")
UUID = "6617721D55364FF1B01FB7259C85410E"

needs_mkfs = pytest.mark.skipif(MKFS is None, reason="mkfs.ocfs2 is not installed (package ocfs2-tools)")


def make(tmp_path: Path, *options: str) -> bytes:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    # -F and many a yes, because this machine has no cluster stack: it asks thrice and drops what it has read ahead.
    command = [str(MKFS), "-F", "-C", "4K", "-N", "1", "-J", "size=4M", "-U", UUID, "-q", *options, str(image)]
    done = subprocess.run(command, input="y\n" * 9999, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with image.open("rb") as file:
        return file.read(superblock.READ_BYTES)


@needs_mkfs
@pytest.mark.parametrize("block_size", [512, 1024, 2048, 4096])
def test_a_global_heartbeat_volume_is_recognised(tmp_path, block_size):
    options = ("--cluster-stack=o2cb", "--cluster-name=lab", "--global-heartbeat", "-b", str(block_size), "-L", "hb1")
    assert superblock.parse(make(tmp_path, *options)) == Superblock(UUID, "hb1", "o2cb", "lab", True, block_size)


@needs_mkfs
def test_a_volume_without_global_heartbeat_is_told_apart(tmp_path):
    head = make(tmp_path, "--cluster-stack=o2cb", "--cluster-name=other", "-b", "4K")
    assert superblock.parse(head) == Superblock(UUID, "", "o2cb", "other", False, 4096)


@needs_mkfs
def test_a_volume_of_a_single_node_belongs_to_no_cluster(tmp_path):
    assert superblock.parse(make(tmp_path, "-M", "local", "-b", "4K")) == Superblock(UUID, "", "", "", False, 4096)


@pytest.mark.parametrize("head", [b"", bytes(16384), b"OCFSV2" * 2730, bytes(1024) + b"OCFSV2\0\0"])
def test_anything_else_is_no_volume(head):
    assert superblock.parse(head) is None
