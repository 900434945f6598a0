"""The tutorial notebook works as it stands: its cells are executed in order, as a notebook does, without a kernel."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "tutorial.ipynb"


def cells() -> list[dict[str, Any]]:
    read: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (read["nbformat"], read["nbformat_minor"]) == (4, 5)
    return list(read["cells"])


def execute(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; returns the value of its last expression, which a notebook shows."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), str(NOTEBOOK), "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)  # type: ignore[attr-defined]


def test_every_cell_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("MTLBENCH_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, cell in enumerate(cells()):
        if cell["cell_type"] == "code":
            try:
                execute("".join(cell["source"]), names)
            except Exception as error:
                raise AssertionError(f"cell {number}: {type(error).__name__}: {error}") from error
    assert len(names["frame"]) == 6, "two methods and the reference, two seeds each"
    assert set(names["board"]["row"]) == {"cross_stitch", "hard_sharing", "single_task"}
    assert tuple(names["predicted"]["depth"].shape) == names["photograph"].shape[:2]
    assert (tmp_path / "leaderboards" / "index.html").is_file()


def test_the_notebook_holds_no_outputs_and_unique_ids() -> None:
    """Outputs would be those of one machine, and a change of one word would change thousands of characters."""
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells() if cell["cell_type"] == "code")
    ids = [cell["id"] for cell in cells()]
    assert len(ids) == len(set(ids))
