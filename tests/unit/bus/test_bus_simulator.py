# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bus in the simulator: nothing violates, and every rule that is taken away is missed.

`O2CB_SEEDS` is how many seeded runs there are; bin/test simulator has 20,000.
"""

from __future__ import annotations

import os

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.bus.core import Core
from simulator.checks import Violation
from simulator.mutants import MUTANTS
from simulator.runs import run
from simulator.schedules import SCHEDULES

SEEDS = int(os.environ.get("O2CB_SEEDS", "2000"))
PIECES = 8


@pytest.mark.parametrize("piece", range(PIECES))
def test_no_invariant_is_violated_whatever_happens(piece):
    for seed in range(piece, SEEDS, PIECES):
        assert run(seed).violation is None, f"tests/simulator/run --from {seed} --seeds 1 shows how"


def test_a_run_is_the_same_each_time():
    first, second = run(7, trace=True), run(7, trace=True)
    assert first.trace == second.trace
    assert len(first.trace) > 200


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_does_no_harm(name):
    world = SCHEDULES[name].play(Core)
    assert world.checks.delivered > 0


@pytest.mark.parametrize(
    ("name", "mutant"), [(name, mutant) for name, schedule in SCHEDULES.items() for mutant in schedule.mutants]
)
def test_a_schedule_does_harm_without_its_rule(name, mutant):
    with pytest.raises((Violation, AssertionError)):
        SCHEDULES[name].play(MUTANTS[mutant].core)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_missing_rule_is_found_within_its_seeds(name):
    """The seeds are known; this shows that the invariant can fail, and by which rule."""
    mutant = MUTANTS[name]
    result = run(mutant.seed, mutant.core)
    assert result.violation is not None
    assert result.violation.name == mutant.violates


def test_every_invariant_is_violated_by_some_mutant():
    violated = {mutant.violates for mutant in MUTANTS.values()}
    assert violated >= {
        "bounded",
        "delivered everywhere",
        "down before join",
        "down is true",
        "down once",
        "every end is told",
        "gives up for cause",
        "join after proof",
        "no delivery from an old epoch",
        "no duplicate",
        "no gap",
        "no old incarnation",
        "nothing before the join",
        "per-sender order",
        "progress",
        "same order",
        "same view",
        "sent means delivered",
        "stable before delivered",
    }
