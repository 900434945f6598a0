"""Leaderboards of searches: who stands in which table, what is drawn, and what is refused."""

from __future__ import annotations

import csv
import io
import itertools
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.leaderboard.board import Board, boards
from mtlbench.leaderboard.draw import draw_all
from mtlbench.leaderboard.record_checks import problems
from mtlbench.leaderboard.tuning import tuned_tables
from mtlbench.leaderboard.tuning_files import trials_csv
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record
from mtlbench.tuning.search import search
from mtlbench.tuning.study import Study
from tests.leaderboard.fabricate import save
from tests.tuning.studies import Laboratory, experiment, studies


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boards")


def luck(trial: TrialSpec) -> float:
    """The best of many configurations is better than the best of few, and no method is better than another."""
    number = 0 if trial.tuning is None else trial.tuning.number
    return 0.005 * number


def searched(
    folder: Path, methods: list[Any], quality: Callable[[TrialSpec], float] = luck, **tune: Any
) -> tuple[list[Study], list[Record]]:
    """Records of a search, with two seeds of every winner."""
    made = studies(folder, experiment(methods, **tune))
    laboratory = Laboratory(quality)

    def searcher(study: Study) -> Any:
        return Drawing(study)

    search(made, [0, 1], laboratory.run, laboratory.record_of, searcher)
    return made, list(laboratory.records.values())


class Drawing:
    """An adaptive search that adapts to nothing."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def ask(self, number: int) -> dict[str, Any]:
        return {"lr": 0.001 * number, "weight_decay": 1e-5}

    def tell(self, number: int, skill: float | None) -> None:
        pass


def board(records: list[Record]) -> Board:
    (made,) = boards(records)
    return made


def test_default_and_tuned_rows_stand_in_separate_tables(folder: Path) -> None:
    records = searched(folder, ["single_task", "hard_sharing", "cross_stitch"])[1]
    made = board(records)
    assert len(made.tables) == 2 and len(made.trials) == 12
    tuned = [table for table in made.tables if table.rows[0].tuning is not None]
    assert len(tuned) == 1 and all(row.tuning is not None for row in tuned[0].rows)
    assert tuned[0].reference is not None and tuned[0].reference.name == "single_task"
    assert {record.tuning.role for row in tuned[0].rows for record in row.records if record.tuning} == {"winner"}
    assert "tuning.trials" in made.differs and "optimizer.lr" in made.differs


def test_more_trials_do_not_buy_a_rank(folder: Path) -> None:
    few = searched(folder, ["single_task", "hard_sharing"])[1]
    many = searched(folder, ["cross_stitch"], trials=32)[1]
    made = board([*few, *many])
    tuned = [table for table in made.tables if table.rows[0].tuning is not None]
    skills = {row.name: row.cells["mean_skill"].mean for table in tuned for row in table.rows}
    # It is better, by its budget alone, ...
    assert skills["cross_stitch"] > skills["hard_sharing"]
    # ... and stands in no ranking with the others.
    assert [{row.name for row in table.rows} for table in tuned] in (
        [{"single_task", "hard_sharing"}, {"cross_stitch"}],
        [{"cross_stitch"}, {"single_task", "hard_sharing"}],
    )
    # With the same budget for all it is not above.
    equal = board(searched(folder, ["single_task", "hard_sharing", "cross_stitch"], trials=32)[1])
    (table,) = (table for table in equal.tables if table.rows[0].tuning is not None)
    rows = {row.name: row for row in table.rows if row.ranked}
    assert rows["cross_stitch"].tied or rows["hard_sharing"].tied


def test_a_winner_of_more_trials_than_its_card_says_is_refused(folder: Path) -> None:
    records = searched(folder, ["hard_sharing"])[1]
    winner = next(record for record in records if record.tuning is not None and record.tuning.role == "winner")
    assert winner.tuning is not None and [line for line in problems(winner) if "tuning" in line] == []
    forged: dict[str, dict[str, Any]] = {
        "chosen from 9 trials": {"chosen_from": [str(number) for number in range(9)]},
        "chosen from 0 trials": {"chosen_from": []},
        "beyond its budget": {"number": 7},
    }
    for message, change in forged.items():
        changed = winner.model_copy(update={"tuning": winner.tuning.model_copy(update=change)})
        assert any(message in line for line in problems(changed))
    assert any("the search's" in line for line in problems(winner.model_copy(update={"seed": 1000})))
    assert any("not in both" in line for line in problems(winner.model_copy(update={"tuning": None})))


@pytest.mark.parametrize(
    ("tune", "mark"),
    [({"search": "optuna"}, "adaptive search (optuna)"), ({"scheduler": "asha"}, "early stopping (asha)"), ({}, "")],
)
def test_adaptive_and_early_stopped_rows_are_marked(folder: Path, tune: dict[str, Any], mark: str) -> None:
    made = board(searched(folder, ["hard_sharing"], **tune)[1])
    (row,) = (row for table in made.tables for row in table.rows if row.tuning is not None)
    assert row.settings.startswith("lr=") and row.settings.endswith(mark)
    assert ("adaptive" in row.settings, "stopping" in row.settings) == ("adaptive" in mark, "stopping" in mark)


def test_a_winner_that_a_later_trial_beat_is_left_out(folder: Path) -> None:
    (study,), records = searched(folder, ["hard_sharing"])
    known = {record.tuning.number: record for record in records if record.tuning and record.tuning.role == "trial"}
    (best,) = {record.tuning.number for record in records if record.tuning and record.tuning.role == "winner"}
    before = Laboratory(luck)
    before.run(study.winners((best + 1) % 4, [0, 1], [known[number].id for number in known if number != best]))
    made = board([*records, *before.records.values()])
    (table,) = (table for table in made.tables if table.rows[0].tuning is not None)
    assert [row.tuning.number for row in table.rows if row.tuning] == [best]
    assert any("lost to a later trial" in note for note in table.notes)


def test_the_files_say_all_that_was_tried(folder: Path, tmp_path: Path) -> None:
    records = searched(folder, ["single_task", "hard_sharing", "tuned_scalarisation"], trials=6)[1]
    drawn = draw_all(save(records, tmp_path / "results"), tmp_path / "out")
    names = {path.name for path in drawn.files}
    out = tmp_path / "out" / "streets"
    assert drawn.refused == []
    expected = {"tuning.md", "tuning_trials.csv", "best_of_k.csv", "tuning_gap.csv", "tuning_importance.csv"}
    assert expected < names
    assert {re.sub(r"-\w{12}\.png", "", name) for name in names if name.endswith(".png")} >= {"best_of_k", "tuning_gap"}
    page = (out / "tuning.md").read_text()
    assert "What tuning gained" in page and "| tuned_scalarisation |" in page
    assert "[tuning.md](tuning.md)" in (out / "README.md").read_text()
    assert "best_of_k-" in (out / "index.html").read_text() and "best_of_k-" in (out / "README.md").read_text()

    # Recomputed by counting sets of trials, from the files alone.
    trials = list(csv.DictReader(io.StringIO((out / "tuning_trials.csv").read_text())))
    assert len(trials) == 18 and "searched/weights.depth" in trials[0]
    curve = list(csv.DictReader(io.StringIO((out / "best_of_k.csv").read_text())))
    assert len(curve) == 18
    for point in curve:
        own = [trial for trial in trials if trial["study"] == point["study"]]
        sets = itertools.combinations(own, int(point["k"]))
        chosen = [max(some, key=lambda trial: float(trial["val"])) for some in sets]
        for split in ("val", "test"):
            scores = [float(trial[split]) for trial in chosen]
            assert float(point[split]) == pytest.approx(statistics.mean(scores))
            assert float(point[f"{split}_spread"]) == pytest.approx(statistics.pstdev(scores), abs=1e-12)

    gap = {line["row"]: line for line in csv.DictReader(io.StringIO((out / "tuning_gap.csv").read_text()))}
    for name, line in gap.items():
        of_row = [record for record in records if record.row == name and record.seed < 2]
        tuned = {record.seed: record.result.test.mean_skill for record in of_row if record.tuning is not None}
        default = {record.seed: record.result.test.mean_skill for record in of_row if record.tuning is None}
        assert float(line["gain"]) == pytest.approx(statistics.mean(tuned[seed] - default[seed] for seed in (0, 1)))


def test_val_stands_in_the_csv_and_folded_in_the_page(folder: Path, tmp_path: Path) -> None:
    records = searched(folder, ["hard_sharing"])[1]
    draw_all(save(records, tmp_path / "results"), tmp_path / "out")
    out = tmp_path / "out" / "streets"
    header = (out / "leaderboard.csv").read_text().splitlines()[0].split(",")
    assert {"val/mean_skill", "val/semantic/mIoU", "val/depth/abs_err", "val/normals/mean"} <= set(header)
    assert not any(name.startswith("val/") and name.endswith("/mark") and values for name, values in _marks(out, header))
    readme = (out / "README.md").read_text()
    assert "<details><summary>On val</summary>" in readme
    assert "skill on val" not in readme.split("<details>")[0]


def _marks(out: Path, header: list[str]) -> list[tuple[str, set[str]]]:
    lines = list(csv.DictReader(io.StringIO((out / "leaderboard.csv").read_text())))
    return [(name, {line[name] for line in lines} - {""}) for name in header]


def test_trials_without_winners_are_no_board(folder: Path, tmp_path: Path) -> None:
    records = [one for one in searched(folder, ["hard_sharing"])[1] if one.tuning and one.tuning.role == "trial"]
    assert boards(records) == []
    drawn = draw_all(save(records, tmp_path / "results"), tmp_path / "out")
    assert [path.name for path in drawn.files if path.name == "README.md"] == []


def test_a_smaller_budget_of_the_same_draws_has_its_own_curve(folder: Path) -> None:
    records = [*searched(folder, ["hard_sharing"])[1], *searched(folder, ["hard_sharing"], trials=8)[1]]
    tables = tuned_tables(board(records))
    assert sorted((one.budget, len(one.methods[0].trials)) for one in tables) == [(4, 4), (8, 8)]
    assert len(trials_csv(board(records)).splitlines()) == 1 + 8
