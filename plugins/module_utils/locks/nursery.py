# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parent of o2keep's other processes: each is a copy of it.

A new interpreter takes a tenth of a second, on a busy machine seconds, and some 10 MiB; a copy takes a millisecond, and
shares most of its memory. The nursery has loaded what a worker needs, makes no call into dlmfs, has one thread and no
descriptor but its channel to the keeper. When that is closed it ends, and its children go on.

    {"kind": KIND}, with one descriptor     a process of this kind, whose channel that is. Its first message there is
                                            {"pid": NUMBER, "began": TICKS}. If the kernel refuses another process, the
                                            channel is closed
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from typing import Callable, Mapping, NoReturn

from ..base import processes, wire
from ..base.errors import O2cbError

Kinds = Mapping[str, Callable[[socket.socket], object]]
"""What a process does with its channel, by its kind. The process is named after it, o2keep-KIND."""


def serve(channel: socket.socket, kinds: Kinds) -> None:
    """Start processes until the keeper closes the channel."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # A child that ends is gone at once, and none is waited for.
    gc.collect()
    gc.freeze()
    while True:
        try:
            received = wire.receive(channel)
        except ConnectionResetError:
            return
        if received is None:
            return
        message, descriptors = received
        try:
            if not os.fork():
                channel.close()
                _become(kinds, str(message["kind"]), descriptors[0])
        except OSError as error:
            sys.stdout.write(f"no process could be started: {error.strerror}\n")
            sys.stdout.flush()
        wire.close_all(descriptors)


def _become(kinds: Kinds, kind: str, descriptor: int) -> NoReturn:
    """The rest of a child's life. Nothing of it may ever come back into the loop of its parent."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with open("/proc/self/comm", "w", encoding="ascii") as name:
            name.write(f"o2keep-{kind}")
        sock, me = socket.socket(fileno=descriptor), processes.find("self")
        wire.send(sock, me._asdict() if me else {})
        kinds[kind](sock)
        code = 0
    except (BrokenPipeError, ConnectionResetError):
        pass  # The keeper ended meanwhile.
    except O2cbError as error:
        sys.stdout.write(f"o2keep-{kind}: {error}\n")
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
