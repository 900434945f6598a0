"""FairGrad: fair resource allocation (Ban and Ji, ICML 2024, arXiv:2402.15638, eq. 4)."""

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtlbench.contract import Hyper, JacobianStrategy, Publication, TaskLosses, Uniform

_ITERATIONS = 100

_RIDGE = 1e-8
"""Added to the diagonal: without it there is no solution for exactly opposite gradients."""


class FairGrad(JacobianStrategy):
    """Step where the α-fair sum of the tasks' first-order improvements is largest.

        J Jᵀ w = w^(−1/α)        (entry by entry),        step along Jᵀ w

    α = 1 is Nash-MTL's proportional fairness; α → 0 the sum of the losses; α → ∞ the best step for the worst-off task. w
    minimises a strictly convex function, ½ wᵀJJᵀw − Σ_t h(w_t) with h'(x) = x^(−1/α), which damped Newton steps solve to
    rounding. (Official code, LibMTL and torchjd start a general least-squares solver at 1/T, which stops early where
    gradients are short: half of the solution at inner products of 10⁻⁶.) The official code then multiplies by T and cuts
    the gradient's norm at 1; here the protocol decides on the latter. α = 2 is what its published experiments use.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Ban and Ji", "ICML", 2024, "Fair Resource Allocation in Multi-Task Learning", arxiv="2402.15638"
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    alpha: float = Hyper(2.0, search=Uniform(0.5, 10.0), ge=0.1, help="α: how much the worst-off task counts")

    def weights(self, gramian: Tensor, losses: TaskLosses) -> Tensor:
        return torch.from_numpy(fair_weights(gramian.numpy(), self.alpha))


def fair_weights(gramian: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """The positive w [T] with G w = w^(−1/α)."""
    # With norms n and cosines C, v = n w solves C v = n^(1/α − 1) v^(−1/α): no scale of a gradient matters any more.
    power, norms = 1 / alpha, np.sqrt(np.diag(gramian))
    cosines = gramian / np.outer(norms, norms) + _RIDGE * np.eye(len(norms))
    fair = norms ** (power - 1)

    def objective(v: NDArray[np.float64]) -> float:
        utility = np.log(v) if power == 1 else v ** (1 - power) / (1 - power)
        return float(v @ cosines @ v / 2 - fair @ utility)

    v = fair ** (1 / (1 + power))  # the solution for gradients at right angles
    for _ in range(_ITERATIONS):
        target = fair * v**-power
        slope = cosines @ v - target
        if np.all(np.abs(slope) <= 1e-10 * target):
            break
        step = np.linalg.solve(cosines + np.diag(power * target / v), -slope)
        # At most nine tenths of the way to where an entry would be 0, and only as far as the objective does not rise.
        length, value = min(1.0, 0.9 / max(1e-300, float((-step / v).max()))), objective(v)
        while length > 1e-12 and objective(v + length * step) > value + 0.1 * length * float(slope @ step) + 1e-14 * abs(
            value
        ):
            length /= 2
        v = v + length * step
    return v / norms
