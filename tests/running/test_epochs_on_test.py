"""Looking back: every selectable epoch on test, and what selecting on test would have claimed."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from mtlbench.cli.main import main
from mtlbench.errors import UserError
from mtlbench.leaderboard.draw import draw_all, load, record_files
from mtlbench.leaderboard.inflation import lines
from mtlbench.leaderboard.table import boards
from mtlbench.records import Record, epochs_on_test, read, write
from mtlbench.running.epochs_on_test import evaluate_epochs_on_test
from mtlbench.running.trial import run_trial
from mtlbench.training.checkpoints import CheckpointStore
from tests.tiny import trials


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shared networks and the reference, two seeds each, with their epochs kept."""
    folder = tmp_path_factory.mktemp("epochs")
    for spec in trials(folder, ["single_task", "hard_sharing", "adashare"], seeds=2, settings={"epochs": 6}):
        run_trial(spec, folder / "runs", folder / "results", keep=True)
    assert main(["inflation", *folders(folder)]) == 0
    return folder


def folders(folder: Path) -> list[str]:
    return [f"--{name}={folder / name}" for name in ("results", "runs", "out")]


def pairs(folder: Path) -> list[tuple[Record, epochs_on_test.EpochsOnTest]]:
    return [(read(path), epochs_on_test.read(epochs_on_test.path_of(path))) for path in record_files(folder / "results")]


def test_every_selectable_epoch_is_kept_and_seen(folder: Path) -> None:
    for record, seen in pairs(folder):
        selectable = {point.epoch for point in record.result.curve if point.selectable}
        assert set(CheckpointStore(folder / "runs" / record.id).kept_epochs()) == set(seen.test) == selectable


def test_the_selected_epoch_is_on_test_as_the_record_says(folder: Path) -> None:
    for record, seen in pairs(folder):
        for part, epoch in record.result.selected.items():
            for task in part.split("+"):
                assert seen.test[epoch].metrics[task] == pytest.approx(record.result.test.metrics[task], rel=1e-5)


def test_keeping_epochs_does_not_change_the_result(folder: Path, tmp_path: Path) -> None:
    spec = trials(folder, ["hard_sharing"], settings={"epochs": 6})[0]
    assert (
        read(run_trial(spec, tmp_path / "runs", tmp_path / "results")).result
        == read(folder / "results" / "streets" / spec.file_name()).result
    )
    assert not CheckpointStore(tmp_path / "runs" / spec.id).kept_epochs()


def test_no_epoch_is_better_on_test_than_what_is_claimed(folder: Path) -> None:
    (board,) = boards(load(folder / "results")[0])
    found = {seen.record: seen for _, seen in pairs(folder)}
    made = {line.row.name: line for line in lines(board.tables[0], found)}
    assert set(made) == {"single_task", "hard_sharing", "adashare"}
    for line in made.values():
        assert len(line.seeds) == 2
        assert all(value >= -1e-9 for value in (*line.values["skill_inflation"], *line.values["delta_inflation"]))
        for each, whole in zip(line.values["task_skill"], line.values["claimed_skill"], strict=True):
            assert each >= whole - 1e-9
        for record, claimed in zip(line.row.records, line.values["claimed_skill"], strict=True):
            assert claimed >= max(one.mean_skill for one in found[record.id].test.values()) - 1e-9
    # Networks that share nothing choose an epoch a task anyway.
    assert made["single_task"].values["task_skill"] == pytest.approx(made["single_task"].values["claimed_skill"])


def test_regret_is_nothing_where_both_choose_the_same_epoch(folder: Path) -> None:
    """With one epoch to choose from, nothing can be regretted or claimed."""
    (board,) = boards(load(folder / "results")[0])
    found = {}
    for record, seen in pairs(folder):
        selected = set(record.result.selected.values())
        if len(selected) == 1:
            found[record.id] = seen.model_copy(update={"test": {epoch: seen.test[epoch] for epoch in selected}})
    assert found
    for line in lines(board.tables[0], found):
        for name in ("regret", "delta_inflation", "skill_inflation"):
            assert line.values[name] == pytest.approx([0.0] * len(line.seeds), abs=1e-3)


def test_the_files_say_the_same_and_the_leaderboard_does_not_know(folder: Path) -> None:
    out = folder / "out" / "streets"
    with (out / "selection_inflation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    text = (out / "selection_inflation.md").read_text()
    page = (out / "index.html").read_text()
    for name in {row["row"] for row in rows}:
        values = [float(row["claimed_delta"]) for row in rows if row["row"] == name]
        shown = f"{math.fsum(values) / len(values):.2f}".removeprefix("-0.00") or "0.00"
        assert shown in text
        assert shown in page.partition('id="inflation"')[2]
    assert "inflation" not in (out / "README.md").read_text()
    assert "inflation" not in (out / "leaderboard.csv").read_text()


def test_trials_that_kept_nothing_are_refused_in_one_line(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (path, *_) = record_files(folder / "results")
    with pytest.raises(UserError, match="--keep-checkpoints into an empty results folder, or with `mtlbench train --force`"):
        evaluate_epochs_on_test(read(path), tmp_path)
    assert main(["inflation", f"--results={folder / 'results'}", f"--runs={tmp_path}", f"--out={tmp_path}"]) == 0
    capsys.readouterr()
    (tmp_path / "empty").mkdir()
    assert main(["inflation", f"--results={tmp_path / 'empty'}", f"--runs={tmp_path}", f"--out={tmp_path}"]) == 2
    assert "keep-checkpoints" in capsys.readouterr().err


def copied(folder: Path, to: Path) -> list[str]:
    """The records and what was seen of them, to be spoilt; their checkpoints are those of the folder."""
    shutil.copytree(folder / "results", to / "results")
    return [f"--results={to / 'results'}", f"--runs={folder / 'runs'}", f"--out={to / 'out'}"]


def test_an_unreadable_record_does_not_stop_the_others(folder: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = copied(folder, tmp_path)
    (path, *_) = record_files(tmp_path / "results")
    path.write_text("{")
    assert main(["inflation", *arguments]) == 0
    assert f"left out: {path}: not a readable record" in capsys.readouterr().err
    assert len((tmp_path / "out" / "streets" / "selection_inflation.csv").read_text().splitlines()) == 1 + 5


@pytest.mark.parametrize("spoil", ["retrained", "foreign", "broken", "empty"])
def test_what_was_seen_before_is_seen_anew_where_it_does_not_fit(
    spoil: str, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    arguments = copied(folder, tmp_path)
    path = next(path for path in record_files(tmp_path / "results") if "hard_sharing" in path.name)
    beside, before = epochs_on_test.path_of(path), epochs_on_test.path_of(path).read_bytes()
    seen = epochs_on_test.read(beside)
    if spoil == "retrained":
        for evaluation in seen.test.values():
            for named in evaluation.metrics.values():
                named.update({name: value * 1.01 for name, value in named.items()})
    if spoil == "foreign":
        seen.record = "another"
    if spoil == "empty":
        seen.test.clear()
    epochs_on_test.write(beside, seen)
    if spoil == "broken":
        beside.write_text("{")
    drawn = draw_all(tmp_path / "results", tmp_path / "out")
    (line,) = drawn.refused
    assert line.startswith(str(beside)) and "streets" in drawn.drawn
    assert len((tmp_path / "out" / "streets" / "selection_inflation.csv").read_text().splitlines()) == 1 + 5
    assert main(["inflation", *arguments]) == 0
    capsys.readouterr()
    assert beside.read_bytes() == before
    assert not draw_all(tmp_path / "results", tmp_path / "out").refused


def test_epochs_of_another_training_are_left_out(folder: Path, tmp_path: Path, capsys: Any) -> None:
    """The record was replaced, and the checkpoints were not."""
    arguments = copied(folder, tmp_path)
    path = next(path for path in record_files(tmp_path / "results") if "hard_sharing" in path.name)
    record = read(path)
    for named in record.result.test.metrics.values():
        named.update({name: value * 0.99 for name, value in named.items()})
    epochs_on_test.path_of(path).unlink()
    write(path, record)
    assert main(["inflation", *arguments]) == 0
    assert "do not give the test metrics of its record" in capsys.readouterr().err
    assert not epochs_on_test.path_of(path).exists()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / f"x{epochs_on_test.SUFFIX}"
    path.write_text("{}")
    with pytest.raises(UserError, match="not readable"):
        epochs_on_test.read(path)
