"""Robustness in leaderboards: tables, pictures and Δ under corruption, from made-up records."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from numpy.random import default_rng

from mtlbench.leaderboard.board import draw_board
from mtlbench.leaderboard.conditions import at_severity, conditions, severities
from mtlbench.leaderboard.robustness_pictures import PICTURES
from mtlbench.leaderboard.robustness_tables import CSV_HEADER, cells_csv, grids
from mtlbench.leaderboard.table import Board, Table, boards
from mtlbench.records import Record
from mtlbench.statistics.robustness_summary import SUMMARY, summarise
from tests.leaderboard.fabricate import TASKS, evaluation, metrics_at, record

CORRUPTIONS = {"fog": True, "frost": True, "motion_blur": False}
METHODS = {"single_task": 0.0, "hard_sharing": -0.05, "pcgrad": 0.05}


def made(method: str, seed: int, corruptions: dict[str, bool] = CORRUPTIONS, pgd: bool = True) -> Record:
    """A record with robustness and two shifted test sets: better methods stay better, higher severities are worse."""
    generator = default_rng([seed, len(method)])

    def cell(worse: float) -> dict[str, Any]:
        found = evaluation(metrics_at(METHODS[method] - worse, generator))
        return found.model_dump(include={"metrics", "skill", "mean_skill"})

    robustness: dict[str, Any] = {
        "suite": "quick",
        "version": "1",
        "corrupt_at": "network",
        "corruptions": [
            {"name": name, "label": f"{name}*" if name == "frost" else name, "group": "weather", "keeps_geometry": keeps}
            for name, keeps in corruptions.items()
        ],
        "severities": [1, 3, 5],
        "disqualified": {},
        "images": 20,
        "cells": {
            name: {str(severity): cell(0.08 * severity + 0.05 * place) for severity in (1, 3, 5)}
            for place, name in enumerate(corruptions)
        },
    }
    if pgd:
        names = [*(task.name for task in TASKS), "all"]
        attacks = {radius: {on: cell(0.2 * (1 + float(radius))) for on in names} for radius in ("0.25", "2")}
        robustness["pgd"] = {"unit": "1/255", "step": 1.0, "steps": {"0.25": 1, "2": 3}, "attacks": attacks}
    found = record(method, seed=seed)
    found.result.robustness = robustness | summarise(robustness, found.result.test.mean_skill)
    found.result.shifted = {
        f"test-{name}": evaluation(metrics_at(METHODS[method] - 0.2, generator)) for name in ("fog", "night")
    }
    return found


def board(**changes: Any) -> Board:
    (found,) = boards([made(method, seed, **changes) for method in METHODS for seed in range(3)])
    return found


def table(**changes: Any) -> Table:
    return board(**changes).tables[0]


def test_conditions_are_all_alike() -> None:
    found = conditions(table())
    assert [one.title for one in found] == [
        "clean", "fog", "frost*", "motion_blur", "test-fog", "test-night",
        *(f"PGD {radius}/255 on {on}" for radius in ("0.25", "2") for on in ("semantic", "depth", "normals", "all")),
    ]  # fmt: skip
    rows = {row.name: row for row in table().rows}
    for one in found[1:]:
        for task in (None, "depth"):
            assert one.interval(rows["pcgrad"], task).mean > one.interval(rows["hard_sharing"], task).mean
            assert one.interval(rows["pcgrad"], task).half > 0


def test_severity_0_is_clean_and_skill_falls() -> None:
    assert severities(table()) == [1, 3, 5]
    for row in table().rows:
        skills = [at_severity(row, severity).mean for severity in (0, 1, 3, 5)]
        assert skills == sorted(skills, reverse=True)
        assert skills[0] == pytest.approx(row.cells["mean_skill"].mean)


def test_rows_of_other_cells_are_not_compared() -> None:
    (mixed,) = boards([made("single_task", 0), made("pcgrad", 0, {"fog": True}), record("hard_sharing")])
    assert severities(mixed.tables[0]) == []
    assert [one.kind for one in conditions(mixed.tables[0])] == ["clean"]
    assert grids(mixed.tables[0]) == []


def test_grids_have_a_line_a_method_and_marks() -> None:
    drawn = table()
    found = grids(drawn)
    assert [len(grid.titles) for grid in found] == [4, 3, 4, 4]
    assert [len(grid.lines) for grid in found] == [3, 3, 3 * 5, 3 * 5]
    assert all(len(cells) == len(grid.titles) for grid in found for _, _, cells in grid.lines)
    assert all(cell.half > 0 for grid in found for _, _, cells in grid.lines for cell in cells)
    best = next(row for row in drawn.rows if row.name == "pcgrad")
    for grid in found[:2]:
        assert grid.titles[0] == "clean"
        assert all(cell.mark == "best" for key, _, cells in grid.lines for cell in cells[1:] if key == best.key)
    assert found[3].titles == ["semantic", "depth", "normals", "mean"]
    assert [names for _, names, _ in found[3].lines[:5]] == [["none"], ["semantic"], ["depth"], ["normals"], ["all"]]


def test_the_table_has_a_summary_and_delta_under_corruption() -> None:
    drawn = table()
    rows = {row.name: row for row in drawn.rows}
    titles = {column.key: column.title for column in drawn.columns if column.section == "robustness"}
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
    files = {path.name for path in draw_board(board(), tmp_path, {}, [])}
    assert "robustness.csv" in files and any(name.startswith("conditions-") for name in files)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all(
        part in text for part in ("#### Corruptions", "#### Shifted test sets", "#### PGD, ε = 2/255", "Δ task, corrupted")
    )
    (clean,) = boards([record("single_task"), record("pcgrad")])
    assert "robustness.csv" not in {path.name for path in draw_board(clean, tmp_path / "clean", {}, [])}
    assert "Robustness" not in (tmp_path / "clean" / "README.md").read_text(encoding="utf-8")


def test_the_csv_has_every_cell() -> None:
    lines = list(csv.DictReader(io.StringIO(cells_csv(board()))))
    assert tuple(lines[0]) == CSV_HEADER
    metrics = sum(len(task.metrics) for task in TASKS)
    cells = 3 * 3 + 2 + 2 * 4
    assert len(lines) == 9 * cells * (1 + metrics + len(TASKS))
    one = made("pcgrad", 0)
    expected = one.result.robustness["cells"]["fog"]["3"]["metrics"]["depth"]["abs_err"]  # type: ignore[index]
    wanted = ("pcgrad", "0", "fog", "3", "depth", "abs_err")
    (found,) = (
        line for line in lines
        if tuple(line[name] for name in ("row", "seed", "condition", "severity", "task", "metric")) == wanted
    )  # fmt: skip
    assert float(found["value"]) == expected


@pytest.mark.parametrize(("name", "draw"), [(name, draw) for name, _, draw in PICTURES])
def test_pictures_are_drawn_and_equal_for_equal_records(name: str, draw: Any, tmp_path: Path) -> None:
    first, second = (draw(table(), tmp_path / folder / name) for folder in ("a", "b"))
    assert [path.name for path in first] == [f"{name}.png", f"{name}.svg"]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(("name", "draw"), [(name, draw) for name, _, draw in PICTURES])
def test_nothing_is_drawn_where_there_is_nothing(name: str, draw: Any, tmp_path: Path) -> None:
    (clean,) = boards([record("single_task"), record("pcgrad")])
    assert draw(clean.tables[0], tmp_path / name) == []
    assert not list(tmp_path.iterdir())
