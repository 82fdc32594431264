# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the keeper and its workers both have to keep to. Here, so that neither has to load the other."""

from __future__ import annotations

MOUNT_SECONDS = 1.5
"""The mount of a lock outlives it by this: the kernel may still have work queued for it."""
