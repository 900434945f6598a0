"""Auxiliary tasks: trained as any task, in no measured number, and no network that nothing is measured of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mtlbench.api import Trained
from mtlbench.config.plugins import Registry
from mtlbench.contract import Architecture, SharingGraph, SharingPlan, UserError
from mtlbench.leaderboard.draw import draw
from mtlbench.leaderboard.record_checks import problems
from mtlbench.measure.cost import inference_flops, parameters
from mtlbench.measure.deployed import deployed
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Evaluation, Record, read
from mtlbench.running.run_trial import run_trial
from mtlbench.running.trained import rebuild_deployed
from mtlbench.running.trial import Trial
from mtlbench.training.checkpoints import CheckpointStore
from mtlbench.training.selection import Selection
from tests.tiny import STREETS, network_config, trials

AUXILIARY = ("normals", "boundaries")
SCORED = {"segmentation", "depth"}
METHODS = ("single_task", "hard_sharing", "pcgrad", "pad_net", "cross_stitch+alternating")

OPTIONS = {**STREETS, "train": 16, "val": 4, "test": 4, "shifted": 2}
PLAIN = {"epochs": 2, "head_dropout": 0.0}
"""Without dropout, whose draws depend on how many heads there are."""

SETTINGS = {**PLAIN, "auxiliary": AUXILIARY, "pgd": [1.0], "pgd_steps": 1}


class Separate(Architecture):
    """Ends with networks of their own, which its class does not say."""

    def build(self) -> None:
        units = self.block_units()
        self.graph = SharingGraph(units, SharingPlan.private([unit.name for unit in units], list(self.tasks)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("auxiliary")


@pytest.fixture(scope="module")
def specs(folder: Path) -> dict[str, TrialSpec]:
    return {spec.method: spec for spec in trials(folder, list(METHODS), options=OPTIONS, settings=SETTINGS)}


@pytest.fixture(scope="module")
def records(folder: Path, specs: dict[str, TrialSpec]) -> dict[str, Record]:
    return {name: read(run_trial(spec, folder / "runs", folder / "results")) for name, spec in specs.items()}


def scored_separately(folder: Path, method: str) -> Record:
    """The same trial with all tasks scored."""
    (spec,) = trials(folder, [method], options=OPTIONS, settings=PLAIN)
    return read(run_trial(spec, folder / "runs", folder / "all_scored"))


def keys_of(value: Any) -> Iterator[str]:
    """All keys of a JSON value, however deep."""
    for key, entry in value.items() if isinstance(value, dict) else ():
        yield key
        yield from keys_of(entry)


@pytest.mark.parametrize("method", METHODS)
def test_no_measured_number_is_of_an_auxiliary_task(method: str, records: dict[str, Record]) -> None:
    record = records[method]
    assert {task.name for task in record.tasks} == SCORED and record.auxiliary == list(AUXILIARY)
    result = json.loads(record.model_dump_json())["result"]
    vals = [point["val"] for point in result["curve"]]
    measured = {name: result[name] for name in ("val", "test", "shifted", "robustness", "images", "cost")}
    keys = set(keys_of({**measured, **{str(number): val for number, val in enumerate(vals)}}))
    assert keys >= SCORED and not {name for name in keys if any(task in name for task in AUXILIARY)}
    assert set(result["robustness"]["pgd"]["attacks"]["1"]) == {*SCORED, "all"}
    assert set(record.result.test.skill) == SCORED
    assert record.result.test.mean_skill == pytest.approx(sum(record.result.test.skill.values()) / 2)
    counts = record.result.cost.parameters
    assert counts["total"] == counts["shared"] + sum(counts[f"task:{task}"] for task in SCORED)
    assert list(problems(record)) == []


@pytest.mark.parametrize("method", [name for name in METHODS if name != "single_task"])
def test_auxiliary_tasks_are_trained(method: str, records: dict[str, Record]) -> None:
    losses = [point.train_loss for point in records[method].result.curve]
    assert all(set(each) == {*SCORED, *AUXILIARY} for each in losses)


def test_single_task_networks_are_those_of_the_scored_tasks(records: dict[str, Record], folder: Path) -> None:
    alone, every = records["single_task"].result, scored_separately(folder, "single_task").result
    assert set(alone.selected) == SCORED and alone.plan is not None and set(alone.plan.tasks) == SCORED
    for task in SCORED:
        assert alone.test.metrics[task] == every.test.metrics[task]
        assert alone.cost.parameters[f"task:{task}"] == every.cost.parameters[f"task:{task}"]
    assert all(set(point.train_loss) == SCORED for point in alone.curve)
    assert 1.8 < every.cost.training_flops / alone.cost.training_flops < 2.2


def test_training_is_that_of_scored_tasks_and_costs_are_without(records: dict[str, Record], folder: Path) -> None:
    auxiliary, every = records["hard_sharing"].result, scored_separately(folder, "hard_sharing").result
    assert [point.train_loss for point in auxiliary.curve] == [point.train_loss for point in every.curve]
    vals = [[point.val for point in result.curve] for result in (auxiliary, every)]
    for reduced, whole in zip(*vals, strict=True):
        assert reduced is not None and whole is not None
        assert reduced.metrics == {task: whole.metrics[task] for task in reduced.metrics}
    skills = [val.mean_skill for val in vals[0] if val is not None]
    (epoch,) = auxiliary.selected.values()
    assert skills[epoch] == max(skills)
    without = sum(every.cost.parameters[f"task:{task}"] for task in AUXILIARY)
    assert auxiliary.cost.parameters["total"] == every.cost.parameters["total"] - without
    assert auxiliary.cost.parameters["trunk"] == every.cost.parameters["trunk"]
    alone = {task: every.cost.flops[f"task:{task}"] - every.cost.flops["trunk"] for task in AUXILIARY}
    assert auxiliary.cost.flops["all"] == every.cost.flops["all"] - sum(alone.values())


def test_a_resumed_trial_ends_the_same(records: dict[str, Record], specs: dict[str, TrialSpec], tmp_path: Path) -> None:
    next(Trial(specs["pcgrad"], tmp_path / "runs").epochs())
    again = read(run_trial(specs["pcgrad"], tmp_path / "runs", tmp_path / "results"))
    assert again.result.model_dump_json() == records["pcgrad"].result.model_dump_json()


def test_the_leaderboard_compares_scored_tasks_and_names_the_others(records: dict[str, Record], folder: Path) -> None:
    out = folder / "leaderboards"
    draw(folder / "results", out)
    text = (out / "streets" / "README.md").read_text(encoding="utf-8")
    assert f"never scored: {', '.join(AUXILIARY)}" in text and "Δ is measured against single_task" in text
    (header, *_), *_ = (file.read_text(encoding="utf-8").splitlines() for file in sorted((out / "streets").glob("*.csv")))
    assert not any(task in header for task in AUXILIARY)


def test_rebuilt_networks_predict_scored_tasks(
    records: dict[str, Record], specs: dict[str, TrialSpec], folder: Path
) -> None:
    image = torch.rand(1, 3, 32, 64)
    network = rebuild_deployed(specs["pad_net"], records["pad_net"].result.structure).eval()
    assert set(network(image)) == SCORED and set(network(image, ["normals"])) == {"normals"}
    trained = Trained.from_record(records["hard_sharing"].id, runs=folder / "runs", results=folder / "results")
    assert set(trained.predict(image[0])) == SCORED


def test_a_card_without_auxiliary_tasks_is_as_it_was(folder: Path, specs: dict[str, TrialSpec]) -> None:
    (plain,) = trials(folder, ["hard_sharing"], options=OPTIONS, settings={**SETTINGS, "auxiliary": ()})
    marked = specs["hard_sharing"]
    assert not any("auxiliary" in task for task in plain.protocol["dataset"]["tasks"]) and plain.id != marked.id
    assert [task["name"] for task in marked.protocol["dataset"]["tasks"] if task.get("auxiliary")] == list(AUXILIARY)
    assert plain.protocol["dataset"]["fingerprint"] == marked.protocol["dataset"]["fingerprint"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["boundary"], "there is no task 'boundary'. Did you mean 'boundaries'?"),
        (["segmentation", "depth", "normals", "boundaries"], "one at least must be scored"),
    ],
)
def test_auxiliary_tasks_that_make_no_sense_are_refused(names: list[str], reason: str, folder: Path) -> None:
    with pytest.raises(UserError, match=reason.replace("?", r"\?")):
        trials(folder, ["hard_sharing"], options=OPTIONS, settings={"auxiliary": names})


def test_a_task_that_is_auxiliary_cannot_be_attacked(folder: Path) -> None:
    with pytest.raises(UserError, match="there is no task 'normals' to attack"):
        trials(folder, ["hard_sharing"], options=OPTIONS, settings={**SETTINGS, "pgd_on": ["normals"]})


def test_a_record_that_scores_an_auxiliary_task_is_refused(records: dict[str, Record]) -> None:
    record = records["hard_sharing"].model_copy(deep=True)
    record.result.test.metrics["normals"] = {"mean angle": 1.0}
    record.auxiliary.remove("boundaries")
    found = "\n".join(problems(record))
    assert "test: normals is auxiliary" in found and "the protocol card marks boundaries, normals" in found
    assert "selected: its parts are" in found


@pytest.mark.parametrize("name", Registry().architectures())
def test_every_architecture_deploys_without_auxiliary_tasks(name: str) -> None:
    cls = Registry().architectures()[name]
    config = replace(network_config(), auxiliary=frozenset({"normals"}))
    network: Architecture = cls(config, cls.configure({}, name)).eval()
    image = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        every, scored = network.deploy().eval()(image), deployed(network).eval()(image)
    assert list(scored) == ["segmentation", "depth"]
    for task, prediction in scored.items():
        torch.testing.assert_close(prediction, every[task])
    counts, flops = parameters(network, network.deploy()), inference_flops(network, network.deploy(), torch.device("cpu"))
    assert counts["total"] == counts["shared"] + counts["task:segmentation"] + counts["task:depth"]
    assert max(flops["task:segmentation"], flops["task:depth"]) <= flops["all"] == flops["trunk"] + flops["heads"]


def test_a_network_of_auxiliary_tasks_alone_is_neither_selected_nor_counted(tmp_path: Path) -> None:
    network = Separate(replace(network_config(), auxiliary=frozenset({"normals"})), {})
    assert network.scored_parts() == [("segmentation",), ("depth",)]
    selection, skill = Selection(CheckpointStore(tmp_path)), {"segmentation": 0.5, "depth": 0.5}
    selection.offer(network, Evaluation(metrics={}, constant={}, skill=skill, mean_skill=0.5), epoch=3)
    assert selection.epochs == {"segmentation": 3, "depth": 3}
    everyone = Separate(network_config(), {})
    counted = [parameters(each, each)["total"] for each in (network, everyone)]
    assert counted[1] - counted[0] == parameters(everyone, everyone)["task:normals"] > 0
    flops = [inference_flops(each, each, torch.device("cpu")) for each in (network, everyone)]
    assert flops[1]["all"] - flops[0]["all"] == flops[1]["task:normals"] > 0
