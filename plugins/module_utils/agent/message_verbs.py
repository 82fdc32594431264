# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be asked of the bus over the agent's socket.

members  who is there, whether this node is on the side that decides, and what the bus waits for
send     a message to all on a channel; answered when all that are not down have it
ask      the same, with the answers of all, or of some nodes
answer   to a question that came over `listen`
listen   a stream: messages of some channels, events, or both
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ..base.errors import O2cbError
from ..bus import membership
from ..client.protocol import encoded
from ..transport.links import Peer
from .exchange import INTERNAL, LONGEST_SECONDS, SEND_SECONDS, Exchange
from .listener import Listener
from .server import Stream, Verb

SIDE_BY_SIDE = frozenset({"send", "ask", "answer"})
READING = frozenset({"members", "listen"})


class MessageVerbs:
    """They answer for one exchange. `peers` are the nodes of the cluster, by number, as they are now."""

    def __init__(self, exchange: Exchange, peers: Callable[[], Mapping[int, Peer]]) -> None:
        self._exchange, self._peers = exchange, peers

    def answers(self) -> dict[str, Verb]:
        return {"members": self.members, "send": self.send, "ask": self.ask, "answer": self.answer}

    def streams(self) -> dict[str, Stream]:
        return {"listen": self.listen}

    async def members(self, _message: dict[str, Any]) -> dict[str, Any]:
        exchange, peers = self._exchange, self._peers()
        known = exchange.membership.members
        messenger = exchange.messenger
        rows = []
        for number in sorted({*peers, *known}):
            member = known.get(number, membership.Member())
            rows.append(
                {
                    "node": number,
                    "name": peers[number].name if number in peers else None,
                    "address": peers[number].address if number in peers else None,
                    "state": member.state,
                    "since": member.since or None,
                    "incarnation": member.incarnation or None,
                }
            )
        return {
            "node": messenger.core.node if messenger else None,
            "incarnation": messenger.core.incarnation if messenger else None,
            "history": list(messenger.core.history) if messenger and messenger.is_member() else None,
            "on_bus": bool(messenger and messenger.is_member()),
            "quorate": exchange.membership.quorate,
            "sequencer": messenger.sequencer() if messenger and messenger.sequencer() >= 0 else None,
            "position": exchange.membership.position if messenger else None,
            "members": rows,
            "waits": exchange.waits(),
        }

    def _nodes(self, message: Mapping[str, Any]) -> list[int] | None:
        """The numbers of those for whom a message is, who can be named too; None for all. Raises O2cbError."""
        to = message.get("to")
        if to is None:
            return None
        if not isinstance(to, list) or not to:
            raise O2cbError(f"to is {to!r}: give a list of nodes, by name or number")
        return [self._node(node) for node in to]

    def _node(self, wanted: object) -> int:
        """A number need not be in the cluster's table, in which a node that was taken out of it is no more."""
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            return wanted
        peers = self._peers()
        for number, peer in peers.items():
            if wanted == peer.name or wanted == str(number):
                return number
        known = ", ".join(peer.name for _number, peer in sorted(peers.items()))
        raise O2cbError(f"there is no node {wanted!r} in the cluster: known are {known or 'none'}")

    async def send(self, message: dict[str, Any]) -> dict[str, Any]:
        to = self._nodes(message)
        head = {} if to is None else {"to": to}
        position = await self._exchange.send(_channel(message), message["data"], head, _seconds(message))
        return {"position": position}

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        found = await self._exchange.ask(_channel(message), message["data"], self._nodes(message), _seconds(message))
        answers: dict[int, bytes] = found.pop("answers")
        lengths = [[node, len(data)] for node, data in answers.items()]
        return {**found, "answers": lengths, "data": b"".join(answers.values())}

    async def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        position = await self._exchange.answer(
            _channel(message), str(message["to_question"]), message["data"], _seconds(message)
        )
        return {"position": position}

    async def listen(self, message: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            listener = Listener.from_request(message)
            begun = self._exchange.listen(listener)
        except O2cbError as error:
            writer.write(encoded({"error": str(error)}))
            await writer.drain()
            return
        try:
            writer.write(encoded(begun))
            await listener.serve(reader, writer)
        finally:
            self._exchange.forget(listener)


def _seconds(message: Mapping[str, Any]) -> float:
    seconds = message.get("seconds", SEND_SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST_SECONDS:
        raise O2cbError(f"seconds is {seconds!r}: give more than 0 and at most {LONGEST_SECONDS:g}")
    return float(seconds)


def _channel(message: Mapping[str, Any]) -> str:
    channel = str(message["channel"])
    if channel == INTERNAL:
        raise O2cbError(f"channel {INTERNAL!r} belongs to the agents: choose another name")
    return channel
