"""The way from a loaded batch to the update of the weights is short enough to be read: docs/one_batch.md walks it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import mtlbench
from mtlbench.running.trial import Trial
from tests.tiny import trials

PACKAGE = Path(str(mtlbench.__file__)).parent
MOST_CALLS = 12
INSIDE = ("networks/", "contract/batch.py", "tasks/reduce.py", "tasks/binary.py")
"""Not steps on the way: what modules do inside, questions to a batch, and arithmetic that losses share."""


def calls_of_one_batch(folder: Path) -> list[str]:
    """The functions of ours that a step of hard sharing enters, in order, each once."""
    (spec,) = trials(folder, ["hard_sharing"], settings={"epochs": 2})
    trial = Trial(spec, folder / "runs")
    trainer, phase = trial.trainer, trial.state.phases[0]
    phase.prepare()
    trial.network.train()
    batch, only_pass = next(trial.loader.epoch(0)), phase.passes(0)[0]
    trainer.train_batch(phase, only_pass, batch)  # the first step of a kind is counted
    calls: dict[str, None] = {}

    def entered(frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE) and not frame.f_code.co_name.startswith("<"):
            place = path.relative_to(PACKAGE).as_posix()
            if place == "networks/sharing.py" and frame.f_code.co_name == "forward":
                calls["SharingGraph.forward"] = None
            elif not place.startswith(INSIDE):
                name = frame.f_code.co_name
                if place.startswith("tasks/") and name != "loss":
                    return
                calls["Task.loss" if name == "loss" else f"{type(frame.f_locals.get('self')).__name__}.{name}"] = None

    sys.setprofile(entered)
    try:
        trainer.train_batch(phase, only_pass, batch)
    finally:
        sys.setprofile(None)
    return list(calls)


def test_a_batch_passes_few_calls_and_the_page_names_them_in_order(tmp_path: Path) -> None:
    calls = calls_of_one_batch(tmp_path)
    helpers = {"TrainingCost.add", "HardSharing.normalised", "NoneType.total", "UpdateCounter._stepped"}
    way = [call for call in calls if call not in helpers]
    assert len(way) <= MOST_CALLS, way
    page = (PACKAGE.parent / "docs" / "one_batch.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\d+\. `([\w.]+)`", page, flags=re.MULTILINE)
    assert [name.partition(".")[2] for name in way] == [name.partition(".")[2] for name in listed]
