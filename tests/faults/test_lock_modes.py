# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modes, conversions and names of locks on real nodes, against the model."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode, compatible
from faults.referee.remote import Remote, remotes
from faults.referee.schedule import MODES, Step, schedule
from lab.node import Node

SCHEDULES = int(os.environ.get("O2_SCHEDULES", "1000"))
LENGTH = 8
UNKNOWN = 20
"""So often is asked again where the answer is not known in time, as on a machine that is busy with other things."""

PATIENCE = 5.0
"""Seconds in which what must be granted is granted. A process lock ends a moment after its process."""


def do(remote: Remote, name: str, step: Step) -> str:
    """Do it on the node; what was wrong with its end, or an empty string."""
    if step.mode is Mode.NL:
        if step.kind == "process":
            remote.ask(**{"op": "drop", "as": name})
            return ""
        return "" if remote.ask(op="release", name=name).get("released") else "was not released"
    request = {"op": "take", "name": name, "mode": step.mode.value, "kind": step.kind, "as": name}
    for _attempt in range(UNKNOWN):
        answer = remote.ask(**request, wait=PATIENCE if step.granted else 0)
        if answer.get("reason") not in ("unknown", "recovering"):
            break
    if answer.get("held") is step.granted and (step.granted or answer["reason"] in ("busy", "conversion")):
        return ""
    return f"ended with {answer}"


@pytest.mark.parametrize("places", [(0, 1), (0, 0)], ids=["two nodes", "one node"])
def test_all_pairs_of_modes_are_as_in_the_vms_table(players: list[Node], places: tuple[int, int]) -> None:
    with remotes(players) as found:
        one, other = (found[place] for place in places)
        wrong = []
        for number, (first, second) in enumerate(itertools.product(MODES, MODES)):
            name = f"pair{number}"
            take = {"op": "take", "name": name, "kind": "process"}
            assert one.ask(**{**take, "as": "one", "mode": first.value, "wait": PATIENCE})["held"]
            wait = PATIENCE if compatible(first, second) else 0
            answer = other.ask(**{**take, "as": "other", "mode": second.value, "wait": wait})
            if answer["held"] is not compatible(first, second):
                wrong.append(f"{first.value} and {second.value}: {answer}")
            one.ask(**{"op": "drop", "as": "one"})
            other.ask(**{"op": "drop", "as": "other"})
        assert wrong == []


def test_random_schedules_end_as_the_model_says(players: list[Node]) -> None:
    prefix = f"schedule{time.time():.0f}-"
    with remotes(players) as found:
        for seed in range(SCHEDULES):
            history = []
            for step in schedule(seed, len(players), LENGTH):
                history.append(str(step))
                wrong = do(found[step.node], f"{prefix}{seed % 10}", step)
                assert wrong == "", f"seed {seed}: {wrong}, after {history}"


def test_of_two_that_want_to_rise_both_are_told_and_keep_what_they_have(players: list[Node]) -> None:
    with remotes(players) as found:
        one, other, _third = found
        for remote in (one, other):
            assert remote.ask(op="take", name="rise", mode="PR", wait=PATIENCE)["held"]
        for remote in (one, other):
            answer = remote.ask(op="take", name="rise", mode="EX", wait=1)
            assert (answer["held"], answer["reason"], answer["mode"]) == (False, "conversion", "PR")
        assert other.ask(op="release", name="rise")["released"]
        assert one.ask(op="take", name="rise", mode="EX", wait=PATIENCE)["mode"] == "EX"
        assert one.ask(op="release", name="rise")["released"]


GOOD_NAMES = [
    "a",
    "b" * 26,
    "c" * 27,
    "d" * 31,
    "123e4567-e89b-12d3-a456-426614174000",
    "e" * 255,
    "grün",
    "$x",
    "a/b",
    "..",
]
GOOD_NAMES += ["new\nline", "x.info", "x.w", "~", "a b"]
BAD_NAMES = {"": "0 bytes", "f" * 256: "256 bytes", "nul\0": "NUL"}


def test_every_name_is_stored_and_found_again_or_refused_in_words(players: list[Node]) -> None:
    with remotes(players) as found:
        one, other, _third = found
        for name in GOOD_NAMES:
            assert one.ask(op="take", name=name, owner="me", wait=PATIENCE)["held"], name
        assert sorted(lock["name"] for lock in one.ask(op="list")["locks"]) == sorted(GOOD_NAMES)
        for name in GOOD_NAMES:
            refused = other.ask(op="take", name=name, wait=0)
            assert (refused["held"], refused["reason"]) == (False, "busy"), name
            assert refused["holder"]["owner"] == "me", name
            assert one.ask(op="release", name=name)["released"], name
        for name, why in BAD_NAMES.items():
            assert why in one.ask(op="take", name=name, wait=0)["error"]
        assert one.ask(op="take", name="x", domain="d" * 63, wait=30)["held"]
        assert one.ask(op="release", name="x", domain="d" * 63)["released"]
        assert "64 bytes" in one.ask(op="take", name="x", domain="d" * 64, wait=5)["error"]
