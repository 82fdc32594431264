# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fencing token of a grant: a number that never falls from one exclusive holder of a lock to the next. Pure.

Theory of operation. A resource that remembers the largest token it has seen can refuse a holder that was fenced or
delayed. The previous token stands in the lock's value block, so normally the next one is *previous + 1*. But o2dlm
loses the value block with the node that held it, and forgets it some seconds after the last use. Then the clock has to
do: the token counts microseconds, and is at least

* this node's own clock,
* the newest time stamp in any heartbeat block,
* one more than the largest token this node has seen, which is kept on disk.

A value block is never lost sooner than some seconds after the last grant (a death takes at least seven beats to be
noticed), so this grows as long as clocks agree within 5 s. A node whose clock is further behind the newest time stamp,
be it that of a dead node, cannot know, and is refused the lock: the dead one may have lived on after that stamp. So is
a node whose clock is ahead of all others, or whose token would be, as after such a clock has been set right: if it died
with the lock, its heir could not know. That is said to the user, not hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..base.errors import O2cbError

MAX_LAG = 5.0
"""Seconds by which this node's clock may be behind the newest heartbeat."""

STALE = 6.0
"""Seconds by which a time stamp may be old: nodes write it every 2 s, and it is read every 4 s."""

MAX_AHEAD = 8.0
"""Seconds by which a token may be ahead of all clocks: that of the mark on disk, and some for clocks that differ."""

SECOND = 1_000_000
"""Tokens count microseconds."""


class ClockError(O2cbError):
    """The token cannot be known, or its successor could not. It may be once a clock is right and its node beats."""


@dataclass(frozen=True)
class Clocks:
    """What a node knows of time when it takes a lock. All in seconds since the epoch, `seen` is a token."""

    own: float
    others: float
    """The newest time stamp of another node that lives; 0 when there is none."""

    newest: float
    seen: int


def next_token(previous: int | None, clocks: Clocks) -> int:
    """The token of a grant. `previous` is that of the value block, None when it is unknown.

    Raises ClockError when it is unknown and this node's clock is too far behind to tell, and when the token would be so
    far ahead of all clocks that the next holder might fall behind it.
    """
    behind = clocks.newest - clocks.own
    before = clocks.own - clocks.others if clocks.others else 0.0
    if previous is None and (behind > MAX_LAG or before > MAX_LAG + STALE):
        how = f"{behind:.0f} s behind" if behind > MAX_LAG else f"{before:.0f} s ahead of"
        raise ClockError(
            f"this node's clock is {how} the newest heartbeat of another node, and the last fencing token of the lock "
            "is not known: set the clocks, for example with chrony, on nodes that are down too"
        )
    clock = int(max(clocks.own, clocks.newest) * SECOND)
    number = max(clock, clocks.seen + 1) if previous is None else max(previous, clocks.seen) + 1
    ahead = (number - clock) / SECOND
    if ahead > MAX_AHEAD:
        raise ClockError(
            f"the fencing token would be {ahead:.0f} s ahead of all clocks, since one of them was: if this node died "
            "with the lock, the next holder's could fall; set the clocks, and wait until they have caught up"
        )
    return number
