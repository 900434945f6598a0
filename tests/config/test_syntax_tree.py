"""The bytes that stand for a source do not change with its looks, nor with the version of Python."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlbench.config.syntax_tree import canonical_source, canonical_tree

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path for folder in ("methods", "datasets") for path in (ROOT / folder).rglob("*.py"))

EVERYTHING = '''
"""A source with much of the grammar of Python 3.10."""
from __future__ import annotations
import os.path as p
from . import a as b

@decorated(1, *[2], **{"x": 0x10, **y})
async def f(a, /, b: bytes = rb'\\x00', *c, d=None, **e) -> "str":
    """Documented."""
    async with g() as h, i:
        yield {j: k async for j, k in l if not j}
    return f"{a!r:>{b}}{{}}{c=}" "text" if not a < b <= c else (d, *e)

class C(B, metaclass=M):
    x: float = 1_000 + 1e3
    "documented, too"
    def g(self): ...

match value:
    case None | False | True: pass
    case {"a": [1, *_], **rest} if -1.5j: del a.b[1:2, ::3]
    case C(x=1) as z: lambda q: (w := q @ q)
try:
    raise E from None
except E: pass
'''


def test_the_digest_of_a_source_is_the_same_in_every_version() -> None:
    digest = hashlib.sha256(canonical_source(EVERYTHING.encode())).hexdigest()[:16]
    assert digest == "a9f63ee8e7e02faa", "a plugin must have one identity in every version of Python"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_plugin_written_anew_without_comments_is_the_same(path: Path) -> None:
    source = path.read_bytes()
    assert canonical_source(ast.unparse(ast.parse(source)).encode()) == canonical_source(source)


SOURCE = '''
"""What it is."""

x = [1, 2]
"""What x is."""


def f(a: int, b: str = "_helper") -> int:
    """What it does."""
    if a:
        return len(b) + 2 * a

    return 1
'''


def lines_end(source: str) -> list[int]:
    """Numbers of the lines after which a statement or an empty line ends."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.start[0] for token in tokens if token.type in (tokenize.NEWLINE, tokenize.NL)]


@given(
    edits=st.lists(
        st.tuples(st.sampled_from(lines_end(SOURCE)), st.sampled_from(["", "  ", "# {}", "            # {}"])), max_size=8
    ),
    text=st.text(st.characters(exclude_categories=["C", "Z"]), max_size=10),
)
@settings(max_examples=100, deadline=None)
def test_comments_and_blank_lines_change_nothing(edits: list[tuple[int, str]], text: str) -> None:
    lines = SOURCE.split("\n")
    for line, insertion in sorted(edits, reverse=True):
        lines.insert(line, insertion.format(text))
    edited = "\n".join(lines)
    assert canonical_source(edited.encode()) == canonical_source(SOURCE.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""What it is."""', "# it is"),
        ('"""What x is."""', ""),
        ('"""What it does."""', '"""Else,\n\n    and at length."""\n    pass'),
        ("[1, 2]", "[\n    1,\n    0x2,  # two\n]"),
        ('"_helper"', "'''_''' \"helper\""),
        ("len(b) + 2 * a", "(len(b) + (2 * a))"),
    ],
)
def test_layout_and_docstrings_change_nothing(old: str, new: str) -> None:
    assert old in SOURCE
    assert canonical_source(SOURCE.replace(old, new).encode()) == canonical_source(SOURCE.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[1, 2]", "[1, 3]"),
        ("[1, 2]", "(1, 2)"),
        ("[1, 2]", "[1, 2.0]"),
        ("[1, 2]", "[1, 2, None]"),
        ("a: int", "a: float"),
        ('"_helper"', '"_other"'),
        ('"_helper"', 'b"_helper"'),
        ("len(b) + 2 * a", "len(b) + 2 + a"),
        ("2 * a", "-2 * a"),
        ("return 1", "return True"),
        ("return 1", "return"),
        ("if a:", "while a:"),
        ("f(a", "g(a"),
    ],
)
def test_another_meaning_gives_other_bytes(old: str, new: str) -> None:
    assert old in SOURCE
    assert canonical_source(SOURCE.replace(old, new).encode()) != canonical_source(SOURCE.encode())


def test_values_that_look_like_absent_ones_are_told_apart() -> None:
    sources = [f"match x:\n    case {value}: y" for value in ("None", "False", "True", "0", "''", "_")]
    assert len({canonical_source(source.encode()) for source in sources}) == len(sources)


def test_pieces_of_an_f_string_may_be_split_in_any_way() -> None:
    """Versions differ in where they cut the text of an f-string."""
    value = ast.FormattedValue(ast.Name("x", ast.Load()), -1, ast.JoinedStr([]))
    split = ast.JoinedStr([ast.Constant("a"), ast.Constant(""), ast.Constant("b"), value, ast.Constant("")])
    assert canonical_tree(split) == canonical_tree(ast.parse('f"ab{x}"', mode="eval").body)
    assert canonical_tree(split) != canonical_tree(ast.parse('f"ab{x}c"', mode="eval").body)


def test_fields_of_later_versions_do_not_count_while_they_are_empty() -> None:
    tree = ast.parse("def f(): return 1")
    before = canonical_tree(tree)
    function = tree.body[0]
    function._fields = (*function._fields, "type_params")  # type: ignore[misc]
    empties: list[object] = [[], None, 0]
    for empty in empties:
        function.type_params = empty  # type: ignore[attr-defined]
        assert canonical_tree(tree) == before
    function.type_params = [ast.Name("T", ast.Load())]  # type: ignore[attr-defined]
    assert canonical_tree(tree) != before


def test_a_long_sum_and_a_large_number_are_no_problem() -> None:
    assert canonical_source(b"x = " + b" + ".join([b"1"] * 1200)) != canonical_source(b"x = " + b" + ".join([b"1"] * 1201))
    assert canonical_source(b"x = 1" + b"0" * 4000) != canonical_source(b"x = 2" + b"0" * 4000)


def test_a_source_that_cannot_be_parsed_stands_for_itself() -> None:
    for source in (b"def f(:", b"x = 1\0"):
        assert canonical_source(source) == source


CLASS = 'class PCGrad(Strategy):\n    order: ClassVar[str] = "random"\n    {}\n'


@pytest.mark.parametrize(
    "line",
    ['family: ClassVar[str] = "a"', 'publication: ClassVar[P | None] = P("a", 1)', 'passes: ClassVar[str] = "2 forward"'],
)
def test_what_describes_a_plugin_to_readers_changes_nothing(line: str) -> None:
    assert canonical_source(CLASS.format(line).encode()) == canonical_source(CLASS.format("").encode())


@pytest.mark.parametrize(
    "line", ['family: str = "a"', 'family = "a"', 'order: ClassVar[str] = "b"', "self.family: ClassVar = 1"]
)
def test_other_attributes_count(line: str) -> None:
    assert canonical_source(CLASS.format(line).encode()) != canonical_source(CLASS.format("").encode())
