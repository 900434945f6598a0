"""What is equal for all trials on prepared data is computed once, and is the same number when it is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtlbench.measure.skill_scale import SkillScale
from mtlbench.tasks import Depth
from tests.measure.small_network import TASKS, split


def test_the_second_trial_reads_no_targets_and_has_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = split("train"), split("test")
    first = SkillScale(TASKS, train, tmp_path)
    expected = first.constants, first.constant_metrics(test)
    for task in TASKS:
        monkeypatch.setattr(type(task), "fit_constant", lambda *_: pytest.fail("targets were read again"))
    monkeypatch.setattr(type(test), "batch", lambda *_: pytest.fail("images were read again"))
    second = SkillScale(TASKS, train, tmp_path)
    assert (second.constants, second.constant_metrics(test)) == expected


def test_another_task_has_constants_of_its_own(tmp_path: Path) -> None:
    SkillScale(TASKS, split("train"), tmp_path)
    others = tuple(Depth("depth", inverse=True) if task.name == "depth" else task for task in TASKS)
    SkillScale(others, split("train"), tmp_path)
    assert len(list(tmp_path.glob("constants-*.json"))) == 2


@pytest.mark.parametrize("content", ["", "{", "[1, 2]"])
def test_a_damaged_file_is_written_anew(content: str, tmp_path: Path) -> None:
    expected = SkillScale(TASKS, split("train"), tmp_path).constants
    (file,) = tmp_path.glob("constants-*.json")
    file.write_text(content)
    assert SkillScale(TASKS, split("train"), tmp_path).constants == expected
