# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record in its world: nothing violates, and rules that are taken away are missed.

`O2CB_SEEDS` is how many seeded runs there are; bin/test simulator has more.
"""

from __future__ import annotations

import os

import pytest

from simulator.marks.mutants import MUTANTS
from simulator.marks.runs import run

SEEDS = int(os.environ.get("O2CB_SEEDS", "1000"))
PIECES = 4


@pytest.mark.parametrize("piece", range(PIECES))
def test_no_invariant_is_violated_whatever_happens(piece):
    for seed in range(piece, SEEDS, PIECES):
        assert run(seed).violation is None, f"tests/simulator/run-marks --from {seed} --seeds 1 shows how"


def test_a_run_is_the_same_each_time_and_has_takes_and_faults():
    first, second = run(9, trace=True), run(9, trace=True)
    assert first.trace == second.trace
    assert first.answered > 5


@pytest.mark.parametrize("name", MUTANTS)
def test_a_missing_rule_is_found_within_its_seeds(name):
    """The seeds are known; this shows that the invariant can fail, and by which rule."""
    mutant = MUTANTS[name]
    result = run(mutant.seed, mutant.world)
    assert result.violation is not None
    assert result.violation.name == mutant.violates
