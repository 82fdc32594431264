# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks end, even those that forget that they were cancelled."""

from __future__ import annotations

import asyncio
import contextlib

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import tasks


async def deaf(times: int) -> None:
    """Goes on when it is cancelled, so many times."""
    for _time in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


def test_a_task_that_swallows_a_cancellation_is_cancelled_again():
    async def scene() -> None:
        stubborn = asyncio.ensure_future(deaf(2))
        quick = asyncio.ensure_future(asyncio.sleep(0))
        await asyncio.sleep(0.01)
        assert await tasks.end([stubborn, quick])
        assert stubborn.done()

    asyncio.run(scene())


def test_one_that_never_ends_is_told():
    async def scene() -> None:
        stubborn = asyncio.ensure_future(deaf(20))
        await asyncio.sleep(0.01)
        assert not await tasks.end([stubborn], seconds=0.5)
        assert await tasks.end([stubborn])

    asyncio.run(scene())
