"""What a trial leaves for whoever looks on: progress in its folder, and scalars for TensorBoard."""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from mtlbench.errors import UserError
from mtlbench.records import Evaluation, Point
from mtlbench.running.event_log import EventLog
from mtlbench.running.progress import Progress, statuses, write_progress
from mtlbench.running.trial import Trial
from tests.finished_trials import finished
from tests.tiny import trials


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(name, step, value) of all event files of a folder, read by the format: length, its checksum, event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    def events() -> Iterator[Event]:
        for file in sorted(folder.rglob("events.out.tfevents.*")):
            content, place = file.read_bytes(), 0
            while place < len(content):
                (length,) = struct.unpack_from("<Q", content, place)
                yield Event.FromString(content[place + 12 : place + 12 + length])
                place += length + 16

    return [(value.tag, event.step, value.simple_value) for event in events() for value in event.summary.value]


def test_a_trial_says_how_far_it_is_after_every_epoch(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"], settings={"epochs": 2})
    trial = Trial(spec, tmp_path / "runs")
    epochs = trial.epochs()
    reports = [next(epochs)]
    with FileLock(tmp_path / "runs" / f"{spec.id}.lock"):
        (status,) = statuses(tmp_path / "runs")
        assert status.state == "training"
        assert (status.progress.epoch, status.progress.epochs) == (1, 2)
        assert status.progress.train_loss == reports[0].train_loss
        assert status.progress.val_skill == reports[0].val_skill
        assert status.progress.pid == os.getpid() and time.time() - status.progress.updated < 600
        assert status.progress.seconds_left == pytest.approx(status.progress.seconds)
        reports += list(epochs)
        assert statuses(tmp_path / "runs")[0].state == "evaluating"
    assert statuses(tmp_path / "runs")[0].state == "stopped", "nobody holds its lock"
    trial.finish(tmp_path / "results")
    assert statuses(tmp_path / "runs")[0].state == "finished"


def test_a_trial_that_was_taken_up_keeps_its_progress_until_the_next_epoch(tmp_path: Path) -> None:
    (spec,) = trials(tmp_path, ["hard_sharing"], settings={"epochs": 2})
    for _ in range(2):
        epochs = Trial(spec, tmp_path / "runs").epochs()
        next(epochs)
        assert isinstance(epochs, Generator)
        epochs.close()
    assert statuses(tmp_path / "runs")[0].progress.epoch == 2
    steps = [step for name, step, _ in scalars(tmp_path / "runs") if name == "val_skill/mean"]
    assert steps == [1, 2]


def test_the_scalars_are_those_of_the_record() -> None:
    record = finished().records[0]
    read = {(name, step): value for name, step, value in scalars(finished().runs / record.id)}
    for point in record.result.curve:
        assert point.val is not None
        assert read["val_skill/mean", point.epoch + 1] == pytest.approx(point.val.mean_skill, rel=1e-6)
        for task, loss in point.train_loss.items():
            assert read[f"train_loss/{task}", point.epoch + 1] == pytest.approx(loss, rel=1e-6)
    folders = {path.parent.name for path in (finished().runs / record.id).rglob("events.*")}
    assert folders == {"streets-hard_sharing-seed0"}, "what TensorBoard calls the trial"


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    val = Evaluation(metrics={"a": {"m": math.nan}}, constant={}, skill={"a": 0.5}, mean_skill=0.5)
    point = Point(epoch=0, phase="train", selectable=True, images=4, updates=1, training_flops=1, lr=0.1,
                  train_loss={"a": math.inf}, val=val)  # fmt: skip
    log = EventLog(tmp_path)
    log.write(point, 1)
    log.close()
    assert {name for name, _, _ in scalars(tmp_path)} == {"training/lr", "training/images", "val_skill/mean", "val_skill/a"}


def test_without_tensorboardx_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    log = EventLog(tmp_path / "events")
    log.write(finished().records[0].result.curve[0], 1)
    log.close()
    assert not (tmp_path / "events").exists()


def progress(name: str, epoch: int = 1) -> Progress:
    return Progress(id=name, dataset="streets", row="equal", seed=0, epoch=epoch, epochs=3, seconds=2.0)


def test_a_crash_is_shown_with_its_last_line_until_the_trial_goes_on(tmp_path: Path) -> None:
    write_progress(tmp_path / "a", progress("a"))
    (tmp_path / "a" / "error.txt").write_text("Traceback\n  line\nValueError: too small\n")
    (status,) = statuses(tmp_path)
    assert (status.state, status.reason) == ("failed", "ValueError: too small")
    os.utime(tmp_path / "a" / "error.txt", (1, 1))
    assert statuses(tmp_path)[0].state == "stopped"


def test_half_written_files_and_other_folders_are_no_trials(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "progress.json").write_text('{"id": "b"')
    (tmp_path / "c").mkdir()
    assert statuses(tmp_path) == []
    with pytest.raises(UserError, match="no such folder of runs"):
        statuses(tmp_path / "nothing")
