"""A loss that is not finite, or explodes, ends the training with its last good epoch; record, note and check say why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtlbench.leaderboard.record_checks import check_file
from mtlbench.records import Point, as_text, read
from mtlbench.running.run_trial import run_trial
from mtlbench.training.divergence import broken_tasks, divergence
from tests.running.reliability.injection import faulty


@pytest.mark.parametrize(("name", "reason"), [("explodes", "was not finite in epoch 2"), ("grows", "in its first epoch")])
def test_the_record_says_why_and_holds_the_last_good_epoch(name: str, reason: str, tmp_path: Path) -> None:
    spec = faulty(tmp_path, name, {"epochs": 5}, first=2)
    notes: list[str] = []
    path = run_trial(spec, tmp_path / "runs", tmp_path / "results", note=notes.append)
    result = read(path).result
    assert reason in result.stopped and "the loss of " in result.stopped
    assert notes == [f"training stopped early, since {result.stopped}"]
    assert len(result.curve) == 3 and set(result.selected.values()) <= {0, 1}
    assert any("training stopped early" in problem for problem in check_file(path))


def test_a_whole_training_has_no_word_of_it_and_older_records_stay_as_they_are(tmp_path: Path) -> None:
    spec = faulty(tmp_path, "explodes", first=100)
    path = run_trial(spec, tmp_path / "runs", tmp_path / "results")
    text = path.read_text()
    assert not {"stopped", "micro_batches"} & json.loads(text)["result"].keys()
    assert as_text(read(path)) == text


def point(epoch: int, **losses: float) -> Point:
    costs = {"images": 0, "updates": 0, "training_flops": 0}
    return Point(epoch=epoch, phase="train", selectable=True, lr=0.1, train_loss=losses, val=None, **costs)


@pytest.mark.parametrize(
    ("curve", "broken"),
    [
        ([], set()),
        ([point(0, a=1e9)], set()),
        ([point(0, a=1.0), point(1, a=9000.0)], set()),
        ([point(0, a=1.0), point(1, a=1e5)], {"a"}),
        ([point(0, a=1.0), point(1, a=0.001), point(2, a=100.0)], set()),
        ([point(0, a=0.0), point(1, a=5.0)], set()),
        ([point(0, a=1.0), point(1, b=1e5)], set()),
        ([point(0, a=-1.0), point(1, a=5.0)], set()),
        ([point(0, a=1.0, b=1.0), point(1, a=1e5, b=float("nan"))], {"a", "b"}),
    ],
)
def test_a_loss_has_exploded_against_its_first_epoch(curve: list[Point], broken: set[str]) -> None:
    assert set(broken_tasks(curve)) == broken


def test_each_reason_is_named_once() -> None:
    curve = [point(0, a=1.0, b=1.0, c=1.0), point(1, a=float("nan"), b=float("inf"), c=1e5)]
    text = "the loss of a, b was not finite; the loss of c was 1e+05, and 1 in its first epoch, in epoch 1 (train)"
    assert divergence([("a",), ("b", "c")], curve) == text
    assert divergence([("a",), ("d",)], curve) == ""
