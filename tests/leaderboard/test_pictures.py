"""Pictures: what they are computed from (that they are drawn at all is tested with the other outputs)."""

import pytest

from mtlbench.leaderboard import critical, curves, paint, plans
from mtlbench.leaderboard.table import boards
from tests.leaderboard import fabricate


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
    curve = curves.anytime(row, "images")
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
