"""Pictures: what they are computed from (that they are drawn at all is tested with the other outputs)."""

import re

import pytest

from mtlbench.leaderboard import critical, curves, figures, paint, plans, robustness_pictures
from mtlbench.leaderboard.table import boards
from tests.leaderboard import fabricate
from tests.leaderboard.test_conditions import made


def test_the_pareto_front_is_what_nothing_beats():
    points = [(1, 0.5), (2, 0.4), (2, 0.9), (3, 0.9), (4, 1.0), (1, 0.2)]
    front = paint.pareto(points)
    for i, (x, y) in enumerate(points):
        beaten = any((a <= x and b >= y) and (a, b) != (x, y) for a, b in points)
        assert (i in front) == (not beaten)


def test_colours_do_not_change_with_ranks():
    table = boards(fabricate.sweep())[0].tables[0]
    before = {row.title: paint.look(table)[row.key] for row in table.rows}
    table.rows.reverse()
    assert before == {row.title: paint.look(table)[row.key] for row in table.rows}


def test_training_curves_are_means_over_seeds_of_common_epochs():
    records = fabricate.sweep(["mtan"])
    records[0].result.curve.pop(4)
    (row,) = boards(records)[0].tables[0].rows
    curve = curves.anytime(row)["images"]
    assert [cost for cost, _, _ in curve] == [500.0 * epoch for epoch in range(1, 11) if epoch != 5]
    last = [record.result.curve[-1].val.mean_skill for record in records]
    assert curve[-1][1] == pytest.approx(sum(last) / 3)
    assert all(half > 0 for _, _, half in curve)


def test_records_without_a_plan_are_left_out_of_the_picture(tmp_path):
    records = fabricate.sweep(["mtan", "pcgrad"])
    for record in records:
        if record.method == "mtan":
            record.result.plan = None
    table = boards(records)[0].tables[0]
    assert [row.name for row, _, _ in plans.with_plan(table)] == ["pcgrad"]
    for record in records:
        record.result.plan = None
    assert plans.side_by_side(table, tmp_path / "plans") == []


def test_critical_differences_need_five_datasets(tmp_path):
    ranks = {f"data{i}": {"a": 1.0, "b": 2.0, "c": 3.0} for i in range(4)}
    assert critical.diagram(ranks, tmp_path / "x") == []
    ranks["data4"] = {"a": 2.0, "b": 1.0, "c": 3.0, "only here": 4.0}
    assert critical.mean_ranks(ranks) == {"a": 1.2, "b": 1.8, "c": 3.0}
    assert len(critical.diagram(ranks, tmp_path / "x")) == 2
    assert critical.joined({"a": 1.0, "b": 1.5, "c": 3.0}, 1.0) == [(1.0, 1.5)]


def test_a_dataset_without_ranks_does_not_hide_the_diagram():
    ranks = {f"data{i}": {"a": 1.0, "b": 2.0} for i in range(5)}
    alone = {**ranks, "one method": {"a": 1.0}, "one seed each": {}}
    assert critical.mean_ranks(alone) == critical.mean_ranks(ranks) == {"a": 1.0, "b": 2.0}
    del alone["data4"]
    assert critical.mean_ranks(alone) == {}, "four datasets with ranks, and two without"


def test_text_from_records_is_taken_literally():
    assert paint.literal(r"$\foo$") == r"\$\foo\$"
    assert paint.literal("a\nb\x07") == "a b "
    assert not paint.literal("__hidden__").startswith("_")
    assert paint.clip("$" * 40) == r"\$" * 33 + "…"


def svg(draw, table, folder):
    files = draw(table, folder / "x")
    return next(path for path in files if path.suffix == ".svg").read_text()


def test_names_that_look_like_formulas_are_drawn(tmp_path):
    """Half a formula, or one that does not parse, stops matplotlib."""
    nasty = r"$\foo$"
    records = [record.model_copy(deep=True) for record in fabricate.sweep(["single_task", "mtan", "pcgrad"], label="")]
    for record in records:
        for card in record.tasks:
            card.name += nasty
            for metric in card.metrics:
                metric.name, metric.unit = metric.name + nasty, nasty
            card.primary += nasty
        for found in (record.result.val, record.result.test, *(point.val for point in record.result.curve)):
            if not any(nasty in task for task in found.metrics):
                found.metrics = {t + nasty: {m + nasty: v for m, v in named.items()} for t, named in found.metrics.items()}
                found.skill = {task + nasty: value for task, value in found.skill.items()}
                found.constant = {task + nasty: value for task, value in found.constant.items()}
        record.result.plan["tasks"] = [task.name for task in record.tasks]
        record.result.plan["depths"] = [nasty] * 4
        record.dataset = nasty
        record.label = "" if record.reference else record.method + nasty
    table = boards(records)[0].tables[0]
    for draw in (figures.trade_off, figures.bars, figures.rank_plot, curves.training, plans.side_by_side):
        assert r"\foo" in svg(draw, table, tmp_path), draw
    ranks = {f"data{i}": {nasty: 1.0, "b": 2.0} for i in range(5)}
    assert critical.diagram(ranks, tmp_path / "critical")


def test_pictures_say_how_many_rows_they_leave_out(tmp_path):
    many = [fabricate.record("mtan", seed=seed, label=f"row {i:02}") for i in range(15) for seed in range(2)]
    table = boards([*fabricate.sweep(["single_task"], seeds=2), *many])[0].tables[0]
    assert "4 more rows in the table" in svg(figures.bars, table, tmp_path)
    assert "8 more rows in the table" in svg(plans.side_by_side, table, tmp_path)
    drawn = svg(curves.training, table, tmp_path)
    grey = re.findall(r'<path d="([^"]*)"[^>]*stroke: #999999', drawn)
    assert "4 more<" in drawn and sorted(path.count("M") for path in grey) == [1, 4, 4], "a legend and two panels"
    # The reference takes one of the twelve places and has no rank.
    assert "4 more rows in the table" in svg(figures.rank_plot, table, tmp_path)
    few = boards(fabricate.sweep())[0].tables[0]
    for draw in (figures.bars, figures.rank_plot, curves.training, plans.side_by_side):
        assert " more" not in svg(draw, few, tmp_path), draw


def test_robustness_says_how_many_rows_it_leaves_out(tmp_path):
    records = []
    for i in range(14):
        record = made("pcgrad", 0)
        record.id, record.label = f"{record.id}{i}", f"row {i}"
        records.append(record)
    table = boards(records)[0].tables[0]
    for _, _, draw in robustness_pictures.PICTURES:
        assert "2 more rows in the table" in svg(draw, table, tmp_path), draw
