# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why o2agent did not answer, and what to do about it, in the same words for every kind of program."""

from __future__ import annotations

import os

from ..base.errors import O2cbError
from .protocol import Event

GONE = "o2agent is gone: connect again, and begin anew"
CLOSED = "it has closed the connection"


def silent(why: object) -> O2cbError:
    """The agent said nothing, or nothing that can be understood."""
    return O2cbError(f"o2agent did not answer: {why}; see `systemctl status o2agent`")


def late(seconds: float) -> O2cbError:
    return silent(f"nothing within {seconds:g} s")


def unreachable(error: OSError) -> O2cbError:
    """There is no connection to it."""
    if isinstance(error, PermissionError):
        return O2cbError("you may not ask o2agent: use become, or sudo")
    return O2cbError(
        f"o2agent does not answer on {os.uname().nodename} ({error.strerror or error}): run role ocfs2.o2cb.agent, or "
        "see `systemctl status o2agent`"
    )


def granted(told: Event) -> Event:
    """An answer that is none to a request that was refused. Raises O2cbError with what the agent says against that."""
    if "error" in told.facts:
        raise O2cbError(str(told.facts["error"]))
    return told
