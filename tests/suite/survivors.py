# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutants that no test can or should kill, each with the reason. By module and change, as bin/test mutants prints it."""

from __future__ import annotations

JUDGED: dict[str, dict[str, str]] = {}
