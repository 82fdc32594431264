# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fencing token of a grant: a number that never falls from one exclusive holder of a lock to the next. Pure.

Theory of operation. A resource that remembers the largest token it has seen can refuse a holder that was fenced or
delayed. The previous token stands in the lock's value block, so normally the next one is *previous + 1*. But o2dlm
loses the value block with the node that held it, and forgets it some seconds after the last use. Then the clock has to
do: the token counts microseconds, and is at least

* this node's own clock,
* the newest time stamp in any heartbeat block, live or dead, because a dead holder's clock may have been ahead,
* and, where the previous token is unknown, so much more than these as a node may live without writing a stamp: its last
  grant may be that much younger than its last stamp, which counts whole seconds,
* the largest token this node has seen, which is kept on disk.

A value block is never lost sooner than some seconds after the last grant (a death takes at least seven beats to be
noticed), so this grows as long as clocks agree within 5 s. A node whose clock is further behind the newest *live*
heartbeat cannot know, and is refused the lock. That is said to the user, not hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..o2cb.errors import O2cbError

MAX_LAG = 5.0
"""Seconds by which this node's clock may be behind the newest live heartbeat."""

SECOND = 1_000_000
"""Tokens count microseconds."""


@dataclass(frozen=True)
class Clocks:
    """What a node knows of time when it takes a lock. Clocks in seconds since the epoch, `seen` is a token."""

    own: float
    newest_live: float
    newest: float
    seen: int
    silence: float
    """So long a node may live after its last time stamp, before it resets itself."""


class ClockError(O2cbError):
    """The token cannot be known. It may be as soon as a node is seen to be dead that was ahead."""


def next_token(previous: int | None, clocks: Clocks) -> int:
    """The token of a grant. `previous` is that of the value block, None when it is unknown.

    Raises ClockError when it is unknown and this node's clock is too far behind to tell.
    """
    if previous is None and clocks.newest_live - clocks.own > MAX_LAG:
        raise ClockError(
            f"this node's clock is {clocks.newest_live - clocks.own:.0f} s behind the newest heartbeat of a live node, "
            "and the last fencing token of the lock is not known: set the clock, for example with chrony"
        )
    clock = max(clocks.own, clocks.newest)
    if previous is None:
        return max(int((clock + clocks.silence) * SECOND), clocks.seen + 1)
    return max(previous + 1, int(clock * SECOND), clocks.seen + 1)
