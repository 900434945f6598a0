"""What changes in the ranks between two folders of records."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.cli.main import main
from mtlbench.leaderboard.rank_changes import RowChange, as_text, rank_changes
from tests.leaderboard.fabricate import record, save, sweep

BEFORE = sweep(["single_task", "hard_sharing", "mtan"])
BETTER = [record("pcgrad", seed=seed, quality=0.1) for seed in range(3)]


def changes(before: list, after: list) -> dict[str, RowChange]:
    (table,) = rank_changes(before, after)
    return {row.name: row for row in table.rows}


def test_a_new_first_row_moves_the_others_down() -> None:
    rows = changes(BEFORE, [*BEFORE, *BETTER])
    assert {name: row.kind for name, row in rows.items()} == {
        "pcgrad": "new", "mtan": "rank", "hard_sharing": "rank", "single_task": "same"
    }  # fmt: skip
    before, after = rows["mtan"].before, rows["mtan"].after
    assert before is not None and after is not None and (before.rank[0], after.rank[0]) == ("1", "2")
    text = as_text(rank_changes(BEFORE, [*BEFORE, *BETTER]))
    assert "new row" in text and "1 → 2" in text and "1 row unchanged" in text


def test_the_other_way_round_the_row_is_gone() -> None:
    assert changes([*BEFORE, *BETTER], BEFORE)["pcgrad"].kind == "gone"
    assert "row is gone" in as_text(rank_changes([*BEFORE, *BETTER], BEFORE))


def test_more_seeds_change_numbers() -> None:
    row = changes(BEFORE, [*BEFORE, record("hard_sharing", seed=3)])["hard_sharing"]
    assert row.kind == "numbers" and row.before is not None and row.after is not None
    assert (row.before.seeds, row.after.seeds) == (3, 4)


def test_without_a_reference_on_one_side_the_numbers_are_named() -> None:
    rows = changes(BEFORE[3:], BEFORE)
    row = rows["hard_sharing"]
    assert row.before is not None and row.after is not None
    assert "skill" in row.before.quality and "Δ" in row.after.quality


def test_an_edited_plugin_is_another_row() -> None:
    edited = [record("mtan", seed=seed, sources={"mtan": "1" * 16}) for seed in range(3)]
    kinds = [row.kind for row in rank_changes(BEFORE, [*BEFORE[:6], *edited])[0].rows if row.name.startswith("mtan")]
    assert sorted(kinds) == ["gone", "new"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = save(BEFORE, tmp_path / "a"), save([*BEFORE, *BETTER], tmp_path / "b")
    assert main(["diff", str(a), str(b)]) == 0
    assert "new row" in capsys.readouterr().out
    assert main(["diff", str(a), str(a)]) == 0
    assert "3 rows, none of them changes" in capsys.readouterr().out
    assert main(["diff", str(a), str(tmp_path / "none")]) == 2
    assert main(["diff", str(a), str(b), "-d", "streats"]) == 2
