# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose time stamps count."""

from __future__ import annotations

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.clock import Clock


def test_before_the_first_reading_nothing_is_known():
    clock = Clock()
    assert (clock.is_fresh(0.0), clock.own, clock.newest(), clock.newest_of_others()) == (False, 0, 0.0, 0.0)


def test_a_reading_counts_for_two_beats():
    clock = Clock()
    clock.read(1, {1: 100}, 50.0)
    assert clock.is_fresh(53.9)
    assert not clock.is_fresh(54.0)


def test_only_stamps_that_move_are_of_live_nodes():
    clock = Clock()
    clock.read(1, {1: 300, 2: 200, 3: 90}, 50.0)
    assert (clock.newest(), clock.newest_of_others()) == (300.0, 200.0)
    clock.read(1, {1: 304, 2: 200, 3: 94}, 54.0)
    assert (clock.newest(), clock.newest_of_others()) == (304.0, 94.0)
    clock.read(1, {1: 308, 2: 200, 3: 94}, 58.0)
    assert clock.newest_of_others() == 0.0, "alone"
