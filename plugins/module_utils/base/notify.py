# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Telling systemd how a service is, by a datagram (sd_notify(3))."""

from __future__ import annotations

import array
import socket
from typing import Sequence

SECONDS = 1.0
"""systemd reads its messages one by one, and its queue may be full for a moment."""


def send(address: str, text: str, descriptors: Sequence[int] = ()) -> None:
    """Send lines KEY=value to NOTIFY_SOCKET; nothing where that is empty. Raises OSError when nobody listens."""
    if not address:
        return
    ancillary = []
    if descriptors:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors).tobytes())]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(SECONDS)
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendmsg([text.encode()], ancillary)
