# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many locks of a program on one node lock say the same to other nodes as they would each for itself."""

from __future__ import annotations

import itertools

from ansible_collections.ocfs2.o2cb.plugins.module_utils.client.lock_table import LockTable, covering
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode, compatible


def test_the_covering_mode_is_compatible_with_what_all_are_compatible_with():
    tried = 0
    for count in (1, 2, 3, 4):
        for modes in itertools.combinations_with_replacement(Mode, count):
            if all(compatible(one, other) for one, other in itertools.combinations(modes, 2)):
                for other in Mode:
                    tried += 1
                    assert compatible(covering(modes), other) == all(compatible(mode, other) for mode in modes)
    assert tried > 100


def test_nothing_is_covered_by_nl():
    assert covering([]) is Mode.NL


def test_a_program_excludes_itself_as_nodes_exclude_one_another():
    table = LockTable()
    for one, other in itertools.product(Mode, Mode):
        first, second = table.new(), table.new()
        table.grant("r", first, one)
        assert table.excluded("r", second, other) == (not compatible(one, other))
        assert not table.excluded("r", first, other), "a lock is not in its own way"
        assert not table.excluded("q", second, other)
        table.drop(first)


def test_the_node_lock_falls_to_what_is_left():
    table = LockTable()
    cr, pw = table.new(), table.new()
    table.grant("r", cr, Mode.CR)
    assert table.needed("r", pw, Mode.PW) is Mode.PW
    table.grant("r", pw, Mode.PW)
    assert table.needed("r", pw, Mode.NL) is Mode.CR
    assert table.needed("r", cr, Mode.NL) is Mode.PW
