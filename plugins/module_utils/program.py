# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one program that the collection installs on a node, packed as a zipapp. Its first word says what it is to be."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run as that. Imports wait until they are needed: a program has to start quickly."""
    verb, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if verb == "o2keep":
        from .locks import keeper

        return keeper.main([sys.executable, sys.argv[0]])
    if verb == "o2keep-nursery":
        from .locks import nursery, worker
        from .marks import recorder

        nursery.serve(
            socket.socket(fileno=int(rest[0])),
            {
                "worker": lambda sock: worker.Worker(sock).serve(),
                "record": lambda sock: recorder.main(sock.fileno()),
            },
        )
        return 0
    if verb == "record":
        from .marks import command

        return command.main(rest)
    if verb in ("o2agent", "o2agent-stop"):
        from .agent import daemon

        return daemon.main() if verb == "o2agent" else daemon.safe_stop()
    if verb == "o2ctl":
        from .ctl import commands

        return commands.main(rest)
    if verb == "libvirt-hook":
        from .vm import hook

        return hook.main(rest)
    if verb == "vm-settle":
        from .vm import settling

        return settling.main(rest)
    from .o2cb import boot

    return boot.main(list(arguments))
