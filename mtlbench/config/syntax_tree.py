"""Python source as bytes that stand for its meaning: equal for sources that differ in comments, docstrings and layout only.

`ast.dump` gives other texts in other Python versions, so the tree is written here: fields that a version added are left
out while they are empty, and pieces of f-strings are joined where one version splits them and another does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from functools import lru_cache

DESCRIPTIVE = frozenset({"family", "publication", "compared_with", "passes"})
"""Class attributes of plugins that only readers need (see `mtlbench.contract.Configurable`): no result depends on them."""


@lru_cache(maxsize=512)  # a worker checks the same sources at the start of every trial
def canonical_source(source: bytes) -> bytes:
    """The syntax tree of a source file as bytes, the same in every Python version that can parse it.

    What has no effect is left out: comments, layout, docstrings and other statements that are a bare constant, `pass`, and
    the class attributes that describe a plugin (`DESCRIPTIVE`).
    A source that cannot be parsed stands for itself.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return source
    return canonical_tree(tree)


def canonical_tree(tree: ast.AST) -> bytes:
    """The same of a parsed tree."""
    written: list[bytes] = []
    # A stack, because a sum of a thousand terms is a tree a thousand deep. Bytes on it are written as they are.
    waiting: list[object] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, bytes):
            written.append(item)
        elif isinstance(item, ast.Constant):
            written.append(_constant(item.value))
        elif isinstance(item, ast.AST):
            written.append(b"(" + type(item).__name__.encode())
            parts: list[object] = []
            for name in item._fields:
                value = _effective(item, name)
                if _is_default(value) and not isinstance(item, ast.MatchSingleton):
                    continue
                parts += [b" " + name.encode() + b"=", value]
            waiting += [b")", *reversed(parts)]
        elif isinstance(item, list):
            written.append(b"[")
            waiting += [b"]", *reversed(item)]
        else:
            written.append(_constant(item))
    return b"".join(written)


def _effective(node: ast.AST, name: str) -> object:
    """A field's value without what has no effect."""
    value: object = getattr(node, name, None)
    if isinstance(node, ast.JoinedStr) and name == "values":
        return _joined(node.values)
    if isinstance(node, ast.FormattedValue) and name == "format_spec":
        spec = node.format_spec
        return spec if isinstance(spec, ast.JoinedStr) and _joined(spec.values) else None
    if isinstance(value, list):
        return [item for item in value if not _has_no_effect(item)]
    return value


def _is_default(value: object) -> bool:
    """Whether a field is as it would be in a version that does not know it."""
    return value is None or value == 0 or value == []


def _has_no_effect(item: object) -> bool:
    return (
        isinstance(item, ast.Pass)
        or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
        or (isinstance(item, ast.AnnAssign) and _describes(item))
    )


def _describes(statement: ast.AnnAssign) -> bool:
    """Whether a statement is `NAME: ClassVar[...] = ...` with a descriptive name."""
    target, kind = statement.target, statement.annotation
    return (
        isinstance(target, ast.Name)
        and target.id in DESCRIPTIVE
        and isinstance(kind, ast.Subscript)
        and isinstance(kind.value, ast.Name)
        and kind.value.id == "ClassVar"
    )


def _joined(values: Sequence[ast.expr]) -> list[ast.expr]:
    """The pieces of an f-string, with neighbouring texts joined and empty ones left out."""
    result: list[ast.expr] = []
    text = ""
    for value in values:
        if isinstance(value, ast.Constant):
            text += str(value.value)
            continue
        result += _texts([text])
        result.append(value)
        text = ""
    return [*result, *_texts([text])]


def _texts(texts: Iterable[str]) -> list[ast.expr]:
    return [ast.Constant(text) for text in texts if text]


def _constant(value: object) -> bytes:
    """Type and value of a constant or a name, with its length where it may hold any character."""
    if isinstance(value, str):
        content = value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        content = value
    elif isinstance(value, bool) or value is None or value is Ellipsis:
        content = repr(value).encode()
    elif isinstance(value, int):
        content = hex(value).encode()  # decimal digits of large numbers are refused by some versions
    elif isinstance(value, float):
        content = value.hex().encode()
    elif isinstance(value, complex):
        content = f"{value.real.hex()},{value.imag.hex()}".encode()
    else:
        raise TypeError(f"A syntax tree holds a {type(value).__name__}, which is no constant.")
    return f"<{type(value).__name__} {len(content)}:".encode() + content + b">"
