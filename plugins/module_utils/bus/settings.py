# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The figures of the bus: limits, and times in seconds of the member's own running time."""

from __future__ import annotations

from typing import NamedTuple


class Settings(NamedTuple):
    """Equal on all nodes. `evict_after` has to be longer than o2dlm takes to prove a dead node down."""

    window: int = 256
    """Entries that may be numbered and not yet delivered everywhere."""

    in_flight: int = 64
    """Messages of one sender that wait at the sequencer."""

    queue: int = 1024
    """Messages that wait at their sender; beyond that it is refused."""

    payload: int = 65536
    """Bytes of one message."""

    suspect_after: float = 3.0
    """Without a sign of a member the sequencer suspects and probes it, and without one of the sequencer the members try
    for its lock."""

    release_after: float = 6.0
    """A sequencer that lacks half of the view for so long lets another try."""

    sit_out: float = 10.0
    """So long it stays last in line."""

    evict_after: float = 180.0
    """A member of a minority gives up after this, and a majority asks the one it cannot hear to go. The agent sets it
    by the timeouts of the cluster."""

    alive_patience: float = 10.0
    """So long an agent tries for its own `alive` lock, which a probe can hold for a moment."""

    found_after: float = 2.0
    """So long a new agent listens for a sequencer before it tries to found a bus."""

    settle: float = 60.0
    """A member that goes down sooner after its join has to wait before the next, each time twice as long."""

    backoff: float = 2.0
    most_backoff: float = 300.0

    longest_step: float = 2.0
    """More than this between two ticks is time in which the agent did not run. It does not count."""
