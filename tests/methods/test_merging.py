"""Merging of single-task trunks: the formulas, and when which network is merged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.config.method import resolve
from mtlbench.config.plugins import Registry
from mtlbench.contract import Strategy, UserError
from mtlbench.methods._shared.merging import Merging, SingleTasks, Weights, moved, task_vectors
from mtlbench.methods.adamerging import AdaMerging
from mtlbench.methods.adamerging.adapting import Adapting, entropy
from mtlbench.methods.equal import Equal
from mtlbench.methods.regmean import RegMean, linear_inputs, regression
from mtlbench.methods.task_arithmetic import TaskArithmetic
from mtlbench.methods.ties import TIES, merge_vectors
from mtlbench.methods.weight_averaging import WeightAveraging
from tests.tiny import batch, build, image_tasks, run, strategy
from tests.tiny_methods import GOLDEN

NAMES = ("a.weight", "a.bias", "b.weight", "b.bias")
METHODS: list[type[Merging]] = [WeightAveraging, TaskArithmetic, TIES, RegMean, AdaMerging]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN / "merging.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def stored(golden: dict[str, Tensor], prefix: str) -> Weights:
    return {name: golden[f"{prefix}/{name}"] for name in NAMES}


def ends_of(golden: dict[str, Tensor]) -> list[Weights]:
    return [stored(golden, f"end{task}") for task in range(3)]


# -- formulas -----------------------------------------------------------------------------------------------------------


def test_task_arithmetic_is_the_official_code(golden: dict[str, Tensor]) -> None:
    merged = build(TaskArithmetic).merged(stored(golden, "start"), ends_of(golden))
    for name, value in stored(golden, "task_arithmetic").items():
        torch.testing.assert_close(merged[name], value)


@pytest.mark.parametrize("kept", [0.2, 0.5])
def test_ties_is_the_official_code(golden: dict[str, Tensor], kept: float) -> None:
    start, ends = stored(golden, "start"), ends_of(golden)
    torch.testing.assert_close(merge_vectors(task_vectors(start, ends), kept), golden[f"ties/small/{kept}"])
    torch.testing.assert_close(merge_vectors(golden["ties/large/vectors"], kept), golden[f"ties/large/{kept}"])
    merged = build(TIES, kept=kept, scale=0.5).merged(start, ends)
    expected = moved(start, 0.5 * golden[f"ties/small/{kept}"])
    for name, value in merged.items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("off_diagonal", [1.0, 0.9, 0.1])
def test_regmean_is_the_official_code(golden: dict[str, Tensor], off_diagonal: float) -> None:
    network, ends = build(RegMean, off_diagonal=off_diagonal), ends_of(golden)
    for task in range(3):
        for layer in ("a", "b"):
            inputs = golden[f"regmean/inputs{task}/{layer}"]
            network.grams[task, f"{layer}.weight"] = inputs.T @ inputs
            network.counts[task, f"{layer}.weight"] = len(inputs)
    # Weights of linear layers have two dimensions where convolutions have four.
    merged = network.merged(stored(golden, "start"), ends)
    for name, value in stored(golden, f"regmean/{off_diagonal}").items():
        torch.testing.assert_close(merged[name], value, rtol=1e-4, atol=1e-5)
    assert not network.grams


def test_weight_averaging_is_the_official_code_of_regmean(golden: dict[str, Tensor]) -> None:
    start, ends = stored(golden, "start"), ends_of(golden)
    averaged = build(WeightAveraging).merged(start, ends)
    torch.testing.assert_close(averaged["a.bias"], golden["regmean/1.0/a.bias"])  # biases are averaged there
    third = build(TaskArithmetic, scale=1 / 3).merged(start, ends)
    for name, value in averaged.items():
        torch.testing.assert_close(value, third[name])


def test_adamerging_is_the_official_code(golden: dict[str, Tensor]) -> None:
    network = build(AdaMerging)
    network.coefficients = nn.Parameter(golden["adamerging/raw"].clone())
    weights = network.merged(stored(golden, "start"), ends_of(golden))
    images = golden["adamerging/images"]
    hidden = F.linear(images, weights["a.weight"], weights["a.bias"]).relu()
    features = F.linear(hidden, weights["b.weight"], weights["b.bias"])
    heads = [(golden[f"adamerging/head{task}/weight"], golden[f"adamerging/head{task}/bias"]) for task in range(3)]
    loss = torch.stack([entropy(F.linear(features, weight, bias)) for weight, bias in heads]).sum()
    torch.testing.assert_close(loss, golden["adamerging/loss"])
    loss.backward()
    torch.testing.assert_close(network.coefficients.grad, golden["adamerging/grad"])


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 0, 1)])
def test_convolutions_are_linear_in_their_patches(stride: int, padding: int, dilation: int) -> None:
    layer = nn.Conv2d(3, 5, 3, stride, padding, dilation, bias=False)
    image = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    rows = linear_inputs(layer, image)
    expected = layer(image)
    result = (rows @ layer.weight.flatten(1).T).view(2, -1, 5).transpose(1, 2).reshape(expected.shape)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_regression_gives_back_equal_weights_and_averages_what_is_never_read() -> None:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 50, 6, generator=draw)
    inputs[:, :, 4] = 0.0
    grams = inputs.transpose(1, 2) @ inputs / 50
    weights = torch.randn(3, 2, 6, generator=draw)
    equal = weights[:1].expand(3, -1, -1)
    torch.testing.assert_close(regression(grams, equal, 1.0), weights[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(regression(grams, weights, 1.0)[:, 4], weights.mean(0)[:, 4], rtol=1e-3, atol=1e-4)
    # It is the least squares solution for all tasks' inputs and outputs together.
    targets = torch.cat([rows @ own.T for rows, own in zip(inputs, weights, strict=True)])
    best = torch.linalg.lstsq(inputs.flatten(0, 1), targets, driver="gelsd").solution.T
    known = [0, 1, 2, 3, 5]
    torch.testing.assert_close(regression(grams, weights, 1.0)[:, known], best[:, known], rtol=1e-3, atol=1e-3)


# -- training -----------------------------------------------------------------------------------------------------------


def trained(network: Merging, epochs: int = 2, cls: type[Strategy] = Equal) -> list[tuple[str, bool, bool]]:
    """Run all phases on a few batches; returns (phase, selectable, merged) after every epoch."""
    the_run = run(epochs)
    started = strategy(cls, network, the_run)
    tasks, seen = tuple(network.tasks.values()), []
    for phase in network.phases(the_run, started):
        phase.begin()
        phase.prepare()
        for epoch in range(phase.epochs):
            network.train()
            for number, each in enumerate(phase.passes(epoch)):
                each.step(batch(tasks, seed=number))
            phase.end_epoch(epoch, {})
            seen.append((phase.name, phase.selectable, network.is_merged))
        phase.finish()
    return seen


@pytest.mark.parametrize("cls", METHODS[:4])
def test_the_last_epoch_ends_with_the_merged_network(cls: type[Merging]) -> None:
    network = build(cls)
    assert trained(network, 3) == [("single-task", False, False)] * 2 + [("single-task", True, True)]
    assert network.plan() == network.shared_plan and network.graph is not None
    assert len(network.parts()) == 1 and network.shared_parameters() == list(network.graph.parameters())
    assert all(prediction.isfinite().all() for prediction in network.eval()(batch().image).values())
    assert -1 <= network.extra()["cosine of task vectors"] <= 1
    other = build(cls)
    other.restore_structure(json.loads(json.dumps(network.structure())))
    other.load_state_dict(network.state_dict())
    assert other.extra() == network.extra() and other.plan() == network.plan()


@pytest.mark.parametrize("cls", METHODS)
def test_without_training_the_merged_trunk_is_the_initial_one(cls: type[Merging]) -> None:
    network = build(cls)
    start = network.initial_trunk()
    network.merge()
    assert network.graph is not None
    for depth in range(len(network.units)):
        for name, value in network.graph.module(depth, 0).named_parameters():
            torch.testing.assert_close(value, start[f"{depth}.{name}"])


def test_statistics_are_averaged() -> None:
    network = build(WeightAveraging)
    assert network.graph is not None
    for number in range(3):
        network.graph.module(0, number).get_buffer("1.running_mean").fill_(float(number))
    network.merge()
    assert network.graph.module(0, 0).get_buffer("1.running_mean").tolist() == [1.0] * 16


def test_regmean_measures_every_convolution_of_every_task() -> None:
    network, images = build(RegMean).eval(), batch()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    assert network.measure(images) == {} and network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    convolutions = [name for name, value in network.initial_trunk().items() if value.ndim == 4]
    assert set(network.grams) == {(task, name) for task in range(3) for name in convolutions}
    name = convolutions[0]
    layer = network.graph.module(0, 0)[0]  # type: ignore[index, union-attr]
    rows = linear_inputs(layer, network.normalised(images.image))
    torch.testing.assert_close(network.grams[0, name], rows.T @ rows)
    assert network.counts[0, name] == len(rows)


def test_the_search_for_statistics_is_part_of_the_last_epoch() -> None:
    network, the_run = build(RegMean), run(2)
    (phase,) = network.phases(the_run, strategy(Equal, network, the_run))
    assert isinstance(phase, SingleTasks)
    assert [each.part for each in phase.passes(0)] == [(0.0, 1.0)]
    assert [(each.part, each.updates) for each in phase.passes(1)] == [((0.0, 0.9), 1), ((0.9, 1.0), 0)]


def test_adamerging_learns_coefficients_alone() -> None:
    network = build(AdaMerging)
    assert trained(network, 3) == [("single-task", False, False)] * 2 + [("adapting", True, True)]
    assert not torch.equal(network.coefficients, torch.full_like(network.coefficients, 0.3))
    start, ends = network.initial_trunk(), network.trunks()
    merged = network.merged(start, ends)
    assert network.graph is not None
    for depth in range(len(network.units)):
        for name, value in network.graph.module(depth, 0).named_parameters():
            torch.testing.assert_close(value, merged[f"{depth}.{name}"])
    deployed = network.eval().deploy()
    assert not any(name.startswith("singles") for name, _ in deployed.named_parameters())
    for task, prediction in deployed(batch().image).items():
        assert torch.equal(prediction, network(batch().image)[task])


def test_coefficients_lower_the_objective() -> None:
    network = build(AdaMerging, image_tasks(), rate=0.05)
    images = batch(image_tasks())
    the_run = run(2)
    started = strategy(Equal, network, the_run)
    single, adapting = network.phases(the_run, started)
    single.prepare()
    for _ in range(5):
        started.step(images)
    assert isinstance(adapting, Adapting)
    adapting.begin()
    adapting.prepare()
    first = {task: float(loss) for task, loss in adapting.step(images).items()}
    for _ in range(10):
        last = {task: float(loss) for task, loss in adapting.step(images).items()}
    assert sum(last.values()) < sum(first.values())
    # Classification learns by entropy: without labels, too, though nothing is logged then.
    before = network.coefficients.clone()
    unlabelled = replace(images, labelled={task: torch.zeros(4, dtype=torch.bool) for task in images.labelled})
    assert adapting.step(unlabelled) == {} and not torch.equal(network.coefficients, before)


@pytest.mark.parametrize("name", ["weight_averaging", "task_arithmetic", "ties", "regmean", "adamerging"])
def test_strategies_of_shared_weights_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="means nothing"):
        resolve(f"{name}+pcgrad", {}, Registry())


def test_moved_and_task_vectors_are_inverse() -> None:
    draw = torch.Generator().manual_seed(0)
    start, end = ({"w": torch.randn(3, 2, generator=draw), "b": torch.randn(3, generator=draw)} for _ in range(2))
    back: Callable[[Weights], Tensor] = lambda weights: torch.cat([value.flatten() for value in weights.values()])  # noqa: E731
    torch.testing.assert_close(back(moved(start, task_vectors(start, [end])[0])), back(end))
