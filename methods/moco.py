"""MoCo: multi-objective gradient correction (Fernando et al., ICLR 2023, arXiv:2210.12624, algorithm 1)."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mtlbench.contract import Hyper, JacobianStrategy, LogUniform, Publication, TaskLosses

from ._shared.simplex import move_share, onto_simplex

_TINY = 1e-8


class MoCo(JacobianStrategy):
    """Combine moving averages of the task gradients, whose bias vanishes with time, instead of one batch's.

        y_t ← y_t − β_k (y_t − g_t),        λ ← Π_Δ(λ − γ_k (Y Yᵀ + ρ I) λ),        step along Σ_t λ_t y_t
        β_k = β / k^σ,   γ_k = γ / k^σ,     k = 1, 2, … the step

    Legend: y_t the average of task t, 0 at first; Y their rows; Π_Δ the projection onto the simplex. The averages take as
    much memory as T gradients more, and are part of a checkpoint. They begin anew where the shared weights become others.

    `normalisation="loss"` averages g_t L_t / ‖g_t‖, as LibMTL does after code of the authors; "none" is the paper's
    algorithm and the authors' later code. LibMTL replaces the projection by a softmax, which pulls λ towards equal weights
    at every step. The paper's projection of y_t onto a bounded set is left out in all of them.
    """

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Fernando et al.",
        "ICLR",
        2023,
        "Mitigating Gradient Bias in Multi-objective Learning: A Provably Convergent Approach",
        arxiv="2210.12624",
    )
    compared_with: ClassVar[str] = "official code"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    y: Tensor
    lambdas: Tensor
    steps: Tensor
    beta: float = Hyper(0.5, search=LogUniform(0.05, 1.0), gt=0, le=1, help="β: weight of the newest gradient")
    gamma: float = Hyper(0.1, search=LogUniform(1e-3, 1.0), gt=0, help="γ: step size of the weights λ")
    decay: float = Hyper(0.5, ge=0, le=1, help="σ: both shrink as 1 / k^σ over the steps")
    rho: float = Hyper(0.0, ge=0, help="ρ: pull of the weights λ towards equal ones")
    normalisation: Literal["loss", "none"] = Hyper("loss", help='scale each gradient to its task\'s loss ("loss"), or not')

    def setup(self) -> None:
        count, size = len(self.tasks), sum(weight.numel() for weight in self.network.shared_parameters())
        self.register_buffer("y", torch.zeros(count, size, device=self.run.device))
        self.register_buffer("lambdas", torch.full((count,), 1 / count, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_fit)

    def start(self) -> None:
        super().start()
        size = sum(weight.numel() for weight in self.shared)
        if self.y.shape[1] != size:
            self.y = self.y.new_zeros(len(self.tasks), size)

    def combine(self, rows: Tensor, losses: TaskLosses) -> Tensor:
        if not bool(rows.isfinite().all()):
            return rows.sum(0)  # as plain training would
        self.steps += 1
        fade = float(self.steps) ** -self.decay
        if self.normalisation == "loss":
            values = torch.stack([loss.detach() for loss in losses.values()]).to(rows)
            rows = rows * (values / (rows.norm(dim=1) + _TINY))[:, None]
        at = [self.tasks.index(task) for task in losses]
        self.y[at] = torch.lerp(self.y[at], rows.to(self.y), self.beta * fade)
        gramian = (self.y[at] @ self.y[at].T).double().cpu()
        weights = move_share(
            self.lambdas, at, lambda old: onto_simplex(old - self.gamma * fade * (gramian @ old + self.rho * old))
        )
        return weights.to(rows) @ self.y[at].to(rows)


def _fit(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before loading: averages of the size that was saved. The structure may have changed since the strategy was made."""
    module.y = state[f"{prefix}y"].new_zeros(state[f"{prefix}y"].shape)
