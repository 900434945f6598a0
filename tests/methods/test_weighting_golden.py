"""Combined gradients and weights against the official implementations' (tests/golden/weighting.npz).

The networks are linear in one shared weight, so that a task's gradient is exactly the stored row. Numbers of tasks, of
weights and of cases are those of the arrays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench.contract import Strategy, TaskLosses
from mtlbench.methods.aligned_mtl import AlignedMTL
from mtlbench.methods.cagrad import CAGrad
from mtlbench.methods.dwa import DWA
from mtlbench.methods.equal import Equal
from mtlbench.methods.famo import FAMO
from mtlbench.methods.gls import GLS
from mtlbench.methods.graddrop import GradDrop
from mtlbench.methods.gradnorm import GradNorm
from mtlbench.methods.gradvac import GradVac
from mtlbench.methods.imtl_g import IMTLG
from mtlbench.methods.log_loss import LogLoss
from mtlbench.methods.mgda import MGDA
from mtlbench.methods.nash_mtl import NashMTL
from mtlbench.methods.pcgrad import PCGrad
from mtlbench.methods.rlw import RLW
from mtlbench.methods.uncertainty import Uncertainty
from mtlbench.methods.upgrad import UPGrad
from tests.methods.golden_gradients import Floats, GoldenGradients
from tests.tiny import S
from tests.tiny_methods import Linear, make_run, skip_without_packages, started

GOLDENS = GoldenGradients("weighting.npz")
FILE, CASES = GOLDENS.file, GOLDENS.cases
array, tensor, network = GOLDENS.array, GOLDENS.tensor, GOLDENS.network


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(cls: type[S], net: Linear, **hypers: Any) -> S:
    skip_without_packages(cls.__module__.rpartition(".")[2])
    return started(cls, net, make_run(name="sgd", momentum=0.0, lr=1e-9), **hypers)


def combined(strategy: Strategy, net: Linear) -> Floats:
    """The shared weight's gradient in one step."""
    strategy.step(None)  # type: ignore[arg-type]  # a `Linear` network needs no batch
    assert net.weight.grad is not None
    gradient: Floats = net.weight.grad[0].numpy()
    return gradient


def combined_by(cls: type[Strategy], case: str, **hypers: Any) -> Floats:
    """The same, of a new network and strategy."""
    net = network(case)
    return combined(start(cls, net, **hypers), net)


def close(values: Any, key: str, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(values), FILE[key], rtol=tolerance, atol=tolerance)


def test_equal(case: str) -> None:
    np.testing.assert_allclose(combined_by(Equal, case), array(f"{case}/G").sum(0), atol=1e-12)


@pytest.mark.parametrize("state", ["init", "random"])
def test_uncertainty(case: str, state: str) -> None:
    key, net = f"{case}/uw/{state}", network(case)
    strategy = start(Uncertainty, net)
    for parameter, value in zip(strategy.log_variance, tensor(f"{key}/s"), strict=True):
        parameter.data = value
    close(combined(strategy, net), f"{key}/combined")
    close([parameter.grad for parameter in strategy.log_variance], f"{key}/grad_s")


def test_dwa(case: str) -> None:
    net = network(case)
    strategy = start(DWA, net)
    history, weights = array(f"{case}/dwa/history_task_epoch"), array(f"{case}/dwa/weights_by_epoch")
    for epoch in range(len(weights)):
        np.testing.assert_allclose(list(strategy.task_weights().values()), weights[epoch], atol=1e-6)
        close(combined(strategy, net), f"{case}/dwa/combined_epoch{epoch}")
        if epoch < history.shape[1]:
            strategy.end_epoch({task: history[number, epoch] for number, task in enumerate(strategy.tasks)})


def test_rlw(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(case)
    strategy = start(RLW, net)
    logits = dict(zip(strategy.tasks, array(f"{case}/rlw/logits").tolist(), strict=True))
    monkeypatch.setattr(strategy, "draw", logits.__getitem__)
    close(combined(strategy, net), f"{case}/rlw/combined")


def test_gls(case: str) -> None:
    close(combined_by(GLS, case), f"{case}/gls/combined")


def test_log_loss(case: str) -> None:
    expected = (array(f"{case}/G") / array(f"{case}/losses")[:, None]).sum(0)
    np.testing.assert_allclose(combined_by(LogLoss, case), expected, rtol=1e-9)


def test_famo(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(case)
    strategy = start(FAMO, net)
    for parameter in strategy.parameters():
        parameter.data = parameter.data.double()
    for number, pair in enumerate(
        zip(tensor(f"{case}/famo/losses_before"), tensor(f"{case}/famo/losses_after"), strict=True)
    ):
        values = iter(pair)

        def losses_of(batch: object, tasks: Sequence[str], values: Any = values) -> TaskLosses:
            net.values = next(values)
            return net.linear_losses(batch, tasks)

        monkeypatch.setattr(net, "losses_of", losses_of)
        with torch.no_grad():
            net.weight.zero_()
        np.testing.assert_allclose(combined(strategy, net), FILE[f"{case}/famo/combined"][number], rtol=1e-6, atol=1e-6)
        logits = [float(logit.detach()) for logit in strategy.logits]
        np.testing.assert_allclose(logits, FILE[f"{case}/famo/w"][number], atol=1e-6)


def test_gradnorm(case: str) -> None:
    key, net = f"{case}/gradnorm", network(case)
    (after,) = (name for name in FILE.files if name.startswith(f"{key}/aitso_weights_after_sgd_lr"))
    rate = re.search(r"_lr([0-9.]+)_", after)
    assert rate is not None
    strategy = start(GradNorm, net, alpha=float(FILE[f"{key}/alpha"]), weight_lr=float(rate[1]))
    strategy.weight, strategy.initial = tensor(f"{key}/aitso_weights_before"), tensor(f"{key}/initial_losses")
    rows = torch.arange(len(strategy.tasks))
    norms = torch.from_numpy(np.linalg.norm(array(f"{case}/G"), axis=1))
    close(strategy.gradient(rows, norms, tensor(f"{case}/losses")), f"{key}/aitso_grad_weights")
    close(combined(strategy, net), f"{key}/aitso_combined")
    close(strategy.weight, after)


def test_mgda_exact(case: str) -> None:
    combination = combined_by(MGDA, case)
    exact = array(f"{case}/mgda/exact_combined")
    assert np.sum(combination**2) <= np.sum(exact**2) * (1 + 1e-6) + 1e-6
    np.testing.assert_allclose(combination, exact, atol=1e-3)
    np.testing.assert_allclose(combination, array(f"{case}/mgda/torchjd_tight_combined"), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("normalisation", ["none", "l2", "loss", "loss+"])
def test_mgda_normalised_is_at_least_as_short(case: str, normalisation: str) -> None:
    """The official solver may stop early, so ours may only be shorter."""
    gradients, losses = array(f"{case}/G"), array(f"{case}/losses")
    norms = np.linalg.norm(gradients, axis=1)
    scale = {"none": np.ones_like(norms), "l2": norms, "loss": losses, "loss+": losses * norms}[normalisation]
    official = array(f"{case}/mgda/libmtl_{normalisation}/combined")
    ours = combined_by(MGDA, case, normalisation=normalisation)
    assert np.sum(ours**2) <= np.sum(official**2) * (1 + 1e-6)
    assert np.sum(ours**2) >= 0.8 * np.sum(official**2)
    weights = np.linalg.lstsq((gradients / scale[:, None]).T, ours, rcond=None)[0]
    assert weights.min() > -1e-9
    assert weights.sum() == pytest.approx(1.0)


def fix_orders(strategy: Strategy, orders: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = iter(orders)
    monkeypatch.setattr(strategy, "order", lambda task, others: next(waiting))


def test_pcgrad(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(case)
    strategy = start(PCGrad, net)
    orders = FILE[f"{case}/pcgrad/projection_order"].tolist()
    fix_orders(strategy, [[j for j in row if j != i] for i, row in enumerate(orders)], monkeypatch)
    combination = combined(strategy, net)
    close(combination, f"{case}/pcgrad/libmtl/combined")
    close(combination, f"{case}/pcgrad/torchjd_combined")


def test_gradvac(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(case)
    strategy = start(GradVac, net)
    orders = FILE[f"{case}/gradvac/order_two_calls"]
    fix_orders(strategy, orders.reshape(-1, orders.shape[-1]).tolist(), monkeypatch)
    close(combined(strategy, net), f"{case}/gradvac/torchjd_combined_call1", 1e-5)
    net.gradients = tensor(f"{case}/gradvac/G_second_call")
    close(combined(strategy, net), f"{case}/gradvac/torchjd_combined_call2", 1e-5)


def test_graddrop(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(case)
    strategy = start(GradDrop, net)
    uniform = tensor(f"{case}/graddrop/uniform")
    monkeypatch.setattr(strategy, "uniform", lambda into: into.copy_(2 * uniform - 1))
    close(combined(strategy, net), f"{case}/graddrop/torchjd_combined")


def test_imtl_g(case: str) -> None:
    combination = combined_by(IMTLG, case)
    close(combination, f"{case}/imtl/torchjd_combined")
    close(combination, f"{case}/imtl/libmtl_scale0/combined")


def test_aligned_mtl(case: str) -> None:
    combination = combined_by(AlignedMTL, case)
    close(combination, f"{case}/aligned/torchjd_combined")
    close(combination * len(FILE[f"{case}/G"]), f"{case}/aligned/libmtl/combined")


def test_cagrad(case: str) -> None:
    combination = combined_by(CAGrad, case)
    exact = array(f"{case}/cagrad/exact_combined_unscaled")
    tolerance = 1e-4 * float(np.linalg.norm(exact))
    np.testing.assert_allclose(combination, exact, atol=tolerance)
    np.testing.assert_allclose(combination, array(f"{case}/cagrad/torchjd_combined"), atol=tolerance)


def test_upgrad(case: str) -> None:
    combination = combined_by(UPGrad, case)
    close(combination, f"{case}/upgrad/torchjd_combined", 1e-5)
    # The regularization in torchjd costs this much with badly scaled gradients.
    exact = array(f"{case}/upgrad/exact_combined")
    assert np.linalg.norm(combination - exact) <= 0.11 * np.linalg.norm(exact)


def test_nash_mtl(case: str) -> None:
    expected = array(f"{case}/nash/torchjd_combined_max_norm0")
    size = float(np.linalg.norm(expected))
    np.testing.assert_allclose(combined_by(NashMTL, case, max_norm=0.0), expected, atol=1e-3 * size)
    bound = 1e-3 * size
    assert np.linalg.norm(combined_by(NashMTL, case, max_norm=bound)) == pytest.approx(bound)


def test_pcgrad_is_twice_upgrad_for_two_conflicting_tasks() -> None:
    gradients = np.array([[1.0, 0.2, 0.0], [-0.5, 1.0, 0.3]])
    assert gradients[0] @ gradients[1] < 0
    if find_spec("quadprog") is None:
        pytest.skip("upgrad needs quadprog")
    projected, dual = (Linear(gradients, np.ones(2)) for _ in range(2))
    pcgrad, upgrad = combined(start(PCGrad, projected), projected), combined(start(UPGrad, dual), dual)
    np.testing.assert_allclose(pcgrad, 2 * upgrad, rtol=1e-3, atol=1e-3)
