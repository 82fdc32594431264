# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The four timeouts of o2cb and what follows from them.

Theory of operation (fs/ocfs2/cluster/heartbeat.c, tcp.c and quorum.c of Linux 6.1):

* Each node writes its heartbeat block every 2 seconds. With a dead threshold T, a node that has not completed a write
  for (T - 1) * 2 s resets itself, and its peers declare it dead after T equal samples, T * 2 s. The first comes before
  the second: that is what makes a lock of a dead node safe to hand on.
* A network connection that is idle for the idle timeout is dropped; the fence decision falls (T + 2) * 2 s later.
* Idle timeout, keepalive delay and dead threshold must be the same on all nodes: o2net refuses a peer that differs.
* The minima are those of the distribution's init script (o2cb.sysconfig(5)); below them o2cb fences healthy nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

BEAT_INTERVAL = 2.0
"""Seconds between two heartbeats of a node (O2HB_REGION_TIMEOUT_MS)."""

RECOVERY_SECONDS = 10.0
"""The most that o2dlm needs for recovery: its thread looks every 5 s, and then waits 5 s for what the other nodes send
(DLM_RECO_THREAD_TIMEOUT_MS in fs/ocfs2/dlm/dlmrecovery.c)."""

U32_MAX = 2**32 - 2
"""Largest value that configfs takes for a timeout; one more is ERANGE."""


@dataclass(frozen=True)
class Timeouts:
    """The timeouts as o2cb.sysconfig(5) names them: a count of beats and three times in milliseconds."""

    heartbeat_dead_threshold: int = 31
    idle_timeout_ms: int = 30000
    keepalive_delay_ms: int = 2000
    reconnect_delay_ms: int = 2000

    @property
    def self_fence_seconds(self) -> float:
        """A node resets itself after this long without a completed heartbeat write."""
        return (self.heartbeat_dead_threshold - 1) * BEAT_INTERVAL

    @property
    def dead_seconds(self) -> float:
        """Peers declare a node dead after this long without a new heartbeat."""
        return self.heartbeat_dead_threshold * BEAT_INTERVAL

    @property
    def dead_ms(self) -> int:
        """The same in milliseconds, as each node writes it into its heartbeat block (`hb_dead_ms`)."""
        return int(self.dead_seconds * 1000)

    @property
    def network_decision_seconds(self) -> float:
        """After a network cut, the losing side resets itself this long after the last message (quorum.c)."""
        return self.idle_timeout_ms / 1000 + (self.heartbeat_dead_threshold + 2) * BEAT_INTERVAL

    @property
    def verdict_seconds(self) -> float:
        """After a network cut, the locks of the losing side are free at most this long after the last message."""
        return self.network_decision_seconds + self.dead_seconds + BEAT_INTERVAL + RECOVERY_SECONDS

    def seconds(self) -> dict[str, float]:
        """What the numbers mean, in seconds, for people."""
        return {
            "self_fence": self.self_fence_seconds,
            "dead": self.dead_seconds,
            "network_decision": self.network_decision_seconds,
            "idle": self.idle_timeout_ms / 1000,
            "keepalive": self.keepalive_delay_ms / 1000,
            "reconnect": self.reconnect_delay_ms / 1000,
        }

    def problems(self) -> list[str]:
        """Everything that is wrong with these values, each with its remedy; empty when they are sound."""
        found = []
        if not 7 <= self.heartbeat_dead_threshold <= U32_MAX // 2000:
            found.append(
                "heartbeat_dead_threshold is "
                f"{self.heartbeat_dead_threshold}: set it to at least 7 (12 s), or to 31 (60 s), the default"
            )
        if not 5000 <= self.idle_timeout_ms <= U32_MAX:
            found.append(f"idle_timeout_ms is {self.idle_timeout_ms}: set it to at least 5000; 30000 is the default")
        if not 1000 <= self.keepalive_delay_ms <= U32_MAX:
            found.append(
                f"keepalive_delay_ms is {self.keepalive_delay_ms}: set it to at least 1000; 2000 is the default"
            )
        if not 2000 <= self.reconnect_delay_ms <= U32_MAX:
            found.append(
                f"reconnect_delay_ms is {self.reconnect_delay_ms}: set it to at least 2000; 2000 is the default"
            )
        if self.keepalive_delay_ms >= self.idle_timeout_ms:
            found.append(
                f"keepalive_delay_ms is {self.keepalive_delay_ms} and idle_timeout_ms is {self.idle_timeout_ms}: "
                "the keepalive must be shorter than the idle timeout, at best half of it"
            )
        return found
