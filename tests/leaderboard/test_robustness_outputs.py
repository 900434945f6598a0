"""Robustness in leaderboards: tables, figures and Δ under corruption, from made-up records."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.leaderboard.board import Board, boards
from mtlbench.leaderboard.board_files import write_board
from mtlbench.leaderboard.conditions import at_severity, conditions, severities
from mtlbench.leaderboard.frames import csv_text
from mtlbench.leaderboard.robustness_plots import FIGURES, severity_values
from mtlbench.leaderboard.robustness_tables import COLUMNS, cells_frame, grids, has_cells
from mtlbench.leaderboard.table import Table
from mtlbench.statistics.robustness_summary import SUMMARY
from tests.leaderboard.fabricate import TASKS, record
from tests.leaderboard.fabricate_robustness import METHODS, robust_record

Draw = Callable[[Table, Path], list[Path]]


def board(**changes: Any) -> Board:
    (made,) = boards([robust_record(method, seed, **changes) for method in METHODS for seed in range(3)])
    return made


def table(**changes: Any) -> Table:
    return board(**changes).tables[0]


def test_conditions_are_all_alike() -> None:
    common = conditions(table())
    assert [condition.title for condition in common] == [
        "clean", "fog", "frost*", "motion_blur", "test-fog", "test-night",
        *(f"PGD {radius}/255 on {on}" for radius in ("0.25", "2") for on in ("semantic", "depth", "normals", "all")),
    ]  # fmt: skip
    rows = {row.name: row for row in table().rows}
    for condition in common[1:]:
        for task in (None, "depth"):
            assert condition.interval(rows["pcgrad"], task).mean > condition.interval(rows["hard_sharing"], task).mean
            assert condition.interval(rows["pcgrad"], task).half > 0


def test_severity_0_is_clean_and_skill_falls() -> None:
    assert severities(table()) == [1, 3, 5]
    for row in table().rows:
        skills = [at_severity(row, severity).mean for severity in (0, 1, 3, 5)]
        assert skills == sorted(skills, reverse=True)
        assert skills[0] == pytest.approx(row.cells["mean_skill"].mean)


def test_rows_of_other_cells_are_not_compared() -> None:
    (mixed,) = boards([robust_record("single_task", 0), robust_record("pcgrad", 0, {"fog": True}), record("hard_sharing")])
    assert severities(mixed.tables[0]) == []
    assert [condition.kind for condition in conditions(mixed.tables[0])] == ["clean"]
    assert grids(mixed.tables[0]) == []


def test_grids_have_one_line_per_method_and_marks() -> None:
    made = table()
    all_grids = grids(made)
    assert [len(grid.titles) for grid in all_grids] == [4, 3, 4, 4]
    assert [len(grid.lines) for grid in all_grids] == [3, 3, 3 * 5, 3 * 5]
    assert all(len(cells) == len(grid.titles) for grid in all_grids for _, _, cells in grid.lines)
    assert all(cell.half > 0 for grid in all_grids for _, _, cells in grid.lines for cell in cells)
    best = next(row for row in made.rows if row.name == "pcgrad")
    for grid in all_grids[:2]:
        assert grid.titles[0] == "clean"
        assert all(cell.mark == "best" for key, _, cells in grid.lines for cell in cells[1:] if key == best.key)
    assert all_grids[3].titles == ["semantic", "depth", "normals", "mean"]
    assert [names for _, names, _ in all_grids[3].lines[:5]] == [["none"], ["semantic"], ["depth"], ["normals"], ["all"]]


def test_the_table_has_a_summary_and_delta_under_corruption() -> None:
    made = table()
    rows = {row.name: row for row in made.rows}
    titles = {column.key: column.title for column in made.columns if column.section == "robustness"}
    assert list(titles)[:6] == [
        *(f"robustness/{name}" for name in SUMMARY),
        "delta/corrupted",
    ]
    assert titles["robustness/pgd_0.25"] == "skill, PGD 0.25/255"
    assert rows["single_task"].cells["delta/corrupted"].mean == 0
    better, worse = (rows[name].cells["delta/corrupted"] for name in ("pcgrad", "hard_sharing"))
    assert better.mean > 0 > worse.mean and better.mark == "best"
    assert better.half > 0 and better.own > 0


def test_the_readme_shows_all_of_it(tmp_path: Path) -> None:
    files = {path.name for path in write_board(board(), tmp_path, {}, [])[0]}
    assert "robustness.csv" in files and any(name.startswith("conditions-") for name in files)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all(
        part in text for part in ("#### Corruptions", "#### Shifted test sets", "#### PGD, ε = 2/255", "Δ task, corrupted")
    )
    (clean,) = boards([record("single_task"), record("pcgrad")])
    assert "robustness.csv" not in {path.name for path in write_board(clean, tmp_path / "clean", {}, [])[0]}
    assert "Robustness" not in (tmp_path / "clean" / "README.md").read_text(encoding="utf-8")


def test_the_csv_has_every_cell() -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(cells_frame(board())))))
    assert tuple(lines[0]) == COLUMNS
    metrics = sum(len(task.metrics) for task in TASKS)
    cells = 3 * 3 + 2 + 2 * 4
    assert len(lines) == 9 * cells * (1 + metrics + len(TASKS))
    robustness = robust_record("pcgrad", 0).result.robustness
    assert robustness is not None
    place = ("pcgrad", "0", "fog", "3", "depth", "abs_err")
    (line,) = (
        line for line in lines
        if tuple(line[name] for name in ("row", "seed", "condition", "severity", "task", "metric")) == place
    )  # fmt: skip
    assert float(line["value"]) == robustness.cells["fog"]["3"].metrics["depth"]["abs_err"]


def test_the_figure_of_severities_has_every_seed() -> None:
    made = table()
    values = severity_values(made.rows, [0, 1, 3, 5], "depth")
    assert len(values) == 3 * 3 * 4
    for row in made.rows:
        own = values[(values["row"] == row.key) & (values["severity"] == "3")]
        assert own["skill"].mean() == pytest.approx(at_severity(row, 3, "depth").mean)
        clean = values[(values["row"] == row.key) & (values["severity"] == "clean")]
        assert clean["skill"].mean() == pytest.approx(row.cells["skill/depth"].mean)


@pytest.mark.parametrize(("name", "draw"), [(name, draw) for name, _, draw in FIGURES])
def test_figures_are_drawn_and_equal_for_equal_records(name: str, draw: Draw, tmp_path: Path) -> None:
    first, second = (draw(table(), tmp_path / folder / name) for folder in ("a", "b"))
    assert [path.name for path in first] == [f"{name}.png", f"{name}.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(("name", "draw"), [(name, draw) for name, _, draw in FIGURES])
def test_nothing_is_drawn_where_there_is_nothing(name: str, draw: Draw, tmp_path: Path) -> None:
    (clean,) = boards([record("single_task"), record("pcgrad")])
    assert draw(clean.tables[0], tmp_path / name) == [] and not has_cells(clean)
    assert not list(tmp_path.iterdir())
