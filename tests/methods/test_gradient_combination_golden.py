"""Combined gradients and learned weights against published code (tests/golden/gradient_combination.npz).

The networks are linear in one shared weight, so that a task's gradient is exactly the stored row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtlbench.contract import JacobianStrategy, MultiTaskNetwork, SharingPlan, Strategy, TaskLosses
from mtlbench.methods.aligned_mtl import AlignedMTL
from mtlbench.methods.config_grad import ConFIG
from mtlbench.methods.dualproj import DualProj
from mtlbench.methods.fairgrad import FairGrad, fair_weights
from mtlbench.methods.igb import IGB
from mtlbench.methods.imtl import IMTL
from mtlbench.methods.imtl_l import IMTLL
from mtlbench.methods.moco import MoCo
from mtlbench.methods.modo import MoDo
from mtlbench.methods.norm_scaling import NormScaling
from mtlbench.methods.sdmgrad import SDMGrad
from tests.methods.golden_gradients import Floats, GoldenGradients
from tests.tiny import S
from tests.tiny_methods import Linear, Plain, make_run, started

GOLDENS = GoldenGradients("gradient_combination.npz")
FILE, CASES = GOLDENS.file, GOLDENS.cases
array, tensor, network = GOLDENS.array, GOLDENS.tensor, GOLDENS.network
ALPHAS = sorted(float(key.rpartition("alpha")[2]) for key in FILE.files if key.startswith(f"{CASES[0]}/fairgrad"))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(cls: type[S], net: Plain, **hypers: Any) -> S:
    return started(cls, net, make_run(name="sgd", momentum=0.0, lr=1e-9), **hypers)


def combined(strategy: Strategy, net: Linear) -> Floats:
    """The shared weight's gradient in one step from 0."""
    with torch.no_grad():
        net.weight.zero_()
    strategy.step(None)  # type: ignore[arg-type]  # a `Linear` network needs no batch
    assert net.weight.grad is not None
    gradient: Floats = net.weight.grad[0].numpy()
    return gradient


def combined_by(cls: type[Strategy], case: str, **hypers: Any) -> Floats:
    net = network(case)
    return combined(start(cls, net, **hypers), net)


def weights_of(strategy: JacobianStrategy, products: Tensor) -> Floats:
    losses = dict.fromkeys(strategy.tasks, torch.tensor(1.0))
    return np.array(strategy.weights(products, losses))


def close(values: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Agreement relative to the largest number."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(values), expected, rtol=0, atol=tolerance * np.abs(expected).max())


# -- one set of gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
def test_fairgrad(case: str, alpha: float) -> None:
    expected = array(f"{case}/fairgrad/weights_alpha{alpha}") @ array(f"{case}/G")
    close(combined_by(FairGrad, case, alpha=alpha), expected, 1e-6)


def test_fairgrad_solves_its_equation_at_any_scale() -> None:
    """Where the published solver stops early: short gradients, and gradients of unlike sizes."""
    draw = np.random.default_rng(0)
    for sizes in ([1e-6, 1e-6, 1e-6], [1e-4, 1.0, 1e3]):
        rows = draw.normal(size=(3, 50)) * np.array(sizes)[:, None]
        gramian = rows @ rows.T
        for alpha in (0.5, 1.0, 2.0, 5.0):
            weights = fair_weights(gramian, alpha)
            np.testing.assert_allclose(gramian @ weights * weights ** (1 / alpha), 1, rtol=1e-6)


def test_config_grad(case: str) -> None:
    combination = combined_by(ConFIG, case)
    for key in (key for key in FILE.files if key.startswith(f"{case}/config/")):
        close(combination, FILE[key])


def test_config_grad_makes_equal_angles_and_none_between_opposite_gradients(case: str) -> None:
    gradients, combination = array(f"{case}/G"), combined_by(ConFIG, case)
    cosines = gradients @ combination / np.linalg.norm(gradients, axis=1) / np.linalg.norm(combination)
    np.testing.assert_allclose(cosines, cosines.mean(), rtol=1e-9)
    assert cosines.min() > 0
    opposite = Linear(np.stack([gradients[0], -2 * gradients[0]]), np.ones(2))
    np.testing.assert_allclose(combined(start(ConFIG, opposite), opposite), 0, atol=1e-9)


def test_dualproj(case: str) -> None:
    gradients, combination = array(f"{case}/G"), combined_by(DualProj, case)
    # torchjd's regularization costs this much.
    close(combination, FILE[f"{case}/dualproj/torchjd"], 2e-2)
    assert np.min(gradients @ combination) >= -1e-9 * np.abs(gradients).max() ** 2
    # Nothing that conflicts with no task is nearer to the mean: what was added is orthogonal to the result.
    added = combination - gradients.mean(0)
    assert abs(added @ combination) <= 1e-9 * np.sum(combination**2)


def test_norm_scaling(case: str) -> None:
    gradients = array(f"{case}/G")
    close(combined_by(NormScaling, case), (gradients / np.linalg.norm(gradients, axis=1)[:, None]).sum(0))


@pytest.mark.parametrize("cls", [IMTL, IMTLL])
def test_imtl(case: str, cls: type[IMTL | IMTLL]) -> None:
    net = network(case)
    strategy = start(cls, net)
    s = tensor(f"{case}/imtl/s")
    for scale, value in zip(strategy.log_scale, s, strict=True):
        scale.data = value.clone()
    combination = combined(strategy, net)
    expected = FILE[f"{case}/imtl/combined"] if cls is IMTL else s.exp().numpy() @ array(f"{case}/G")
    close(combination, expected)
    close([float(scale.grad or 0) for scale in strategy.log_scale], FILE[f"{case}/imtl/grad_s"])


def test_igb(case: str) -> None:
    net = network(case)
    strategy = start(IGB, net)
    losses = dict(zip(strategy.tasks, tensor(f"{case}/losses"), strict=True))
    close(strategy.task_weights(losses), FILE[f"{case}/igb/weights_before"])
    base = dict(zip(strategy.tasks, array(f"{case}/igb/base").tolist(), strict=True))
    strategy.end_epoch({task: 100 * value for task, value in base.items()})
    assert strategy.base.isnan().all()  # the first epoch's means are not the base
    strategy.end_epoch(base)
    strategy.end_epoch({task: 100 * value for task, value in base.items()})
    close(strategy.task_weights(losses), FILE[f"{case}/igb/weights"], 1e-6)
    close(combined(strategy, net), array(f"{case}/igb/loss_gradient") @ array(f"{case}/G"), 1e-6)


# -- several samples, several steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gamma", "rho"), [(0.1, 0.1), (0.01, 0.0)])
def test_modo(case: str, gamma: float, rho: float) -> None:
    strategy = start(MoDo, network(case), gamma=gamma, rho=rho)
    samples, key = tensor(f"{case}/samples"), f"{case}/modo/gamma{gamma}_rho{rho}"
    for number, (first, second, _) in enumerate(samples):
        weights = weights_of(strategy, first @ second.T)
        close(weights, FILE[f"{key}/lambda"][number])
        close(weights @ ((first + second) / 2).numpy(), FILE[f"{key}/combined"][number])


@pytest.mark.parametrize("strength", [0.3, 2.0])
def test_sdmgrad(case: str, strength: float) -> None:
    strategy = start(SDMGrad, network(case), strength=strength)
    key = f"{case}/sdmgrad/lambda{strength}"
    for number, (first, second, third) in enumerate(tensor(f"{case}/samples")):
        weights = weights_of(strategy, first @ second.T)
        close(weights, FILE[f"{key}/torchjd_weights"][number])
        close(weights @ third.numpy(), FILE[f"{key}/combined"][number])


def test_moco(case: str) -> None:
    net = network(case)
    strategy = start(MoCo, net, decay=0.0, rho=0.1, normalisation="none")
    strategy.y = strategy.y.double()
    for number, sample in enumerate(tensor(f"{case}/samples")):
        net.gradients = sample[0]
        close(combined(strategy, net), FILE[f"{case}/moco/combined"][number])
        close(strategy.lambdas, FILE[f"{case}/moco/lambda"][number])


def test_moco_averages_normalised_gradients(case: str) -> None:
    net = network(case)
    strategy = start(MoCo, net)
    strategy.y = strategy.y.double()
    for number, sample in enumerate(tensor(f"{case}/samples")):
        net.gradients = sample[0]
        combined(strategy, net)
        close(strategy.y, FILE[f"{case}/moco/libmtl_y"][number])


# -- gradients of features ------------------------------------------------------------------------------------------------


class OneEncoder(Plain):
    """The stored encoder and heads: tanh(W x), and squares of H_t z − target_t."""

    maps = MultiTaskNetwork.maps

    def __init__(self) -> None:
        heads, targets, image = tensor("features/H"), tensor("features/target"), tensor("features/x")
        names = [f"t{number}" for number in range(len(heads))]

        def losses_of(batch: object, tasks: Sequence[str]) -> TaskLosses:
            maps = self.graph(image)
            return {
                task: ((maps[task][0] @ heads[names.index(task)]) - targets[names.index(task)]).pow(2).sum()
                for task in tasks
            }

        encoder = Encoder(names)
        super().__init__(encoder, {name: nn.Identity() for name in names}, losses_of)
        self.graph = encoder


class Encoder(nn.Module):
    """What a strategy sees of a sharing graph."""

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.weight = nn.Parameter(tensor("features/W"))
        self.plan = SharingPlan.shared(["encoder"], list(tasks))

    def forward(self, image: Tensor) -> dict[str, list[Tensor]]:
        features = torch.tanh(image @ self.weight.T)
        return {task: [features] for task in self.plan.tasks}


@pytest.mark.parametrize(("cls", "key", "factor"), [(IMTL, "imtl", 1), (AlignedMTL, "aligned_mtl", 3)])
def test_gradients_of_features(cls: type[JacobianStrategy], key: str, factor: int) -> None:
    """With one image LibMTL's sum over images is the gradient itself. Its Aligned-MTL is T times the paper's."""
    net = OneEncoder()
    strategy = start(cls, net, gradients="features")
    strategy.step(None)  # type: ignore[arg-type]  # the network needs no batch
    gradient = net.graph.weight.grad
    assert gradient is not None
    close(factor * gradient, FILE[f"features/{key}/encoder_gradient"], 1e-6)


def test_moco_takes_up_averages_of_a_network_that_has_changed() -> None:
    """When a trial is resumed the strategy is made before the structure is restored, and loaded after."""
    saved = started(MoCo, Linear(np.ones((2, 7)), np.ones(2)), make_run())
    saved.step(None)  # type: ignore[arg-type]
    resumed = started(MoCo, Linear(np.ones((2, 4)), np.ones(2)), make_run())
    resumed.load_state_dict(saved.state_dict())
    assert torch.equal(resumed.y, saved.y) and int(resumed.steps) == 1
    resumed.start()
    assert resumed.y.shape == (2, 4) and not resumed.y.any()  # these weights are others than those that were averaged
