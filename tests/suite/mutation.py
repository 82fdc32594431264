# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small changes of a module, each of which one of its tests should notice. Pure.

A mutant replaces one node of the syntax tree:

    a comparison       by its boundary and by its opposite: `a < b` by `a <= b` and `a >= b`
    and, or            by the other one, and by each operand left out; a `not` is left out
    arithmetic         by the opposite operation; min by max, any by all, sorted by list
    a number           by its neighbours, and by 700 times itself
    True, a text       by False, by an empty text; a message with values in it counts as one text
    a bound of a slice by none; a condition of a comprehension by none; `a if b else c` by a and by c
    a condition        by its opposite; a loop by one without a turn
    a statement        by nothing, where it is a call, a yield, a raise, a break, or changes an object
    a result           by None

Docstrings, annotations, decorators and imports stay as they are: types and style are for mypy and ruff.
"""

from __future__ import annotations

import ast
import types
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

FACTOR = 700
WIDTH = 70
"""Characters of a change; as much of what is around the node is shown as fits."""

_ORDER: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
_DROPPED = (ast.Raise, ast.Break, ast.Continue, ast.Delete, ast.AugAssign, ast.Nonlocal)
_LEFT_ALONE = {"annotation", "returns", "decorator_list", "format_spec"}
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class _Slot:
    """Where a node hangs in the tree."""

    parent: ast.AST
    field: str
    index: int | None

    def get(self) -> ast.AST:
        found = getattr(self.parent, self.field)
        return found if self.index is None else found[self.index]  # type: ignore[no-any-return]

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True)
class Mutant:
    """One change. `text` tells it from every other of its module, and stays when lines move."""

    line: int
    text: str
    _slot: _Slot
    _node: ast.AST

    def plant(self) -> None:
        """Put it into the tree of which it is a mutant."""
        self._slot.put(self._node)


def mutants(tree: ast.Module) -> list[Mutant]:
    """Every mutant of a module, by line. The tree is as before when this returns."""
    found = sorted(_walk(tree, []), key=lambda mutant: mutant.line)
    seen: Counter[str] = Counter()
    for place, mutant in enumerate(found):
        seen[mutant.text] += 1
        if seen[mutant.text] > 1:
            found[place] = replace(mutant, text=f"{mutant.text} ({seen[mutant.text]})")
    return found


def compiled(tree: ast.Module, path: str) -> types.CodeType:
    code: types.CodeType = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
    return code


def _walk(node: ast.AST, above: list[ast.AST]) -> Iterator[Mutant]:
    chain = [*above, node]
    for slot in _slots(node):
        child = slot.get()
        if _is_left_alone(child):
            continue
        for other in _others(child):
            yield _mutant(slot, child, other, chain)
        yield from _walk(child, chain)


def _slots(node: ast.AST) -> Iterator[_Slot]:
    if isinstance(node, ast.JoinedStr):
        # The texts between the values belong to the message as a whole.
        places = [number for number, value in enumerate(node.values) if isinstance(value, ast.FormattedValue)]
        yield from (_Slot(node, "values", number) for number in places)
        return
    for field, value in ast.iter_fields(node):
        if field in _LEFT_ALONE:
            continue
        if isinstance(value, ast.AST):
            yield _Slot(node, field, None)
        elif isinstance(value, list):
            yield from (_Slot(node, field, place) for place, item in enumerate(value) if isinstance(item, ast.AST))


def _is_left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__slots__":
        return True
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.operator, ast.cmpop, ast.boolop, ast.unaryop))


def _others(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in the node's place in each of its mutants."""
    if isinstance(node, ast.stmt):
        yield from _other_statements(node)
    elif isinstance(node, ast.Constant):
        yield from map(ast.Constant, _other_constants(node.value))
    elif isinstance(node, ast.JoinedStr):
        yield ast.Constant("")
    elif isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in _ORDER[type(operator)]:
                yield ast.Compare(node.left, [*node.ops[:place], other(), *node.ops[place + 1 :]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for place in range(len(node.values)):
            rest = [*node.values[:place], *node.values[place + 1 :]]
            yield ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        keywords = [] if node.func.id == "sorted" else node.keywords
        yield ast.Call(ast.Name(_FUNCTIONS[node.func.id], ast.Load()), node.args, keywords)
    elif isinstance(node, ast.Slice):
        if node.lower is not None:
            yield ast.Slice(None, node.upper, node.step)
        if node.upper is not None:
            yield ast.Slice(node.lower, None, node.step)
    elif isinstance(node, ast.comprehension):
        for place in range(len(node.ifs)):
            rest = [*node.ifs[:place], *node.ifs[place + 1 :]]
            yield ast.comprehension(node.target, node.iter, rest, node.is_async)


def _other_constants(value: object) -> Iterator[bool | int | float | str | bytes]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
        yield value - 1
        if value not in (0, 1):
            yield value * FACTOR
    elif isinstance(value, str):
        yield "" if value else "mutant"
    elif isinstance(value, bytes):
        yield b"" if value else b"mutant"


def _other_statements(node: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(node, (ast.Expr, *_DROPPED)) or (
        isinstance(node, ast.Assign)
        and all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets)
    ):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.If) and not _has_opposite(node.test):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.While) and not isinstance(node.test, ast.Constant):
        yield ast.While(ast.Constant(False), node.body, node.orelse)
    elif isinstance(node, ast.For):
        yield ast.For(node.target, ast.List([], ast.Load()), node.body, node.orelse)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _has_opposite(test: ast.expr) -> bool:
    """Whether one of its own mutants is its opposite."""
    return (isinstance(test, ast.Compare) and len(test.ops) == 1) or (
        isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    )


def _mutant(slot: _Slot, old: ast.AST, new: ast.AST, chain: list[ast.AST]) -> Mutant:
    for part in ("lineno", "col_offset", "end_lineno", "end_col_offset"):
        source = next((node for node in (old, *reversed(chain)) if hasattr(node, part)), None)
        setattr(new, part, getattr(source, part, 1))
    shown = _shown(old, chain)
    before = _text(shown or old)
    slot.put(new)
    after = _text(shown or new)
    slot.put(old)
    scope = ".".join(node.name for node in [*chain, old] if isinstance(node, _SCOPES))
    return Mutant(new.lineno, f"{scope or 'module'}: {before} -> {after}", slot, new)  # type: ignore[attr-defined]


def _shown(old: ast.AST, chain: list[ast.AST]) -> ast.AST | None:
    """The largest part of the statement around a node that is short enough to be shown; None for the node itself."""
    found = None
    if isinstance(old, ast.stmt):
        return None
    for node in reversed(chain):
        if isinstance(node, ast.Module) or (found and len(_text(node)) > WIDTH):
            break
        if isinstance(node, ast.JoinedStr):
            break
        if not isinstance(node, (ast.Slice, ast.FormattedValue, ast.arguments, ast.keyword, ast.comprehension)):
            found = node
        if isinstance(node, ast.stmt):
            break
    return found


def _text(node: ast.AST) -> str:
    """In one line; of a compound statement its first."""
    if isinstance(node, ast.Slice):
        node = ast.Subscript(ast.Name("_", ast.Load()), node, ast.Load())
    if isinstance(node, ast.JoinedStr):
        words = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        return f"the message {words[:40]!r}"
    return ast.unparse(ast.fix_missing_locations(node)).strip().split("\n", maxsplit=1)[0] or "nothing"
