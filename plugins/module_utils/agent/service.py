# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The units of the agent, as texts. Pure."""

from __future__ import annotations

from ..o2cb import units

SERVICE = "o2agent.service"
STOP_SERVICE = "o2agent-stop.service"
PATH = f"/etc/systemd/system/{SERVICE}"
STOP_PATH = f"/etc/systemd/system/{STOP_SERVICE}"

RUN = "/run/o2agent"
COPY = f"{RUN}/o2cb.pyz"
"""The program of the agent that runs, or ran last since the boot."""

_HEAD = "# Written by the Ansible collection ocfs2.o2cb. Changes are overwritten.\n"

_SANDBOX = """LockPersonality=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
"""
"""What neither the agent nor any program that starts a service for it needs. It starts units, addresses and programs,
so file systems, networks and namespaces have to stay as they are."""


WATCHDOG_SECONDS = 15


def service(after: str = "") -> str:
    """It ends without its services. When it cannot come back, what runs here is stopped and goes elsewhere.

    It starts after what is named by `after`, and stops before it.
    """
    return f"""{_HEAD}[Unit]
Description=Runs each resource on one node of the o2cb cluster
Documentation=man:o2ctl(8)
Wants={units.KEEPER_SERVICE}
After={units.KEEPER_SERVICE} {units.SERVICE} network-online.target {STOP_SERVICE}{" " + after if after else ""}
OnFailure={STOP_SERVICE}
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
ExecStart=/usr/bin/python3 {units.PROGRAM} o2agent
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=200ms
KillMode=process
WatchdogSec={WATCHDOG_SECONDS}
TimeoutAbortSec=2
TimeoutStartSec=90
TimeoutStopSec=620
RuntimeDirectory=o2agent
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
StateDirectory=o2agent
{_SANDBOX}
[Install]
WantedBy=multi-user.target
"""


def stop_service() -> str:
    """The safe stop. It runs from what the agent has left in /run: the program itself may be what is broken.

    Where nothing is left there, no agent has come up since the boot, and none has started anything.
    """
    return f"""{_HEAD}[Unit]
Description=Stops the resources of this node, since o2agent does not come back
Documentation=man:o2ctl(8)
After={units.KEEPER_SERVICE}
ConditionPathExists={COPY}

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 {COPY} o2agent-stop
Restart=on-failure
RestartSec=10
TimeoutStartSec=900
"""
