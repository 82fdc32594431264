# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that bring a node online at each boot, as texts. Pure.

Theory of operation. The distributions' own units are not enough: they call the boot a success when the heartbeat has
failed, do not wait for a disk that appears late, rewrite their settings file at each start and stop (Debian 13 and
later), and kill every process that has a file under /dlm open when they stop. So a drop-in gives o2cb.service another
program, with the unit's name, place in the boot and settings file unchanged:

* start: wait for the devices and the address, come online by the library's own code, prove it;
* stop: leave the domains and the cluster in good order, refuse while locks are held, except at shutdown.

The order at boot is network, storage, o2cb, dlmfs; at shutdown it is the reverse, so a node leaves before its network
goes and no peer has to wait for its death.
"""

from __future__ import annotations

SERVICE = "o2cb.service"
KEEPER_SERVICE = "o2keep.service"

PROGRAM = "/usr/local/lib/ocfs2.o2cb/o2cb.pyz"
DROP_IN = "/etc/systemd/system/o2cb.service.d/ocfs2.o2cb.conf"
KEEPER = "/etc/systemd/system/o2keep.service"
O2CTL = "/usr/local/bin/o2ctl"
MAN_PAGE = "/usr/local/share/man/man8/o2ctl.8"
COMPLETION = "/etc/bash_completion.d/o2ctl"
MODULES_LOAD = "/etc/modules-load.d/ocfs2.o2cb.conf"
SYSUSERS = "/etc/sysusers.d/o2keep.conf"
SYSCTL = "/etc/sysctl.d/90-ocfs2.o2cb.conf"

_HEAD = "# Written by the Ansible collection ocfs2.o2cb. Changes are overwritten.\n"

_STORAGE = "multipathd.service iscsi.service open-iscsi.service iscsid.service drbd.service rbdmap.service"


REFUSED = 3
"""Exit status of the program when live peers do not talk to this node: systemd must not try again."""


def drop_in(device_wait: int, mount: str) -> str:
    """The drop-in of o2cb.service. `device_wait` is in seconds; coming online is given five minutes more.

    `mount` is the unit of dlmfs. Its job at boot is lost when o2cb.service fails before it succeeds: it is asked for.
    """
    return f"""{_HEAD}[Unit]
Documentation=man:o2cb(8)
Wants=network-online.target
After=network-online.target {_STORAGE} remote-fs-pre.target
Before=remote-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
GuessMainPID=no
ExecStart=
ExecStart=/usr/bin/python3 {PROGRAM} online --wait {device_wait}
ExecStartPost=-/usr/bin/systemctl start --no-block {mount}
ExecStop=
ExecStop=/usr/bin/python3 {PROGRAM} offline
ExecReload=
Restart=on-failure
RestartPreventExitStatus={REFUSED}
RestartSec=10
TimeoutStartSec={device_wait + 300}
TimeoutStopSec=120
KillMode=process
"""


def keeper() -> str:
    """o2keep.service. A start limit, or a stop by hand, would empty systemd's store and drop every lock: neither is.

    `systemctl isolate`, as `rescue` does it, would stop it all the same, and is told not to. It does not require
    o2cb.service, for then a stop of that, even one that is refused, would stop it. It is upgraded
    by a signal to its main process; its workers end by themselves. At shutdown it releases all before o2cb leaves.
    """
    return f"""{_HEAD}[Unit]
Description=Keeper of the o2cb cluster's locks
Documentation=man:o2ctl(8)
After=o2cb.service
StartLimitIntervalSec=0
RefuseManualStop=yes
IgnoreOnIsolate=yes

[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/python3 {PROGRAM} o2keep
Restart=always
RestartSec=100ms
FileDescriptorStoreMax=4096
LimitNOFILE=524288
OOMScoreAdjust=-900
LogRateLimitIntervalSec=0
KillMode=process
WatchdogSec=30
TimeoutStopSec=60
RuntimeDirectory=o2keep
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=restart
StateDirectory=o2keep

[Install]
WantedBy=remote-fs.target
"""


def sysusers() -> str:
    """sysusers.d(5). The group may ask o2keep, and nobody logs in as the user.

    o2keep and its workers are root; only their real user is this one. The kernel counts descriptors that are in flight
    by real user, and what o2keep keeps would else be counted as root's, whose other services would fail.
    """
    return f'{_HEAD}u o2keep - "Keeper of the locks of the o2cb cluster"\n'


def o2ctl() -> str:
    """The command that people type."""
    return f"""#!/bin/sh
{_HEAD}exec /usr/bin/python3 {PROGRAM} o2ctl "$@"
"""


def mount_unit_name(path: str) -> str:
    """The unit of a mount point, as systemd-escape(1) forms it from a path of letters, digits, '.', '_' and '/'."""
    return path.strip("/").replace("/", "-") + ".mount"


def mount_unit(path: str) -> str:
    """The dlmfs mount. Unmounting it leaves every domain under it, which is why it stops before o2cb.

    `_netdev` puts it among the remote file systems: as a local one it would have to be mounted before the network is
    up.
    """
    return f"""{_HEAD}[Unit]
Description=Lock files of the o2cb cluster (dlmfs)
Documentation=https://docs.kernel.org/filesystems/dlmfs.html
Requires=o2cb.service
After=o2cb.service
Before=remote-fs.target

[Mount]
What=none
Where={path}
Type=ocfs2_dlmfs
Options=_netdev

[Install]
WantedBy=remote-fs.target
"""


def modules_load(modules: tuple[str, ...]) -> str:
    """modules-load.d(5): the stack and dlmfs are there before any unit asks for them."""
    return _HEAD + "".join(f"{module}\n" for module in modules)


def sysctl(values: dict[str, str]) -> str:
    """sysctl.d(5). o2cb(7) asks for a node that panics, rather than hangs, after an oops, and then reboots."""
    return _HEAD + "".join(f"{key} = {value}\n" for key, value in sorted(values.items()))
