# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A note that the cluster, as it runs now, was proved: all nodes were in one domain at the same time.

It says which cluster that was, so that any change of it makes the note worthless. It lies in /run: a node that boots
has to be proved again, and one that leaves the cluster takes the note away.
"""

from __future__ import annotations

from ..base import files
from .state import Live

PATH = "/run/ocfs2.o2cb/proved"


def note(live: Live) -> None:
    files.write(PATH, _text(live))


def noted(live: Live | None) -> bool:
    return live is not None and live.online and files.read(PATH) == _text(live)


def forget() -> None:
    files.remove_with_directory(PATH)


def _text(live: Live) -> str:
    return f"{live.local}: {live.cluster}\n"
