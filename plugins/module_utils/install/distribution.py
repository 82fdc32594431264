# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between distributions: the packages with the tools and the modules, and how to get them. Pure.

Debian 12 and 13 are tested on real nodes. The others are written from their packages' contents and not tested.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Distribution:
    """One distribution. `query` lists the installed ones of some packages, one a line, when they are appended to it."""

    name: str
    packages: tuple[str, ...]
    query: tuple[str, ...]
    tested: bool = False


_DPKG = ("dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n")
_RPM = ("rpm", "--query", "--queryformat", "installed %{NAME}\n")

DEBIAN = Distribution("debian", ("ocfs2-tools",), _DPKG, tested=True)
UBUNTU = Distribution("ubuntu", ("ocfs2-tools",), _DPKG)
ORACLE = Distribution("oracle", ("ocfs2-tools",), _RPM)
SUSE = Distribution("suse", ("ocfs2-tools", "ocfs2-tools-o2cb"), _RPM)
UNSUPPORTED_RED_HAT = Distribution("redhat", (), _RPM)


def parse_os_release(text: str) -> dict[str, str]:
    """os-release(5) as a dictionary; values may be quoted as in a shell."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.isidentifier():
            try:
                words = shlex.split(value)
            except ValueError:
                words = [value]
            found[key] = words[0] if words else ""
    return found


def recognise(os_release: dict[str, str]) -> Distribution | None:
    """The distribution of this os-release, or None for one that nobody has tried."""
    names = [os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()]
    for name in names:
        if name == "ol":
            return ORACLE
        if name == "ubuntu":
            return UBUNTU
        if name == "debian":
            return DEBIAN
        if name in ("suse", "sles", "opensuse"):
            return SUSE
        if name in ("rhel", "fedora", "centos", "rocky", "almalinux"):
            return UNSUPPORTED_RED_HAT
    return None


def installed(output: str) -> list[str]:
    """The packages that the query's output reports as installed."""
    return re.findall(r"^installed (\S+)$", output, re.MULTILINE)


def modules_remedy(distribution: Distribution | None, release: str) -> str:
    """How to get a kernel with OCFS2 here, in words."""
    if distribution is DEBIAN:
        architecture = release.rpartition("-")[2] or "amd64"
        if "cloud" in release:
            return f"the cloud kernel has no OCFS2: install linux-image-{architecture} and boot that"
        return f"install the package linux-image-{architecture} and boot it"
    if distribution is UBUNTU:
        return f"install the package linux-modules-extra-{release}, and its meta package for later kernels"
    if distribution is ORACLE:
        return (
            "boot the Unbreakable Enterprise Kernel (kernel-uek, and kernel-uek-modules-extra where there is one); "
            "the Red Hat compatible kernel has no OCFS2"
        )
    if distribution is SUSE:
        return "install the package ocfs2-kmp-default from the High Availability Extension"
    if distribution is UNSUPPORTED_RED_HAT:
        return "kernels of Red Hat and its rebuilds have no OCFS2: use Oracle Linux with UEK, Debian, Ubuntu or SUSE"
    return "boot a kernel that is built with CONFIG_OCFS2_FS and CONFIG_OCFS2_FS_O2CB"
