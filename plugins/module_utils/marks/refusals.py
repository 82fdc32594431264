# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a token cannot be had from the record on disk."""

from __future__ import annotations

from ..base.errors import O2cbError


class RefusedError(O2cbError):
    """No token can be answered now; the text says why, and what helps."""


class RetakeError(RefusedError):
    """This grant cannot be told from one that is over: release the lock and acquire it anew. It costs a millisecond."""


class UnreachableError(RefusedError):
    """The process that keeps the record does not answer. It may just be started: ask again."""


class NoRecordError(O2cbError):
    """There is no record on these regions: clocks decide."""
