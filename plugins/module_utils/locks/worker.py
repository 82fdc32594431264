# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker of the keeper: makes the calls into dlmfs that may sleep, one job at a time.

A trylock can sleep for a minute while a dead node is recovered, and nothing can wake it. So each job runs in a process
of its own that was started before by exec and owns no descriptor but its channel and those of its job: a lock that it
holds in its sleep is its own, not one that it inherited. When the keeper has gone, or does not want the answer any
more, the worker drops what it won, in the order that the kernel bears: descriptors, unlink, and the mount a good second
later.

    take     a lock, in a new detached mount, again and again until a time of the monotonic clock
                                                  -> descriptors: the mount, then one per resource
    convert  open the new levels of a held lock   -> descriptors: one per resource that was opened
    settle   what a conversion no longer needs: resources that fall to PR, files to be unlinked
    recall   make others give up what they cache  -> by a blocking open, which may sleep as long as somebody holds it
    publish  the owner record on `.info`          -> descriptor: `.info`, held at PR
    look     at `.info`                           -> the record
    forget   unlink the files of a released lock
    join     a domain, to keep this node a member -> descriptor: the mount
    stamps   of the heartbeats                    -> the newest time stamp of each node
    mark     write the largest token that this node may give out to disk
    drop     let mounts go

An answer with `retire` brings that many mounts, as its first descriptors, that the keeper lets go of later.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from typing import Any, Dict, List, Tuple

from ..base import files, wire
from ..base.errors import O2cbError
from ..o2cb import heartbeats, isolation, observe
from ..o2cb.blocks import Beats
from ..o2cb.state import Live
from . import mount, record, token
from .mount import BusyError, Mount
from .record import Record
from .rules import MARK, MOUNT_SECONDS

SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.1
"""Seconds between two tries, at random, so that those who wait for a lock do not step on one another. They grow, so
that many who wait leave something of the machine to the one who holds it, but for one to whom it is about to be handed
over."""

PUBLISH_TRIES = 40
UNLINK_SECONDS = 5.0
"""systemd closes its copies of a descriptor in its own time; until then unlink says EBUSY."""

Result = Tuple[Dict[str, Any], List[int]]


def serve(sock: socket.socket) -> None:
    """Work until the keeper closes the channel."""
    while True:
        try:
            received = wire.receive(sock)
        except ConnectionResetError:
            return
        if received is None:
            return
        job, descriptors = received
        answer, results = _do(job, descriptors)
        try:
            wire.send(sock, answer, results)
        except OSError:
            _give_back(job, results)
            return
        wire.close_all(results)


def _do(job: dict[str, Any], descriptors: list[int]) -> Result:
    """One job. Its own descriptors are closed here, whatever happens."""
    try:
        return _JOBS[job["job"]](job, descriptors)
    except BusyError as error:
        return {"busy": str(error)}, []
    except O2cbError as error:
        return {"error": str(error)}, []
    except OSError as error:
        return {
            "error": f"{job['job']} {job.get('name', '')}: {os.strerror(error.errno or 0)}",
            "errno": error.errno,
        }, []
    finally:
        wire.close_all(descriptors)


def _take(job: dict[str, Any], _descriptors: list[int]) -> Result:
    """All resources of a lock in their order, or none; then the token, written into the lock with the owner record.

    Between two tries nothing is held, not even what the node would merely cache.
    """
    domain: str = job["domain"]
    own = mount.create()
    held: list[int] = []
    pause = SHORTEST_PAUSE
    while True:
        try:
            own.join(domain)
            for name, exclusive in job["resources"]:
                held.append(own.open(domain, name, exclusive))
            number = _sign(job, held[0], exclusive=job["resources"][0][1])
        except BusyError as error:
            _drop_files(own, domain, held)
            if time.monotonic() + pause > job["until"]:
                return {"busy": str(error), "retire": 1}, [own.directory]
        except (O2cbError, OSError) as error:
            late = isinstance(error, token.ClockError)
            return _without(own, domain, held, {"error": str(error), "clock": late})
        else:
            return {"token": number}, [own.directory, *held]
        time.sleep(random.uniform(pause / 2, pause))
        if not job["eager"]:
            pause = min(1.5 * pause, LONGEST_PAUSE)


def _sign(job: dict[str, Any], descriptor: int, exclusive: bool) -> int:
    """The token of a lock: a new one, written into it, for who excludes all others; else that of the last such one."""
    previous = record.decode(os.pread(descriptor, record.SIZE, 0))
    if not exclusive:
        return previous.token if previous else 0
    number = token.next_token(previous.token if previous else None, token.Clocks(time.time(), *job["clocks"]))
    os.write(descriptor, record.encode(_owner(job, number)))
    return number


def _convert(job: dict[str, Any], descriptors: list[int]) -> Result:
    """Open the resources that get another level, all or none.

    PR beside EX in the same mount is granted at once; EX beside PR is a conversion in the lock manager.
    """
    own, domain = Mount(descriptors[0]), job["domain"]
    opened: list[int] = []
    try:
        for name, exclusive in job["resources"]:
            opened.append(own.open(domain, name, exclusive))
        number = _sign(job, opened[0], exclusive=True) if job["signs"] else 0
    except (BusyError, O2cbError, OSError) as error:
        tried = [name for name, _exclusive in job["resources"][: len(opened) + 1]]
        wire.close_all(opened)
        _unlink(own, domain, [name for name in tried if name in job["new"]])
        retire = [_ask_for_shared(domain, name) for name in tried[: len(opened)] if name in job["rising"]]
        return {"busy" if isinstance(error, BusyError) else "error": str(error), "retire": len(retire)}, retire
    return {"token": number}, opened


def _settle(job: dict[str, Any], descriptors: list[int]) -> Result:
    """The end of a conversion. Where a foreign program waits with a blocking open for EX, o2dlm keeps the higher level
    until the lock is released: nobody gets in who should not.
    """
    _unlink(Mount(descriptors[0]), job["domain"], job["dropped"])
    mounts = [_ask_for_shared(job["domain"], name) for name in job["lowered"]]
    return {"retire": len(mounts)}, mounts


def _recall(job: dict[str, Any], _descriptors: list[int]) -> Result:
    """Ask for a lock as other programs do, so that nodes that only cache it give it up; and give it back at once."""
    name, exclusive = job["resources"][0]
    return {"retire": 1}, [_ask(job["domain"], name, exclusive)]


def _ask_for_shared(domain: str, name: str) -> int:
    """Make this node's EX on a resource, which nobody uses any more, a PR. Returns a mount to be let go of.

    Closing the EX descriptor does not. A blocking PR open through a second mount makes o2dlm ask for it. The question
    is lost when it meets an unlink of the file in the first mount, even one that is refused as busy, and both calls
    sleep for ever then (seen on 6.1): so the keeper unlinks nothing in a mount where this is under way.
    """
    return _ask(domain, name, exclusive=False)


def _ask(domain: str, name: str, exclusive: bool) -> int:
    """Take a resource by a blocking open, in a mount of its own, and give it back. Returns the mount."""
    own = mount.create()
    own.join(domain)
    flags = (os.O_RDWR if exclusive else os.O_RDONLY) | os.O_CREAT | os.O_CLOEXEC
    os.close(os.open(f"{domain}/{name}", flags, 0o600, dir_fd=own.directory))
    own.unlink(domain, name)
    return own.directory


def _without(own: Mount, domain: str, held: list[int], answer: dict[str, Any]) -> Result:
    """Give back what was taken, and the file that a busy try leaves behind.

    The mount is for the keeper to let go of.
    """
    _drop_files(own, domain, held)
    return {**answer, "retire": 1}, [own.directory]


def _drop_files(own: Mount, domain: str, held: list[int]) -> None:
    wire.close_all(held)
    held.clear()
    for name in _names(own, domain):
        own.unlink(domain, name)


def _owner(job: dict[str, Any], number: int) -> Record:
    return Record(job["node"], job["boot"], job["since"], number, job["owner"])


def _names(own: Mount, domain: str) -> list[str]:
    try:
        descriptor = os.open(domain, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=own.directory)
    except FileNotFoundError:
        return []
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _publish(job: dict[str, Any], descriptors: list[int]) -> Result:
    """Write the record on `.info` at EX, give that up, and take PR, at which every node can read who holds the lock.

    In between o2dlm keeps the record for some seconds. To fall from EX to PR without a gap needs a call that sleeps.
    """
    own = Mount(descriptors[0])
    domain, name = job["domain"], job["name"]
    descriptor = _try_often(own, domain, name, exclusive=True)
    os.write(descriptor, record.encode(_owner(job, job["token"])))
    os.close(descriptor)
    own.unlink(domain, name)
    return {}, [_try_often(own, domain, name, exclusive=False)]


def _try_often(own: Mount, domain: str, name: str, exclusive: bool) -> int:
    """A reader takes the lock for some microseconds; so a single try may meet one."""
    for attempt in range(PUBLISH_TRIES):
        try:
            return own.open(domain, name, exclusive)
        except BusyError:
            if attempt == PUBLISH_TRIES - 1:
                raise
            time.sleep(0.005 + 0.01 * (os.getpid() % 7) / 7)
    raise BusyError(name)


def _look(job: dict[str, Any], _descriptors: list[int]) -> Result:
    """The record of a lock's holder. EX on `.info` can be had only when no holder shows itself there."""
    domain, name = job["domain"], job["name"]
    own = mount.create()
    own.join(domain)
    answer: dict[str, Any] = {"held": True, "holder": None}
    for attempt in range(3):
        try:
            os.close(own.open(domain, name, exclusive=True))
            answer = {"held": False}
            break
        except BusyError:
            time.sleep(0.01 * (attempt + 1))
    else:
        with contextlib.suppress(BusyError):
            descriptor = own.open(domain, name, exclusive=False)
            found = record.decode(os.pread(descriptor, record.SIZE, 0))
            os.close(descriptor)
            answer["holder"] = vars(found) if found else None
    return _without(own, domain, [], answer)


def _forget(job: dict[str, Any], descriptors: list[int]) -> Result:
    _unlink(Mount(descriptors[0]), job["domain"], job["names"])
    return {}, []


def _unlink(own: Mount, domain: str, file_names: list[str]) -> None:
    """Unlink files, as soon as nobody has them open. Raises OSError when somebody still has after some seconds."""
    deadline = time.monotonic() + UNLINK_SECONDS
    for name in file_names:
        pause = 0.002
        while True:
            try:
                own.unlink(domain, name)
                break
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 0.1)


def _online() -> Live:
    """The cluster that this node is online in. Raises O2cbError without one: o2dlm would say EINVAL."""
    live = observe.live(())
    if live is not None and live.online:
        return live
    stack = files.read_line(observe.STACK_FILE)
    if stack not in ("", observe.STACK):
        raise O2cbError(
            f"the cluster stack {stack!r} is in use on this node, and these locks need o2cb's own: write "
            f"{observe.STACK} to {observe.STACK_FILE} and start o2cb.service"
        )
    if live is not None:
        raise O2cbError(
            f"cluster {live.cluster.name} is registered on this node, but no heartbeat runs: "
            "run role ocfs2.o2cb.cluster, or see `systemctl status o2cb`"
        )
    raise O2cbError("this node is not online in an o2cb cluster: see `systemctl status o2cb`")


def _join(job: dict[str, Any], _descriptors: list[int]) -> Result:
    """Join the same domain as all others, not one of the same name."""

    def beats(live: Live) -> Beats:
        return heartbeats.read(live.regions, [node.number for node in live.cluster.nodes]).beats

    isolation.wait(_online, beats)
    own = mount.create()
    own.join(job["domain"])
    return {}, [own.directory]


def _stamps(_job: dict[str, Any], _descriptors: list[int]) -> Result:
    """The newest time stamp of each node's heartbeat, in seconds of that node's clock; none from one that left."""
    live = _online()
    numbers = [node.number for node in live.cluster.nodes]
    reading = heartbeats.read(live.regions, numbers)
    stamps: dict[int, int] = {}
    for beats in reading.beats.values():
        for number, beat in beats.items():
            if beat.valid:
                stamps[number] = max(stamps.get(number, 0), beat.sequence)
    own = live.cluster.node(live.local or "")
    return {"own": own.number if own else 0, "stamps": sorted(stamps.items())}, []


def _mark(job: dict[str, Any], _descriptors: list[int]) -> Result:
    files.write(MARK, f"{job['token']}\n")
    return {}, []


def _drop(_job: dict[str, Any], _descriptors: list[int]) -> Result:
    """The descriptors of the mounts are closed when the job ends; the keeper has closed its own."""
    return {}, []


def _give_back(job: dict[str, Any], results: list[int]) -> None:
    """The keeper has gone. What was won is dropped in good order, and a lock that rose falls again."""
    if job["job"] == "take" and results:
        own = Mount(results[0])
        wire.close_all(results[1:])
        for name, _exclusive in job["resources"]:
            own.unlink(job["domain"], name)
        time.sleep(MOUNT_SECONDS)
        os.close(own.directory)
    elif job["job"] == "convert" and results:
        wire.close_all(results)
        for name in job["rising"]:
            _ask_for_shared(job["domain"], name)
        time.sleep(MOUNT_SECONDS)


_JOBS = {
    "take": _take,
    "convert": _convert,
    "settle": _settle,
    "recall": _recall,
    "publish": _publish,
    "look": _look,
    "forget": _forget,
    "join": _join,
    "stamps": _stamps,
    "mark": _mark,
    "drop": _drop,
}
