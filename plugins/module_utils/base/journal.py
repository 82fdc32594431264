# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal, with fields that a program can look for: `journalctl O2_RESOURCE=web` (systemd.journal-fields(7)).

The protocol is one datagram of lines KEY=value (systemd's documentation, JOURNAL_NATIVE_PROTOCOL).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

SOCKET = "/run/systemd/journal/socket"
ALERT, WARNING, INFO = 1, 4, 6


def message(text: str, priority: int, fields: dict[str, object]) -> bytes:
    """The datagram. A value with a line break is sent with its length."""
    lines = {"MESSAGE": text, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": "o2agent"}
    lines.update({f"O2_{key}": str(value) for key, value in fields.items()})
    parts = []
    for key, value in lines.items():
        data = value.encode(errors="replace")
        if b"\n" in data:
            parts.append(key.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(key.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def write(text: str, priority: int = INFO, **fields: object) -> None:
    """Write an entry; to standard error where no journal is."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(message(text, priority, fields), SOCKET)
        return
    sys.stderr.write(f"{text}\n")
