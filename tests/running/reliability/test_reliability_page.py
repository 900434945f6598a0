"""docs/reliability.md names tests that exist, and every test of a fault is named there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs" / "reliability.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def named() -> set[tuple[str, str]]:
    """(file, test) of every test that the page names."""
    return set(NAMED.findall(PAGE.read_text(encoding="utf-8")))


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def rows() -> list[str]:
    """The table's rows, without its head."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return lines[2:]


@pytest.mark.parametrize("file", sorted({file for file, _ in named()}))
def test_every_test_that_is_named_exists(file: str) -> None:
    path = REPOSITORY / file
    assert path.is_file()
    assert {test for named_file, test in named() if named_file == file} <= functions_of(path)


def test_every_row_has_all_cells_and_names_a_test() -> None:
    assert len(rows()) >= 12
    for row in rows():
        assert row.count("|") == 5, row
        assert NAMED.search(row), row


def test_every_test_of_a_whole_sweep_is_named() -> None:
    file = "tests/running/reliability/test_sweep_faults.py"
    assert {test for named_file, test in named() if named_file == file} == functions_of(REPOSITORY / file)
