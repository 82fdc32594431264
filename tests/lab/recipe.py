# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's root disk is made of. Its hash names the image in the cache: change a word and it is built anew.

A node is a fresh Debian machine without ocfs2-tools. What a role installs comes from a small package repository in
the image (`OFFERED` and `PEERS`, with all they depend on), so that nodes need no network.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
"""Raise this when `image` puts the same ingredients together in another way."""

INSTALLED = (
    "systemd systemd-sysv udev dbus python3 python3-apt openssh-server iproute2 kmod procps psmisc util-linux dmsetup "
    "iputils-ping netcat-openbsd e2fsprogs less"
).split()
OFFERED = "ocfs2-tools openssl corosync nftables iptables libvirt-daemon-system libvirt-clients qemu-system-x86".split()
PEERS = "etcd-server keepalived".split()
"""What the benchmarks compare with."""

MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer "
    "getty@tty1.service getty-static.service getty.target systemd-pstore.service systemd-firstboot.service "
    "systemd-hwdb-update.service ldconfig.service systemd-update-utmp-runlevel.service "
    "systemd-random-seed.service systemd-network-generator.service systemd-timesyncd.service "
    "systemd-ask-password-wall.path modprobe@drm.service modprobe@efi_pstore.service "
    "hwclock.service"
).split()
"""Units that a node of seconds' age has no use for; they cost a third of the boot."""

REPOSITORY = "/opt/lab-packages"
SIZE = 4 << 30
"""Bytes of the root disk (sparse)."""

FILES = {
    "lab-node": ("/usr/local/sbin/lab-node", 0o755),
    "lab-node.service": ("/etc/systemd/system/lab-node.service", 0o644),
    "lab-disks": ("/usr/local/sbin/lab-disks", 0o755),
    "lab-disks.service": ("/etc/systemd/system/lab-disks.service", 0o644),
    "udev-trigger.conf": ("/etc/systemd/system/systemd-udev-trigger.service.d/lab.conf", 0o644),
    "watchdog.conf": ("/etc/systemd/system.conf.d/lab.conf", 0o644),
    "sshd.conf": ("/etc/ssh/sshd_config.d/lab.conf", 0o644),
}
"""File in `files/`: where it goes and with which mode."""

WANTED_BY = {
    "lab-node.service": ("sysinit.target", "network-online.target"),
    "lab-disks.service": ("sysinit.target",),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that makes two images differ."""

    release: str
    kernel: str
    public_key: str
    files: tuple[tuple[str, str], ...]
    installed: tuple[str, ...] = tuple(INSTALLED)
    offered: tuple[str, ...] = (*OFFERED, *PEERS)
    masked: tuple[str, ...] = tuple(MASKED)
    size: int = SIZE
    format: int = FORMAT

    @property
    def name(self) -> str:
        """Release and the start of the hash, such as `bookworm-1f2e3d4c5b6a`."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.release}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def recipe(release: str, kernel: str, public_key: str) -> Recipe:
    """The recipe of this checkout."""
    directory = Path(__file__).parent / "files"
    return Recipe(release, kernel, public_key, tuple((name, (directory / name).read_text()) for name in FILES))
