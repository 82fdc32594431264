# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one process of a node that reads and writes the record, and how workers ask it for tokens.

It holds no lock and nothing of dlmfs: only a process for each region (`disks`). It carries out the rules (`rules`) for
one batch at a time; what comes meanwhile is the next batch, so a hundred locks cost one reading. It shows its committed
mark on the `page`, by which most tokens need it not at all, and ends with the process that started it.

What workers ask of it is in `asking`.

Where there is no record, each of these reads the regions anew: one may be made at any moment, and then no node may go
by clocks any more, once it was granted a lock after that.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar

from ..base import files
from ..base.errors import O2cbError
from ..o2cb import devices, direct, observe, superblock
from ..o2cb.direct import Extent
from ..o2cb.state import Live
from . import disks, local, page, place
from .asking import FRESH_SECONDS, MOST_BYTES, SOCKET
from .disks import Disks
from .page import Page, clock
from .refusals import NoRecordError, RefusedError, RetakeError
from .rules import Asked, Ledger, Read, Reading, Steps

SECONDS = 8.0
"""Deadline of one reading or writing. A healthy disk takes milliseconds, one that fails over its paths some seconds."""

SHAPE_SECONDS = 10.0
"""Seconds between two looks at the cluster's nodes and regions."""

CATCH_UP_SECONDS = 180.0
"""Seconds between two times of catching up."""


PLACE_SECONDS = 2.0
"""Longer is not waited, at the start, for what a region's superblock says."""

AWAY_SECONDS, SOON_SECONDS = 1.0, 2.0
"""A region that has not answered for longer than the first is caught up so soon after it does: marks that it has missed
may be on no more regions than just a majority."""


class Trial(NamedTuple):
    """A token that nobody uses. `written`: the mark had to be raised for it."""

    token: int
    seconds: float
    written: bool


Outcome = TypeVar("Outcome")


class Recorder:
    """Carries out the ledger's generators on the disks."""

    def __init__(
        self, ledger: Ledger, regions: Disks, page_descriptor: int, own: local.File, seconds: float = SECONDS
    ) -> None:
        self.ledger, self.regions, self.own = ledger, regions, own
        self._page, self._seconds = page_descriptor, seconds
        self.shown = Page()
        self.due = 0.0
        """When to catch up, by `clock`."""
        self.problem = ""
        """Why the last time of catching up did not do; empty when it did."""
        self._away: dict[str, float] = {}
        """Since when a region does not answer."""
        self._show(Page())

    def run(self, steps: Steps[Outcome]) -> Outcome:
        """Raises what the generator raises."""
        fact: Any = None
        try:
            while True:
                wish = steps.send(fact)
                if isinstance(wish, Read):
                    fact = self.regions.read(wish, self._seconds, self.ledger.counts, self.ledger.needed())
                else:
                    fact = self.regions.write(wish, self._seconds, self.ledger.needed())
                self._reading = fact if isinstance(fact, Reading) else None
                if self._reading is not None:
                    self._note(self._reading)
        except StopIteration as end:
            outcome: Outcome = end.value
            self._commit()
            return outcome
        except NoRecordError:
            self._show(Page(state=page.NONE))
            raise
        except RefusedError:
            self._show(self.shown._replace(state=page.UNKNOWN))
            raise

    def _note(self, reading: Reading) -> None:
        """A region that has come back, or lags behind, is a reason to catch up soon."""
        now = clock()
        for uuid in reading.problems:
            self._away.setdefault(uuid, now)
        back = [uuid for uuid in reading.views if now - self._away.pop(uuid, now) > AWAY_SECONDS]
        if back or not all(view.answers for view in reading.views.values()):
            self.due = min(self.due, now + SOON_SECONDS)

    def _commit(self) -> None:
        """Show what is known now, and keep it in this node's own file."""
        ledger = self.ledger
        if self._reading is not None:
            self._show(Page(page.RECORD, self._reading.number, ledger.mark, self._reading.seconds))
        mark, regions = max(ledger.mark, self.own.local.mark), sorted(ledger.writable)
        if (mark, True) != (self.own.local.mark, self.own.local.seen >= self.own.local.and_regions(regions).seen):
            with contextlib.suppress(OSError):  # It is there to notice storage that was set back, and to rebuild from.
                self.own.write(self.own.local.and_regions(regions)._replace(mark=mark))

    _reading: Reading | None = None

    def _show(self, shown: Page) -> None:
        self.shown = shown
        page.write(self._page, shown)

    def trial(self) -> Trial:
        """A token for a lock of which nothing is known. Raises RefusedError, NoRecordError."""
        ledger = self.ledger
        if self.shown.state != page.RECORD or clock() - self.shown.seconds > FRESH_SECONDS:
            self.run(ledger.refresh())
        mark, began = ledger.mark, time.perf_counter()
        token = self.run(ledger.sign([Asked(None, 0, self.shown.reading)]))[0]
        seconds = time.perf_counter() - began
        if isinstance(token, RefusedError):
            raise token
        return Trial(token, seconds, ledger.mark != mark)

    def close(self) -> None:
        self.regions.close()
        if self._page >= 0:
            os.close(self._page)
            self._page = -1

    def catch_up(self) -> None:
        try:
            self.run(self.ledger.catch_up())
            self.problem = ""
        except O2cbError as error:
            self.problem = str(error)
        self.due = clock() + (CATCH_UP_SECONDS if not self.problem else 10.0)


def assemble(live: Live, own: local.File, page_path: str = page.PATH, known: Collection[place.Place] = ()) -> Recorder:
    """The recorder of the cluster that this node is online in. Raises O2cbError.

    `known` are places that need not be looked at again.
    """
    node = live.cluster.node(live.local or "")
    if node is None:
        raise O2cbError("this machine is no node of the cluster that it runs: run role ocfs2.o2cb.cluster")
    places, placeless = places_of(live, known=known)
    uuids = [region.uuid for region in live.regions]
    dead_ms = live.cluster.timeouts.heartbeat_dead_threshold * 2000
    ledger = Ledger(node.number, boot_id(), uuids, dead_ms, local=own.local.mark, seen=own.local.knows(uuids))
    nodes = max(other.number for other in live.cluster.nodes) + 1
    regions = Disks(disks.hands(places), nodes, placeless)
    return Recorder(ledger, regions, page.create(page_path), own)


def places_of(
    live: Live, seconds: float = PLACE_SECONDS, known: Collection[place.Place] = ()
) -> tuple[list[place.Place], list[str]]:
    """Where the record is on each region that has started and has a place, and the regions that have none.

    One that does not answer within `seconds` is taken to have one, and is looked at when it is opened: it must not keep
    the others from being used.
    """
    found: place.Place | None
    places, placeless, started = [], [], []
    for region in live.regions:
        found = place.find(region, place.LARGEST_BLOCK)
        if found is not None and found in known:
            places.append(found)
        elif region.started:
            started.append(region)
    heads = [Extent(devices.preferred_path(region.device), 0, superblock.READ_BYTES) for region in started]
    for region, answer in zip(started, direct.read(heads, seconds)):
        volume = superblock.parse(answer.data)
        if volume is None and not answer.problem:
            continue
        found = place.find(region, volume.block_size if volume else place.LARGEST_BLOCK)
        if found is None:
            placeless.append(region.uuid)
        else:
            places.append(found)
    return places, placeless


def boot_id() -> str:
    return files.read_line("/proc/sys/kernel/random/boot_id").replace("-", "")


class Server:
    """Takes requests of workers, a JSON object each, and answers each.

        {"verb": "sign", "asked": [[PREVIOUS or null, GRANTED, SINCE], ...]}
                                                    {"tokens": [NUMBER or {"retake": WHY}, ...]}
        {"verb": "refresh"}                         {}
        {"verb": "reach", "token": NUMBER}          {}      the mark, ahead of tokens about as large
        {"verb": "raise", "token": NUMBER}          {"mark": NUMBER}
                                                            the same by hand, after storage was set back
        {"verb": "try"}                             {"token": NUMBER, "seconds": NUMBER, "written": BOOLEAN}
        {"verb": "keep", "token": NUMBER}           {}      the mark in this node's own file, for tokens of clocks
        {"verb": "look"}                            {"generation": NUMBER, "digest": TEXT, "split": [NODE, ...]}
        {"verb": "publish", "generation": NUMBER, "digest": TEXT}
                                                    {}
        {"verb": "state"}                           what `o2ctl keep status` shows

    Instead of any answer: {"error": TEXT, "kind": "refused", "retake" or "none"}.
    """

    def __init__(
        self,
        recorder: Recorder,
        path: str = SOCKET,
        lifeline: int = -1,
        shape: Callable[[], object] = lambda: None,
        renew: Callable[[Recorder], Recorder | None] = lambda _recorder: None,
    ) -> None:
        """`lifeline`: a descriptor whose end is the end of this process. `shape` tells what the record depends on.

        `renew` makes the recorder that follows when that has changed; with none, the process ends.
        """
        self._renew = renew
        self._shape, self._first, self._look = shape, shape(), clock() + SHAPE_SECONDS
        self.recorder = recorder
        self._lifeline = lifeline
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        temporary = f"{path}.{os.getpid()}"
        self._listener.bind(temporary)
        os.chmod(temporary, 0o600)
        self._listener.listen(64)
        os.rename(temporary, path)
        self._clients: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Until the lifeline ends.

        Where the cluster has other nodes, regions or timeouts, another recorder follows; who asks meanwhile waits.
        """
        self.recorder.catch_up()
        while True:
            recorder = self.recorder
            poll = select.poll()
            for number in (self._listener.fileno(), self._lifeline, *self._clients):
                if number >= 0:
                    poll.register(number, select.POLLIN)
            for number in recorder.regions.descriptors():
                poll.register(number, select.POLLIN)
            ready = {number for number, _event in poll.poll(max(0.0, min(recorder.due, self._look) - clock()) * 1000)}
            if self._lifeline in ready:
                return
            if clock() >= self._look:
                self._look = clock() + SHAPE_SECONDS
                now = self._shape()
                if now != self._first or recorder.regions.crowded():
                    following = self._renew(recorder)
                    if following is None:
                        return
                    self.recorder, self._first = following, now
                    continue
            recorder.regions.pump()
            if self._listener.fileno() in ready:
                client, _address = self._listener.accept()
                self._clients[client.fileno()] = client
            self._batch([number for number in ready if number in self._clients])
            if clock() >= recorder.due:
                recorder.catch_up()

    def _batch(self, ready: Sequence[int]) -> None:
        """All that have asked by now. Those who want tokens share one reading."""
        signing: list[tuple[int, list[Asked]]] = []
        for number in ready:
            try:
                data = self._clients[number].recv(MOST_BYTES)
            except OSError:
                data = b""
            if not data:
                self._clients.pop(number).close()
                continue
            try:
                request = json.loads(data)
                if request["verb"] == "sign":
                    signing.append((number, [Asked(*asked) for asked in request["asked"]]))
                else:
                    self._send(number, self._answer(request))
            except O2cbError as error:
                self._send(number, _error(error))
            except (KeyError, TypeError, ValueError) as error:
                self._send(number, {"error": f"no request of this protocol: {error}", "kind": "refused"})
        if signing:
            self._sign(signing)

    def _sign(self, signing: Sequence[tuple[int, list[Asked]]]) -> None:
        try:
            tokens = self.recorder.run(self.recorder.ledger.sign([ask for _number, asked in signing for ask in asked]))
        except O2cbError as error:
            for number, _asked in signing:
                self._send(number, _error(error))
            return
        rest = iter(tokens)
        for number, asked in signing:
            own = [next(rest) for _ask in asked]
            self._send(number, {"tokens": [t if isinstance(t, int) else {"retake": str(t)} for t in own]})

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        recorder = self.recorder
        ledger, verb = recorder.ledger, request["verb"]
        if verb == "refresh":
            recorder.run(ledger.refresh())
        elif verb == "reach":
            recorder.run(ledger.reach(int(request["token"])))
        elif verb == "raise":
            recorder.run(ledger.raise_above(int(request["token"])))
            return {"mark": ledger.mark}
        elif verb == "try":
            return dict(recorder.trial()._asdict())
        elif verb == "keep":
            self._keep(int(request["token"]))
        elif verb == "publish":
            recorder.run(ledger.publish(int(request["generation"]), str(request["digest"])))
        elif verb == "look":
            return dict(recorder.run(ledger.look())._asdict())
        elif verb == "state":
            return {
                "mark": ledger.mark,
                "problem": recorder.problem,
                "hung": recorder.regions.hung(1.0),
                "placeless": sorted(recorder.regions.placeless),
            }
        else:
            raise RefusedError(f"there is no verb {verb!r}")
        return {}

    def _keep(self, token: int) -> None:
        own = self.recorder.own
        try:
            if token > own.local.mark:
                own.write(own.local._replace(mark=token))
        except OSError as error:
            raise RefusedError(f"{local.PATH}: {error.strerror}: a later token might fall") from None

    def _send(self, number: int, answer: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._clients[number].send(json.dumps(answer).encode())


def _error(error: O2cbError) -> dict[str, Any]:
    kind = "none" if isinstance(error, NoRecordError) else "retake" if isinstance(error, RetakeError) else "refused"
    return {"error": str(error), "kind": kind}


def main(lifeline: int = 0) -> int:
    """The process itself. `lifeline` is inherited from who started it; the regions' processes end with it."""
    own = local.File()
    recorder = assemble(_online(), own)
    server = Server(recorder, lifeline=lifeline, shape=shape, renew=renew)
    try:
        server.serve()
    finally:
        server.recorder.close()
    return 0


def renew(recorder: Recorder) -> Recorder | None:
    """The one that follows: the regions that stay are not looked at again. None where the node is not online."""
    recorder.close()
    known = [] if recorder.regions.crowded() else [hand.where for hand in recorder.regions.hands]
    try:
        return assemble(_online(), recorder.own, known=known)
    except O2cbError:
        return None


def _online() -> Live:
    live = observe.live(())
    if live is None or not live.online:
        raise O2cbError("this node is not online in an o2cb cluster: see `systemctl status o2cb`")
    return live


def shape() -> object:
    """What the record of this cluster depends on: its nodes, its regions that have started, its dead time."""
    live = observe.live(())
    if live is None:
        return None
    nodes = sorted(node.number for node in live.cluster.nodes)
    started = sorted(region.uuid for region in live.regions if region.started)
    return (nodes, started, live.cluster.timeouts.heartbeat_dead_threshold)


def wait_for(path: str = SOCKET, seconds: float = 10.0) -> None:
    """Wait until the process can be asked. For tests and benches."""
    until = time.monotonic() + seconds
    while not os.path.exists(path) and time.monotonic() < until:
        time.sleep(0.01)
