"""Small faults of a module, one at a time, as syntax trees."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

# Operators and what each is replaced by; a difference is also taken the other way round.
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.RShift: ast.LShift,
}
_COMPARE: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
_PAIRS = (
    "min max|amin amax|argmin argmax|minimum maximum|sum mean|any all|floor ceil|zeros ones"
    "|zeros_like ones_like|new_zeros new_ones|sqrt rsqrt"
)
_OTHER_CALL = {
    one: other
    for pair in _PAIRS.split("|")
    for one, other in (pair.split(), reversed(pair.split()))
}
# Calls that are left out: f(x) and x.f() become x.
_CALLS = (
    "clamp clamp_min clamp_max clip detach clone sqrt rsqrt square abs exp log log1p log2 tanh "
    "sigmoid relu softplus floor ceil rint round sorted sort flip cumsum normalize mT T"
)
_LEFT_OUT = frozenset(_CALLS.split())
_LIBRARIES = {"torch", "math", "np", "F", "functional", "linalg"}
_KEEP_ORDER = {"isinstance", "getattr", "hasattr", "range", "check_pair", "issubclass"}
# Functions that only show a thing.
_SHOWN = {"extra_repr", "__repr__", "__str__"}


@dataclass(frozen=True)
class Mutant:
    """A module with one fault.

    Args:
        key: names the fault, independent of line numbers.
        lines: first and last line of the statement, or of the function whose default it is.
        imported: whether it acts when the module is imported, rather than when a function runs.
    """

    key: str
    lines: tuple[int, int]
    imported: bool
    _tree: ast.Module
    _place: tuple[Any, str, int | None]
    _replacement: ast.AST

    def compile(self, path: str) -> CodeType:
        """Return the code of the module with the fault."""
        parent, name, index = self._place
        holder = parent if index is None else getattr(parent, name)
        at = name if index is None else index
        old = getattr(holder, name) if index is None else holder[index]
        self._put(holder, at, ast.copy_location(self._replacement, old))
        try:
            return compile(ast.fix_missing_locations(self._tree), path, "exec")
        finally:
            self._put(holder, at, old)

    @staticmethod
    def _put(holder: Any, at: str | int, node: ast.AST) -> None:
        if isinstance(at, int):
            holder[at] = node
        else:
            setattr(holder, at, node)


def mutants(source: str) -> list[Mutant]:
    """Return all faults of a module's source, in its order."""
    tree, seen, found = ast.parse(source), Counter[str](), []
    for site in _sites(tree, tree, "", (1, 1), True):
        for what, replacement in _replacements(site.node):
            key = f"{site.scope or 'module'}: {what}"
            seen[key] += 1
            key += f" ({seen[key]})" if seen[key] > 1 else ""
            place = (site.parent, site.name, site.index)
            found.append(Mutant(key, site.lines, site.imported, tree, place, replacement))
    return found


@dataclass(frozen=True)
class _Site:
    node: ast.AST
    parent: ast.AST
    name: str
    index: int | None
    scope: str
    lines: tuple[int, int]
    imported: bool


def _sites(
    node: ast.AST, tree: ast.AST, scope: str, lines: tuple[int, int], imported: bool
) -> Iterator[_Site]:
    """Yield the nodes below a node at which there may be a fault."""
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_skipped(node, name, index, child):
                continue
            inner, at_import, within = scope, imported, lines
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = f"{scope}.{child.name}".lstrip(".")
            if isinstance(child, ast.stmt):
                body = getattr(child, "body", None)
                last = body[0].lineno - 1 if body else child.end_lineno
                within = (child.lineno, max(child.lineno, last or 0))
            if isinstance(child, ast.FunctionDef) and imported:
                within = (child.lineno, child.end_lineno or child.lineno)
            if isinstance(node, ast.FunctionDef) and name == "body":
                at_import = False
            place = index if isinstance(value, list) else None
            yield _Site(child, node, name, place, inner, within, at_import)
            if not isinstance(child, ast.Raise):
                yield from _sites(child, tree, inner, within, at_import)


def _is_skipped(node: ast.AST, name: str, index: int, child: ast.AST) -> bool:
    documents = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
    return (
        name in ("annotation", "returns", "decorator_list", "bases")
        or isinstance(child, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert)
        or (isinstance(child, ast.FunctionDef) and child.name in _SHOWN)
        or (isinstance(child, ast.Call) and ast.unparse(child.func) in ("cast", "Literal"))
        or (isinstance(node, ast.keyword) and node.arg == "strict")
        or documents
    )


def _replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield each fault of a node: what it is, and what stands in place of the node."""
    text = ast.unparse(node).partition("\n")[0][:90]
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        other = _BINARY[type(node.op)]()
        yield (
            f"{_sign(node.op)} → {_sign(other)} in {text}",
            ast.BinOp(node.left, other, node.right),
        )
        if isinstance(node.op, ast.Sub):
            yield f"swapped {text}", ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in _COMPARE[type(op)]:
                ops = [*node.ops[:i], other(), *node.ops[i + 1 :]]
                sign = f"{_sign(op)} → {_sign(other())}"
                yield f"{sign} in {text}", ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"→ {type(other).__name__.lower()} in {text}", ast.BoolOp(other, node.values)
    elif isinstance(node, ast.UnaryOp):
        yield f"no {_sign(node.op)} in {text}", node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node, text)
    elif isinstance(node, ast.Attribute) and node.attr in ("mT", "T"):
        yield f"no {node.attr} in {text}", node.value
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            negated = ast.UnaryOp(ast.Not(), node.test)
            fields = {**dict(ast.iter_fields(node)), "test": negated}
            yield f"not {ast.unparse(node.test)[:60]}", type(node)(**fields)
    elif isinstance(node, ast.stmt):
        yield from _statements(node, text)


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    value = node.value
    if isinstance(value, bool):
        yield f"{value} → {not value}", ast.Constant(not value)
    elif isinstance(value, int):
        yield f"{value} → {value + 1}", ast.Constant(value + 1)
    elif isinstance(value, float):
        yield f"{value} → {2 * value or 1.0}", ast.Constant(2 * value or 1.0)


def _calls(node: ast.Call, text: str) -> Iterator[tuple[str, ast.AST]]:
    function = node.func
    if isinstance(function, ast.Attribute):
        name, owner = function.attr, function.value
        of_library = ast.unparse(owner).split(".")[-1] in _LIBRARIES
        renamed = {name: ast.Attribute(owner, _OTHER_CALL.get(name, ""), ast.Load())}
    elif isinstance(function, ast.Name):
        name, owner, of_library = function.id, None, True
        renamed = {name: ast.Name(_OTHER_CALL.get(name, ""), ast.Load())}
    else:
        return
    only_of_tensors = name in ("sum", "mean", "sqrt", "rsqrt") and of_library
    if name in _OTHER_CALL and not only_of_tensors:
        other = ast.Call(renamed[name], node.args, node.keywords)
        yield f"{name} → {_OTHER_CALL[name]} in {text}", other
    if name in _LEFT_OUT:
        kept = (node.args or [None])[0] if of_library else owner
        if kept is not None:
            yield f"no {name} in {text}", kept
    plain = all(isinstance(one, ast.Name | ast.Attribute) for one in node.args)
    same = len(node.args) == 2 and ast.unparse(node.args[0]) == ast.unparse(node.args[1])
    if len(node.args) == 2 and plain and not same and name not in _KEEP_ORDER:
        yield f"swapped {text}", ast.Call(function, node.args[::-1], node.keywords)


def _statements(node: ast.stmt, text: str) -> Iterator[tuple[str, ast.AST]]:
    targets = getattr(node, "targets", [None])
    if (
        isinstance(node, ast.Raise | ast.AugAssign)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        or (isinstance(node, ast.Assign) and isinstance(targets[0], ast.Attribute | ast.Subscript))
    ):
        yield f"removed {text}", ast.Pass()
    elif isinstance(node, ast.Return) and not (
        node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
    ):
        yield f"no value in {text}", ast.Return(ast.Constant(None))
    elif isinstance(node, ast.With):
        yield f"body alone of {text}", ast.If(ast.Constant(True), node.body, [])


def _sign(operator: ast.AST) -> str:
    """Return an operator's sign, as the syntax writes it."""
    a, b = ast.Name("a"), ast.Name("b")
    if isinstance(operator, ast.unaryop):
        return ast.unparse(ast.UnaryOp(operator, a))[:-1].strip()
    if isinstance(operator, ast.cmpop):
        return ast.unparse(ast.Compare(a, [operator], [b]))[2:-2]
    return ast.unparse(ast.BinOp(a, operator, b))[2:-2]  # pyright: ignore[reportArgumentType]
