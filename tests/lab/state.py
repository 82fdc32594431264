# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a lab keeps its files, what it remembers, and the locks that keep two runs apart.

/var/cache/o2cb-lab/                images and the ssh key, for all labs        (O2CB_LAB_CACHE)
/var/lib/o2cb-lab/NAME/             one lab                                     (O2CB_LAB_STATE)
    lab.json                        what was asked for: `Wanted`
    inventory.yml                   for Ansible
    ssh/                            Ansible's open connections
    disks/hb1 hb2 hb3 data          the shared disks
    node1/root.cow                  the node's changes to the image
    node1/console.log               all its boots
    node1/late                      disks that appear late at the next boot: `hb1:20`
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from . import progress
from .errors import LabError

CACHE = Path(os.environ.get("O2CB_LAB_CACHE", "/var/cache/o2cb-lab"))
STATE = Path(os.environ.get("O2CB_LAB_STATE", "/var/lib/o2cb-lab"))
MOST_NODES = 8


@dataclass(frozen=True)
class Wanted:
    """What the last `up` asked for."""

    nodes: int
    release: str
    image: str
    """Name of the image's directory in the cache; the nodes' copy-on-write files are worth nothing without it."""
    memory: int
    """MiB of each node."""


@dataclass(frozen=True)
class Paths:
    """The files of one lab."""

    name: str

    @property
    def root(self) -> Path:
        return STATE / self.name

    @property
    def wanted(self) -> Path:
        return self.root / "lab.json"

    @property
    def inventory(self) -> Path:
        return self.root / "inventory.yml"

    @property
    def connections(self) -> Path:
        """Where Ansible keeps the connections to these nodes open."""
        return self.root / "ssh"

    @property
    def disks(self) -> Path:
        return self.root / "disks"

    def node(self, number: int) -> Path:
        return self.root / f"node{number}"


def check_name(name: str) -> str:
    """Lab names become names of namespaces, directories and sockets: short and plain."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
        raise LabError(
            f"{name!r} cannot be a lab's name: use 1-20 lower-case letters, digits or dashes, a letter first"
        )
    return name


def names() -> list[str]:
    """Names of all labs that have files here."""
    return sorted(path.parent.name for path in STATE.glob("*/lab.json"))


def load(paths: Paths) -> Wanted | None:
    """What was asked for, or None when this lab does not exist (or its file is damaged, which `up` mends)."""
    try:
        return Wanted(**json.loads(paths.wanted.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def store(paths: Paths, wanted: Wanted) -> None:
    """Remember what is asked for."""
    write(paths.wanted, json.dumps(asdict(wanted), indent=2) + "\n")


def write(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old or the new text, whatever happens."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    new.rename(path)


def require_space(directory: Path, size: int) -> None:
    """Refuse early, with the path, when the file system under `directory` has less than `size` bytes free."""
    directory.mkdir(parents=True, exist_ok=True)
    status = os.statvfs(directory)
    available = status.f_bavail * status.f_frsize
    if available < size:
        variable = "O2CB_LAB_CACHE" if directory.is_relative_to(CACHE) else "O2CB_LAB_STATE"
        raise LabError(
            f"{directory}: {available >> 20} MiB free, {size >> 20} MiB needed: make room on that file system, "
            f"or set {variable} to a directory on another one"
        )


def no_space(where: object) -> LabError:
    """A full disk in words."""
    return LabError(f"{where}: no space left on its file system: make room there (`df -h`), then try again")


def explain(error: OSError) -> LabError | None:
    """An error of a full disk in words, with its path; None for any other error."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return no_space(error.filename or f"{STATE} or {CACHE}")


@contextmanager
def locked(path: Path, what: str, patience: float = 900.0) -> Iterator[None]:
    """Hold an exclusive flock on `path`; say so when somebody else has it. A dead process holds none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    reported = time.monotonic() - progress.SILENCE
    with path.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(f"another process has held {path} for {patience:.0f} s ({what})") from None
                if time.monotonic() - reported >= progress.SILENCE:
                    progress.say(f"waiting for another process: {what} …")
                    reported = time.monotonic()
                time.sleep(0.1)
        yield
