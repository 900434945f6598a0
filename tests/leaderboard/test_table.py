"""Tables: which rows stand together, which are ranked, and the notes on them."""

from __future__ import annotations

import math

import pytest

from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.table import Row, Table
from mtlbench.records import Record, Robustness
from tests.leaderboard import fabricate


def only(records: list[Record]) -> Table:
    (board,) = boards(records)
    (table,) = board.tables
    return table


def by_name(table: Table) -> dict[str, Row]:
    return {row.title: row for row in table.rows}


def test_one_table_per_protocol_and_the_fields_that_differ() -> None:
    other = fabricate.protocol("streets", budget={"rule": "equal_total", "epochs": 5})
    (board,) = boards(fabricate.sweep() + fabricate.sweep(["pcgrad"], card=other))
    assert [len(table.rows) for table in board.tables] == [len(fabricate.METHODS), 1]
    assert list(board.differs) == ["budget.epochs"]
    assert set(board.differs["budget.epochs"].values()) == {5, 10}


def test_every_dataset_has_its_own_board_in_the_order_of_names() -> None:
    assert [board.dataset for board in boards(fabricate.sweep(datasets=("b", "a")))] == ["a", "b"]


def test_the_order_of_records_does_not_matter() -> None:
    records = fabricate.sweep()
    assert boards(records) == boards(records[::-1])


def test_sorted_by_the_task_averaged_delta_with_the_reference_at_zero() -> None:
    table = only(fabricate.sweep())
    means = [row.cells["delta/task"].mean for row in table.rows]
    assert means == sorted(means, reverse=True)
    reference = table.reference
    assert reference is not None and reference.cells["delta/task"].mean == 0 and not reference.ranked
    assert reference.cells["delta/task"].half == pytest.approx(table.band["task"])


def test_ranks_under_each_definition_and_their_spread() -> None:
    table = only(fabricate.sweep())
    for row in table.rows:
        if not row.reference:
            ranks = [row.cells[f"rank/{name}"].mean for name in ("task", "metric", "primary")]
            assert row.cells["rank/spread"].mean == max(ranks) - min(ranks)
    assert [row.cells["rank/task"].mean for row in table.rows if row.ranked] == [1, 2, 3, 4, 5]


def test_without_a_reference_there_is_no_delta_and_skill_sorts() -> None:
    table = only(fabricate.sweep(["hard_sharing", "mtan"]))
    assert table.sort == "mean_skill"
    assert all("delta/task" not in row.cells for row in table.rows)
    assert [row.name for row in table.rows] == ["mtan", "hard_sharing"]
    assert any("Δ is not defined" in note for note in table.notes)


def test_one_seed_is_shown_and_not_ranked() -> None:
    table = only([*fabricate.sweep(), fabricate.record("new", quality=0.2)])
    row = by_name(table)["new"]
    assert table.rows[0] is row and not row.ranked
    assert not any(cell.mark for cell in row.cells.values())
    assert any("One seed" in note and "new" in note for note in table.notes)


def test_other_hypers_labels_and_sources_are_other_rows() -> None:
    records = [
        *fabricate.sweep(["mtan"]),
        *fabricate.sweep(["mtan"], changed={"width": 0.5}),
        *fabricate.sweep(["mtan"], label="mtan, tuned"),
        *fabricate.sweep(["mtan"], sources={"methods/mtan.py": "edited"}),
    ]
    titles = [row.title for row in only(records).rows]
    assert len(titles) == len(set(titles)) == 4
    assert sum("sources" in title for title in titles) == 2


def test_of_two_records_with_one_seed_the_newer_counts_and_the_note_says_so() -> None:
    old, new = (fabricate.record(seed=0, quality=q, created=f"2025-01-0{day}T00:00:00Z") for q, day in ((0.0, 1), (0.1, 2)))
    new.id = "new"
    table = only([new, old])
    assert table.rows[0].records == [new]
    assert any("older records" in note for note in table.notes)


def test_a_failed_metric_makes_the_row_undefined_and_last() -> None:
    records = fabricate.sweep()
    for record in records:
        if record.method == "mtan":
            record.result.test.metrics["depth"]["rel_err"] = math.nan
    table = only(records)
    assert table.rows[-1].name == "mtan" and not table.rows[-1].ranked


def test_a_reference_of_zero_is_noted() -> None:
    records = fabricate.sweep()
    for record in records:
        if record.reference:
            record.result.test.metrics["depth"]["rel_err"] = 0.0
    assert any("rel_err of depth is left out" in note for note in only(records).notes)


def test_an_epoch_per_task_is_said() -> None:
    assert any("an epoch per task" in note and "single_task" in note for note in only(fabricate.sweep()).notes)


def test_the_best_and_the_tied_are_marked_among_ranked_methods_only() -> None:
    table = only(fabricate.sweep())
    for column in table.columns:
        marks = [row.cells[column.key].mark for row in table.rows if column.key in row.cells]
        assert marks.count("best") == (1 if column.section in ("task metrics",) or column.key.startswith("delta") else 0)
    assert table.reference is not None and not any(cell.mark for cell in table.reference.cells.values())


def test_optional_columns_appear_where_records_fill_them() -> None:
    robustness = Robustness(suite="off", cells={}, summary={"mean_skill": 0.4}, worst="fog")
    table = only(fabricate.sweep(robustness=robustness))
    keys = {column.key for column in table.columns}
    assert {"robustness/mean_skill", "extra/sparsity", "latency_ms/1"} <= keys
    assert "robustness/worst" not in keys


def test_agreement_of_plans_is_shown_where_plans_can_differ() -> None:
    (board,) = boards(fabricate.sweep(["single_task", "hard_sharing", "adashare"], seeds=3))
    shown = {row.name: row.cells.get("structure_agreement") for row in board.tables[0].rows}
    assert shown["single_task"] is None
    assert shown["hard_sharing"] is not None and shown["hard_sharing"].mean == pytest.approx(1)
    assert shown["adashare"] is not None and shown["adashare"].mean == pytest.approx(1)
