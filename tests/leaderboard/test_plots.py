"""Figures: the numbers that they are computed from (that they are drawn at all is tested with the other outputs)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mtlbench.leaderboard import (
    critical_difference_plot,
    exchange_picture,
    metric_plot,
    plan_plot,
    plot_style,
    plot_text,
    rank_plot,
    robustness_plots,
    trade_off_plot,
    training_plot,
)
from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.seed_intervals import interval_ends
from mtlbench.leaderboard.table import Table
from mtlbench.records import Record
from mtlbench.records.plan import Exchange
from tests.leaderboard import fabricate
from tests.leaderboard.fabricate_robustness import robust_record

Draw = Callable[[Table, Path], list[Path]]


def table_of(records: list[Record]) -> Table:
    return boards(records)[0].tables[0]


def test_the_pareto_front_is_what_nothing_beats() -> None:
    points = [(1, 0.5), (2, 0.4), (2, 0.9), (3, 0.9), (4, 1.0), (1, 0.2)]
    front = trade_off_plot.pareto_front(points)
    for i, (x, y) in enumerate(points):
        beaten = any((a <= x and b >= y) and (a, b) != (x, y) for a, b in points)
        assert (i in front) == (not beaten)


def test_colours_do_not_change_with_ranks() -> None:
    table = table_of(fabricate.sweep())
    before = {row.title: plot_style.row_styles(table)[row.key] for row in table.rows}
    table.rows.reverse()
    assert before == {row.title: plot_style.row_styles(table)[row.key] for row in table.rows}


def test_the_metric_plot_shows_every_seed_and_the_intervals_of_the_table() -> None:
    table = table_of(fabricate.sweep())
    for column in (column for column in table.columns if column.primary):
        values = metric_plot.seed_values(table.rows, column.key)
        assert len(values) == sum(len(row.records) for row in table.rows)
        for row in table.rows:
            cell = row.cells[column.key]
            own = values[values["row"] == row.key]["value"]
            assert tuple(own) == cell.values
            assert interval_ends(own) == pytest.approx((cell.mean - cell.half, cell.mean + cell.half))
    assert interval_ends([0.5]) == (0.5, 0.5)


def test_training_curves_are_means_over_seeds_of_common_epochs() -> None:
    records = fabricate.sweep(["mtan"])
    records[0].result.curve.pop(4)
    (row,) = table_of(records).rows
    curve = training_plot.anytime(row)["images"]
    assert [cost for cost, _, _ in curve] == [500.0 * epoch for epoch in range(1, 11) if epoch != 5]
    last = [val.mean_skill for record in records if (val := record.result.curve[-1].val) is not None]
    assert curve[-1][1] == pytest.approx(sum(last) / 3)
    assert all(half > 0 for _, _, half in curve)


def test_records_without_a_plan_are_left_out_of_the_picture(tmp_path: Path) -> None:
    records = fabricate.sweep(["mtan", "pcgrad"])
    for record in records:
        if record.method == "mtan":
            record.result.plan = None
    table = table_of(records)
    assert [row.name for row, _, _ in plan_plot.row_plans(table)] == ["pcgrad"]
    for record in records:
        record.result.plan = None
    assert plan_plot.draw(table, tmp_path / "plans") == []


def test_soft_sharing_is_shown_as_arrows_between_columns(tmp_path: Path) -> None:
    """Experts have columns before the tasks', and a negative edge is dotted."""
    records = fabricate.sweep(["mtan"], seeds=1)
    plan = records[0].result.plan
    assert plan is not None
    plain = Path(plan_plot.draw(table_of(records), tmp_path / "plain")[1]).read_text()
    edges = [("expert 1", plan.tasks[0], 0.7), (plan.tasks[1], plan.tasks[0], -0.2), (plan.tasks[0], plan.tasks[0], 0.5)]
    plan.exchange = [
        Exchange(depth=1, source=source, target=target, weight=weight, since=0) for source, target, weight in edges
    ]
    assert exchange_picture.columns(plan) == ["expert 1", *plan.tasks]
    with_edges = Path(plan_plot.draw(table_of(records), tmp_path / "edges")[1]).read_text()
    assert "expert 1" in with_edges and "expert 1" not in plain
    assert "stroke-dasharray" in with_edges and "stroke-dasharray" not in plain  # the negative one
    assert exchange_picture.without_own_features(plan) == set()  # the task has features of its own beside the expert's
    plan.exchange = plan.exchange[:1]
    assert exchange_picture.without_own_features(plan) == {(0, plan.tasks[0]), (1, plan.tasks[0])}


def test_critical_differences_need_five_datasets(tmp_path: Path) -> None:
    ranks = {f"data{i}": {"a": 1.0, "b": 2.0, "c": 3.0} for i in range(4)}
    assert critical_difference_plot.draw(ranks, tmp_path / "x") == []
    ranks["data4"] = {"a": 2.0, "b": 1.0, "c": 3.0, "only here": 4.0}
    assert critical_difference_plot.mean_ranks(ranks) == {"a": 1.2, "b": 1.8, "c": 3.0}
    assert len(critical_difference_plot.draw(ranks, tmp_path / "x")) == 2
    assert critical_difference_plot.inseparable_ranges({"a": 1.0, "b": 1.5, "c": 3.0}, 1.0) == [(1.0, 1.5)]


def test_a_dataset_without_ranks_does_not_hide_the_diagram() -> None:
    ranks = {f"data{i}": {"a": 1.0, "b": 2.0} for i in range(5)}
    alone: dict[str, dict[str, float]] = {**ranks, "one method": {"a": 1.0}, "one seed each": {}}
    mean_ranks = critical_difference_plot.mean_ranks
    assert mean_ranks(alone) == mean_ranks(ranks) == {"a": 1.0, "b": 2.0}
    del alone["data4"]
    assert mean_ranks(alone) == {}, "four datasets with ranks, and two without"


def test_text_from_records_is_literal() -> None:
    assert plot_text.literal(r"$\foo$") == r"\$\foo\$"
    assert plot_text.literal("a\nb\x07") == "a b "
    assert not plot_text.literal("__hidden__").startswith("_")
    assert plot_text.shortened("$" * 40) == r"\$" * 33 + "…"


def svg(draw: Draw, table: Table, folder: Path) -> str:
    files = draw(table, folder / "x")
    return next(path for path in files if path.suffix == ".svg").read_text()


FORMULA = r"$\foo$"
"""Half a formula, or one that does not parse, stops matplotlib."""


def test_names_that_look_like_formulas_are_drawn(tmp_path: Path) -> None:
    table = table_of([renamed(record) for record in fabricate.sweep(["single_task", "mtan", "pcgrad"])])
    for draw in (trade_off_plot.draw, metric_plot.draw, rank_plot.draw, training_plot.draw, plan_plot.draw):
        assert r"\foo" in svg(draw, table, tmp_path), draw
    ranks = {f"data{i}": {FORMULA: 1.0, "b": 2.0} for i in range(5)}
    assert critical_difference_plot.draw(ranks, tmp_path / "critical")


def renamed(record: Record) -> Record:
    """A copy in which every name ends in a formula."""
    record = record.model_copy(deep=True)
    for task in record.tasks:
        task.name, task.primary = task.name + FORMULA, task.primary + FORMULA
        for metric in task.metrics:
            metric.name, metric.unit = metric.name + FORMULA, FORMULA
    points = [point.val for point in record.result.curve if point.val is not None]
    for evaluation in {id(each): each for each in (record.result.val, record.result.test, *points)}.values():
        evaluation.metrics = {
            task + FORMULA: {name + FORMULA: value for name, value in metrics.items()}
            for task, metrics in evaluation.metrics.items()
        }
        evaluation.skill = {task + FORMULA: value for task, value in evaluation.skill.items()}
        evaluation.constant = {task + FORMULA: value for task, value in evaluation.constant.items()}
    assert record.result.plan is not None
    record.result.plan.tasks = [task.name for task in record.tasks]
    record.result.plan.depths = [FORMULA] * 4
    record.dataset = FORMULA
    record.label = "" if record.reference else record.method + FORMULA
    return record


def test_figures_say_how_many_rows_they_leave_out(tmp_path: Path) -> None:
    many = [fabricate.record("mtan", seed=seed, label=f"row {i:02}") for i in range(15) for seed in range(2)]
    table = table_of([*fabricate.sweep(["single_task"], seeds=2), *many])
    assert "4 more rows in the table" in svg(metric_plot.draw, table, tmp_path)
    assert "8 more rows in the table" in svg(plan_plot.draw, table, tmp_path)
    drawn = svg(training_plot.draw, table, tmp_path)
    grey = re.findall(r'<path d="([^"]*)"[^>]*stroke: #999999', drawn)
    assert "4 more<" in drawn and sorted(path.count("M") for path in grey) == [1, 4, 4], "a legend and two panels"
    # The reference is one of the twelve rows and has no rank.
    assert "4 more rows in the table" in svg(rank_plot.draw, table, tmp_path)
    few = table_of(fabricate.sweep())
    for draw in (metric_plot.draw, rank_plot.draw, training_plot.draw, plan_plot.draw):
        assert " more" not in svg(draw, few, tmp_path), draw


def test_robustness_says_how_many_rows_it_leaves_out(tmp_path: Path) -> None:
    records = []
    for i in range(14):
        record = robust_record("pcgrad", 0)
        record.id, record.label = f"{record.id}{i}", f"row {i}"
        records.append(record)
    table = table_of(records)
    for _, _, draw in robustness_plots.FIGURES:
        assert "2 more rows in the table" in svg(draw, table, tmp_path), draw
