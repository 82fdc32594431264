# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files: read whole, written so that a crash leaves the old or the new one."""

from __future__ import annotations

import os
import stat
import tempfile

_ATTRIBUTE_BYTES = 4096
"""A kernel attribute is a page at most."""


def read(path: str) -> str | None:
    """The text of a file, or None when there is none. Bytes that are not UTF-8 survive a later `write`."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_line(path: str) -> str:
    """The stripped text of a kernel attribute, or an empty string when it is not there or not readable now.

    In three system calls, since a look at a node reads many of these.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _ATTRIBUTE_BYTES).decode("utf-8", "surrogateescape").strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def names(directory: str) -> list[str]:
    """The sorted names in a directory; nothing when there is none."""
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def write(path: str, text: str, mode: int = 0o644, encoding: str = "utf-8") -> None:
    """Replace a file: temporary file beside it, fsync, rename, fsync of the directory. An existing file's mode is kept.

    A symbolic link is replaced, not followed: this runs as root in directories that others may not write to.
    """
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        with os.fdopen(descriptor, "w", encoding=encoding, errors="surrogateescape", newline="") as file:
            file.write(text)
            os.fchmod(file.fileno(), _mode_of(path, mode))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(directory)


def remove(path: str) -> None:
    """Remove a file, if it is there, for good."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(os.path.dirname(path))


def remove_with_directory(path: str) -> None:
    """Remove a file, and its directory where that is empty then."""
    remove(path)
    try:
        os.rmdir(os.path.dirname(path))
    except OSError:
        return


def sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode_of(path: str, default: int) -> int:
    """The mode of a file that is there; a symbolic link has none of its own."""
    try:
        found = os.lstat(path).st_mode
    except FileNotFoundError:
        return default
    return default if stat.S_ISLNK(found) else stat.S_IMODE(found)
