# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each call of the guard, word by word: what it asks, what it is answered, what it comes to and says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import guard, machine
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.guard import (
    ALLOWED,
    SETTLED,
    Held,
    Holder,
    Look,
    Pause,
    Release,
    Settle,
    Step,
    Take,
    Taken,
    Verdict,
    View,
    Who,
)
from ansible_collections.ocfs2.o2cb.tests.unit.vm.world import UUID, xml

WEB = machine.parse(xml().encode())
PERMITTED = machine.parse(WEB.with_permit(5).encode())
NAME = f"virtual machine 'web' ({UUID})"

Exchange = list[tuple[guard.Ask, Any]]


def come_to(call: guard.Call[Any], exchange: Exchange) -> Any:
    """Answer a call as written, each ask being the one that is expected, to the last. Its result."""
    number = 0
    try:
        ask = next(call)
        for number, (expected, answer) in enumerate(exchange, start=1):
            assert ask == expected, f"ask {number}"
            ask = call.throw(answer) if isinstance(answer, O2cbError) else call.send(answer)
    except (StopIteration, O2cbError) as end:
        assert number == len(exchange), f"it ends after ask {number}"
        if isinstance(end, O2cbError):
            raise
        return end.value
    raise AssertionError(f"it asks for more: {ask}")


def look(run: Held | None = None, incoming: Held | None = None, pids: tuple[int, ...] = ()) -> tuple[guard.Ask, View]:
    return Look(WEB), View(run, incoming, pids)


def refused(why: str) -> Verdict:
    return Verdict(False, f"{NAME} is not started here: {why}")


ENTER, ENTER_AGAIN = Take(WEB, WEB.incoming, 3.0), Take(WEB, WEB.incoming, 0.0)
RUN = Take(WEB, WEB.run, 0.0)
LEAVE, GIVE_UP = Release(WEB, WEB.incoming, 5), Release(WEB, WEB.run, 6)
ENTERED, HAD = Taken(True, 5), Taken(True, 6)
HERE, ELSEWHERE = Holder("node 1", here=True), Holder("node 2")
TAKEN = Taken(False, reason="busy", holder=ELSEWHERE)
OWN = Taken(False, reason="busy", holder=HERE)
NAMELESS = Taken(False, reason="busy")
BROKEN = Taken(False, reason="clock", text="the clock is wrong")
FAILURE = O2cbError("o2keep does not answer")

RUNNING = (7, 9)
IT_RUNS = "process 7 of this node runs it already"
HOLDS = "node 2 holds its lock"

IN_VAIN: list[tuple[Exchange, str]] = [
    ([(ENTER, BROKEN)], "the clock is wrong"),
    ([(ENTER, TAKEN), (Who(WEB, WEB.run), Holder("node 3"))], "node 3 holds its lock"),
    ([(ENTER, TAKEN), (Who(WEB, WEB.run), None)], "node 2 is just starting or receiving it: try again"),
    ([(ENTER, NAMELESS), (Who(WEB, WEB.run), None)], "another node is just starting or receiving it: try again"),
    (
        [(ENTER, OWN), look(incoming=Held(4, 5.9)), (Who(WEB, WEB.run), None)],
        "node 1 is just starting or receiving it: try again",
    ),
    (
        [(ENTER, OWN), look(incoming=Held(4, 99.0), pids=RUNNING), (Who(WEB, WEB.run), None)],
        "node 1 is just starting or receiving it: try again",
    ),
    ([(ENTER, OWN), look(), (Who(WEB, WEB.run), None)], "node 1 is just starting or receiving it: try again"),
    (
        [
            (ENTER, OWN),
            look(incoming=Held(4, 6.0)),
            (Release(WEB, WEB.incoming, 4), None),
            (ENTER_AGAIN, TAKEN),
            (Who(WEB, WEB.run), ELSEWHERE),
        ],
        HOLDS,
    ),
]
"""Ways not to get `incoming`."""

ENTERED_BUT: list[tuple[Exchange, str]] = [
    ([(ENTER, ENTERED), (RUN, BROKEN), (LEAVE, None)], "the clock is wrong"),
    ([(ENTER, ENTERED), (RUN, TAKEN), (LEAVE, None)], HOLDS),
    (
        [(ENTER, ENTERED), (RUN, NAMELESS), (LEAVE, None)],
        "another node holds its lock, which has not said yet who it is",
    ),
    (
        [(ENTER, ENTERED), (RUN, OWN), look(run=Held(6, 299.9)), (LEAVE, None)],
        "node 1, this one, holds its lock: `o2ctl vm list` tells why",
    ),
    (
        [(ENTER, ENTERED), (RUN, OWN), look(run=Held(6, 999.0), pids=RUNNING), (LEAVE, None)],
        "node 1, this one, holds its lock: `o2ctl vm list` tells why",
    ),
    (
        [(ENTER, ENTERED), (RUN, OWN), look(), (LEAVE, None)],
        "node 1, this one, holds its lock: `o2ctl vm list` tells why",
    ),
    (
        [(ENTER, ENTERED), (RUN, OWN), look(run=Held(6, 300.0)), (GIVE_UP, None), (RUN, TAKEN), (LEAVE, None)],
        HOLDS,
    ),
]
"""Ways not to get `run` after that."""

IN: list[Exchange] = [
    [(ENTER, ENTERED), (RUN, HAD), (LEAVE, None)],
    [
        (ENTER, OWN),
        look(incoming=Held(4, 6.0)),
        (Release(WEB, WEB.incoming, 4), None),
        (ENTER_AGAIN, ENTERED),
        (RUN, HAD),
        (LEAVE, None),
    ],
    [(ENTER, ENTERED), (RUN, OWN), look(run=Held(6, 300.0)), (GIVE_UP, None), (RUN, HAD), (LEAVE, None)],
]
"""Ways to get both, the last two with what this node has left behind."""


@pytest.mark.parametrize("exchange", IN)
def test_prepare_takes_both_locks_and_releases_incoming(exchange: Exchange) -> None:
    assert come_to(guard.prepare(WEB), [look(), *exchange]) == ALLOWED


@pytest.mark.parametrize(("exchange", "why"), [*IN_VAIN, *ENTERED_BUT])
def test_prepare_refuses_without_both_and_says_why(exchange: Exchange, why: str) -> None:
    assert come_to(guard.prepare(WEB), [look(), *exchange]) == refused(why)


def test_prepare_refuses_where_it_runs_and_asks_nothing_where_it_is_permitted():
    assert come_to(guard.prepare(WEB), [look(pids=RUNNING)]) == refused(IT_RUNS)
    permitted = [(Look(PERMITTED), View(incoming=Held(5, 0)))]
    assert come_to(guard.prepare(PERMITTED), permitted) == ALLOWED
    assert come_to(guard.prepare(WEB), [look(incoming=Held(5, 0)), *IN_VAIN[0][0]]) == refused("the clock is wrong")


def test_what_has_come_to_nothing_has_no_token_and_says_nothing():
    assert Taken(False) == Taken(False, 0, "", "", None)


@pytest.mark.parametrize("when", [1, 2])
def test_a_call_that_fails_in_the_middle_leaves_what_it_has_entered(when: int) -> None:
    exchange: Exchange = [look(), (ENTER, ENTERED), (RUN, OWN), look(run=Held(6, 300.0))][: when + 2]
    exchange[-1] = (exchange[-1][0], FAILURE)
    call = guard.prepare(WEB)
    with pytest.raises(O2cbError, match="does not answer"):
        come_to(call, [*exchange, (LEAVE, None)])


LATE = "its start took longer than 240 s: start it again"


@pytest.mark.parametrize(
    ("view", "verdict"),
    [
        (View(run=Held(6, 240.0)), ALLOWED),
        (View(run=Held(6, 240.1)), refused(LATE)),
        (View(incoming=Held(5, 240.0)), ALLOWED),
        (View(incoming=Held(5, 240.1)), refused(LATE)),
        (View(incoming=Held(4, 0.0)), refused("its lock was released meanwhile: start it again")),
        (View(), refused("its lock was released meanwhile: start it again")),
    ],
)
def test_start_wants_a_lock_that_is_held_and_young(view: View, verdict: Verdict) -> None:
    assert come_to(guard.start(PERMITTED), [(Look(PERMITTED), view)]) == verdict


def test_start_wants_the_lock_of_its_own_permit():
    late = refused("its lock was released meanwhile: start it again")
    assert come_to(guard.start(WEB), [look(incoming=Held(5, 0.0))]) == late


RECEIVED = Verdict(True, output=WEB.with_permit(5))


@pytest.mark.parametrize(
    ("exchange", "verdict"),
    [
        ([look(pids=RUNNING)], refused(IT_RUNS)),
        ([look(run=Held(6, 299.9))], refused("it is just being started on this node")),
        ([look(), (ENTER, ENTERED), (RUN, TAKEN), (Settle(WEB), None)], RECEIVED),
        (
            [look(run=Held(6, 300.0)), (GIVE_UP, None), (ENTER, ENTERED), (RUN, TAKEN), (Settle(WEB), None)],
            RECEIVED,
        ),
        (
            [
                look(run=Held(6, 300.0), incoming=Held(4, 0.0)),
                (Release(WEB, WEB.incoming, 4), None),
                (GIVE_UP, None),
                (ENTER, ENTERED),
                (RUN, TAKEN),
                (Settle(WEB), None),
            ],
            RECEIVED,
        ),
        ([look(), (ENTER, ENTERED), (RUN, HAD), (GIVE_UP, None), (LEAVE, None)], ALLOWED),
        ([look(), (ENTER, ENTERED), (RUN, BROKEN), (LEAVE, None)], refused("the clock is wrong")),
        *(([look(), *exchange], refused(why)) for exchange, why in IN_VAIN),
    ],
)
def test_migrate_keeps_incoming_only_while_somebody_holds_run(exchange: Exchange, verdict: Verdict) -> None:
    assert come_to(guard.migrate(WEB), exchange) == verdict


def test_migrate_leaves_what_it_has_entered_when_it_fails():
    with pytest.raises(O2cbError, match="does not answer"):
        come_to(guard.migrate(WEB), [look(), (ENTER, ENTERED), (RUN, FAILURE), (LEAVE, None)])


LIVES = f"{NAME}: libvirt says that it has ended, and process 7 of it lives"


@pytest.mark.parametrize(
    ("exchange", "verdict"),
    [
        ([look()], ALLOWED),
        ([look(pids=RUNNING)], ALLOWED),
        ([look(run=Held(6, 1.0)), (GIVE_UP, None)], ALLOWED),
        ([look(incoming=Held(5, 1.0)), (LEAVE, None)], ALLOWED),
        ([look(Held(6, 1.0), Held(5, 1.0)), (LEAVE, None), (GIVE_UP, None)], ALLOWED),
        ([look(Held(6, 1.0), pids=RUNNING), (Pause(0.1), None), look(Held(6, 1.0)), (GIVE_UP, None)], ALLOWED),
        (
            [
                *[event for _pause in range(20) for event in (look(Held(6, 1.0), pids=RUNNING), (Pause(0.1), None))],
                look(Held(6, 1.0), pids=RUNNING),
                (Settle(WEB, 6), None),
            ],
            Verdict(True, f"{LIVES}: its lock stays held", alarm=True),
        ),
        (
            [
                *[event for _pause in range(20) for event in (look(None, Held(5, 1), RUNNING), (Pause(0.1), None))],
                look(None, Held(5, 1.0), RUNNING),
                (Settle(WEB, 5), None),
            ],
            Verdict(True, f"{LIVES}: its lock stays held", alarm=True),
        ),
        ([look(Held(6, 1.0), pids=RUNNING), (Pause(0.1), None), look(pids=RUNNING)], ALLOWED),
    ],
)
def test_release_waits_two_seconds_for_the_end_and_leaves_the_rest_to_settle(
    exchange: Exchange, verdict: Verdict
) -> None:
    assert come_to(guard.release(WEB), exchange) == verdict


TWICE = f"{NAME} RUNS TWICE, or is about to: it runs on this node, and {HOLDS}: end one of them"
WITHOUT = f"{NAME} runs on this node without its lock: the clock is wrong"


def three_tries(*exchanges: Exchange) -> Exchange:
    return list(
        itertools.chain(
            *(
                [*([(Pause(0.1), None)] if number else []), look(pids=RUNNING), *exchange]
                for number, exchange in enumerate(exchanges)
            )
        )
    )


@pytest.mark.parametrize(
    ("exchange", "verdict"),
    [
        ([look(run=Held(6, 1.0), pids=RUNNING)], ALLOWED),
        ([look(incoming=Held(5, 1.0), pids=RUNNING), (Settle(WEB), None)], ALLOWED),
        (three_tries(IN[0]), Verdict(True, f"{NAME} runs on this node and is guarded from now on")),
        (
            three_tries(ENTERED_BUT[1][0], IN[0]),
            Verdict(True, f"{NAME} runs on this node and is guarded from now on"),
        ),
        (
            [*three_tries(*[ENTERED_BUT[1][0]] * 3), (Settle(WEB), None)],
            Verdict(True, TWICE, alarm=True),
        ),
        (
            [*three_tries(ENTERED_BUT[1][0], *[ENTERED_BUT[0][0]] * 2), (Settle(WEB), None)],
            Verdict(True, WITHOUT, alarm=True),
        ),
    ],
)
def test_reconnect_tries_three_times_and_hinders_nothing(exchange: Exchange, verdict: Verdict) -> None:
    assert come_to(guard.reconnect(WEB), exchange) == verdict


AWAITED = Step(False, f"{NAME} is awaited on this node")
COMES = f"{NAME} is being migrated to this node, or has been, and "
BOTH_OLD = look(Held(6, 300.0), Held(5, 300.0))


@pytest.mark.parametrize(
    ("exchange", "step"),
    [
        ([look()], SETTLED),
        ([look(run=Held(6, 299.9))], AWAITED),
        ([look(incoming=Held(5, 299.9))], AWAITED),
        ([look(Held(6, 300.0), Held(5, 299.9))], AWAITED),
        ([BOTH_OLD, (LEAVE, None), (GIVE_UP, None)], SETTLED),
        ([look(run=Held(6, 1.0), pids=RUNNING)], SETTLED),
        ([look(Held(6, 1.0), Held(5, 1.0), RUNNING), (LEAVE, None)], SETTLED),
        ([look(None, Held(5, 1.0), RUNNING), (Who(WEB, WEB.run), None), (RUN, HAD), (LEAVE, None)], SETTLED),
        (
            [look(None, Held(5, 1.0), RUNNING), (Who(WEB, WEB.run), ELSEWHERE)],
            Step(False, f"{COMES}{HOLDS}"),
        ),
        (
            [look(None, Held(5, 1.0), RUNNING), (Who(WEB, WEB.run), None), (RUN, NAMELESS)],
            Step(False, f"{COMES}another node holds its lock, which has not said yet who it is"),
        ),
        (
            [look(None, Held(5, 1.0), RUNNING), (Who(WEB, WEB.run), None), (RUN, BROKEN)],
            Step(False, f"{COMES}the clock is wrong"),
        ),
        ([look(pids=RUNNING), (Who(WEB, WEB.run), ELSEWHERE)], Step(False, TWICE)),
        ([look(pids=RUNNING), (Who(WEB, WEB.run), None), *IN[0]], SETTLED),
        ([look(pids=RUNNING), (Who(WEB, WEB.run), None), *ENTERED_BUT[0][0]], Step(False, WITHOUT)),
        ([look(pids=RUNNING), (Who(WEB, WEB.run), None), *ENTERED_BUT[1][0]], Step(False, TWICE)),
    ],
)
def test_settle_goes_one_step_towards_a_state_that_lasts(exchange: Exchange, step: Step) -> None:
    assert come_to(guard.settle(WEB), exchange) == step


@pytest.mark.parametrize(
    ("exchange", "step"),
    [
        ([look()], SETTLED),
        ([look(Held(7, 1.0), Held(8, 1.0), RUNNING)], SETTLED),
        ([look(run=Held(6, 1.0), pids=RUNNING)], Step(False, LIVES)),
        ([look(incoming=Held(6, 1.0), pids=RUNNING)], Step(False, LIVES)),
        ([look(run=Held(6, 1.0)), (GIVE_UP, None)], SETTLED),
        ([look(Held(6, 1.0), Held(5, 1.0)), (LEAVE, None), (GIVE_UP, None)], SETTLED),
    ],
)
def test_settle_ends_with_the_lock_whose_machine_is_said_to_have_ended(exchange: Exchange, step: Step) -> None:
    assert come_to(guard.settle(WEB, ending=6), exchange) == step


@pytest.mark.parametrize(
    ("view", "may_be"),
    [
        (View(), False),
        (View(run=Held(6, 299.9)), True),
        (View(incoming=Held(5, 299.9)), True),
        (View(Held(6, 300.0), Held(5, 300.0)), False),
    ],
)
def test_a_lock_without_a_process_may_be_of_a_start_for_five_minutes(view: View, may_be: bool) -> None:
    assert guard.may_be_starting(view) is may_be
