# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets tests import ansible_collections.ocfs2.o2cb straight from the clone, by the tree that bin/setup makes."""

from __future__ import annotations

import sys
from pathlib import Path

import hypothesis

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / ".ansible/tree"))

# A slow machine is no bug.
hypothesis.settings.register_profile("o2cb", deadline=None)
hypothesis.settings.load_profile("o2cb")
