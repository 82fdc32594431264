# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fifteen operations that a clvmd-like daemon wants of a cluster, on o2cb.

They have the names that they had in LVM2's `struct cluster_ops` (daemons/clvmd/clvmd-comms.h, up to 2.02.187), those
of its field names too that differ, and their meaning. Docs: docs/cluster-ops.md.

Theory of operation. Messages go over the bus of the agents, on a channel with the name of the program: what one program
sends to all, all others get, in one order, in which the going of agents and nodes has its place as well. Who runs the
program is told on the same channel: one that begins says HELLO, the others answer HERE, one that ends in good order
says BYE. A program that dies says nothing: its agent does not know it, and the others learn of it by the deadline of
what they ask it, or by the HELLO of its successor.

Locks are node locks of o2keep, in a domain with the name of the program. So they can be converted, and they outlive the
program: what it was in the middle of stays protected until its successor on that node begins, or the node dies. One
program of a name runs on a node at a time; the process lock `program-<n>` sees to that, and proves to the successor
that the one before is dead.

A csid is four bytes, the node's number in network order.

Everything runs in the caller's thread. `get_main_fd` can be watched by select; nothing but `initialise`, `sync_lock`,
`sync_unlock`, `reread_config` and `closedown` waits, and those have deadlines.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import struct
import time
from typing import Callable

from ..base import wire
from ..base.errors import O2cbError
from ..bus import membership
from ..bus.pieces import LONGEST_CHANNEL
from ..locks import names
from ..locks.modes import Mode
from ..o2cb.configfs import ConfigFs
from ..o2cb.keeping import AGENT_SOCKET
from ..o2cb.keeping import SOCKET as KEEPER_SOCKET
from . import protocol
from .agent import Client, Listening
from .keep import Client as Keeper
from .keep import refusal
from .keep_protocol import GRACE
from .lock_requests import LockError, LockRequests, Outcome, Request
from .pipeline import Pipeline
from .protocol import Event

LCK_NL, LCK_CR, LCK_CW, LCK_PR, LCK_PW, LCK_EX = range(6)
"""Lock modes, with the numbers of the lock manager. o2dlm has no CW."""

LCKF_NOQUEUE = 0x1
LCKF_CONVERT = 0x4
LCK_NONBLOCK = 0x10
"""Flags of `sync_lock`. clvmd's clients say LCK_NONBLOCK (lib/locking/locking.h), which is the same as LCKF_NOQUEUE."""

CSID = struct.Struct(">I")
MESSAGE_SECONDS = 60.0
LOCK_SECONDS = 30.0
BEGIN_SECONDS = 30.0
AGAIN_SECONDS = 0.2
MOST_AT_ONCE = 500
"""Messages in one call of `fd_callback`."""

_DATA, _HELLO, _HERE, _BYE = range(4)
_MODES = {LCK_NL: Mode.NL, LCK_CR: Mode.CR, LCK_PR: Mode.PR, LCK_PW: Mode.PW, LCK_EX: Mode.EX}

OnMessage = Callable[[bytes, bytes], object]
"""Data, and the csid of the sender."""

OnNode = Callable[[bytes, bool, str], object]
"""A csid, whether the program runs there now, and why: `program`, `agent_down` or `node_down`."""

OnSent = Callable[["int | None", "O2cbError | None"], object]
"""The position at which all have the message, or why that is not known."""

OnLock = Callable[[int, "LockError | None", int], object]
"""The lock's id, why it was not got, and its fencing token."""


class LeftBus(O2cbError):
    """The stream of messages has a gap. `initialise` begins anew; locks are still held."""


def csid(node: int) -> bytes:
    return CSID.pack(node)


def node_of(identity: bytes) -> int:
    """The node number in a csid. Raises O2cbError for what is none."""
    if len(identity) != CSID.size:
        raise O2cbError(f"a csid has {CSID.size} bytes, and not {len(identity)}")
    return int(CSID.unpack(identity)[0])


class ClusterOps:
    """One program on this node; programs of the same name on other nodes are its peers.

    `on_message` is given what others send, and what this program sends itself only with `loopback`, at its place in the
    order. `on_node` is told when a node begins or ceases to run the program, at its place too: after `agent_down` the
    node may still be up, `node_down` means that it is gone and its locks are free. All are called from `fd_callback`.
    """

    def __init__(
        self,
        program: str,
        on_message: OnMessage,
        on_node: OnNode | None = None,
        loopback: bool = False,
        agent: str = AGENT_SOCKET,
        keeper: str = KEEPER_SOCKET,
    ) -> None:
        if not 1 <= len(program.encode()) <= min(LONGEST_CHANNEL, 60) or not (program.isascii() and program.isalnum()):
            raise O2cbError(f"program name {program!r}: give 1 to 60 letters and digits")
        self.program = program
        self.position = 0
        """The place in the order of all up to which this program has seen everything."""

        self._on_message, self._loopback = on_message, loopback
        self._on_node: OnNode = on_node or (lambda _csid, _up, _why: None)
        self._agent, self._keeper = agent, keeper
        self._epoll = select.epoll()
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._locks = LockRequests(program, f"{program} {os.getpid()}", keeper)
        self._epoll.register(self._locks.fileno(), select.EPOLLIN)
        self._pipeline = Pipeline(self._epoll, agent)
        self._client: Client | None = None
        self._listening: Listening | None = None
        self._claim: list[int] = []
        self._run = os.urandom(8).hex()
        """This run of the program; another one on the same node has another."""
        self._names: dict[int, str] = {}
        self._states: dict[int, str] = {}
        self._runs: dict[int, str] = {}
        """The nodes that run the program, and which run of it."""
        self._quorate = False
        self._closed = False
        self.kept: dict[str, int] = {}
        """Locks of the run before, by resource: their ids; filled by `initialise(keep_locks=True)`."""

    # begin and end

    def initialise(self, seconds: float = BEGIN_SECONDS, keep_locks: bool = False) -> None:
        """Become one of the programs of this name. Others are known as they answer, within moments.

        Locks that the run before left on this node are released, or kept in `kept`. After LeftBus it begins anew; this
        run's own locks stay. Raises O2cbError when that cannot be within `seconds`, or the program runs here already.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._leave_bus()
            try:
                self._begin(max(1.0, deadline - time.monotonic()), keep_locks)
                return
            except O2cbError:
                self._leave_bus()
                if time.monotonic() + AGAIN_SECONDS > deadline:
                    raise
            time.sleep(AGAIN_SECONDS)

    def closedown(self) -> None:
        """Say BYE, release all locks, and end. It does not raise: what cannot be said is learnt by others in time."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(O2cbError):
            if self._listening is not None:
                self._client_to_ask().send(self.program, bytes([_BYE]), seconds=2.0)
        for lockid in self._locks.table.locks():
            with contextlib.suppress(O2cbError):
                self.sync_unlock("", lockid)
        self._leave_bus()
        self._locks.close()
        wire.close_all(self._claim)
        self._claim = []
        self._epoll.close()
        os.close(self._wake)
        os.close(self._waker)

    # messages

    def send_message(
        self,
        data: bytes,
        to: bytes | None = None,
        on_sent: OnSent | None = None,
        seconds: float = MESSAGE_SECONDS,
    ) -> None:
        """Send to all programs of this name, or with a csid to that of one node. It does not wait.

        `on_sent` is called when every member of the bus that is not down has it, or when that is not known after
        `seconds`: then it may still be delivered. Raises O2cbError when the agent does not take it. At most 64 MiB.
        """
        self._tell(bytes([_DATA]) + data, None if to is None else node_of(to), on_sent, seconds)

    def get_main_fd(self) -> int:
        """The one descriptor to watch: when it is readable, call `fd_callback`."""
        return self._epoll.fileno()

    def timeout(self) -> float | None:
        """Seconds until `fd_callback` is to be called though nothing came; None for never. For select(2)."""
        ends = [one for one in (self._locks.next_deadline(), self._pipeline.next_deadline()) if one is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def fd_callback(self) -> int:
        """Take what has come, without waiting, and make the calls. Returns how many messages and events that were.

        Raises LeftBus when the agent has ended, or this program has read too slowly.
        """
        self._calm()
        self._pipeline.work()
        self._locks.work()
        self._tell_outcomes()
        if self._listening is None:
            raise LeftBus("this program is not on the bus: initialise it")
        listening, count, gone = self._listening, 0, ""
        try:
            listening.receive(0)
        except O2cbError as error:
            gone = str(error)
        # What was received counts also where a call raises, or too much has come for one turn.
        self._call_again()
        while count < MOST_AT_ONCE and self._listening is listening:
            event = listening.ready()
            if event is None:
                self._calm()
                if gone:
                    self._drop_listening()
                    raise LeftBus(gone)
                break
            count += 1
            self._come(event)
        return count

    # who is there

    def name_from_csid(self, identity: bytes) -> str:
        """The name of a node. Raises O2cbError for one that is not in the cluster."""
        node = node_of(identity)
        if node not in self._names:
            raise O2cbError(f"node {node} is not in the cluster: after a change of the cluster call reread_config")
        return self._names[node]

    def csid_from_name(self, name: str) -> bytes:
        """The csid of a node by its name. Raises O2cbError for one that is not in the cluster."""
        for node, other in self._names.items():
            if other == name:
                return csid(node)
        raise O2cbError(f"there is no node {name!r} in the cluster: after a change of the cluster call reread_config")

    def get_num_nodes(self) -> int:
        """Nodes whose agents are on the bus."""
        return sum(state in (membership.UP, membership.SUSPECT) for state in self._states.values())

    def do_node_callback(self, callback: Callable[[bytes, bool], object]) -> int:
        """Call this for each node that may be up, with its csid and whether it runs the program; 0 if all do, else -1.

        A node counts until it is proven down, also when its agent is.
        """
        found = 0
        for node in sorted(self._states):
            if self._states[node] in (membership.UP, membership.SUSPECT, membership.DOWN):
                up = node in self._runs
                callback(csid(node), up)
                found = found if up else -1
        return found

    def is_quorate(self) -> bool:
        """Whether this node is on the side that decides, as o2cb fences."""
        return self._quorate and self._listening is not None

    def get_our_csid(self) -> bytes:
        """Raises O2cbError before `initialise`."""
        if self._listening is None:
            raise O2cbError("this program is not on the bus: initialise it")
        return csid(self._listening.node)

    def add_up_node(self, identity: bytes) -> None:
        """This node is known to run the program. Nobody needs to say so: its HELLO has, or its first message."""
        self._runs.setdefault(node_of(identity), "")

    def reread_config(self) -> None:
        """Learn the nodes of the cluster anew, after a change. Raises O2cbError when the agent does not answer."""
        answer = self._client_to_ask().ask("members")
        self._names = {one["node"]: one["name"] for one in answer["members"] if one["name"]}
        for one in answer["members"]:
            self._states.setdefault(one["node"], one["state"])

    def get_cluster_name(self) -> str:
        """The name of the cluster in this node's kernel. Raises O2cbError where there is none."""
        found = ConfigFs().names()
        if not found:
            raise O2cbError("this node is in no cluster: see cluster_info")
        return found[0]

    # locks

    def sync_lock(
        self, resource: str, mode: int, flags: int = 0, lockid: int = 0, seconds: float = LOCK_SECONDS
    ) -> int:
        """Get a lock, waiting for it at most `seconds`, and return its id.

        With LCKF_CONVERT the lock `lockid` is brought to this mode, or stays what it was. With LCKF_NOQUEUE or
        LCK_NONBLOCK others are not waited for. Raises LockError with an errno: EAGAIN, ETIMEDOUT, EDEADLK, EINVAL, EIO.

        It stops the program's loop meanwhile, and so its answers to others: `begin_lock` does not.
        """
        request = self._request(resource, mode, flags, lockid, seconds, lambda _outcome: None)
        wanted = request.mode or Mode.NL
        if request.wait and self._locks.table.excluded(resource, request.lockid, wanted):
            why = "another lock of this program stands in the way, and could not be unlocked meanwhile"
            raise LockError(errno.EDEADLK, f"lock {resource!r}: {why}")
        return self._wait(request, bool(flags & LCKF_CONVERT)).lockid

    def sync_unlock(self, resource: str, lockid: int, seconds: float = LOCK_SECONDS) -> None:
        """Give a lock up; its id alone counts. Raises LockError: EINVAL for none, EIO when o2keep fails."""
        self._wait(self._unlocking(lockid, seconds, lambda _outcome: None), True)

    def begin_lock(
        self,
        resource: str,
        mode: int,
        on_lock: OnLock,
        flags: int = 0,
        lockid: int = 0,
        seconds: float = LOCK_SECONDS,
    ) -> int:
        """As `sync_lock`, without waiting: `on_lock` is called from `fd_callback`. Returns the id that it will have."""
        request = self._request(resource, mode, flags, lockid, seconds, lambda outcome: on_lock(*outcome))
        self._submit(request, bool(flags & LCKF_CONVERT))
        return request.lockid

    def begin_unlock(self, lockid: int, on_lock: OnLock | None = None, seconds: float = LOCK_SECONDS) -> None:
        """As `sync_unlock`, without waiting."""
        call: OnLock = on_lock or (lambda _lockid, _error, _token: None)
        self._submit(self._unlocking(lockid, seconds, lambda outcome: call(*outcome)), True)

    # the names in struct cluster_ops

    init_cluster = initialise
    cluster_send_message = send_message
    cluster_fd_callback = fd_callback
    get_main_cluster_fd = get_main_fd
    cluster_do_node_callback = do_node_callback
    cluster_closedown = closedown

    # beginning

    def _begin(self, seconds: float, keep_locks: bool) -> None:
        self._listen()
        if not self._claim:
            self._take_claim(seconds)
            self._take_over(keep_locks)
        self._client_to_ask().send(self.program, self._signed(_HELLO), seconds=seconds)

    def _listen(self) -> None:
        client = Client(self._agent)
        try:
            self._listening = client.listen([self.program], events=True)
        except O2cbError:
            client.close()
            raise
        self._client_listening = client
        self._epoll.register(self._listening.fileno(), select.EPOLLIN)
        self.position, self._quorate = self._listening.position, self._listening.quorate
        self._states = {}
        self.reread_config()
        for node in self._listening.members:
            self._states[node] = membership.UP
        self._runs = {self._listening.node: self._run}
        self._call_again()

    def _leave_bus(self) -> None:
        self._drop_listening()
        self._pipeline.close()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _drop_listening(self) -> None:
        if self._listening is not None:
            self._epoll.unregister(self._listening.fileno())
            self._client_listening.close()
            self._listening = None

    def _client_to_ask(self) -> Client:
        if self._client is None:
            self._client = Client(self._agent)
        return self._client

    def _take_claim(self, seconds: float) -> None:
        """Be the only program of this name on this node."""
        name = f"program-{node_of(self.get_our_csid())}"
        request = {
            "op": "take",
            "name": name,
            "domain": self.program,
            "mode": Mode.EX.value,
            "kind": "process",
            "wait": seconds,
            "owner": f"{self.program} {os.getpid()}",
        }
        answer, self._claim = Keeper(self._keeper).ask(request, seconds)
        if not answer["held"]:
            self._claim = []
            raise O2cbError(f"{self.program} runs on this node already: {refusal(name, answer, seconds)}")

    def _take_over(self, keep: bool) -> None:
        keeper = Keeper(self._keeper)
        left = [lock for lock in keeper.locks() if (lock["domain"], lock["kind"]) == (self.program, "node")]
        for lock in left:
            if keep:
                lockid = self.kept[lock["name"]] = self._locks.table.new()
                self._locks.table.holds(lock["name"], Mode(lock["mode"]))
                self._locks.table.grant(lock["name"], lockid, Mode(lock["mode"]))
            else:
                keeper.ask({"op": "release", "name": lock["name"], "domain": self.program}, GRACE)
        keeper.close()

    # the bus

    def _signed(self, kind: int) -> bytes:
        return bytes([kind]) + json.dumps({"run": self._run}).encode()

    def _tell(
        self,
        data: bytes,
        to: int | None,
        on_sent: OnSent | None = None,
        seconds: float = MESSAGE_SECONDS,
    ) -> None:
        def answered(answer: Event | None, error: O2cbError | None) -> None:
            if on_sent is not None:
                on_sent(None if answer is None else protocol.position_of(answer), error)

        if self._listening is None:
            raise O2cbError("this program is not on the bus: initialise it")
        self._pipeline.ask(protocol.send(self.program, data, None if to is None else [to], seconds), answered)

    def _come(self, event: Event) -> None:
        facts = event.facts
        what = facts["event"]
        self.position = facts.get("position", self.position)
        if what == "message":
            self._message(int(facts["node"]), event.data)
        elif what == membership.QUORUM:
            self._quorate = bool(facts["quorate"])
        elif what in (membership.WENT, membership.LEFT):
            node = int(facts["node"])
            self._states[node] = membership.DOWN if what == membership.WENT else membership.GONE
            self._runs.pop(node, None)
            self._on_node(csid(node), False, what)
        elif what == membership.JOINED:
            self._states[int(facts["node"])] = membership.UP
        elif what in (membership.SUSPECTED, membership.BACK):
            self._states[int(facts["node"])] = membership.SUSPECT if what == membership.SUSPECTED else membership.UP
        elif "error" in facts:
            self._drop_listening()
            raise LeftBus(str(facts["error"]))

    def _message(self, node: int, whole: bytes) -> None:
        kind, data = whole[0] if whole else -1, whole[1:]
        ours = self._listening is not None and node == self._listening.node
        if kind == _DATA:
            if not ours:
                self._runs_there(node, "")
            if not ours or self._loopback:
                self._on_message(data, csid(node))
        elif ours:
            pass
        elif kind == _BYE:
            if self._runs.pop(node, None) is not None:
                self._on_node(csid(node), False, "program")
        elif kind in (_HELLO, _HERE):
            self._runs_there(node, str(json.loads(data)["run"]))
            if kind == _HELLO:
                # Where the agent is gone there is nobody to tell.
                with contextlib.suppress(O2cbError):
                    self._tell(self._signed(_HERE), node)

    def _runs_there(self, node: int, run: str) -> None:
        """Another run than before means that the one before is dead."""
        before = self._runs.get(node)
        self._runs[node] = run or before or ""
        if before is not None and run and before and before != run:
            self._on_node(csid(node), False, "program")
        if before is None or (run and before and before != run):
            self._on_node(csid(node), True, "program")

    # locks

    def _request(
        self,
        resource: str,
        mode: int,
        flags: int,
        lockid: int,
        seconds: float,
        done: Callable[[Outcome], object],
    ) -> Request:
        problem = names.name_problem(resource)
        if mode not in _MODES:
            problem = f"lock {resource!r}: mode {mode} does not exist in o2dlm: use NL, CR, PR, PW or EX"
        if flags & ~(LCKF_NOQUEUE | LCKF_CONVERT | LCK_NONBLOCK):
            problem = f"lock {resource!r}: flags {flags:#x}: there are LCKF_NOQUEUE, LCKF_CONVERT and LCK_NONBLOCK"
        known = self._locks.table.lock(lockid)
        if flags & LCKF_CONVERT and (known is None or known[0] != resource):
            problem = f"there is no lock {lockid} on {resource!r} to convert"
        if problem:
            raise LockError(errno.EINVAL, problem)
        number = lockid if flags & LCKF_CONVERT else self._locks.table.new()
        return Request(number, resource, _MODES[mode], seconds, not flags & (LCKF_NOQUEUE | LCK_NONBLOCK), done)

    def _unlocking(self, lockid: int, seconds: float, done: Callable[[Outcome], object]) -> Request:
        known = self._locks.table.lock(lockid)
        if known is None:
            raise LockError(errno.EINVAL, f"there is no lock {lockid}")
        return Request(lockid, known[0], None, seconds, True, done)

    def _wait(self, request: Request, urgent: bool) -> Outcome:
        self._locks.submit(request, urgent)
        outcome = self._locks.pump(request)
        if self._locks.finished():
            self._call_again()
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def _submit(self, request: Request, urgent: bool) -> None:
        self._locks.submit(request, urgent)
        if self._locks.finished():
            self._call_again()

    def _tell_outcomes(self) -> None:
        finished = self._locks.finished()
        while finished:
            request = finished.popleft()
            if request.outcome is not None:
                request.done(request.outcome)

    def _calm(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _call_again(self) -> None:
        """Make the main descriptor readable."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"!")
