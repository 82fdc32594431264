# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's exceptions. Their text says what is wrong, where, and what to do."""

from __future__ import annotations


class LabError(Exception):
    """Something that the person at the keyboard has to know, in words."""


class NoSpace(LabError):
    """A command ran out of disk space; whoever knows on which file system adds its path."""
