# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on managed nodes is valid Python 3.8, the oldest that ansible-core 2.19 can talk to, and runs there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
FILES = sorted(path for part in ("modules", "module_utils") for path in (PLUGINS / part).rglob("*.py"))

BUILTINS = {"dict", "frozenset", "list", "set", "tuple", "type"}
ALL = "all"
SINCE_3_9: dict[str, str | set[str]] = {
    "asyncio": {"Future", "LifoQueue", "PriorityQueue", "Queue", "Task"},
    "collections": {"ChainMap", "Counter", "OrderedDict", "UserDict", "UserList", "defaultdict", "deque"},
    "collections.abc": ALL,
    "contextlib": {"AbstractAsyncContextManager", "AbstractContextManager"},
    "contextvars": {"ContextVar", "Token"},
    "functools": {"cached_property", "partial", "partialmethod"},
    "os": {"DirEntry", "PathLike"},
    "queue": {"LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"},
    "re": {"Match", "Pattern"},
    "subprocess": {"CompletedProcess", "Popen"},
    "tempfile": {"SpooledTemporaryFile", "TemporaryDirectory"},
    "types": {"MappingProxyType"},
    "weakref": {"WeakKeyDictionary", "WeakSet", "WeakValueDictionary", "ref"},
}
"""Classes that Python 3.8 has, and that can be subscripted since 3.9, by their modules (PEP 585)."""


class Finder(ast.NodeVisitor):
    """Finds subscripts of these classes where they are evaluated: annotations are not, by the import of the future."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._names = {name: name for name in BUILTINS}
        self._modules: dict[str, str] = {}

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._modules[alias.asname or alias.name] = alias.name

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if _is_too_new(node.module or "", alias.name):
                self._names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            if f"{node.module}.{alias.name}" in SINCE_3_9:
                self._modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def visit_Subscript(self, node: ast.Subscript) -> None:
        value = node.value
        if isinstance(value, ast.Name) and value.id in self._names:
            self.found.append(f"line {node.lineno}: {self._names[value.id]}[...]")
        if isinstance(value, ast.Attribute):
            module = self._modules.get(ast.unparse(value.value), "")
            if _is_too_new(module, value.attr):
                self.found.append(f"line {node.lineno}: {module}.{value.attr}[...]")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for below in node.orelse:
                self.visit(below)
        else:
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """Its annotation is all that is below it."""

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for below in (*node.decorator_list, node.args, *node.body):
            self.visit(below)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)


def _is_too_new(module: str, name: str) -> bool:
    classes = SINCE_3_9.get(module, set())
    return classes == ALL or name in classes


def subscripts(text: str) -> Iterator[str]:
    """What of this program fails in Python 3.8 with "'type' object is not subscriptable" or the like."""
    finder = Finder()
    finder.visit(ast.parse(text))
    yield from finder.found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_file_for_managed_nodes_is_valid_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 8))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_file_for_managed_nodes_subscripts_no_class_that_python_3_8_cannot(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "from __future__ import annotations" in text or not text, "else annotations are evaluated, too"
    assert list(subscripts(text)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from collections.abc import Callable\nVerb = Callable[[int], int]", "collections.abc.Callable"),
        ("from collections.abc import Callable as C\nclass Verb(C[[int], int]): pass", "collections.abc.Callable"),
        ("from collections import abc\nVerb = abc.Callable[[int], int]", "collections.abc.Callable"),
        ("import collections.abc\nVerb = collections.abc.Callable[[int], int]", "collections.abc.Callable"),
        ("import asyncio\ndef f():\n    return asyncio.Future[int]()", "asyncio.Future"),
        ("import asyncio as io\nasync def f(x=io.Queue[int]): pass", "asyncio.Queue"),
        ("from asyncio import Task\nclass Work(Task[None]): pass", "asyncio.Task"),
        ("Run = dict[str, int]", "dict"),
        ("from typing import Callable\nRun = Callable[[int], tuple[int, str]]", "tuple"),
        ("x: object = list[int]()", "list"),
        ("@f(set[int])\ndef g(): pass", "set"),
    ],
)
def test_a_subscript_that_python_3_8_cannot_is_found(text: str, found: str) -> None:
    assert [line.partition(": ")[2] for line in subscripts(text)] == [f"{found}[...]"]


@pytest.mark.parametrize(
    "text",
    [
        "from collections.abc import Callable\ndef f(x: Callable[[int], int], *y: list[int]) -> dict[str, int]: pass",
        "import asyncio\nclass A:\n    task: asyncio.Task[None] = None\n    async def f(self) -> list[int]: pass",
        "from typing import Callable\nVerb = Callable[['dict[str, int]'], int]",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    Run = dict[str, int]",
        "import os\nos.environ['HOME'], table['x'], re.compile('x')[0]",
    ],
)
def test_one_that_it_can_or_never_sees_is_not(text: str) -> None:
    assert list(subscripts(text)) == []
