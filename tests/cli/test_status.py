"""`mtlbench status`: a sweep seen from another terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from mtlbench.cli.main import main
from mtlbench.cli.status import status_table
from mtlbench.running.progress import Progress, TrialStatus
from tests.finished_trials import finished


def text(*statuses: TrialStatus, with_finished: bool = False) -> str:
    console = Console(width=130)
    with console.capture() as capture:
        console.print(status_table(statuses, with_finished, now=1000.0))
    return capture.get()


def progress(**fields: object) -> Progress:
    values = {
        "id": "abc",
        "dataset": "streets",
        "row": "mtan",
        "seed": 2,
        "epoch": 2,
        "epochs": 10,
        "seconds": 40.0,
        "updated": 970.0,
    }
    return Progress.model_validate({**values, **fields})


def test_every_state_is_shown_with_what_matters() -> None:
    shown = text(
        TrialStatus(progress(train_loss={"depth": 0.25}, val_skill=0.31, memory_bytes=2_500_000_000), "training"),
        TrialStatus(progress(id="bad", epoch=0), "failed", "ValueError: too small"),
        TrialStatus(progress(id="done"), "finished"),
    )
    assert "streets · mtan · seed 2" in shown and "2/10" in shown and "0.310" in shown and "2.50 GB" in shown
    assert "3 min" in shown, "8 epochs of 20 s are left"
    assert "30 s ago" in shown and "train loss: depth 0.25" in shown
    assert "bad: ValueError: too small" in shown
    assert "1 training, 1 finished, 1 failed" in shown
    assert "done" not in shown
    assert "done" in text(TrialStatus(progress(id="done"), "finished"), with_finished=True)


def test_nothing_and_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 0
    assert "No trial has begun here." in capsys.readouterr().out
    assert main(["status", str(tmp_path / "none")]) == 2
    assert "no such folder of runs" in capsys.readouterr().err
    assert main(["status", str(tmp_path), "--watch", "0"]) == 2


def test_a_finished_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(finished().runs), "--all"]) == 0
    out = capsys.readouterr().out
    assert finished().id in out and "2 finished" in out
