# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold in every run, whatever happens: the promises of o2keep as its users see them.

exclusion    no two who were told that they hold a lock may have modes that exclude each other
kept         what somebody was told that he holds stays open until it is released
known        nothing is held of which nobody was told
free         a lock whose release was answered is cached nowhere on its node
once         each request is answered once, and in time
tokens       a lock's exclusive tokens grow with each grant, and none is told that the mark does not cover
lanes        a lane is in its slot as long as anything in it is open, and for a while after its last lock
listed       a lock that is held all the time that a list is read is in it once
nothing lost in the end every open descriptor, file and slot belongs to a lock that the keeper knows
levels       in the end nothing has more than its mode says
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import effects, holding, names
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode
from simulator.locks.clients import GRACE, STRENGTH, Client, excludes, mode_below
from simulator.locks.kernel import EX, PR, File, LaneMount

if TYPE_CHECKING:
    from simulator.locks.world import Keeper, World


class Violation(Exception):
    """A promise was not kept."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(f"{promise}: {text}")
        self.promise = promise


@dataclass
class Belief:
    """Somebody was told that he holds a lock."""

    node: int
    key: tuple[str, str]
    mode: str
    kind: str
    token: int
    client: Client | None
    files: set[str] = field(default_factory=set)
    slot: Any = None
    """That of a lock which nobody can read any more."""


SPOILT = "spoilt"
"""Instead of a kind: nobody relies on this lock any more, and it is held all the same."""


class Checks:
    """Watches one run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.beliefs: list[Belief] = []
        self.tokens: dict[tuple[str, str], tuple[int, tuple[int, int]]] = {}
        self.answers = 0
        self.grants = 0
        self.abandonments: list[tuple[Any, tuple[int, tuple[str, str]]]] = []
        self.unknown: set[tuple[int, tuple[str, str]]] = set()
        """Node locks of which nobody can know: who asked for them is gone."""

        self.lanes: dict[tuple[int, str, str], int] = {}
        """The lanes in which locks were that have ended."""

    # what clients are told

    def answered(self, client: Client, message: dict[str, Any]) -> None:
        self.answers += 1
        bound = client.deadline + GRACE
        if self.world.now > bound:
            raise Violation("once", f"{client.message} was answered {self.world.now - bound:.1f} s late")

    def unanswered(self, client: Client) -> None:
        if client.keeper is not client.first or client.keeper is None:
            client.die()  # As a real one, whose patience does not begin anew with a keeper.
        elif not client.machine.down:
            raise Violation("once", f"{client.verb} {client.message} was not answered by {self.world.now:.1f}")

    def told(self, client: Client, message: dict[str, Any]) -> None:
        if client.verb == "release" and message.get("released"):
            for lock in message.get("locks") or [message]:
                self._is_free(client, lock["name"])
        if client.verb == "list":
            self._is_listed(client)
        if client.verb == "leave" and message.get("left"):
            self._has_left(client)
        if client.verb != "take" or not message.get("held"):
            return
        for lock in message.get("locks") or [message]:
            self._believe(client, lock)

    def _has_left(self, client: Client) -> None:
        node = client.machine.node
        # A worker of a dead keeper, asleep in a call, has its mount until that comes back.
        if any(lane.refs for lane in client.machine.lanes.values()) or any(one.node == node for one in self.beliefs):
            raise Violation("kept", f"node {node} has left, and a lock of it is held")

    def _is_listed(self, client: Any) -> None:
        """What was held before the list was begun, and still is."""
        shown = [(one["domain"], names.stored(one["name"]), one["kind"]) for one in client.listed]
        for belief in client.before:
            if belief in self.beliefs and belief.kind != SPOILT:
                entry = (*belief.key, belief.kind)
                if entry not in shown or (belief.kind == holding.NODE and shown.count(entry) > 1):
                    raise Violation(
                        "listed", f"{belief.key[1]} is {shown.count(entry)} times in node {belief.node}'s list"
                    )

    def _is_free(self, client: Client, name: str) -> None:
        stored = names.stored(name)
        keeper = client.machine.keeper
        node = client.machine.node
        jobs = [one.job for one in client.machine.workers]
        if keeper is not None:
            jobs += [call.job for call in keeper.core.calls.values()]  # A worker may be done, and its answer unread.
        # To forget is what the release itself does in the lock's lane; in others it is what became of another request.
        own = self.lanes.get((node, client.message["domain"], stored))
        tries = [str(job) for job in jobs if not (isinstance(job, effects.Forget) and job.lane == own)]
        under_way = any(stored in job or repr(name) in job for job in tries) or any(
            (one.node, one.key[1], one.kind) == (node, stored, SPOILT) for one in self.beliefs
        )
        others = keeper is not None and keeper.core.holdings.of((client.message["domain"], stored))
        for lane in client.machine.lanes.values():
            file = lane.files.get(stored)
            # What a worker of a dead keeper leaves behind, or keeps open for a while, is found by a sweep.
            known = keeper is not None and keeper.core.domains[lane.domain].lanes.get(lane.number)
            swept = known and stored in known.stale
            if file is not None and file.level and file.opener is keeper and not (under_way or others or swept):
                raise Violation(
                    "free", f"{stored} was released on node {lane.node}, and is still cached in lane {lane.number}"
                )

    def _believe(self, client: Client, lock: dict[str, Any]) -> None:
        node = client.machine.node
        key = (lock["domain"], names.stored(lock["name"]))
        keeper = client.machine.keeper
        if lock["mode"] == "EX" and lock["token"] > self.world.marks.get(node, 0):
            raise Violation("tokens", f"{lock['token']} of {lock['name']} was told, and the mark does not cover it")
        if lock["mode"] == "EX":
            self._rises(node, key, lock)
        self.grants += 1
        mine = self._of_node(node, key) if lock["kind"] == holding.NODE else None
        for other in self.beliefs:
            if other.key == key and other is not mine and excludes(other.mode, lock["mode"]):
                raise Violation(
                    "exclusion", f"{lock['name']}: node {node} has {lock['mode']}, node {other.node} {other.mode}"
                )
        if mine is None:
            mine = Belief(node, key, lock["mode"], lock["kind"], lock["token"], client)
            self.beliefs.append(mine)
        mine.mode = lock["mode"]
        mine.files = {name for name, _ex in holding.resources(key[1], Mode(mine.mode))}
        if keeper is not None:
            self._is_open(mine)

    def _rises(self, node: int, key: tuple[str, str], lock: dict[str, Any]) -> None:
        """Grants of one lock follow each other, so their tokens do when they are told."""
        token, grant = lock["token"], (node, lock["since"])
        before, whose = self.tokens.get(key, (-1, (0, 0)))
        if token < before or (token == before and grant != whose):
            raise Violation("tokens", f"{lock['name']}: {token} of {grant} after {before} of {whose}")
        self.tokens[key] = (token, grant)

    def spoilt(self, node: int, slot: Any) -> None:
        """Whoever has it cannot release it any more; and still nobody else may have it."""
        what = slot.message["lock"]
        key = (what["domain"], names.stored(what["name"]))
        self.lets_go(node, key)
        self.unknown.add((node, key))
        files = {name for name, _ex in holding.resources(key[1], Mode(what["mode"]))}
        self.beliefs.append(Belief(node, key, what["mode"], SPOILT, what["token"], None, files, slot))

    def _of_node(self, node: int, key: tuple[str, str]) -> Belief | None:
        return next((b for b in self.beliefs if (b.node, b.key, b.kind) == (node, key, holding.NODE)), None)

    def holds(self, node: int, key: tuple[str, str]) -> Belief | None:
        return self._of_node(node, key)

    def lets_go(self, node: int, key: tuple[str, str]) -> None:
        """Somebody asks for the release: from now on nobody relies on it."""
        mine = self._of_node(node, key)
        if mine is not None:
            self.beliefs.remove(mine)

    def falls(self, node: int, key: tuple[str, str], mode: str) -> None:
        mine = self._of_node(node, key)
        if mine is not None and mode_below(mode, mine.mode):
            mine.mode = mode
            mine.files = {name for name, _ex in holding.resources(key[1], Mode(mode))} & mine.files

    def abandoned(self, client: Client) -> None:
        """Nobody waits for the answer any more.

        What a keeper that lives on has won for it is given back. Else, and where this node had the lock before, it is
        not known what becomes of it.
        """
        node, keeper = client.machine.node, client.keeper
        for name in client.names() if client.verb in ("take", "release") else []:
            key = (client.message["domain"], names.stored(name))
            lives = keeper is not None and keeper.alive and keeper.listens and keeper is client.first
            if client.verb == "take" and lives and self.holds(node, key) is None:
                self.abandonments.append((keeper, (node, key)))
            else:
                self.unknown.add((node, key))
            self.lets_go(node, key)

    def keeper_died(self, keeper: Keeper) -> None:
        self.unknown.update(entry for whose, entry in self.abandonments if whose is keeper)

    def dropped(self, client: Client) -> None:
        self.beliefs = [belief for belief in self.beliefs if belief.client is not client or belief.kind == holding.NODE]

    def node_died(self, node: int) -> None:
        """Its locks are lost to it. Others may have them only after its eviction, which the lock manager sees to."""
        for belief in [belief for belief in self.beliefs if belief.node == node]:
            self.world.after(5.99, self._forget, belief)
            belief.client = None
            belief.files = set()

    def _forget(self, belief: Belief) -> None:
        if belief in self.beliefs:
            self.beliefs.remove(belief)

    # what happens in the kernel

    def closed(self, file: File) -> None:
        if file.pr or file.ex:
            return
        for belief in self.beliefs:
            if belief.node == file.lane.node and belief.key[0] == file.lane.domain and file.name in belief.files:
                self._is_open(belief)

    def _is_open(self, belief: Belief) -> None:
        """Its files are open at its levels, all in one lane."""
        at_least = STRENGTH[STRENGTH.index(belief.mode) :]
        lanes = [lane for lane in self.world.machines[belief.node].lanes.values() if lane.domain == belief.key[0]]
        for mode in at_least:
            wanted = holding.resources(belief.key[1], Mode(mode))
            if any(_has(lane, wanted) for lane in lanes):
                return
        raise Violation("kept", f"node {belief.node} relies on {belief.key[1]} in {belief.mode}, and it is not open")

    def lane_is_kept(self, keeper: Keeper, number: int) -> None:
        lane = keeper.machine.lanes.get(number)
        if lane is None or lane.refs < 1:
            raise Violation("lanes", f"a job has lane {number}, which is in no slot")

    def emptied(self, keeper: Keeper, number: int, slot: Any) -> None:
        if slot.message is None:
            raise Violation("nothing lost", f"slot {number} is emptied, and there is nothing in it")
        self.beliefs = [belief for belief in self.beliefs if belief.slot is not slot]
        lock = slot.message.get("lock")
        if isinstance(lock, dict) and "lane" in lock:
            self.lanes[keeper.machine.node, lock["domain"], names.stored(lock["name"])] = lock["lane"]
        lane = slot.lane
        # What a worker of a dead keeper has done was seen to by itself: it has the mount for as long.
        if lane is not None and lane.refs == 1 and lane.toucher is keeper and self.world.now < lane.touched + 1.4:
            raise Violation("lanes", f"lane {lane.number} goes at once after a lock in it")
        if lane is None or lane.refs > 1 or any(lane in worker.has() for worker in keeper.machine.workers):
            return
        if any(file.pr or file.ex for file in lane.files.values()):
            raise Violation("lanes", f"lane {lane.number} goes while a lock in it is open")

    def audited(self, _keeper: Keeper, _effect: Any) -> None:
        pass

    # the end

    def settled(self) -> Violation | None:
        """What is still wrong, when nothing goes wrong any more."""
        for machine in self.world.machines.values():
            machine.unmount()
            keeper = machine.keeper
            if keeper is None or not keeper.alive:
                return Violation("nothing lost", f"node {machine.node} has no keeper")
            if keeper.workers or machine.mail:
                return Violation("once", f"node {machine.node}: workers are still busy")
            core = keeper.core
            spoilt = [slot for number, slot in keeper.slots.items() if number in core.quarantine]
            unreadable = {id(one.file) for slot in spoilt for one in slot.descriptors}
            claimed = {lane.slot for domain in core.domains.values() for lane in domain}
            levels: dict[tuple[str, int, str], int] = {}
            for held in core.holdings:
                if held.state is not holding.State.HELD:
                    return Violation("nothing lost", f"{held.what.name} is {held.state.value} on node {machine.node}")
                known = any((one.node, one.key) == (machine.node, held.what.key) for one in self.beliefs)
                if not known and (machine.node, held.what.key) not in self.unknown:
                    return Violation("known", f"nobody was told of {held.what.name} on node {machine.node}")
                claimed.add(held.slot)
                if held.info >= 0:
                    claimed.add(held.info)
                    levels[held.what.domain, held.what.lane, names.info(held.what.stored)] = PR
                for name, exclusive in holding.resources(held.what.stored, Mode(held.what.mode)):
                    levels[held.what.domain, held.what.lane, name] = EX if exclusive else PR
                slot = keeper.slots.get(held.slot)
                if slot is None or slot.message is None or slot.message["lock"]["id"] != held.what.id:
                    return Violation("nothing lost", f"{held.what.name} is not in its slot on node {machine.node}")
            full = {number for number, slot in machine.kept.items() if slot.message is not None}
            if full - core.quarantine.keys() != claimed:
                return Violation("nothing lost", f"node {machine.node}: slots {full ^ claimed} are full or claimed")
            if set(core.free) & full or len(set(core.free)) != len(core.free):
                return Violation("nothing lost", f"node {machine.node}: full slots count as free")
            if keeper.gifts:
                return Violation("nothing lost", f"node {machine.node}: descriptors of a process lock were forgotten")
            for lane in machine.lanes.values():
                for file in lane.files.values():
                    if id(file) in unreadable:
                        continue
                    wanted = levels.get((lane.domain, lane.number, file.name))
                    if wanted is None:
                        return Violation("nothing lost", f"{file.name} stays behind on node {machine.node}")
                    # A call of a dead keeper that comes back later leaves a level until the lock is released.
                    late = file.raised[0] is not keeper and file.raised[1] > keeper.started
                    if file.level > wanted and not late and not file.name.endswith(names.INFO):
                        return Violation("levels", f"{file.name} has {file.level} on node {machine.node}")
                    if file.level < wanted or not (file.pr or file.ex):
                        return Violation("kept", f"{file.name} is not open at {wanted} on node {machine.node}")
            for belief in self.beliefs:
                if (
                    belief.node == machine.node
                    and belief.kind != SPOILT
                    and not any(
                        held.what.key == belief.key and not mode_below(held.what.mode, belief.mode)
                        for held in core.holdings
                    )
                ):
                    return Violation("kept", f"node {machine.node} does not know of {belief.key[1]}")
        return None


def _has(lane: LaneMount, wanted: list[tuple[str, bool]]) -> bool:
    """Whether all these files are open in one lane, each at its level."""
    for name, exclusive in wanted:
        file = lane.files.get(name)
        if file is None or not (file.ex if exclusive else file.ex or file.pr):
            return False
    return True
