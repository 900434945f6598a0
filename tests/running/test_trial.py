"""A trial: what it measures, and that nothing but its specification decides the result."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from mtlbench.config.plugins import Registry
from mtlbench.contract import Dataset, UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record, read
from mtlbench.running.run_trial import run_trial
from mtlbench.running.trial import Trial
from tests.tiny import trials

ARCHITECTURES = Registry().architectures()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trials")


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    return read(run_trial(trials(folder, ["hard_sharing"])[0], folder / "runs", folder / "results"))


def result(path: Path) -> str:
    return json.dumps(json.loads(path.read_text())["result"], sort_keys=True)


def spec_of(folder: Path, name: str, **settings: Any) -> TrialSpec:
    epochs = max(ARCHITECTURES[name.split("+")[0]].minimum_epochs, 3) if name.split("+")[0] in ARCHITECTURES else 3
    return trials(folder, [name], settings={"epochs": epochs, **settings})[0]


def test_the_record_holds_what_a_leaderboard_needs(record: Record) -> None:
    found = record.result
    assert [point.epoch for point in found.curve] == [0, 1, 2]
    assert found.test.mean_skill == pytest.approx(sum(found.test.skill.values()) / len(found.test.skill))
    assert all(-1 <= skill <= 1 for skill in found.test.skill.values())
    assert found.cost.images == 3 * 24
    assert found.cost.updates == 3 * 3
    assert found.cost.training_flops == sum(one["training_flops"] for one in found.cost.phases.values()) > 0
    assert found.cost.parameters["total"] == found.cost.parameters["trunk"] + found.cost.parameters["heads"]
    assert set(found.images) == {task.name for task in record.tasks}
    assert all(len(packed.unpack()) == 8 for one in found.images.values() for packed in one.values())
    assert all(math.isfinite(value) for one in found.test.metrics.values() for value in one.values())


def test_selection_takes_the_best_validated_epoch(record: Record) -> None:
    skills = [point.val.mean_skill for point in record.result.curve if point.val is not None]
    (epoch,) = record.result.selected.values()
    assert skills[epoch] == max(skills)


def test_per_image_statistics_give_the_test_metrics_again(record: Record, folder: Path) -> None:
    trial = Trial(trials(folder, ["hard_sharing"])[0], folder / "other")
    for task in trial.evaluator.tasks:
        packed = record.result.images[task.name]
        totals = {name: torch.from_numpy(one.unpack().copy()).sum(0) for name, one in packed.items()}
        primary = task.summarise(totals)[task.primary.name]
        assert primary == pytest.approx(record.result.test.metrics[task.name][task.primary.name], rel=1e-6)


def test_the_same_trial_gives_the_same_bytes(record: Record, folder: Path, tmp_path: Path) -> None:
    spec = trials(folder, ["hard_sharing"])[0]
    again = run_trial(spec, tmp_path / "runs", tmp_path / "results")
    assert result(again) == result(folder / "results" / "streets" / spec.file_name())


def test_another_seed_is_another_trial_with_another_result(record: Record, folder: Path) -> None:
    _, second = trials(folder, ["hard_sharing"], seeds=2)
    assert second.id != record.id
    path = run_trial(second, folder / "runs", folder / "results")
    assert result(path) != result(folder / "results" / "streets" / trials(folder, ["hard_sharing"])[0].file_name())


def test_an_interrupted_finish_is_done_again(folder: Path, tmp_path: Path) -> None:
    spec = trials(folder, ["single_task"])[0]
    whole = run_trial(spec, tmp_path / "whole", tmp_path / "results-whole")
    trial = Trial(spec, tmp_path / "parts")
    for _ in trial.epochs():
        pass
    trial.load_best()  # killed before the record was written
    assert result(run_trial(spec, tmp_path / "parts", tmp_path / "results-parts")) == result(whole)


def test_single_task_networks_are_selected_one_by_one(folder: Path, tmp_path: Path) -> None:
    found = read(run_trial(trials(folder, ["single_task"])[0], tmp_path / "runs", tmp_path / "results"))
    assert set(found.result.selected) == {task.name for task in found.tasks}
    assert found.reference
    for task, epoch in found.result.selected.items():
        skills = [point.val.skill[task] for point in found.result.curve if point.val is not None]
        assert skills[epoch] == max(skills)


def test_methods_see_the_same_images(folder: Path) -> None:
    first, second = (Trial(spec, folder / "x") for spec in trials(folder, ["hard_sharing", "single_task"]))
    for a, b in zip(first.loader.epoch(2), second.loader.epoch(2), strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.image, b.image)


def test_every_choice_of_the_protocol_is_in_its_id(folder: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"epochs": 4},
        {"lr": 5e-3},
        {"augment": False},
        {"output_stride": 8},
        {"init": "normal_0.01"},
        {"first_dilation": "stage"},
        {"bn_images": 8},
        {"budget": "equal_final"},
        {"clip": 1.0},
        {"micro_batches": 2},
    ]
    specs = [trials(folder, ["hard_sharing"], settings=change)[0] for change in changes]
    assert len({json.dumps(spec.protocol, sort_keys=True) for spec in specs}) == len(changes)
    assert len({spec.id for spec in specs}) == len(changes)


def test_threads_and_folders_are_no_part_of_the_id(folder: Path, tmp_path: Path) -> None:
    here, there = trials(folder, ["hard_sharing"])[0], trials(tmp_path, ["hard_sharing"], threads=2)[0]
    assert here.id == there.id


def test_an_edited_plugin_is_another_trial_and_a_new_comment_is_not(folder: Path, tmp_path: Path) -> None:
    source = "from mtlbench.contract import Strategy\n\n\nclass Mine(Strategy):\n    '''Mine.'''\n"
    ids = []
    for text in (source, source + "\n# a comment\n", source + "\n    needs_sharing = True\n"):
        (tmp_path / "mine.py").write_text(text)
        ids.append(trials(folder, ["mine"], registry=Registry([tmp_path]))[0].id)
    assert ids[0] == ids[1] != ids[2]


def test_too_small_a_budget_is_refused_before_anything_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCHITECTURES["hard_sharing"], "minimum_epochs", 5)
    with pytest.raises(UserError, match="makes sense with 5"):
        trials(folder, ["hard_sharing"])


def test_clipping_bounds_the_step(folder: Path, tmp_path: Path) -> None:
    spec = trials(folder, ["hard_sharing"], settings={"clip": 1e-9, "optimizer": "sgd"})[0]
    trial = Trial(spec, tmp_path)
    before = {name: one.clone() for name, one in trial.network.named_parameters()}
    next(trial.epochs())
    moved = max(float((one - before[name]).detach().abs().max()) for name, one in trial.network.named_parameters())
    assert 0 < moved < 1e-7


def test_batches_in_pieces_cost_another_forward_pass_and_train(record: Record, folder: Path, tmp_path: Path) -> None:
    (spec,) = trials(folder, ["hard_sharing"], settings={"micro_batches": 2})
    found = read(run_trial(spec, tmp_path / "runs", tmp_path / "results"))
    assert found.result.cost.updates == record.result.cost.updates
    assert 1.2 < found.result.cost.training_flops / record.result.cost.training_flops < 1.5
    with pytest.raises(UserError, match="micro_batches = 5 is refused"):
        trials(folder, ["hard_sharing"], settings={"micro_batches": 5})


def test_partly_labelled_data_train(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls: type[Dataset] = Registry().dataset("streets").cls
    load = cls.load

    def half(self: Dataset, key: Any) -> Any:
        sample = load(self, key)
        for task in ("depth", "normals"):
            if key[0] == "train" and key[1] % 2:
                del sample[task]
        return sample

    monkeypatch.setattr(cls, "load", half)
    monkeypatch.setattr(cls, "version", 1000)
    found = read(run_trial(trials(tmp_path, ["hard_sharing"])[0], tmp_path / "runs", tmp_path / "results"))
    assert found.result.test.skill.keys() == {"segmentation", "depth", "normals", "boundaries"}


def test_diagnoses_are_in_the_record_and_change_nothing(record: Record, folder: Path, tmp_path: Path) -> None:
    (plain,) = trials(folder, ["hard_sharing"])
    watched = plain.model_copy(update={"diagnose": ("gradients",)})
    next(Trial(watched, tmp_path / "runs").epochs())
    found = read(run_trial(watched, tmp_path / "runs", tmp_path / "results"))
    diagnostics = found.result.artefacts.diagnostics
    assert diagnostics is not None and len(diagnostics.epochs) == 3 and diagnostics.phases[0].path_length > 0
    assert found.result.test == record.result.test
    assert watched.id != plain.id


@pytest.mark.parametrize("method", ["single_task", "hard_sharing+pcgrad", "cross_stitch+alternating"])
def test_fewer_labels_are_another_protocol_and_train(method: str, folder: Path, tmp_path: Path) -> None:
    (every,) = trials(folder, [method])
    (spec,) = trials(folder, [method], settings={"label_share": 0.25})
    assert "labels" not in every.protocol and spec.protocol["labels"]["share"] == 0.25
    assert every.id != spec.id
    few = read(run_trial(spec, tmp_path / "runs", tmp_path / "results"))
    assert all(math.isfinite(value) for metrics in few.result.test.metrics.values() for value in metrics.values())
