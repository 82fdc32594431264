# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to o2keep that are not waited for, so that a program with one thread and one select loop can make them.

Each resource has one request under way at a time, on a connection of its own, and that one waits for a second at most:
then an unlock or a conversion of another lock on the same resource has its turn. Otherwise first come, first served.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from ..base import wire
from ..base.errors import O2cbError
from ..locks.modes import Mode
from ..o2cb.keeping import SOCKET
from .keep import refusal
from .keep_protocol import GRACE
from .lock_table import LockTable

SLICE_SECONDS = 1.0
AGAIN_SECONDS = 0.2
"""So long after o2keep was away it is asked again: it may be starting."""


class LockError(O2cbError):
    """A lock was not got. `errno` is the one that a cluster's lock manager gives.

    EAGAIN where it was not to be waited for, ETIMEDOUT at the deadline, EDEADLK where a lock of the same program stands
    in the way of one that would be waited for by the program itself, EINVAL, and EIO when o2keep fails.
    """

    def __init__(self, number: int, text: str, **facts: Any) -> None:
        super().__init__(text, **facts)
        self.errno = number


class Outcome(NamedTuple):
    """What became of a request. `token` is the fencing token of the node lock (docs/locks.md), 0 where it has none."""

    lockid: int
    error: LockError | None
    token: int


Done = Callable[[Outcome], object]


class Request:
    """A lock, a conversion, or the end of a lock where `mode` is None."""

    def __init__(self, lockid: int, resource: str, mode: Mode | None, seconds: float, wait: bool, done: Done) -> None:
        self.lockid, self.resource, self.mode, self.done = lockid, resource, mode, done
        self.seconds, self.deadline, self.wait = seconds, time.monotonic() + seconds, wait
        self.id = os.urandom(8).hex()
        self.not_before = 0.0
        self.silent = ""
        """Why o2keep did not answer when it was last asked; empty when it did."""

        self.urgent = False
        self.refused: Mapping[str, Any] | None = None
        self.outcome: Outcome | None = None


class _UnderWay(NamedTuple):
    """A request at o2keep. `target` is the mode the node lock is to have, None for a mere look."""

    request: Request
    sock: socket.socket
    target: Mode | None
    deadline: float
    error: str


class LockRequests:
    """The locks of one program in one domain. `owner` is shown to those who find them taken."""

    def __init__(self, domain: str, owner: str, path: str = SOCKET) -> None:
        self.table = LockTable()
        self._domain, self._owner, self._path = domain, owner, path
        self._epoll = select.epoll()
        self._waiting: dict[str, deque[Request]] = {}
        self._under_way: dict[str, _UnderWay] = {}
        self._by_descriptor: dict[int, str] = {}
        self._tokens: dict[str, int] = {}
        self._finished: deque[Request] = deque()

    def fileno(self) -> int:
        """For select(2): `work` has something to do."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Ask for nothing any more. What is under way is not taken."""
        for under_way in self._under_way.values():
            under_way.sock.close()
        self._under_way.clear()
        self._waiting.clear()
        self._epoll.close()

    def submit(self, request: Request, urgent: bool = False) -> None:
        """Queue it; `urgent` for what may make room for others."""
        waiting = self._waiting.setdefault(request.resource, deque())
        request.urgent = urgent
        if urgent:
            waiting.insert(sum(other.urgent for other in waiting), request)
        else:
            waiting.append(request)
        self._advance(request.resource)

    def next_deadline(self) -> float | None:
        """When `work` is to be called even if nothing came, on the monotonic clock, in seconds."""
        ends = [one.deadline for one in self._under_way.values()]
        now = time.monotonic()
        for waiting in self._waiting.values():
            ends += [one.not_before if one.not_before > now else one.deadline for one in waiting]
        return min(ends, default=None)

    def work(self) -> None:
        """Take what has come, and give up what is over. It does not block."""
        for descriptor, _events in self._epoll.poll(0):
            resource = self._by_descriptor.get(descriptor)
            if resource is not None:
                self._answered(resource)
        now = time.monotonic()
        for resource, under_way in list(self._under_way.items()):
            if now > under_way.deadline:
                self._close(resource)
                why = "o2keep has not answered: see `systemctl status o2keep`"
                self._finish(under_way.request, _error(errno.EIO, under_way.request, why))
        for resource in list(self._waiting):
            self._expire(resource, now)
            self._advance(resource)

    def finished(self) -> deque[Request]:
        """Requests with an outcome that nobody was told yet. The caller takes them out."""
        return self._finished

    def pump(self, request: Request) -> Outcome:
        """Work until this one has an outcome, at the latest a little after its deadline."""
        while request.outcome is None:
            ends = self.next_deadline()
            self._epoll.poll(max(0.0, ends - time.monotonic()) + 0.001 if ends is not None else GRACE)
            self.work()
        self._finished.remove(request)
        return request.outcome

    # one resource

    def _advance(self, resource: str) -> None:
        """Begin with the first that can be begun with; behind one that waits for a lock of this program none is."""
        waiting = self._waiting.get(resource)
        if waiting is None or resource in self._under_way:
            return
        now = time.monotonic()
        for request in list(waiting):
            if request.not_before > now:
                return
            if request.mode is not None and self.table.excluded(resource, request.lockid, request.mode):
                if not request.wait:
                    self._finish(request, _error(errno.EAGAIN, request, "this program has it in another mode"))
                elif not request.urgent:
                    break
                continue
            if self._begin(request):
                return
        if not waiting:
            self._waiting.pop(resource, None)

    def _begin(self, request: Request) -> bool:
        """Whether something is under way now; without that the request is over."""
        table, resource = self.table, request.resource
        mode = Mode.NL if request.mode is None else request.mode
        target = table.needed(resource, request.lockid, mode)
        if target is table.held(resource):
            self._settled(request)
            return False
        if target is Mode.NL:
            return self._ask(request, {"op": "release"}, target, 0.0)
        left = max(0.0, request.deadline - time.monotonic()) if request.wait else 0.0
        wait = min(SLICE_SECONDS, left)
        more = {"mode": target.value, "kind": "node", "owner": self._owner, "wait": wait}
        return self._ask(request, {"op": "take", **more}, target, wait)

    def _ask(
        self, request: Request, message: dict[str, Any], target: Mode | None, wait: float, error: str = ""
    ) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.connect(self._path)
            wire.send(sock, {"name": request.resource, "domain": self._domain, "id": request.id, **message})
        except OSError as failed:
            sock.close()
            self._fail(request, os.strerror(failed.errno or errno.EIO))
            return request.outcome is None
        deadline = time.monotonic() + wait + GRACE
        self._under_way[request.resource] = _UnderWay(request, sock, target, deadline, error)
        self._by_descriptor[sock.fileno()] = request.resource
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return True

    def _answered(self, resource: str) -> None:
        under_way = self._under_way[resource]
        try:
            received = wire.receive(under_way.sock, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self._close(resource)
            self._fail(under_way.request, str(error))
            return
        self._close(resource)
        if received is None:
            self._fail(under_way.request, "it went away in the middle of the request")
            return
        answer, descriptors = received
        wire.close_all(descriptors)
        self._end(under_way, answer)
        self._advance(resource)

    def _close(self, resource: str) -> None:
        under_way = self._under_way.pop(resource)
        self._by_descriptor.pop(under_way.sock.fileno())
        self._epoll.unregister(under_way.sock.fileno())
        under_way.sock.close()

    def _fail(self, request: Request, why: str) -> None:
        """o2keep is not there. It is asked again until the deadline: the same request twice does no harm."""
        now = time.monotonic()
        request.silent = f"o2keep does not answer ({why}): see `systemctl status o2keep`"
        if now + AGAIN_SECONDS < request.deadline:
            request.not_before = now + AGAIN_SECONDS
        else:
            self._finish(request, _error(errno.EIO, request, request.silent))

    def _end(self, under_way: _UnderWay, answer: Mapping[str, Any]) -> None:
        """What o2keep says to it. After an error it is asked what the node holds now."""
        request, target = under_way.request, under_way.target
        request.silent = ""
        if target is None:
            self._looked(request, answer, under_way.error)
        elif "error" in answer:
            self._ask(request, {"op": "held"}, None, 0.0, str(answer["error"]))
        elif target is Mode.NL or answer["held"]:
            self._hold(request.resource, target, int(answer.get("token", 0)))
            self._settled(request)
        else:
            request.refused = answer
            if not request.wait:
                self._finish(request, _refused(errno.EAGAIN, request, 0.0))
            elif time.monotonic() >= request.deadline:
                self._finish(request, _refused(errno.ETIMEDOUT, request, request.seconds))

    def _looked(self, request: Request, answer: Mapping[str, Any], error: str) -> None:
        lock = answer.get("lock")
        if "error" not in answer:
            self._hold(request.resource, Mode(lock["mode"]) if lock else Mode.NL, int(lock["token"]) if lock else 0)
        self._finish(request, _error(errno.EIO, request, error))

    def _hold(self, resource: str, mode: Mode, token: int) -> None:
        self.table.holds(resource, mode)
        self._tokens[resource] = token
        if mode is Mode.NL:
            del self._tokens[resource]

    def _settled(self, request: Request) -> None:
        if request.mode is None:
            self.table.drop(request.lockid)
        else:
            self.table.grant(request.resource, request.lockid, request.mode)
        self._finish(request, None)

    def _expire(self, resource: str, now: float) -> None:
        """Those that waited long enough; one that is under way comes back by itself."""
        busy = self._under_way.get(resource)
        for request in list(self._waiting[resource]):
            if now >= request.deadline and (busy is None or busy.request is not request):
                error = _refused(errno.ETIMEDOUT, request, request.seconds)
                self._finish(request, _error(errno.EIO, request, request.silent) if request.silent else error)

    def _finish(self, request: Request, error: LockError | None) -> None:
        waiting = self._waiting.get(request.resource)
        if waiting is not None and request in waiting:
            waiting.remove(request)
        if request.mode is None:
            self.table.drop(request.lockid)
        request.outcome = Outcome(request.lockid, error, self._tokens.get(request.resource, 0))
        self._finished.append(request)


def _error(number: int, request: Request, why: str) -> LockError:
    return LockError(number, f"lock {request.resource!r}: {why}")


def _refused(number: int, request: Request, waited: float) -> LockError:
    if request.refused is None:
        return _error(number, request, f"not had within {waited:g} s: this program has it in another mode")
    text = refusal(request.resource, dict(request.refused), waited)
    return LockError(number, text, reason=request.refused["reason"], holder=request.refused.get("holder"))
