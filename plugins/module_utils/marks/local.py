# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The largest token that this node may have given out, in a file of its own, and on which regions it saw a record.

Written in place: the file has its size from the start, so a full disk stops no lock. Two halves are written in turn,
each with a checksum, so a power cut leaves one of them whole. The first line is the number alone, as it was before.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from ..base import files
from ..base.errors import O2cbError

PATH = "/var/lib/o2keep/token"

_HALF = 4096
_UUID_DIGITS = 8
"""So many digits of a region's UUID are kept: 32 regions fit in a half many times."""


class Local(NamedTuple):
    """`seen` are beginnings of the UUIDs of regions with a header."""

    mark: int = 0
    seen: frozenset[str] = frozenset()
    writes: int = 0

    def knows(self, uuids: Iterable[str]) -> bool:
        """Whether one of these regions has been seen with a header."""
        return any(uuid[:_UUID_DIGITS] in self.seen for uuid in uuids)

    def and_regions(self, uuids: Iterable[str]) -> Local:
        """With these regions seen, and what is not among them forgotten once the file would be full."""
        return self._replace(seen=frozenset(uuid[:_UUID_DIGITS] for uuid in uuids))


def read(path: str = PATH) -> Local:
    """What the file says; zero where there is none. Writes nothing. Raises O2cbError when it cannot be understood."""
    try:
        with open(path, "rb") as file:
            return _understood(path, file.read(2 * _HALF))
    except FileNotFoundError:
        return Local()


class File:
    """The file, opened once."""

    def __init__(self, path: str = PATH) -> None:
        """Make it, or take over one of the older format. Raises O2cbError when it is there and cannot be understood."""
        self._path = path
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = os.pread(self._descriptor, 2 * _HALF, 0)
        try:
            self.local = _understood(path, data)
        except O2cbError:
            os.close(self._descriptor)
            raise
        if len(data) < 2 * _HALF:
            self._make()

    def _make(self) -> None:
        """Both halves at full size; on a full disk the old text stays, and the error says so."""
        os.posix_fallocate(self._descriptor, 0, 2 * _HALF)
        self.write(self.local)
        self.write(self.local)
        files.sync_directory(os.path.dirname(self._path))

    def write(self, local: Local) -> None:
        """Replace what it says. A mark never falls."""
        self.local = local._replace(mark=max(local.mark, self.local.mark), writes=self.local.writes + 1)
        os.pwrite(self._descriptor, _encode(self.local), self.local.writes % 2 * _HALF)
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _understood(path: str, data: bytes) -> Local:
    found = [half for half in (_decode(data[:_HALF]), _decode(data[_HALF:])) if half is not None]
    if found or not data.strip(b"\0 \n"):
        return max(found, key=lambda half: half.writes, default=Local())
    try:
        return Local(int(data.split(b"\n")[0]))
    except ValueError:
        raise O2cbError(
            f"{path} is damaged, and says up to which number this node has given out fencing tokens: remove it "
            "when the record on disk is whole (`o2cb.pyz record show`)"
        ) from None


def _encode(local: Local) -> bytes:
    text = f"{local.mark}\n{local.writes}\n{' '.join(sorted(local.seen))}\n".encode()
    text += f"{zlib.crc32(text):08x}\n".encode()
    return text + b"\n" * (_HALF - len(text))


def _decode(half: bytes) -> Local | None:
    lines = half.rstrip(b"\n").split(b"\n")
    if len(lines) != 4 or zlib.crc32(b"\n".join(lines[:3]) + b"\n") != _hex(lines[3]):
        return None
    return Local(int(lines[0]), frozenset(lines[2].decode().split()), int(lines[1]))


def _hex(text: bytes) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1
