# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The classic question: am I the master? With a call on gain and one on loss. It needs o2keep, and no agent.

Theory of operation. The master is who has the process lock of this name. o2keep hands its descriptors to this process,
so it has the lock until it and all children that were given them are gone, or its node is. Nobody can take it away. So
a loss that is told is one of these:

* it was given up, by `stop`, by `resign`, or because `works` said no: `lost` is called first, and what it stops is
  stopped before another becomes the master;
* o2keep says that this process does not have the lock, which nothing but a fault brings about, or has said nothing for
  `patience` seconds: then it is given up as above.

The loss that matters cannot be told: when the node is evicted, its kernel resets it, and when it stands still and goes
on later, the other node is master already for the moment until its kernel does. What writes to the outside has to send
the token along, and the receiver has to refuse smaller ones (docs/locks.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any, Callable, Sequence

from ..base import wire
from ..base.errors import O2cbError
from ..locks import names
from ..o2cb.keeping import SOCKET
from .keep_aio import Locks
from .keep_protocol import GRACE, answered

TRY_SECONDS = 30.0
AGAIN_SECONDS = 1.0
LOOK_SECONDS = 3.0

Gained = Callable[[int], object]
"""Is given the fencing token."""

Lost = Callable[[str], object]
"""Is given the reason, in words."""

STOPPED, RESIGNED, ENDED = "stopped", "resigned", "what it was master for does not work any more"


def _is_ours(holder: Mapping[str, Any] | None, token: int) -> bool:
    return bool(holder and holder.get("kind") == "process" and holder["token"] == token)


class _Reign:
    """What both flavours know of the lock."""

    def __init__(
        self, name: str, gained: Gained, lost: Lost, works: Callable[[], bool] | None, owner: str, patience: float
    ) -> None:
        names.stored(name)
        self.name = name
        self.token = 0
        """The fencing token of this reign; 0 while this is not the master."""
        self.trouble = ""
        """What o2keep said last against it, for people."""
        self._gained, self._lost, self._works = gained, lost, works
        self._owner, self._patience = owner or f"process {os.getpid()}", patience
        self._descriptors: list[int] = []
        self._seen = 0.0
        self._why = ""
        self._stopping = False

    @property
    def descriptors(self) -> Sequence[int]:
        """For `pass_fds` of a child that goes on when this process dies: until it is gone too, nobody is master."""
        return tuple(self._descriptors)

    @property
    def _given_up(self) -> str:
        """Why its own program does not want to be it any more, or nothing."""
        return STOPPED if self._stopping else self._why

    def _begin(self, answer: Mapping[str, Any], descriptors: list[int]) -> None:
        self._descriptors, self.token = descriptors, int(answer["token"])
        self._seen, self._why = time.monotonic(), ""

    def _end(self) -> None:
        self.token = 0
        wire.close_all(self._descriptors)
        self._descriptors = []

    def _judge(self, holder: Mapping[str, Any] | None, error: str) -> str:
        """Why it is over, or nothing. `error` is why o2keep did not say who holds the lock."""
        now = time.monotonic()
        if self._given_up:
            return self._given_up
        if not error:
            self._seen = now
            return "" if _is_ours(holder, self.token) else f"o2keep says that lock {self.name!r} is not held here"
        self.trouble = error
        return f"o2keep has not answered for {now - self._seen:.0f} s" if now - self._seen > self._patience else ""


class Master(_Reign):
    """The flavour for programs without asyncio: `run` blocks, and makes the calls.

    `gained` is called with the fencing token, `lost` with the reason. `works`, where given, is asked every
    `check_seconds`, and gives up when it says False. `stop` and `resign` may be called from anywhere, also from signal
    handlers and other threads.
    """

    def __init__(
        self,
        name: str,
        gained: Gained,
        lost: Lost,
        works: Callable[[], bool] | None = None,
        owner: str = "",
        domain: str = names.DEFAULT_DOMAIN,
        check_seconds: float = 1.0,
        patience: float = 60.0,
        path: str = SOCKET,
    ) -> None:
        super().__init__(name, gained, lost, works, owner, patience)
        self._domain, self._check, self._path = domain, check_seconds, path
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def stop(self) -> None:
        """End `run`: not the master any more, and not trying to be."""
        self._stopping = True
        os.write(self._waker, b"!")

    def resign(self) -> None:
        """Not the master any more; it goes on trying."""
        self._why = RESIGNED
        os.write(self._waker, b"!")

    def check(self) -> bool:
        """Whether o2keep says, now, that this process has the lock. Raises O2cbError when it says nothing in 3 s."""
        return bool(self.token) and _is_ours(self._holder(), self.token)

    def run(self) -> None:
        """Until `stop`. An exception of one of the calls ends it, and gives the lock up."""
        while not self._stopping:
            try:
                answer, descriptors = self._ask(self._take_request(), TRY_SECONDS + GRACE, True)
            except O2cbError as error:
                self.trouble = str(error)
                self._pause(AGAIN_SECONDS)
                continue
            if answer.get("held"):
                self._begin(answer, descriptors)
                self._reign()

    def _reign(self) -> None:
        try:
            if self._stopping:
                return
            self._gained(self.token)
            try:
                why = ""
                while not why:
                    self._pause(self._check)
                    why = self._look()
            except BaseException:
                self._lost("interrupted")
                raise
            self._lost(why)
        finally:
            self._end()

    def _look(self) -> str:
        if self._works is not None and not self._given_up and not self._works():
            return ENDED
        try:
            return self._judge(None if self._given_up else self._holder(), "")
        except O2cbError as error:
            return self._judge(None, str(error))

    def _holder(self) -> Mapping[str, Any] | None:
        answer, _none = self._ask({"op": "who", "name": self.name, "domain": self._domain}, LOOK_SECONDS, False)
        holder: Mapping[str, Any] | None = answer["holder"]
        return holder

    def _take_request(self) -> dict[str, Any]:
        more = {"kind": "process", "mode": "EX", "wait": TRY_SECONDS, "owner": self._owner}
        return {"op": "take", "name": self.name, "domain": self._domain, **more}

    def _pause(self, seconds: float) -> None:
        """Until something was said to this object."""
        select.select([self._wake], [], [], 0 if self._given_up else seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _ask(self, request: dict[str, Any], seconds: float, stoppable: bool) -> tuple[dict[str, Any], list[int]]:
        """The answer. An empty one where this was stopped: then the lock is not taken."""
        deadline = time.monotonic() + seconds
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.settimeout(LOOK_SECONDS)
                sock.connect(self._path)
                wire.send(sock, request)
                while True:
                    watched: list[Any] = [sock, self._wake] if stoppable else [sock]
                    found = select.select(watched, [], [], max(0.0, deadline - time.monotonic()))[0]
                    if not found:
                        raise O2cbError(f"o2keep did not answer within {seconds:g} s: see `systemctl status o2keep`")
                    if sock in found:
                        break
                    os.read(self._wake, 4096)
                    if self._stopping:
                        return {}, []
                received = wire.receive(sock)
                if received is None:
                    raise ConnectionResetError("it went away")
            except (OSError, ValueError) as error:
                raise O2cbError(f"o2keep does not answer ({error}): see `systemctl status o2keep`") from None
        return answered(received)


class AsyncMaster(_Reign):
    """The same for asyncio: `await run()`, in a task. `gained` and `lost` may be coroutine functions."""

    def __init__(
        self,
        name: str,
        gained: Gained,
        lost: Lost,
        works: Callable[[], bool] | None = None,
        owner: str = "",
        domain: str = names.DEFAULT_DOMAIN,
        check_seconds: float = 1.0,
        patience: float = 60.0,
        path: str = SOCKET,
    ) -> None:
        super().__init__(name, gained, lost, works, owner, patience)
        self._locks, self._check = Locks(domain, path), check_seconds
        self._told: asyncio.Event | None = None

    def stop(self) -> None:
        """End `run`. From the loop's own thread."""
        self._stopping = True
        self._say(STOPPED)

    def resign(self) -> None:
        """Not the master any more; it goes on trying."""
        self._say(RESIGNED)

    def _say(self, why: str) -> None:
        self._why = why
        if self._told is not None:
            self._told.set()

    async def check(self) -> bool:
        """Whether o2keep says, now, that this process has the lock. Raises O2cbError when it says nothing in 3 s."""
        return bool(self.token) and _is_ours(await self._locks.who(self.name, LOOK_SECONDS), self.token)

    async def run(self) -> None:
        """Until `stop`, or until it is cancelled: then `lost` is called too. An exception of a call ends it."""
        self._told = asyncio.Event()
        while not self._stopping:
            trying = asyncio.ensure_future(self._locks.take(self.name, TRY_SECONDS, owner=self._owner, kind="process"))
            try:
                await self._until(trying)
                await _cancelled(trying)
            except asyncio.CancelledError:
                await _cancelled(trying)
                if not trying.cancelled() and trying.exception() is None:
                    wire.close_all(trying.result()[1])
                raise
            if trying.cancelled():
                continue
            error = trying.exception()
            if error is not None:
                if not isinstance(error, O2cbError):
                    raise error
                self.trouble = str(error)
                await self._pause(AGAIN_SECONDS)
                continue
            answer, descriptors = trying.result()
            if answer["held"]:
                self._begin(answer, descriptors)
                await self._reign()

    async def _until(self, trying: asyncio.Future[Any]) -> None:
        """Until it is done or this is stopped."""
        while not trying.done() and not self._stopping:
            await self._pause(None, trying)

    async def _pause(self, seconds: float | None, also: asyncio.Future[Any] | None = None) -> None:
        if self._told is None:
            raise O2cbError("this is not running")
        telling = asyncio.ensure_future(self._told.wait())
        try:
            await asyncio.wait(
                {telling, *([also] if also is not None else [])},
                timeout=seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            telling.cancel()
        self._told.clear()

    async def _reign(self) -> None:
        try:
            if self._stopping:
                return
            await _called(self._gained, self.token)
            try:
                why = ""
                while not why:
                    if not self._given_up:
                        await self._pause(self._check)
                    why = await self._look()
            except BaseException:
                await _called(self._lost, "interrupted")
                raise
            await _called(self._lost, why)
        finally:
            self._end()

    async def _look(self) -> str:
        if self._works is not None and not self._given_up and not self._works():
            return ENDED
        try:
            holder = None if self._given_up else await self._locks.who(self.name, LOOK_SECONDS)
            return self._judge(holder, "")
        except O2cbError as error:
            return self._judge(None, str(error))


async def _cancelled(trying: asyncio.Future[Any]) -> None:
    trying.cancel()
    await asyncio.wait({trying})


async def _called(call: Callable[..., object], argument: object) -> None:
    result = call(argument)
    if inspect.isawaitable(result):
        await result
