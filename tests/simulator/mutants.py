# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted bugs: each takes one rule away."""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent.bus.core import Core


class Mutant(NamedTuple):
    core: type[Core]
    about: str


MUTANTS: dict[str, Mutant] = {}
