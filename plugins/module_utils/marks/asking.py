# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a worker asks the recorder for tokens, without a system call more than one where it knows enough.

asker = Asker()
seen = asker.before()                   # before each try for the lock; reads when the last reading is old
... try for the lock, read its value block ...
token = asker.token(previous, granted, seen)      # RetakeError: release, and try again; NoRecordError: clocks
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from ..base.errors import O2cbError
from . import page
from .page import Page, clock
from .refusals import NoRecordError, RefusedError, RetakeError, UnreachableError

SOCKET = "/run/o2keep/record"

SECONDS = 32.0
"""Deadline of an answer."""

FRESH_SECONDS = 3.0
"""A reading before a try may be so old: far below half the shortest dead time."""

MOST_BYTES = 65536


class Asker:
    """A worker's side. It may be kept between jobs; it connects when it first has to."""

    def __init__(self, path: str = SOCKET, page_path: str = page.PATH, seconds: float = SECONDS) -> None:
        self._path, self._page_path, self._seconds = path, page_path, seconds
        self._sock: socket.socket | None = None
        self._page = -1

    def before(self, fresh: float = FRESH_SECONDS) -> Page:
        """What is known before a try for a lock; with a new reading when the last one is older than `fresh` seconds.

        Never raises for the state of the record: what is wrong with it shows when a token has to be had.
        """
        seen = self.look()
        if seen.state == page.NONE or (seen.state == page.RECORD and clock() - seen.seconds < fresh):
            return seen
        with contextlib.suppress(RefusedError, NoRecordError):
            self.ask({"verb": "refresh"})
        return self.look()

    def look(self) -> Page:
        """One system call."""
        if self._page < 0:
            try:
                self._page = os.open(self._page_path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return Page()
        return page.look(self._page)

    def token(self, previous: int | None, granted: int, seen: Page) -> int:
        """The token of a lock that is held. `seen` is from before it was tried for.

        Raises RetakeError: release the lock and acquire it anew. RefusedError: there is none now. NoRecordError.
        """
        (token,) = self.tokens([(previous, granted)], seen)
        if isinstance(token, RefusedError):
            raise token
        return token

    def tokens(self, locks: Sequence[tuple[int | None, int]], seen: Page) -> list[int | RefusedError]:
        """The tokens of many locks, of which the value block's token and the largest one granted here are given."""
        if all(previous is not None and previous < seen.mark for previous, _granted in locks):
            return [(previous or 0) + 1 for previous, _granted in locks]
        asked = [[previous, granted, seen.reading] for previous, granted in locks]
        found = self.ask({"verb": "sign", "asked": asked})["tokens"]
        return [token if isinstance(token, int) else RetakeError(token["retake"]) for token in found]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request. Raises RefusedError, RetakeError or NoRecordError."""
        try:
            sock = self._connected()
            sock.send(json.dumps(request).encode())
            data = sock.recv(MOST_BYTES)
            if not data:
                raise ConnectionResetError("it has ended")
        except OSError as error:
            self.close()
            raise UnreachableError(
                f"the process that keeps the record on disk does not answer ({error}): see `journalctl -u o2keep`"
            ) from None
        answer: dict[str, Any] = json.loads(data)
        if "error" in answer:
            kinds: dict[str, Callable[[str], O2cbError]] = {"none": NoRecordError, "retake": RetakeError}
            raise kinds.get(answer["kind"], RefusedError)(answer["error"])
        return answer

    def is_there(self) -> bool:
        """Whether the process runs, which is then the only one of this node that may write the record."""
        try:
            self._connected()
        except OSError:
            self.close()
            return False
        return True

    def _connected(self) -> socket.socket:
        if self._sock is None:
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            self._sock.settimeout(self._seconds)
            self._sock.connect(self._path)
        return self._sock

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._page >= 0:
            os.close(self._page)
            self._page = -1
