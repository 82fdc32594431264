# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading and writing the record: a process for each region, so that one that hangs holds up no other.

Theory of operation. A disk whose paths are gone does not answer, and whoever asks sleeps until it does, not to be
woken or killed. So each region has a process of its own (`Hand`), which does one thing at a time and holds nothing
but its device: no lock, and nothing of another region. It is left alone while it sleeps.

Most readings need that process not at all: it passes on the descriptor of the device it has opened, by which its asker
reads all regions at once without sleeping (`aio`). A region that has not answered such a reading gets no other.

While it writes it holds an flock(2) on a file of the region in /run. The kernel drops that when the process has really
ended, asleep or not. So the process of a later life knows whether a write of an earlier one is still under way, and
does not write then (rule R7). A restart of the machine ends them all.

All I/O is O_DIRECT and O_DSYNC, in whole sectors, from a buffer that nobody else touches until the call returns.
Sectors that are zero are not sent on to the asker, so an answer is short.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from ..o2cb import blocks, devices, superblock
from ..o2cb.blocks import Beat
from ..o2cb.direct import ALIGNMENT
from . import format, place
from .aio import Buffer, Queue, Unsupported, refused
from .format import Slot, View
from .page import clock
from .place import Place
from .rules import Lane, Read, Reading, Write

LOCKS = "/run/o2keep/regions"
"""One file for each region, locked by who writes there."""

EVERYONE_SECONDS = 1.0
"""Who wants all regions waits so long for those that a majority does not need: takers of locks wait behind it."""

_REQUEST = struct.Struct("<cQII")
"""What to do, its number, how many node numbers, bytes that follow."""

_ANSWER = struct.Struct("<QiI")
"""The number of the request, an errno, bytes that follow."""

_MOST_BYTES = 512 * ALIGNMENT
_SAME = -1
"""Instead of an errno: what was read is what was read before."""

_PIECE = struct.Struct("<H")
_READ, _WRITE = b"r", b"w"
_HIGH = 1 << 15
"""Marks a piece that is a heartbeat block, not a sector of the record."""


class Sectors(NamedTuple):
    """What a region holds: its view, and the heartbeat blocks."""

    view: View
    beats: dict[int, Beat]


class Region:
    """The device of one region, opened once. Every call may sleep."""

    def __init__(self, where: Place, path: str, lock_directory: str = LOCKS, flags: int = os.O_DIRECT) -> None:
        self._where, self._path, self._flags = where, path, flags
        self._descriptor = self._told = -1
        self._last = b"", b""
        self._buffer = mmap.mmap(-1, 2 * 512 * ALIGNMENT)
        os.makedirs(lock_directory, mode=0o700, exist_ok=True)
        lock = os.path.join(lock_directory, where.uuid)
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self, nodes: int) -> bytes:
        """The sectors that are not zero, of the record and of the heartbeat, of so many node numbers."""
        pieces = []
        for high, (offset, size) in ((0, self._where.record(nodes)), (_HIGH, self._where.beats(nodes))):
            data = self._pread(offset, size)
            sector = self._where.sector
            for index in range(size // sector):
                piece = data[index * sector : (index + 1) * sector]
                if any(piece):
                    pieces.append(_PIECE.pack(index | high) + piece)
        return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        """Write one sector, unless a write of another process is under way there. Raises OSError."""
        if len(data) != self._where.sector:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        descriptor = self._open()
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            view = memoryview(self._buffer)[: len(data)]
            view[:] = data
            if os.pwritev(descriptor, [view], offset) != len(data):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _pread(self, offset: int, size: int) -> bytes:
        view = memoryview(self._buffer)[:size]
        if os.preadv(self._open(), [view], offset) != size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return bytes(view)

    def _open(self) -> int:
        """Its descriptor; the volume on the device must still be the region.

        While a write of an earlier process is under way nothing is read: what lands after a look at it would be news.
        """
        if self._descriptor < 0:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            descriptor = os.open(self._path, os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC | self._flags)
            try:
                view = memoryview(self._buffer)[: superblock.READ_BYTES]
                os.preadv(descriptor, [view], 0)
                volume = superblock.parse(bytes(view))
                if volume is None or volume.uuid != self._where.uuid:
                    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
                if not place.has_room(volume.block_size, self._where.sector):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        return self._descriptor

    def news(self) -> int:
        """Its descriptor, the first time after it was opened; else -1."""
        told, self._told = self._told, self._descriptor
        return self._descriptor if told != self._descriptor else -1

    def close(self) -> None:
        """After an error: the next call opens it anew."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = self._told = -1


def _pieces(found: tuple[bytes, bytes], sector: int) -> bytes:
    """The sectors of record and heartbeat that are not zero, each with its index before it."""
    pieces = []
    for high, data in zip((0, _HIGH), found):
        for index in range(len(data) // sector):
            piece = data[index * sector : (index + 1) * sector]
            if piece.count(0) != sector:
                pieces.append(_PIECE.pack(index | high) + piece)
    return b"".join(pieces)


def serve(sock: socket.socket, region: Region) -> None:
    """The life of a region's process: one request after the other, until the asker has gone."""
    while True:
        head = _receive(sock, _REQUEST.size)
        if not head:
            return
        kind, number, nodes, size = _REQUEST.unpack(head)
        body = _receive(sock, size)
        code, answer = 0, b""
        try:
            if kind == _READ:
                found = region.read(nodes)
                code, answer = (_SAME, b"") if found is None else (0, found)
            else:
                (offset,) = struct.unpack_from("<Q", body)
                region.write(offset, body[8:])
        except OSError as error:
            code = error.errno or errno.EIO
            region.close()
        message = _ANSWER.pack(number, code, len(answer))
        try:
            _send(sock, message, region.news())
            sock.sendall(answer)
        except OSError:
            return


def _send(sock: socket.socket, message: bytes, descriptor: int) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", descriptor))] if descriptor >= 0 else []
    sock.sendmsg([message], rights)


def _receive(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or none when the other end has gone."""
    data = b""
    while len(data) < size:
        try:
            piece = sock.recv(size - len(data))
        except OSError:
            return b""
        if not piece:
            return b""
        data += piece
    return data


class Hand:
    """The process of one region, as its asker sees it: busy with one thing at a time."""

    def __init__(self, where: Place, start: Callable[[socket.socket], int]) -> None:
        self.where = where
        self.lane = Lane()
        self.problem = ""
        """Why its last answer was none."""
        self._start = start
        self._sock: socket.socket | None = None
        self.pid = 0
        self._doing = b""
        self._number = 0
        self._read: tuple[int, int] | None = None
        self._write: Slot | None = None
        self.device = -1
        """A descriptor to read by, while its process has one."""
        self.buffers = Buffer(_MOST_BYTES), Buffer(_MOST_BYTES)
        self.reading = 0
        """The number of a reading by `device` that is under way, and how many node numbers it is of."""
        self.reading_nodes = 0
        self.parts = 0
        self.failed = 0
        self._raw: tuple[bytes, bytes] = b"", b""
        self._understood: Sectors | None = None
        self._last: Sectors | None = None
        self._known: dict[int, tuple[bytes, Any]] = {}
        self.since = 0.0
        """When it was given what it does now, by `clock`."""

    def fileno(self) -> int:
        return self._sock.fileno() if self._sock else -1

    @property
    def busy(self) -> bool:
        return bool(self._doing)

    def will_read(self, number: int) -> bool:
        """Whether an answer to this reading is still to come."""
        return self._read is not None or self.reading == number or (self._doing == _READ and self._number == number)

    def want_read(self, number: int, nodes: int) -> None:
        """Read as soon as it is idle; only the newest wish counts."""
        self._read = (number, nodes)
        self._go()

    def want_write(self, slot: Slot) -> None:
        following = self.lane.want(slot)
        if following is not None:
            self._write = following
        self._go()

    def _go(self) -> None:
        if self._doing:
            return
        try:
            if self._write is not None:
                slot, self._write = self._write, None
                body = struct.pack("<Q", self.where.slot(slot.node)) + format.encode_slot(slot, self.where.sector)
                self._send(_WRITE, slot.sequence, 0, body)
            elif self._read is not None:
                (number, nodes), self._read = self._read, None
                self._send(_READ, number, nodes, b"")
        except OSError as error:
            self._lost(f"its process could not be started: {error.strerror}")

    def _send(self, kind: bytes, number: int, nodes: int, body: bytes) -> None:
        request = _REQUEST.pack(kind, number, nodes, len(body)) + body
        try:
            self._process().sendall(request)
        except OSError:
            self.close()  # It has ended while it had nothing to do.
            self._process().sendall(request)
        self._doing, self._number, self.since = kind, number, clock()

    def _process(self) -> socket.socket:
        """The way to its process, which is started where there is none."""
        if self._sock is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self.pid = self._start(theirs)
            self._sock = ours
        return self._sock

    def answer(self) -> tuple[int, Sectors | None] | None:
        """To be called when its socket is readable. The number of a reading and what it found, None for a write."""
        head = self._head()
        if not head or self._sock is None:
            kind, number = self._doing, self._number
            self._lost("its process has ended")
            return (number, None) if kind == _READ else None
        number, code, size = _ANSWER.unpack(head)
        data = _receive(self._sock, size)
        kind, self._doing = self._doing, b""
        self.problem = os.strerror(code) if code > 0 else ""
        if code == errno.EWOULDBLOCK:
            self.problem = "a write of an earlier process has not returned"
        result: tuple[int, Sectors | None] | None = None
        if kind == _WRITE:
            following = self.lane.returned(code == 0)
            if following is not None:
                self._write = following
        else:
            if code == 0:
                self._last = self._decode(data)
            result = number, None if code > 0 else self._last
        self._go()
        return result

    def _head(self) -> bytes:
        """The beginning of an answer, and the descriptor that may come with it."""
        if self._sock is None:
            raise TypeError("this process is not connected")
        rest = struct.calcsize("=i")
        try:
            head, ancillary, _flags, _address = self._sock.recvmsg(
                _ANSWER.size, socket.CMSG_SPACE(rest), socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            return b""
        for _level, _kind, data in ancillary:
            self.forget_device()
            (self.device,) = struct.unpack("=i", data[:rest])
        return head + _receive(self._sock, _ANSWER.size - len(head)) if head else b""

    def forget_device(self) -> None:
        """Read by its process from now on, until that has opened the device anew."""
        if self.device >= 0:
            os.close(self.device)
            self.device = -1

    def begin(self, number: int, nodes: int) -> list[tuple[Buffer, int, int, int]]:
        """A reading by `device`: buffer, descriptor, offset and bytes of its two parts."""
        self.reading, self.reading_nodes, self.parts, self.failed = number, nodes, 2, 0
        if not self.busy:
            self.since = clock()
        places = self.where.record(nodes), self.where.beats(nodes)
        return [(buffer, self.device, offset, size) for buffer, (offset, size) in zip(self.buffers, places)]

    def part(self, result: int, expected: int) -> bool:
        """One part has ended. Whether both have."""
        self.parts -= 1
        if result != expected and not self.failed:
            self.failed = -result if result < 0 else errno.EIO
        return self.parts == 0

    def take(self) -> Sectors:
        """What the reading that has ended found."""
        sizes = self.where.record(self.reading_nodes)[1], self.where.beats(self.reading_nodes)[1]
        found = self.buffers[0].bytes(sizes[0]), self.buffers[1].bytes(sizes[1])
        if found != self._raw or self._understood is None:
            self._raw, self._understood = found, self._decode(_pieces(found, self.where.sector))
        return self._understood

    def _decode(self, data: bytes) -> Sectors:
        """What the sectors that are not zero say. Most are as they were."""
        kind, header = format.BLANK, None
        slots: dict[int, Slot] = {}
        bad: dict[int, str] = {}
        beats: dict[int, Beat] = {}
        step = _PIECE.size + self.where.sector
        for offset in range(0, len(data), step):
            (index,) = _PIECE.unpack_from(data, offset)
            piece = data[offset + _PIECE.size : offset + step]
            known, meaning = self._known.get(index, (b"", None))
            if known != piece:
                meaning = self._meaning(index, piece)
                self._known[index] = piece, meaning
            if index & _HIGH:
                if meaning is not None:
                    beats[index - _HIGH] = meaning
            elif index == 0:
                kind, header = meaning
            elif meaning[1] is None:
                bad[index - 1] = meaning[0]
            else:
                slots[index - 1] = meaning[1]
        return Sectors(View(kind, header, slots, bad), beats)

    def _meaning(self, index: int, piece: bytes) -> Any:
        if index & _HIGH:
            return blocks.decode(piece, index - _HIGH)
        if index == 0:
            return format.decode_header(piece, self.where.uuid)
        return format.decode_slot(piece, self.where.uuid, index - 1)

    def _lost(self, problem: str) -> None:
        """Its process has gone: the next wish starts another."""
        self.problem = problem
        if self._doing == _WRITE or self._write is not None:
            self.lane.returned(False)
        self._doing, self._write, self._read = b"", None, None
        self.close()

    def close(self) -> None:
        """It ends when it notices; asleep, when its disk answers."""
        if not self.reading:
            self.forget_device()
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        reap(self.pid)
        self.pid = 0


_ended: list[int] = []


def reap(pid: int = 0) -> None:
    """Collect processes that have ended, by and by."""
    if pid:
        _ended.append(pid)
    for child in list(_ended):
        try:
            done = os.waitpid(child, os.WNOHANG)[0]
        except ChildProcessError:
            done = child
        if done:
            _ended.remove(child)


def fork(
    where: Place, path: str, lock_directory: str = LOCKS, flags: int = os.O_DIRECT
) -> Callable[[socket.socket], int]:
    """Starts the process of a region: a fork, which is to be made by a process that holds nothing."""

    def start(sock: socket.socket) -> int:
        pid = os.fork()
        if pid == 0:
            _live(sock, where, path, lock_directory, flags)
        return pid

    return start


def _live(sock: socket.socket, where: Place, path: str, lock_directory: str, flags: int) -> NoReturn:
    """It keeps no output open: while it sleeps, a remote shell would wait for that to end."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != sock.fileno():
                try:
                    os.close(int(name))
                except OSError:
                    continue
        serve(sock, Region(where, path, lock_directory, flags))
    finally:
        os._exit(0)


class Disks:
    """All regions of the record."""

    def __init__(self, hands: Sequence[Hand], nodes: int, placeless: Sequence[str] = ()) -> None:
        """`nodes`: one more than the highest node number of the cluster."""
        self.hands = list(hands)
        self.placeless = frozenset(placeless)
        self._nodes = nodes
        self._reading = 0
        self._found: dict[str, Sectors] = {}
        self._queue: Queue | None = None
        with contextlib.suppress(Unsupported):
            self._queue = Queue()

    def read(self, wish: Read, seconds: float, counts: Callable[[View], bool], needed: int) -> Reading:
        """Ask all regions at once; wait as `wish` says, at most so long."""
        number = self._reading = max(self._reading + 1, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self._found = {}
        self._begin(number, place.NODES if wish.whole else self._nodes)

        def everything() -> bool:
            return not any(hand.will_read(number) for hand in self.hands)

        def enough() -> bool:
            return sum(uuid in wish.among and counts(found.view) for uuid, found in self._found.items()) >= needed

        self._wait(enough, everything, clock() + seconds, EVERYONE_SECONDS if wish.everyone else 0.0)
        problems = {
            hand.where.uuid: hand.problem or f"it did not answer within {seconds:g} s"
            for hand in self.hands
            if hand.where.uuid not in self._found
        }
        return Reading(
            number,
            clock(),
            {uuid: found.view for uuid, found in self._found.items()},
            {uuid: found.beats for uuid, found in self._found.items()},
            problems,
            self.placeless,
        )

    def _begin(self, number: int, nodes: int) -> None:
        """By the devices where that can be, else by the processes; a region that has a reading under way gets none."""
        reads = []
        for index, hand in enumerate(self.hands):
            if hand.reading:
                continue
            if self._queue is None or hand.device < 0:
                hand.want_read(number, nodes)
                continue
            for part, (buffer, descriptor, offset, size) in enumerate(hand.begin(number, nodes)):
                reads.append((2 * index + part, buffer, descriptor, offset, size))
        if not reads or self._queue is None:
            return
        for identity, _buffer, _descriptor, _offset, _size in reads[self._queue.submit(reads) :]:
            self._part(identity, -errno.EAGAIN)

    def _part(self, identity: int, result: int) -> None:
        """One part of a reading by a device has ended."""
        hand = self.hands[identity // 2]
        place_of = hand.where.beats if identity % 2 else hand.where.record
        if not hand.part(result, place_of(hand.reading_nodes)[1]):
            return
        number, hand.reading = hand.reading, 0
        if not hand.failed:
            if number == self._reading:
                self._found[hand.where.uuid] = hand.take()
            return
        hand.problem = os.strerror(hand.failed)
        if not refused(-hand.failed):
            hand.forget_device()
        if number == self._reading:
            hand.want_read(number, hand.reading_nodes)  # It opens the device anew, and waits where that has to be.

    def write(self, wish: Write, seconds: float, needed: int) -> frozenset[str]:
        """Write all slots at once, until a majority has them. Returns the regions that do."""
        writing = [hand for hand in self.hands if hand.where.uuid in wish.slots]
        for hand in writing:
            hand.want_write(wish.slots[hand.where.uuid])

        def done() -> list[str]:
            return [h.where.uuid for h in writing if h.lane.written >= wish.slots[h.where.uuid].sequence]

        def everything() -> bool:
            return not any(
                h.lane.under_way is not None and h.lane.written < wish.slots[h.where.uuid].sequence for h in writing
            )

        self._wait(lambda: len(done()) >= needed, everything, clock() + seconds)
        return frozenset(done())

    def descriptors(self) -> list[int]:
        """What is readable when `pump` has something to do."""
        own = [self._queue.fileno()] if self._queue is not None else []
        return own + [hand.fileno() for hand in self.hands if hand.fileno() >= 0]

    def pump(self, seconds: float = 0.0) -> bool:
        """Take in what regions answer. Whether one did."""
        poll = select.poll()
        by_number = {hand.fileno(): hand for hand in self.hands if hand.fileno() >= 0}
        queue = self._queue
        if queue is not None and any(hand.reading for hand in self.hands):
            poll.register(queue.fileno(), select.POLLIN)
        for number in by_number:
            poll.register(number, select.POLLIN)
        ready = poll.poll(max(0.0, seconds) * 1000)
        for number, _event in ready:
            if queue is not None and number == queue.fileno():
                for identity, outcome in queue.ended():
                    self._part(identity, outcome)
                continue
            hand = by_number[number]
            result = hand.answer()
            if result is not None and result[0] == self._reading and result[1] is not None:
                self._found[hand.where.uuid] = result[1]
        return bool(ready)

    def _wait(
        self, enough: Callable[[], bool], everything: Callable[[], bool], until: float, patience: float = 0.0
    ) -> None:
        """Wait until it is enough, and then for the rest as long again: a healthy disk is no slower than the others.

        With `patience`, at least so many seconds for the rest.
        """
        began = clock()
        while not everything():
            now = clock()
            if enough():
                until = min(until, now + max(now - began, patience))
                began, enough = now, _never
            if now >= until:
                return
            self.pump(until - now)

    def hung(self, longer: float) -> dict[str, float]:
        """The regions that have not answered for so many seconds, and for how long."""
        now = clock()
        return {h.where.uuid: now - h.since for h in self.hands if (h.busy or h.reading) and now - h.since > longer}

    def crowded(self) -> bool:
        """Whether a region turned out to have no room, which did not answer when that was first asked."""
        return any(hand.problem == os.strerror(errno.ENOSPC) for hand in self.hands)

    def close(self) -> None:
        for hand in self.hands:
            hand.close()
        reap()


def _never() -> bool:
    return False


def hands(places: Sequence[Place]) -> list[Hand]:
    """The processes of these regions, not started yet."""
    return [Hand(where, fork(where, devices.preferred_path(where.device))) for where in places]
