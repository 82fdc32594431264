# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception of the o2cb library."""

from __future__ import annotations

from typing import Any, Iterable


class O2cbError(Exception):
    """Something is wrong; the text says what, where, and what to do about it.

    `facts` are handed on to the caller's result, so that a program need not parse the text.
    """

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.facts: dict[str, Any] = facts


class DeadlineExceeded(O2cbError):
    """Something did not come back in time; it may still be at work."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what} did not come back within {seconds:g} s")


def join_problems(problems: Iterable[str]) -> str:
    """Many complaints in one message, so that the reader mends them all at once."""
    return "; ".join(problems)
