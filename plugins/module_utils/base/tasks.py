# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Beginning tasks of asyncio so that they are kept, and ending them for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Coroutine, Iterable, TypeVar

AGAIN_SECONDS = 0.2
END_SECONDS = 10.0

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T], among: set[asyncio.Task[T]]) -> asyncio.Task[T]:
    """Start it beside everything else, and keep it among these until it ends: asyncio itself may lose it."""
    task = asyncio.ensure_future(work)
    among.add(task)
    task.add_done_callback(among.discard)
    return task


async def end(tasks: Iterable[asyncio.Future[Any]], seconds: float = END_SECONDS) -> bool:
    """Cancel tasks, wait until they have ended, at most so many seconds, and say whether they have.

    Once is not enough: before Python 3.12 asyncio.wait_for forgets that it was cancelled when what it waits for comes
    in the same moment (CPython issue 86296), and a loop around it goes on.
    """
    left = {task for task in tasks if not task.done()}
    deadline = asyncio.get_running_loop().time() + seconds
    while left and asyncio.get_running_loop().time() < deadline:
        for task in left:
            task.cancel()
        left = (await asyncio.wait(left, timeout=AGAIN_SECONDS))[1]
    return not left
