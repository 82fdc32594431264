# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel modules: those o2cb needs, loaded in the running kernel and installed for the next one to boot."""

from __future__ import annotations

import os
import re

from ..base import files
from ..base.errors import O2cbError
from ..base.programs import Run

MODULES = ("configfs", "ocfs2_nodemanager", "ocfs2_stackglue", "ocfs2_stack_o2cb", "ocfs2_dlmfs")
"""In the order of their loading; ocfs2_dlm comes with ocfs2_dlmfs. Mounting OCFS2 needs ocfs2 too, dlmfs does not."""

MODULES_ROOT = "/lib/modules"


def loaded(name: str) -> bool:
    return os.path.isdir(f"/sys/module/{name}") or (name == "configfs" and os.path.isdir("/sys/kernel/config"))


def missing() -> tuple[str, ...]:
    """The modules that are not loaded yet."""
    return tuple(name for name in MODULES if not loaded(name))


def load(name: str, run: Run) -> None:
    """modprobe(8). Raises O2cbError when the running kernel has no such module."""
    code, _output, error = run(["modprobe", "--", name])
    if code:
        raise O2cbError(f"kernel {os.uname().release} cannot load {name}: {error.strip()}")


def available(name: str, release: str, root: str = MODULES_ROOT) -> bool:
    """Whether the module is built into that kernel or lies in its directory."""
    for listing in ("modules.dep", "modules.builtin"):
        text = files.read(f"{root}/{release}/{listing}") or ""
        if re.search(rf"/{name}\.ko(\.(gz|xz|zst))?(:|$)", text, re.MULTILINE):
            return True
    return False


def unavailable(release: str, root: str = MODULES_ROOT) -> list[str]:
    """The modules that this kernel does not have."""
    return [name for name in MODULES if not available(name, release, root)]


def next_boot_release(root: str = MODULES_ROOT) -> str | None:
    """The kernel that the machine boots next, as far as it can be told; None when it cannot.

    The link /vmlinuz of Debian and Ubuntu, the default entry of BLS (Oracle Linux), else the newest that is installed.
    """
    for link in ("/vmlinuz", "/boot/vmlinuz"):
        if os.path.islink(link):
            release = os.path.basename(os.path.realpath(link))[len("vmlinuz-") :]
            if os.path.isdir(f"{root}/{release}"):
                return release
    saved = re.search(r"^saved_entry=[0-9a-f]{32}-(\S+)$", files.read("/boot/grub2/grubenv") or "", re.MULTILINE)
    if saved and os.path.isdir(f"{root}/{saved.group(1)}"):
        return saved.group(1)
    try:
        installed = [name for name in os.listdir(root) if os.path.exists(f"{root}/{name}/modules.dep")]
    except FileNotFoundError:
        return None
    return max(installed, key=version_key, default=None)


def version_key(release: str) -> list[tuple[int, str]]:
    """Sorts 6.1.9 before 6.1.10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.findall(r"\d+|[a-z]+", release)]
