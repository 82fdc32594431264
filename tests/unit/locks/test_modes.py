# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import modes
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import LEVELS, Level, Mode

VMS = {
    "NL": {"NL", "CR", "PR", "PW", "EX"},
    "CR": {"NL", "CR", "PR", "PW"},
    "PR": {"NL", "CR", "PR"},
    "PW": {"NL", "CR"},
    "EX": {"NL"},
}
"""The compatibility table of the VMS lock manager, without CW."""


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Mode, Mode)))
def test_two_modes_are_compatible_where_the_vms_table_says_so(one, other):
    assert modes.compatible(one, other) == (other.value in VMS[one.value])


def test_every_version_makes_a_mode_of_the_same_levels_of_o2dlm():
    """Two versions that do not would grant modes that exclude each other. The numbers are those of dlmapi.h."""
    assert {mode.value: levels for mode, levels in LEVELS.items()} == {
        "NL": {},
        "CR": {"own": 3},
        "PR": {"own": 3, "writers": 3},
        "PW": {"own": 3, "writers": 5},
        "EX": {"own": 5},
    }
    assert {mode.value for mode in modes.SOLE} == {"PW", "EX"}


def test_everybody_takes_the_resources_of_a_mode_in_the_same_order():
    assert [list(LEVELS[mode]) for mode in (Mode.PR, Mode.PW)] == [["own", "writers"]] * 2


def test_the_words_of_people_are_modes():
    assert modes.parse("exclusive") is Mode.EX
    assert modes.parse("shared") is Mode.PR


@pytest.mark.parametrize(("text", "word"), [("CW", "use PW"), ("", "exclusive, shared"), ("ex", "exclusive, shared")])
def test_what_is_no_mode_is_refused_with_the_way_out(text, word):
    with pytest.raises(O2cbError, match=word):
        modes.parse(text)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(Mode, Mode)))
def test_a_conversion_leads_to_the_levels_of_the_new_mode(old, new):
    conversion = modes.conversion(old, new)
    levels = {**LEVELS[old], **dict(conversion.opened)}
    for resource in conversion.dropped:
        del levels[resource]
    assert levels == LEVELS[new]
    assert all(LEVELS[old][resource] is Level.EX for resource in conversion.lowered)


@pytest.mark.parametrize(("old", "new", "other"), list(itertools.product(Mode, Mode, Mode)))
def test_at_no_moment_of_a_conversion_gets_in_who_is_compatible_with_neither_mode(old, new, other):
    """While it is under way, the higher level of each resource is held."""
    both = {
        resource: max(levels)
        for resource in LEVELS[old].keys() | LEVELS[new].keys()
        if (levels := [mode[resource] for mode in (LEVELS[old], LEVELS[new]) if resource in mode])
    }
    admits = all(both[resource] is level is Level.PR for resource, level in LEVELS[other].items() if resource in both)
    assert not admits or (modes.compatible(old, other) and modes.compatible(new, other))


@pytest.mark.parametrize(
    ("old", "new", "rises"),
    [
        ("PR", "EX", True),
        ("EX", "PR", True),
        ("EX", "CR", False),
        ("PR", "CR", False),
        ("CR", "PR", True),
        ("PW", "PR", False),
    ],
)
def test_who_rises_can_be_refused(old, new, rises):
    assert modes.conversion(Mode(old), Mode(new)).rises is rises
