# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The largest token that this node may have given out, on disk, so that no later life of the node falls below it.

The mark is written ahead of the tokens, and so rarely. It is ahead by less than it takes o2dlm to forget a token, so
that one which comes from the mark of a keeper that died is not ahead of another node's clock when that has nothing else
to go by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ..base import files
from ..base.loop import Loop
from .pool import Pool
from .rules import MARK
from .token import SECOND

AHEAD = 5 * SECOND
SECONDS = 5.0
"""Deadline of the disk."""

Told = Callable[[str], None]
"""Called with the reason when something could not be done in time, else with an empty string."""


class Mark:
    """`seen` is the largest token of this node's grants so far, or the mark of an earlier keeper."""

    def __init__(self, loop: Loop, pool: Pool) -> None:
        self.seen = int(files.read_line(MARK) or 0)
        self._loop, self._pool = loop, pool
        self._written = self.seen
        self._writing = False
        self._waiting: list[tuple[int, Told]] = []

    def reach(self, token: int, call: Told) -> None:
        """Call this when the mark on disk is not below the token."""
        self.seen = max(self.seen, token)
        if token <= self._written:
            call("")
            return
        entry = (token, call)
        self._waiting.append(entry)
        self._loop.at(SECONDS, lambda: self._tell([entry], f"{MARK} could not be written within {SECONDS:g} s"))
        self._write(self.seen + AHEAD)

    def expect(self, token: int) -> None:
        """A token of about this size is to be given out soon: see that its grant need not wait for the disk."""
        if self._written < token + AHEAD // 2:
            self._write(token + AHEAD)

    def _write(self, mark: int) -> None:
        if self._writing:
            return
        self._writing = True

        def written(answer: dict[str, Any], _descriptors: list[int]) -> None:
            self._writing = False
            if "error" in answer:
                self._tell(list(self._waiting), f"a later token might fall: {MARK}: {answer['error']}")
                return
            self._written = max(self._written, mark)
            self._tell([entry for entry in self._waiting if entry[0] <= self._written], "")
            if self._waiting:
                self._write(self.seen + AHEAD)

        self._pool.run({"job": "mark", "token": mark}, [], written)

    def _tell(self, entries: Sequence[tuple[int, Told]], problem: str) -> None:
        for entry in entries:
            if entry in self._waiting:
                self._waiting.remove(entry)
                entry[1](problem)
