# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The locks of virtual machines, asked of o2keep: within a time that is fixed for all requests together."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Callable

from ..base import files
from ..base.errors import O2cbError
from ..client.keep import Client
from ..locks.token import SECOND
from ..o2cb import conf
from . import machine
from .guard import BUSY, Held, Holder, Taken
from .machine import Machine

ANSWER_SECONDS = 3.5
"""An answer of o2keep takes no longer than this beyond the wait that was asked for; see keeper.FIRST_ANSWER."""

CLEANUP_SECONDS = 1.0
"""What was taken is released even after the time is over; this long is waited for that."""

RESTART_SECONDS = 2.0
"""o2keep listens again this soon after it was restarted or killed."""

_PAUSE_SECONDS = 0.1


def connected() -> Client:
    return Client(grace=ANSWER_SECONDS)


class Locks:
    """Requests of one call, `seconds` from now for all of them. Raises O2cbError when they are over."""

    def __init__(self, seconds: float, connect: Callable[[], Client] = connected) -> None:
        self._deadline = time.monotonic() + seconds
        self._connect = connect
        self._client: Client | None = None

    def view(self, uuid: str) -> tuple[Held | None, Held | None]:
        """The locks `run` and `incoming` of a machine, where this node holds them."""
        held = self.held().get(uuid, {})
        return held.get(machine.RUN), held.get(machine.INCOMING)

    def held(self) -> dict[str, dict[str, Held]]:
        """All that this node holds, by UUID and by the beginning of the lock's name."""
        found: dict[str, dict[str, Held]] = {}
        for lock in self.facts():
            age = max(0.0, time.time() - lock["since"] / SECOND)
            prefix = machine.RUN if lock["name"].startswith(machine.RUN) else machine.INCOMING
            found.setdefault(machine.uuid_of_lock(lock["name"]), {})[prefix] = Held(lock["token"], age)
        return found

    def facts(self) -> list[dict[str, Any]]:
        """What o2keep tells of the machines' locks that this node holds."""
        return [lock for lock in self._list() if lock["kind"] == "node" and machine.uuid_of_lock(lock["name"])]

    def take(self, found: Machine, lock: str, wait: float) -> Taken:
        """Take a lock that nobody holds, not even this node, and within `wait` seconds."""
        message = {"op": "take", "name": lock, "wait": wait, "owner": found.name, "fresh": True}
        answer = self._ask(message, wait)
        if answer["held"]:
            return Taken(True, int(answer["token"]))
        if answer["reason"] == BUSY:
            return Taken(False, reason=BUSY, holder=_holder(answer.get("holder")))
        asleep = f" for {answer['asleep']:g} s" if "asleep" in answer else ""
        text = f"the lock manager has not answered{asleep}; while a node is being recovered, or is cut off, try again"
        return Taken(False, reason=str(answer["reason"]), text=text)

    def release(self, lock: str, token: int) -> None:
        """Release the lock that has this token; one that was taken since stays held."""
        self._deadline = max(self._deadline, time.monotonic() + CLEANUP_SECONDS)
        self._ask({"op": "release", "name": lock, "token": token}, 0.0)

    def who(self, lock: str) -> Holder | None:
        return _holder(self.record(lock))

    def record(self, lock: str) -> dict[str, Any] | None:
        """Who says that he holds this lock, in o2keep's words."""
        found: dict[str, Any] | None = self._ask({"op": "who", "name": lock}, 0.0)["holder"]
        return found

    def node(self) -> int:
        """The number of this node."""
        return int(self._ask({"op": "status"}, 0.0)["node"])

    def _list(self) -> list[dict[str, Any]]:
        client = self._open(0.0)
        try:
            return list(client.locks())
        except O2cbError:
            self._client = None
            raise
        except (OSError, ValueError) as error:
            self._client = None
            raise O2cbError(f"o2keep did not answer: {error}; see `systemctl status o2keep`") from None

    def _ask(self, message: Mapping[str, Any], wait: float) -> dict[str, Any]:
        client = self._open(wait)
        try:
            return client.ask(dict(message), wait)[0]
        except O2cbError:
            # What comes late belongs to no later question.
            self._client = None
            raise

    def _open(self, wait: float) -> Client:
        """The connection, with a deadline. o2keep may just be restarted."""
        deadline = min(self._deadline, time.monotonic() + RESTART_SECONDS)
        while self._client is None:
            try:
                self._client = self._connect()
            except O2cbError:
                if time.monotonic() + _PAUSE_SECONDS > deadline or os.geteuid() != 0:
                    raise
                time.sleep(_PAUSE_SECONDS)
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise O2cbError("o2keep takes too long: see `systemctl status o2keep`, and `o2ctl keep status`")
        self._client.grace = max(0.05, min(ANSWER_SECONDS, left - wait))
        return self._client


def _holder(record: Mapping[str, Any] | None) -> Holder | None:
    """A record as text. That of this very node has more in it, since it is not read from a lock."""
    if not record:
        return None
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["since"] / SECOND))
    return Holder(f"{node_name(int(record['node']))} (since {since}, token {record['token']})", "kind" in record)


def node_name(number: int) -> str:
    """A node for people, by its name too, where cluster.conf(5) has it."""
    try:
        document = conf.parse(files.read(conf.PATH) or "")
    except (O2cbError, OSError):
        return f"node {number}"
    for name in document.cluster_names():
        cluster = document.cluster(name)
        for node in cluster.nodes if cluster else ():
            if node.number == number:
                return f"node {number}, {node.name}"
    return f"node {number}"
