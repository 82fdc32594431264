# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What agents tell one another about resources: that there is something to see, and that one is to move.

Where a resource is, and who is to have it next, is in locks only. A message saves the wait until somebody looks at
them; when none gets through, all goes on a second or two later.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ..base import tasks
from ..base.errors import O2cbError
from ..bus.pieces import Message
from ..resources.runner import Runner
from .exchange import INTERNAL, Exchange

SECONDS = 10.0


class Errands:
    """Between the runners of this node and those of the others."""

    def __init__(self, exchange: Exchange, runners: Mapping[str, Runner]) -> None:
        self._exchange, self._runners = exchange, runners
        self._tasks: set[asyncio.Task[None]] = set()
        exchange.on_message(self._take)

    def look(self, name: str, node: int | None) -> None:
        """Tell the agent of this node to look at this resource, or all agents. Nobody waits for it."""
        if self._exchange.membership.quorate:
            self._begin({"look": name, "node": node})

    async def move(self, name: str, target: str, holder: int) -> None:
        """Give the order to the node that runs it. Raises O2cbError with what stands against it."""
        order = json.dumps({"move": name, "node": target}).encode()
        found = await self._exchange.ask(INTERNAL, order, [holder], SECONDS)
        if holder not in found["answers"]:
            raise O2cbError(f"the agent of node {holder}, which runs {name}, did not answer: see `o2ctl members`")
        problem = json.loads(found["answers"][holder])["error"]
        if problem:
            raise O2cbError(problem)

    def _begin(self, what: Mapping[str, Any], answer_to: str = "") -> None:
        tasks.begin(self._send(json.dumps(what).encode(), answer_to), self._tasks)

    async def _send(self, data: bytes, answer_to: str) -> None:
        try:
            if answer_to:
                await self._exchange.answer(INTERNAL, answer_to, data, SECONDS)
            else:
                await self._exchange.send(INTERNAL, data, seconds=SECONDS)
        except O2cbError:
            return  # They look by themselves.

    def _take(self, message: Message) -> None:
        """A message of another agent, or one's own."""
        try:
            what = json.loads(message.data)
            name = what.get("look") or what.get("move")
            runner = self._runners.get(name)
        except (ValueError, AttributeError, TypeError):
            return
        if "look" in what:
            if runner is not None and what.get("node") in (None, self._exchange.node):
                runner.hint()
        elif "ask" in message.head and message.head.get("to") == [self._exchange.node]:
            self._begin({"error": self._order(runner, str(name), str(what.get("node")))}, str(message.head["ask"]))

    def _order(self, runner: Runner | None, name: str, target: str) -> str:
        if runner is None:
            return f"there is no resource {name!r} on node {self._exchange.node}"
        try:
            runner.order("move", target)
        except O2cbError as error:
            return str(error)
        return ""
