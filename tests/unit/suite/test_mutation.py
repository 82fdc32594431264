# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module is changed to, which tests are its own, and what the step says of a survivor."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from suite import mutants as step
from suite import mutation
from suite.__main__ import split

MODULE = '''
"""A docstring is left alone."""
from __future__ import annotations
LIMIT: int = 5
def beyond(value: int, other=None) -> bool:
    """Also this."""
    if value > LIMIT and other is None:
        return True
    raise ValueError(f"{value} is too small")
'''


def changes(source: str) -> list[str]:
    return [mutant.text.partition(": ")[2] for mutant in mutation.mutants(ast.parse(source))]


def test_a_module_is_changed_in_every_small_way_and_only_in_its_code():
    assert [(mutant.line, mutant.text) for mutant in mutation.mutants(ast.parse(MODULE))] == [
        (4, "module: LIMIT: int = 5 -> LIMIT: int = 6"),
        (4, "module: LIMIT: int = 5 -> LIMIT: int = 4"),
        (4, "module: LIMIT: int = 5 -> LIMIT: int = 3500"),
        (7, "beyond: if value > LIMIT and other is None: -> if not (value > LIMIT and other is None):"),
        (7, "beyond: if value > LIMIT and other is None: -> if value > LIMIT or other is None:"),
        (7, "beyond: if value > LIMIT and other is None: -> if other is None:"),
        (7, "beyond: if value > LIMIT and other is None: -> if value > LIMIT:"),
        (7, "beyond: if value > LIMIT and other is None: -> if value >= LIMIT and other is None:"),
        (7, "beyond: if value > LIMIT and other is None: -> if value <= LIMIT and other is None:"),
        (7, "beyond: if value > LIMIT and other is None: -> if value > LIMIT and other is not None:"),
        (8, "beyond: return True -> return None"),
        (8, "beyond: return True -> return False"),
        (9, "beyond: raise ValueError(f'{value} is too small') -> pass"),
        (9, "beyond: raise ValueError(f'{value} is too small') -> raise ValueError('')"),
    ]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a = b[1:n]", ["a = b[1:n] -> a = b[:n]", "a = b[1:n] -> a = b[1:]"]),
        ("a = not b", ["a = not b -> a = b"]),
        ("a = b if c else d", ["a = b if c else d -> a = b", "a = b if c else d -> a = d"]),
        ("a = [b for b in c if b]", ["a = [b for b in c if b] -> a = [b for b in c]"]),
        ("a = min(b, c)", ["a = min(b, c) -> a = max(b, c)"]),
        ("a = sorted(b, key=c)", ["a = sorted(b, key=c) -> a = list(b)"]),
        ("a = b << c", ["a = b << c -> a = b >> c"]),
        ("a = b'x'", ["a = b'x' -> a = b''"]),
        ("a = ''", ["a = '' -> a = 'mutant'"]),
        ("a()", ["a() -> pass"]),
        ("a.b = c", ["a.b = c -> pass"]),
        ("a += b", ["a += b -> pass"]),
        ("for a in b: break", ["for a in b: -> for a in []:", "break -> pass"]),
        ("while a: pass", ["while a: -> while False:"]),
        ("if a < b: c", ["if a < b: -> if a <= b:", "if a < b: -> if a >= b:", "c -> pass"]),
        ("if a < 0: pass", ["if a < 0: -> if a <= 0:", "if a < 0: -> if a >= 0:", "if a < 0: -> if a < 1:"]),
        ("__slots__ = ('a',)", []),
        ("a = b", []),
    ],
)
def test_every_kind_of_change(source, found):
    assert changes(source)[: len(found)] == found
    assert bool(changes(source)) == bool(found)


def test_equal_changes_are_numbered_so_that_each_can_be_judged():
    assert changes("if a: a()\nif a: a()")[-2:] == ["if a: -> if not a: (2)", "a() -> pass (2)"]


def test_the_tree_is_whole_again_and_a_planted_mutant_is_what_runs():
    tree = ast.parse(MODULE)
    before = ast.dump(tree)
    found = {mutant.text: mutant for mutant in mutation.mutants(tree)}
    assert ast.dump(tree) == before
    found["module: LIMIT: int = 5 -> LIMIT: int = 6"].plant()
    values: dict[str, object] = {}
    exec(mutation.compiled(tree, "module"), values)
    assert values["LIMIT"] == 6


def test_every_mutant_of_a_real_module_can_be_planted():
    source = inspect.getsource(mutation)
    count = len(mutation.mutants(ast.parse(source)))
    assert count > 200
    for number in range(0, count, 40):
        tree = ast.parse(source)
        mutation.mutants(tree)[number].plant()
        mutation.compiled(tree, "module")
        assert ast.dump(tree) != ast.dump(ast.parse(source))


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with tests, one without, and a name that two have."""
    files = {
        "plugins/dlm/names.py": "LIMIT = 5\n",
        "plugins/dlm/client.py": "",
        "plugins/agent/client.py": "",
        "plugins/alone.py": "",
        "tests/anywhere/test_names.py": f"from {step.COLLECTION}.dlm import names\n",
        "tests/dlm/test_the_names.py": f"from {step.COLLECTION}.dlm.names import LIMIT\n",
        "tests/dlm/test_names_of_another.py": f"from {step.COLLECTION}.vm import names\n",
        "tests/dlm/test_keeper.py": f"from {step.COLLECTION}.dlm import client, names\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(step, "ROOT", tmp_path)
    monkeypatch.setattr(step, "LIBRARY", tmp_path / "plugins")
    monkeypatch.setattr(step, "TESTS", tmp_path / "tests")
    return tmp_path


def test_a_module_s_own_tests_are_called_after_it_and_import_it_wherever_they_are(library):
    assert [test.name for test in step.only("names").tests] == ["test_names.py", "test_the_names.py"]
    assert step.only("names").name == f"{step.COLLECTION}.dlm.names"


def test_without_tests_of_its_own_all_that_import_a_module_are_its_tests(library):
    assert [test.name for test in step.only("dlm/client").tests] == ["test_keeper.py"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("client", r"2 modules \(agent/client, dlm/client\): give the end of one path"),
        ("x", r"0 modules \(none\)"),
        ("alone", "no file below tests imports it"),
    ],
)
def test_what_cannot_be_tried_is_said(library, name, words):
    with pytest.raises(step.Problem, match=words):
        step.only(name)


def result(killed: int, survivors: int) -> step.Result:
    tree = ast.parse("\n".join("LIMIT = 5" for _line in range(10)))
    target = step.only("names")
    return step.Result(target, killed + survivors, mutation.mutants(tree)[:survivors])


FIRST = "module: LIMIT = 5 -> LIMIT = 6"


@pytest.mark.parametrize(
    ("killed", "survivors", "judged", "well"),
    [
        (10, 0, {}, True),
        (10, 0, {FIRST: "a reason"}, False),
        (9, 1, {FIRST: "a reason"}, True),
        (9, 1, {}, False),
        (9, 1, {"another": "a reason"}, False),
        (8, 1, {FIRST: "a reason"}, False),
    ],
    ids=["all killed", "killed after all", "judged", "not judged", "judged another", "below 90 %"],
)
@pytest.mark.usefixtures("library")
def test_a_module_passes_whose_every_survivor_is_judged_and_whose_score_is_90_percent(
    monkeypatch, killed, survivors, judged, well
):
    monkeypatch.setattr(step, "JUDGED", {"names": judged})
    assert step.is_well(result(killed, survivors)) is well


@pytest.mark.usefixtures("library")
def test_of_a_part_of_the_mutants_only_a_survivor_that_is_not_judged_fails(monkeypatch):
    monkeypatch.setattr(step, "JUDGED", {"names": {FIRST: "a reason", "another": "a reason"}})
    part = replace(result(1, 1), partial=True)
    assert step.is_well(part)
    assert len(list(step.report(part, with_judged=False))) == 1
    monkeypatch.setattr(step, "JUDGED", {})
    assert not step.is_well(part)


@pytest.mark.usefixtures("library")
def test_the_report_says_where_a_survivor_is_and_what_was_changed(monkeypatch):
    monkeypatch.setattr(step, "JUDGED", {"names": {FIRST: "a reason", "gone": "another"}})
    assert list(step.report(result(8, 2), with_judged=True)) == [
        "dlm/names: 8 of 10 mutants killed, 80 %; 1 survivors judged, 1 not (0 s)",
        f"  plugins/dlm/names.py:1: judged: {FIRST}\n      a reason",
        "  plugins/dlm/names.py:1: survives: module: LIMIT = 5 -> LIMIT = 4",
        "  plugins/dlm/names.py: killed or gone, take it out of the judged ones: gone",
    ]
    assert len(list(step.report(result(8, 2), with_judged=False))) == 3


def test_every_module_that_is_listed_and_every_judged_one_is_there_and_has_tests():
    for name in {*step.MODULES, *step.JUDGED}:
        assert step.only(name).tests


@pytest.mark.parametrize(
    ("arguments", "own", "theirs"),
    [
        (["mutants", "names", "token"], ["mutants"], ["names", "token"]),
        (["--keep-going", "mutants", "--", "names"], ["--keep-going", "mutants"], ["names"]),
        (["unit", "--", "-k", "quorum"], ["unit"], ["-k", "quorum"]),
        (["lint", "types"], ["lint", "types"], []),
    ],
)
def test_what_follows_mutants_are_names_of_modules(arguments, own, theirs):
    assert split(arguments) == (own, theirs)
