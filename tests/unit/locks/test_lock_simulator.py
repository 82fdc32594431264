# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The locks in the simulator: nothing violates, and every rule that is taken away is missed.

`O2CB_LOCK_SEEDS` is how many seeded runs there are; bin/test simulator has 20,000.
"""

from __future__ import annotations

import os

import pytest

from simulator.locks.mutants import MUTANTS, planted
from simulator.locks.runs import run

SEEDS = int(os.environ.get("O2CB_LOCK_SEEDS", "400"))
PIECES = 8
PROMISES = {
    "exclusion",
    "free",
    "kept",
    "known",
    "lanes",
    "levels",
    "nothing lost",
    "once",
    "tokens",
}


@pytest.mark.parametrize("piece", range(PIECES))
def test_no_promise_is_broken_whatever_happens(piece):
    for seed in range(piece, SEEDS, PIECES):
        assert run(seed).violation is None, f"tests/simulator/run locks --from {seed} --seeds 1 shows how"


def test_a_run_is_the_same_each_time():
    first, second = run(7), run(7)
    assert first == second
    assert first.grants > 0


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.seed >= 0])
def test_a_missing_rule_is_found_within_its_seeds(name):
    """The seeds are known; this shows that the promise can be broken, and by which rule."""
    mutant = MUTANTS[name]
    result = run(mutant.seed, planted(name))
    assert result.violation is not None
    assert result.violation.promise == mutant.violates


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.seed < 0])
def test_a_rule_whose_loss_no_seed_is_known_to_show_is_still_there(name):
    assert planted(name).__name__ == "Core"


def test_every_promise_is_broken_by_some_mutant():
    assert {mutant.violates for mutant in MUTANTS.values()} >= PROMISES
