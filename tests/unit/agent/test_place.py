# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an agent makes of the cluster's timeouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import place
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.timeouts import Timeouts


@pytest.mark.parametrize(
    ("timeouts", "seconds"),
    [
        (Timeouts(), 178),
        (Timeouts(heartbeat_dead_threshold=7, idle_timeout_ms=10000), 62),
        (Timeouts(heartbeat_dead_threshold=61), 298),
    ],
)
def test_a_member_that_nobody_hears_is_o2cbs_to_judge_first(timeouts: Timeouts, seconds: float) -> None:
    """As docs/messages.md has it."""
    assert place._patience(timeouts) == seconds


def test_incarnations_only_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "INCARNATION", str(tmp_path / "incarnation"))
    first = place._next_incarnation()
    (tmp_path / "incarnation").write_text(f"{first + 1000}\n")
    assert place._next_incarnation() == first + 1001
    assert place._next_incarnation() > first + 1001, "also when the clock is behind"
    (tmp_path / "incarnation").unlink()
    assert place._next_incarnation() >= first, "by the clock alone"
    (tmp_path / "incarnation").write_text(f"{1 << 50}\n")
    assert place._next_incarnation() == (1 << 50) + 1
