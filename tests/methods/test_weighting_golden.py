"""Combined gradients and weights against the official implementations' (tests/golden/weighting.npz).

The networks are linear in one shared weight, so that a task's gradient is exactly the stored row.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from tests.methods.strategy_toys import GOLDEN, linear, make, make_run, plugin

FILE = np.load(GOLDEN / "weighting.npz")
CASES = ["case0", "case1", "case2", "case3"]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(case: str, name: str, losses: np.ndarray | None = None, **hypers: Any) -> Any:
    for module, hint in plugin(name).requires.items():
        if find_spec(module) is None:
            pytest.skip(f"{name} needs {module}: {hint}")
    network = linear(FILE[f"{case}/G"], FILE[f"{case}/losses"] if losses is None else losses)
    return make(name, network, make_run(name="sgd", momentum=0.0, lr=1e-9), **hypers)


def combined(strategy: Any) -> np.ndarray:
    """The shared weight's gradient in one step."""
    strategy.step(None)
    return strategy.network.shared.weight.grad[0].numpy()


def close(value: Any, key: str, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(value), FILE[key], rtol=tolerance, atol=tolerance)


def test_equal(case: str) -> None:
    np.testing.assert_allclose(combined(start(case, "equal")), FILE[f"{case}/G"].sum(0), atol=1e-12)


@pytest.mark.parametrize("state", ["init", "random"])
def test_uncertainty(case: str, state: str) -> None:
    key = f"{case}/uw/{state}"
    strategy = start(case, "uncertainty")
    for parameter, value in zip(strategy.log_variance, FILE[f"{key}/s"], strict=True):
        parameter.data = torch.tensor(value)
    close(combined(strategy), f"{key}/combined")
    close([parameter.grad for parameter in strategy.log_variance], f"{key}/grad_s")


def test_dwa(case: str) -> None:
    strategy = start(case, "dwa")
    history = FILE[f"{case}/dwa/history_task_epoch"]
    for epoch in range(4):
        np.testing.assert_allclose(
            list(strategy.task_weights().values()),
            FILE[f"{case}/dwa/weights_by_epoch"][epoch],
            atol=1e-6,
        )
        close(combined(strategy), f"{case}/dwa/combined_epoch{epoch}")
        if epoch < history.shape[1]:
            strategy.end_epoch({task: history[number, epoch] for number, task in enumerate(strategy.tasks)})


def test_rlw(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = start(case, "rlw")
    logits = dict(zip(strategy.tasks, FILE[f"{case}/rlw/logits"], strict=True))
    monkeypatch.setattr(type(strategy), "draw", lambda self, task: float(logits[task]))
    close(combined(strategy), f"{case}/rlw/combined")


def test_gls(case: str) -> None:
    close(combined(start(case, "gls")), f"{case}/gls/combined")


def test_log_loss(case: str) -> None:
    expected = (FILE[f"{case}/G"] / FILE[f"{case}/losses"][:, None]).sum(0)
    np.testing.assert_allclose(combined(start(case, "log_loss")), expected, rtol=1e-9)


def test_famo(case: str) -> None:
    before, after = FILE[f"{case}/famo/losses_before"], FILE[f"{case}/famo/losses_after"]
    strategy = start(case, "famo", before[0])
    forward, calls = strategy.network.losses_of, iter(range(2 * len(before)))

    def losses_of(batch: Any, tasks: Any) -> Any:
        number, second = divmod(next(calls), 2)
        values = (after if second else before)[number]
        strategy.network.values["losses"] = torch.from_numpy(values)
        return forward(batch, tasks)

    strategy.network.losses_of = losses_of
    for parameter in strategy.parameters():
        parameter.data = parameter.data.double()
    for number in range(len(before)):
        with torch.no_grad():
            strategy.network.shared.weight.zero_()
        np.testing.assert_allclose(combined(strategy), FILE[f"{case}/famo/combined"][number], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            [float(logit.detach()) for logit in strategy.logits],
            FILE[f"{case}/famo/w"][number],
            atol=1e-6,
        )


def test_gradnorm(case: str) -> None:
    key = f"{case}/gradnorm"
    strategy = start(case, "gradnorm", alpha=float(FILE[f"{key}/alpha"]), weight_lr=0.025)
    strategy.weight = torch.from_numpy(FILE[f"{key}/aitso_weights_before"])
    strategy.initial = torch.from_numpy(FILE[f"{key}/initial_losses"])
    rows = torch.arange(len(strategy.tasks))
    norms = torch.from_numpy(np.linalg.norm(FILE[f"{case}/G"], axis=1))
    gradient = strategy.gradient(rows, norms, torch.from_numpy(FILE[f"{case}/losses"]))
    close(gradient, f"{key}/aitso_grad_weights")
    close(combined(strategy), f"{key}/aitso_combined")
    close(strategy.weight, f"{key}/aitso_weights_after_sgd_lr0.025_renormalised")


def test_mgda_exact(case: str) -> None:
    squared = float(np.sum(combined(start(case, "mgda")) ** 2))
    exact = float(np.sum(FILE[f"{case}/mgda/exact_combined"] ** 2))
    assert squared <= exact * (1 + 1e-6) + 1e-6
    np.testing.assert_allclose(combined(start(case, "mgda")), FILE[f"{case}/mgda/exact_combined"], atol=1e-3)
    np.testing.assert_allclose(
        combined(start(case, "mgda")), FILE[f"{case}/mgda/torchjd_tight_combined"], rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize("normalisation", ["none", "l2", "loss", "loss+"])
def test_mgda_normalised_is_at_least_as_short(case: str, normalisation: str) -> None:
    """The official solver may stop early, so ours may only be shorter."""
    gradients, losses = FILE[f"{case}/G"], FILE[f"{case}/losses"]
    norms = np.linalg.norm(gradients, axis=1)
    scale = {"none": np.ones_like(norms), "l2": norms, "loss": losses, "loss+": losses * norms}[normalisation]
    official = FILE[f"{case}/mgda/libmtl_{normalisation}/combined"]
    ours = combined(start(case, "mgda", normalisation=normalisation))
    assert np.sum(ours**2) <= np.sum(official**2) * (1 + 1e-6)
    assert np.sum(ours**2) >= 0.8 * np.sum(official**2)
    weights = np.linalg.lstsq((gradients / scale[:, None]).T, ours, rcond=None)[0]
    assert weights.min() > -1e-9
    assert weights.sum() == pytest.approx(1.0)


def fix_orders(strategy: Any, orders: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = iter(orders)
    monkeypatch.setattr(type(strategy), "order", lambda self, task, others: next(waiting))


def test_pcgrad(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = start(case, "pcgrad")
    orders = FILE[f"{case}/pcgrad/projection_order"].tolist()
    fix_orders(strategy, [[j for j in row if j != i] for i, row in enumerate(orders)], monkeypatch)
    result = combined(strategy)
    close(result, f"{case}/pcgrad/libmtl/combined")
    close(result, f"{case}/pcgrad/torchjd_combined")


def test_gradvac(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = start(case, "gradvac")
    orders = FILE[f"{case}/gradvac/order_two_calls"]
    fix_orders(strategy, orders.reshape(-1, orders.shape[-1]).tolist(), monkeypatch)
    close(combined(strategy), f"{case}/gradvac/torchjd_combined_call1", 1e-5)
    second = torch.from_numpy(FILE[f"{case}/gradvac/G_second_call"])
    strategy.network.values["gradients"] = second
    close(combined(strategy), f"{case}/gradvac/torchjd_combined_call2", 1e-5)


def test_graddrop(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = start(case, "graddrop")
    uniform = torch.from_numpy(FILE[f"{case}/graddrop/uniform"])
    monkeypatch.setattr(type(strategy), "uniform", lambda self, into: into.copy_(2 * uniform - 1))
    close(combined(strategy), f"{case}/graddrop/torchjd_combined")


def test_imtl_g(case: str) -> None:
    close(combined(start(case, "imtl_g")), f"{case}/imtl/torchjd_combined")
    close(combined(start(case, "imtl_g")), f"{case}/imtl/libmtl_scale0/combined")


def test_aligned_mtl(case: str) -> None:
    result = combined(start(case, "aligned_mtl"))
    close(result, f"{case}/aligned/torchjd_combined")
    close(result * len(FILE[f"{case}/G"]), f"{case}/aligned/libmtl/combined")


def test_cagrad(case: str) -> None:
    result = combined(start(case, "cagrad"))
    exact = FILE[f"{case}/cagrad/exact_combined_unscaled"]
    np.testing.assert_allclose(result, exact, atol=1e-4 * np.linalg.norm(exact))
    np.testing.assert_allclose(result, FILE[f"{case}/cagrad/torchjd_combined"], atol=1e-4 * np.linalg.norm(exact))


def test_upgrad(case: str) -> None:
    result = combined(start(case, "upgrad"))
    close(result, f"{case}/upgrad/torchjd_combined", 1e-5)
    # The regularisation in torchjd costs this much with badly scaled gradients.
    exact = FILE[f"{case}/upgrad/exact_combined"]
    assert np.linalg.norm(result - exact) <= 0.11 * np.linalg.norm(exact)


def test_nash_mtl(case: str) -> None:
    result = combined(start(case, "nash_mtl", max_norm=0.0))
    expected = FILE[f"{case}/nash/torchjd_combined_max_norm0"]
    np.testing.assert_allclose(result, expected, atol=1e-3 * np.linalg.norm(expected))
    cut = combined(start(case, "nash_mtl", max_norm=1e-3))
    assert np.linalg.norm(cut) == pytest.approx(1e-3)


def test_pcgrad_is_twice_upgrad_for_two_conflicting_tasks() -> None:
    gradients = np.array([[1.0, 0.2, 0.0], [-0.5, 1.0, 0.3]])
    assert gradients[0] @ gradients[1] < 0
    if find_spec("quadprog") is None:
        pytest.skip("upgrad needs quadprog")
    run = make_run(name="sgd", momentum=0.0, lr=1e-9)
    one, other = (combined(make(name, linear(gradients, np.ones(2)), run)) for name in ("pcgrad", "upgrad"))
    np.testing.assert_allclose(one, 2 * other, rtol=1e-3, atol=1e-3)
