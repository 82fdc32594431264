# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several locks at once: all or none, in one order, whatever stands in the way."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.client import locking
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import modes
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks.modes import Mode

OPTIONS: dict[str, Any] = {
    "name": None,
    "names": None,
    "domain": "o2cb",
    "state": "held",
    "level": "exclusive",
    "wait": 0.0,
    "recall": False,
    "already_held": "unchanged",
    "on_busy": "skip",
    "owner": "me",
}


class Keeper:
    """A node's locks by name, and what others hold; grants as the table of modes says, all of a request or none."""

    def __init__(self, held: dict[str, str] | None = None, others: dict[str, str] | None = None) -> None:
        self.held, self.others = dict(held or {}), dict(others or {})
        self.log: list[str] = []
        self.blind = False
        """A look at what is held comes before another run's lock."""

    def ask(self, request: dict[str, Any], _seconds: float = 0.0) -> tuple[dict[str, Any], list[int]]:
        if request["op"] == "held":
            shown = {} if self.blind else self.held
            return {"locks": [{"name": n, "mode": shown[n]} for n in request["names"] if n in shown]}, []
        if request["op"] == "who":
            return {"held": True, "holder": {"node": 1, "since": 0, "owner": "first", "token": 7}}, []
        wanted = request["names"]
        if request["op"] == "release":
            self.log.append(f"release {' '.join(wanted)}")
            gone = [name for name in wanted if self.held.pop(name, None) is not None]
            return {"released": bool(gone), "changed": bool(gone), "locks": [{"name": name} for name in gone]}, []
        mode = request["mode"]
        self.log.append(f"{mode} {' '.join(wanted)}")
        if len(wanted) > 1 and not request["fresh"] and any(self.held.get(name, mode) != mode for name in wanted):
            raise O2cbError("convert it by a request of its own")
        for name in wanted:
            if request["fresh"] and name in self.held:
                return {"held": False, "reason": "busy", "name": name, "holder": None}, []
            if not modes.compatible(Mode(mode), Mode(self.others.get(name, "NL"))):
                reason = "conversion" if name in self.held else "busy"
                return {"held": False, "reason": reason, "name": name, "holder": None, "mode": self.held.get(name)}, []
        changed = {name: self.held.get(name) != mode for name in wanted}
        self.held.update(dict.fromkeys(wanted, mode))
        locks = [{"name": name, "changed": changed[name], "token": len(self.log)} for name in wanted]
        return {"held": True, "changed": any(changed.values()), "locks": locks}, []


def run(keeper: Keeper, check: bool = False, **options: Any) -> dict[str, Any]:
    return locking.run({**OPTIONS, **options}, keeper, check)  # type: ignore[arg-type]


def test_names_are_taken_in_their_order_once_each():
    keeper = Keeper()
    found = run(keeper, names=["b", "a", "c", "a"])
    assert keeper.log == ["EX a b c"]
    assert (found["changed"], found["acquired"], list(found["tokens"])) == (True, True, ["a", "b", "c"])


def test_more_names_than_one_request_may_have_go_in_several():
    keeper = Keeper()
    wanted = [f"lock{number:03}" for number in range(2 * locking.MOST_NAMES + 1)]
    found = run(keeper, names=wanted)
    assert [len(line.split()) - 1 for line in keeper.log] == [locking.MOST_NAMES, locking.MOST_NAMES, 1]
    assert list(found["tokens"]) == wanted
    run(keeper, names=wanted, state="released")
    assert keeper.held == {}


def test_names_of_one_request_fit_into_a_message():
    long = [f"{number:03}" + "\u00e4" * 120 for number in range(200)]
    portions = list(locking.portions(long))
    assert [name for some in portions for name in some] == long
    assert all(sum(len(json.dumps(name)) for name in some) <= locking.MESSAGE_BYTES for some in portions)


def test_what_is_held_stays_held_and_nothing_changes():
    keeper = Keeper({"a": "EX"})
    found = run(keeper, name="a")
    assert (found["changed"], found["actions"], found["acquired"]) == (False, [], True)


def test_what_another_run_on_this_node_took_meanwhile_is_not_ours():
    """Both have looked at the list before either took it."""
    keeper = Keeper()
    keeper.blind = True
    assert run(keeper, names=["a", "b"])["actions"] == ["take EX lock a", "take EX lock b"]
    keeper.others = {"c": "EX"}
    second = run(keeper, names=["a", "b"])
    assert (second["acquired"], second["changed"], second["actions"]) == (True, False, [])
    assert run(keeper, names=["a", "b", "c"])["acquired"] is False
    assert keeper.held == {"a": "EX", "b": "EX"}, "the first run's locks are not released by the refused one"


@pytest.mark.parametrize("check", [True, False])
def test_what_is_held_already_is_busy_where_that_is_wanted(check):
    keeper = Keeper({"b": "PR"})
    found = run(keeper, check, names=["a", "b"], already_held="busy")
    assert (found["acquired"], found["reason"], found["changed"]) == (False, "busy", False)
    assert keeper.held == {"b": "PR"}
    with pytest.raises(O2cbError, match="lock 'b' could not be had"):
        run(keeper, check, name="b", already_held="busy", on_busy="fail")
    free = run(keeper, check, name="c", already_held="busy")
    assert free["actions"] == ["take EX lock c"]


def test_check_mode_asks_for_nothing_and_predicts():
    keeper = Keeper({"a": "PR", "b": "EX"})
    found = run(keeper, check=True, names=["a", "b", "c"])
    assert keeper.log == []
    assert found["actions"] == ["convert lock a from PR to EX", "take EX lock c"]


def test_those_that_only_fall_come_last():
    keeper = Keeper({"a": "EX"})
    run(keeper, names=["a", "b"], level="CR")
    assert keeper.log == ["CR b", "CR a"]


@pytest.mark.parametrize(
    ("had", "level", "stranger"),
    list(itertools.product(["NL", "CR", "PR", "PW", "EX"], ["CR", "PR", "PW", "EX"], "abc")),
)
def test_when_one_is_busy_this_node_holds_what_it_held_before(had, level, stranger):
    """Each of three locks, held in every mode before, with another node in the way of one."""
    before = {} if had == "NL" else dict.fromkeys(["a", "b", "c"], had)
    others = {stranger: next(mode.value for mode in Mode if modes.compatible(mode, Mode(had)))}
    for mode in Mode:
        if modes.compatible(mode, Mode(had)) and not modes.compatible(mode, Mode(level)):
            others = {stranger: mode.value}
    keeper = Keeper(before, others)
    found = run(keeper, names=["c", "b", "a"], level=level)
    if found["acquired"]:
        assert keeper.held == dict.fromkeys(["a", "b", "c"], level)
    else:
        assert keeper.held == before
        assert (found["changed"], found["tokens"]) == (False, {})


def test_a_refusal_fails_with_the_reason_or_is_skipped_as_asked():
    keeper = Keeper({"a": "PR"}, {"a": "PR", "b": "EX"})
    with pytest.raises(O2cbError, match="lock 'b' could not be had") as caught:
        run(keeper, name="b", on_busy="fail")
    assert caught.value.facts["reason"] == "busy"
    found = run(keeper, name="a")
    assert (found["reason"], "release it and take it anew" in found["msg"]) == ("conversion", True)


def test_only_what_is_held_is_released():
    keeper = Keeper({"a": "EX"})
    assert run(keeper, names=["a", "b"], state="released")["actions"] == ["release lock a"]
    assert run(keeper, names=["a", "b"], state="released")["changed"] is False


@pytest.mark.parametrize(
    ("options", "word"), [({"wait": -1.0}, "0 or more"), ({"name": ""}, "0 bytes"), ({"level": "CW"}, "PW")]
)
def test_bad_input_is_refused_before_anything_is_asked(options, word):
    keeper = Keeper()
    with pytest.raises(O2cbError, match=word):
        run(keeper, **{"name": "a", **options})
    assert keeper.log == []
