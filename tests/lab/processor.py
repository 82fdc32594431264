# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processors with AMX: the User-Mode kernel needs a small library there, built here from xstate.c, which says why."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from . import progress, state

SOURCE = Path(__file__).parent / "xstate.c"
CPUINFO = Path("/proc/cpuinfo")
FLAG = "amx_tile"
HEADER = Path("/usr/include/dlfcn.h")


def needs_library(cpuinfo: str) -> bool:
    """Whether the first processor in this text of /proc/cpuinfo has AMX."""
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return FLAG in flags.split()


def library() -> Path | None:
    """Where the library is, or will be built; None on a machine that needs none."""
    if not needs_library(CPUINFO.read_text()):
        return None
    return state.CACHE / f"xstate-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}.so"


def missing() -> set[str]:
    """Debian packages that are needed to build the library, and are not there."""
    path = library()
    if path is None or path.exists():
        return set()
    found = set() if shutil.which("gcc") else {"gcc"}
    return found if HEADER.exists() else found | {"libc6-dev"}


def ensure() -> None:
    """Build the library where it is needed and not there yet."""
    path = library()
    if path is None or path.exists():
        return
    unfinished = path.with_suffix(f".{os.getpid()}")
    compiler = ["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(unfinished), str(SOURCE), "-ldl"]
    progress.run_quietly("gcc xstate.c, for a processor with AMX", compiler, state.CACHE / "gcc.log")
    unfinished.replace(path)


def environment() -> dict[str, str]:
    """What the kernel's environment needs more on this machine."""
    path = library()
    return {"LD_PRELOAD": str(path)} if path else {}
