# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.dlm import modes
from ansible_collections.ocfs2.o2cb.plugins.module_utils.dlm.modes import Mode
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb.errors import O2cbError

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


def test_the_words_of_people_are_modes():
    assert modes.parse("exclusive") is Mode.EX
    assert modes.parse("shared") is Mode.PR


@pytest.mark.parametrize(("text", "word"), [("CW", "use PW"), ("", "exclusive, shared"), ("ex", "exclusive, shared")])
def test_what_is_no_mode_is_refused_with_the_way_out(text, word):
    with pytest.raises(O2cbError, match=word):
        modes.parse(text)
