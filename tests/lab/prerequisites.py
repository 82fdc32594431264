# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab needs from this machine: root, Debian packages (installed here, and named), tun, memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from . import processor, progress
from .errors import LabError

PACKAGES = {
    "linux.uml": "user-mode-linux",
    "mmdebstrap": "mmdebstrap",
    "nc.openbsd": "netcat-openbsd",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mke2fs": "e2fsprogs",
}
"""Command the lab calls: Debian package that brings it."""

MODULES = Path("/usr/lib/uml/modules")
SHARED_MEMORY = Path("/dev/shm")
MEMORY = 320 << 20
"""Bytes of memory that a node of 512 MiB really takes (280 MB measured)."""


def missing() -> list[str]:
    """Debian packages that are not there."""
    found = {package for command, package in PACKAGES.items() if not shutil.which(command)}
    return sorted(found | processor.missing())


def ensure(log: Path) -> None:
    """Make this machine able to run a lab, or say what it lacks."""
    require_root()
    packages = missing()
    if packages:
        progress.say(f"installing on this machine with apt: {' '.join(packages)}")
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
        try:
            progress.run_quietly("apt-get install", install, log, env)
        except LabError:
            progress.run_quietly("apt-get update", ["apt-get", "update"], log, env)
            progress.run_quietly("apt-get install", install, log, env)
    if not Path("/dev/net/tun").exists():
        raise LabError(
            "/dev/net/tun is missing: load the module with `modprobe tun` (a container needs --device /dev/net/tun)"
        )


def require_root() -> None:
    """Namespaces, taps and apt need root."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root (network namespaces, taps, apt): run it again with sudo")


def environment() -> dict[str, str]:
    """Environment of the lab's own processes: this package can be imported, and the tools of /usr/sbin are found."""
    package = str(Path(__file__).resolve().parents[1])
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return {**os.environ, "PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1", "PATH": f"{path}:/usr/sbin:/sbin"}


def kernel_version() -> str:
    """Release of the installed User-Mode kernel, such as `6.1.176`."""
    if not shutil.which("linux.uml"):
        raise LabError("linux.uml is not installed: apt-get install user-mode-linux")
    version = subprocess.run(["linux.uml", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if not (MODULES / version).is_dir():
        raise LabError(f"{MODULES / version} is missing: reinstall it with apt-get install --reinstall user-mode-linux")
    return version


def require_memory(nodes: int) -> None:
    """User-Mode kernels keep their memory in files under /dev/shm: see that it has room for `nodes` more of them."""
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < nodes * MEMORY:
        raise LabError(
            f"{SHARED_MEMORY} has {free >> 20} MiB free, {nodes} nodes need {nodes * MEMORY >> 20} MiB: "
            "take another lab down, start fewer nodes (--nodes), or enlarge it with `mount -o remount,size=… /dev/shm`"
        )
