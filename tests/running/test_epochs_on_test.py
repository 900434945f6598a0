"""Every selectable epoch on test, after training, and what selecting on test would have claimed."""

from __future__ import annotations

import argparse
import csv
import math
import shutil
from pathlib import Path

import pytest

from mtlbench.cli import selection_bias
from mtlbench.errors import UserError
from mtlbench.leaderboard.board import boards
from mtlbench.leaderboard.draw import draw_all
from mtlbench.leaderboard.loading import load
from mtlbench.leaderboard.record_files import record_files
from mtlbench.leaderboard.selection_bias import BiasRow, bias_rows
from mtlbench.records import Record, epochs_on_test, read, write
from mtlbench.records.epochs_on_test import EpochsOnTest
from mtlbench.running.epochs_on_test import evaluate_epochs_on_test
from mtlbench.running.run_trial import run_trial
from mtlbench.training.checkpoints import CheckpointStore
from tests.tiny import trials


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shared networks and the reference, two seeds each, with their epochs kept."""
    folder = tmp_path_factory.mktemp("epochs")
    for spec in trials(folder, ["single_task", "hard_sharing", "adashare"], seeds=2, settings={"epochs": 6}):
        run_trial(spec, folder / "runs", folder / "results", keep=True)
    assert run_command(*(f"--{name}={folder / name}" for name in ("results", "runs", "out"))) == 0
    return folder


def run_command(*arguments: str) -> int:
    """`mtlbench selection-bias`."""
    parser = argparse.ArgumentParser()
    selection_bias.add_arguments(parser)
    return selection_bias.run(parser.parse_args(arguments))


def pairs(folder: Path) -> list[tuple[Record, EpochsOnTest]]:
    return [(read(path), epochs_on_test.read(epochs_on_test.path_of(path))) for path in record_files(folder / "results")]


def rows_of(folder: Path, epochs: dict[str, EpochsOnTest]) -> list[BiasRow]:
    (board,) = boards(load(folder / "results")[0])
    return bias_rows(board.tables[0], epochs)


def test_every_selectable_epoch_is_kept_and_evaluated(folder: Path) -> None:
    for record, epochs in pairs(folder):
        selectable = {point.epoch for point in record.result.curve if point.selectable}
        assert set(CheckpointStore(folder / "runs" / record.id).kept_epochs()) == set(epochs.test) == selectable


def test_the_selected_epoch_is_on_test_as_the_record_says(folder: Path) -> None:
    for record, epochs in pairs(folder):
        for part, epoch in record.result.selected.items():
            for task in part.split("+"):
                assert epochs.test[epoch].metrics[task] == pytest.approx(record.result.test.metrics[task], rel=1e-5)


def test_keeping_epochs_does_not_change_the_result(folder: Path, tmp_path: Path) -> None:
    spec = trials(folder, ["hard_sharing"], settings={"epochs": 6})[0]
    assert (
        read(run_trial(spec, tmp_path / "runs", tmp_path / "results")).result
        == read(folder / "results" / "streets" / spec.file_name()).result
    )
    assert not CheckpointStore(tmp_path / "runs" / spec.id).kept_epochs()


def test_no_epoch_is_better_on_test_than_what_is_claimed(folder: Path) -> None:
    epochs = {own.record: own for _, own in pairs(folder)}
    rows = {row.row.name: row for row in rows_of(folder, epochs)}
    assert set(rows) == {"single_task", "hard_sharing", "adashare"}
    for row in rows.values():
        assert len(row.seeds) == 2
        assert all(value >= -1e-9 for value in (*row.values["skill_bias"], *row.values["delta_bias"]))
        for each, whole in zip(row.values["best_skill_per_task"], row.values["best_skill"], strict=True):
            assert each >= whole - 1e-9
        for record, claimed in zip(row.row.records, row.values["best_skill"], strict=True):
            assert claimed >= max(evaluation.mean_skill for evaluation in epochs[record.id].test.values()) - 1e-9
    # Networks that share nothing choose an epoch per task anyway.
    single = rows["single_task"].values
    assert single["best_skill_per_task"] == pytest.approx(single["best_skill"])


def test_there_is_no_bias_and_no_regret_where_all_choose_the_same_epoch(folder: Path) -> None:
    """With one epoch to choose from, nothing can be regretted or claimed."""
    only_selected = {}
    for record, epochs in pairs(folder):
        selected = set(record.result.selected.values())
        if len(selected) == 1:
            only_selected[record.id] = epochs.model_copy(update={"test": {epoch: epochs.test[epoch] for epoch in selected}})
    assert only_selected
    for row in rows_of(folder, only_selected):
        for name in ("regret", "delta_bias", "skill_bias"):
            assert row.values[name] == pytest.approx([0.0] * len(row.seeds), abs=1e-3)


def test_the_files_say_the_same_and_the_leaderboard_does_not_know(folder: Path) -> None:
    out = folder / "out" / "streets"
    with (out / "selection_bias.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6
    text = (out / "selection_bias.md").read_text()
    page = (out / "index.html").read_text()
    for name in {line["row"] for line in lines}:
        values = [float(line["best_delta"]) for line in lines if line["row"] == name]
        shown = f"{math.fsum(values) / len(values):.2f}".removeprefix("-0.00") or "0.00"
        assert shown in text
        assert shown in page.partition('id="selection-bias"')[2]
    assert "bias" not in (out / "README.md").read_text()
    assert "bias" not in (out / "leaderboard.csv").read_text()


def test_trials_that_kept_nothing_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    (path, *_) = record_files(folder / "results")
    with pytest.raises(UserError, match="--keep-checkpoints into an empty results folder, or with `mtlbench train --force`"):
        evaluate_epochs_on_test(read(path), tmp_path)
    assert run_command(f"--results={folder / 'results'}", f"--runs={tmp_path}", f"--out={tmp_path}") == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="keep-checkpoints"):
        run_command(f"--results={tmp_path / 'empty'}", f"--runs={tmp_path}", f"--out={tmp_path}")


def copied(folder: Path, to: Path) -> list[str]:
    """The records and their epochs on test, to be spoilt; their checkpoints are those of the folder."""
    shutil.copytree(folder / "results", to / "results")
    return [f"--results={to / 'results'}", f"--runs={folder / 'runs'}", f"--out={to / 'out'}"]


def one_record(folder: Path) -> Path:
    return next(path for path in record_files(folder / "results") if "hard_sharing" in path.name)


def records_in_csv(folder: Path) -> int:
    return len((folder / "out" / "streets" / "selection_bias.csv").read_text().splitlines()) - 1


def test_an_unreadable_record_does_not_stop_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = copied(folder, tmp_path)
    (path, *_) = record_files(tmp_path / "results")
    path.write_text("{")
    assert run_command(*arguments) == 0
    assert f"left out: {path}: not a readable record" in capsys.readouterr().err
    assert records_in_csv(tmp_path) == 5


@pytest.mark.parametrize("spoil", ["retrained", "foreign", "broken", "empty"])
def test_epochs_that_do_not_fit_are_left_out_and_evaluated_anew(spoil: str, folder: Path, tmp_path: Path) -> None:
    arguments = copied(folder, tmp_path)
    beside = epochs_on_test.path_of(one_record(tmp_path))
    before, epochs = beside.read_bytes(), epochs_on_test.read(beside)
    if spoil == "retrained":
        for evaluation in epochs.test.values():
            for metrics in evaluation.metrics.values():
                metrics.update({name: value * 1.01 for name, value in metrics.items()})
    if spoil == "foreign":
        epochs.record = "another"
    if spoil == "empty":
        epochs.test.clear()
    epochs_on_test.write(beside, epochs)
    if spoil == "broken":
        beside.write_text("{")
    drawn = draw_all(tmp_path / "results", tmp_path / "out")
    (line,) = drawn.refused
    assert line.startswith(str(beside)) and "streets" in drawn.drawn
    assert records_in_csv(tmp_path) == 5
    assert run_command(*arguments) == 0
    assert beside.read_bytes() == before
    assert not draw_all(tmp_path / "results", tmp_path / "out").refused


def test_files_with_the_former_name_count_until_they_are_written_anew(folder: Path, tmp_path: Path) -> None:
    arguments = copied(folder, tmp_path)
    draw_all(tmp_path / "results", tmp_path / "out")
    drawn = {name: (tmp_path / "out" / "streets" / name).read_bytes() for name in ("selection_bias.csv", "index.html")}
    path = one_record(tmp_path)
    beside, former = epochs_on_test.path_of(path), path.with_suffix(epochs_on_test.FORMER_SUFFIX)
    epochs = epochs_on_test.read(beside)
    beside.rename(former)
    assert run_command(*arguments) == 0
    assert not beside.exists(), "nothing was evaluated again"
    for name, content in drawn.items():
        assert (tmp_path / "out" / "streets" / name).read_bytes() == content
    assert len(record_files(tmp_path / "results")) == 6, "the file is no record"
    epochs_on_test.write(beside, epochs)
    assert beside.exists() and not former.exists()


def test_epochs_of_another_training_are_left_out(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The record was replaced, and the checkpoints were not."""
    arguments = copied(folder, tmp_path)
    path = one_record(tmp_path)
    record = read(path)
    for metrics in record.result.test.metrics.values():
        metrics.update({name: value * 0.99 for name, value in metrics.items()})
    epochs_on_test.path_of(path).unlink()
    write(path, record)
    assert run_command(*arguments) == 0
    assert "do not give the test metrics of its record" in capsys.readouterr().err
    assert not epochs_on_test.path_of(path).exists()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / f"x{epochs_on_test.SUFFIX}"
    path.write_text("{}")
    with pytest.raises(UserError, match=r"not readable \(field record: Field required\)"):
        epochs_on_test.read(path)
