"""F-MTL: sharpness-aware multi-task learning (Phan et al., arXiv:2211.13723).

    ε_t = ρ g_t / ‖g_t‖,    h_t = ∇L_t(θ + ε_t);      shared gradient  A(g_1 … g_T) + A(h_1 − g_1 … h_T − g_T)

Legend: g_t the task's gradient at θ; A a combination of gradients. ε_t has one length for the shared weights, another for
those that the task owns alone, whose gradient is that part of h_t. With A the sum the shared gradient is Σ_t h_t. Where no
weight is shared (a single task) training is plain.

There is no official code. At the perturbed weights dropout draws other masks, and BatchNorm's running statistics see the
images again.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mtlbench.contract import Batch, Choice, Hyper, JacobianStrategy, LogUniform, Publication, TaskLosses

_TINY = 1e-12


class FMTL(JacobianStrategy):
    """Descend every task's loss at the worst point nearby, so that each ends in a flat minimum of its own."""

    family: ClassVar[str] = "gradient combination"
    publication: ClassVar[Publication | None] = Publication(
        "Phan et al.",
        "arXiv",
        2022,
        "Improving Multi-task Learning via Seeking Task-based Flat Regions",
        arxiv="2211.13723",
    )
    passes: ClassVar[str] = "1 + T forward, 2 T backward through the trunk"
    invariances: ClassVar[frozenset[str]] = frozenset({"one_task", "task_order"})

    rho: float = Hyper(0.05, search=LogUniform(1e-3, 0.5), gt=0, help="ρ: length of the perturbation")
    combination: Literal["sum", "imtl_g"] = Hyper(
        "sum", search=Choice(("sum", "imtl_g")), help="A: plain sum, or the weights of IMTL-G"
    )

    def setup(self) -> None:
        from torchjd.aggregation import IMTLGWeighting

        self.weighting: Callable[[Tensor], Tensor] = IMTLGWeighting()

    def step(self, batch: Batch) -> TaskLosses:
        self.batch = batch
        return super().step(batch)

    def combine(self, rows: Tensor, losses: TaskLosses) -> Tensor:
        sharp = rows if self.combination == "sum" else torch.empty_like(rows)
        for number, task in enumerate(losses):
            own = self.own[task]
            weights = [*self.shared, *own]
            before = [weight.detach().clone() for weight in weights]
            climb(self.shared, self.parts(rows[number]), self.rho)
            climb(own, [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in own], self.rho)
            # Replaces the gradients of what the task owns alone.
            sharp[number] = self.task_gradients(self.losses(self.batch, (task,)))[0][0]
            with torch.no_grad():
                for weight, value in zip(weights, before, strict=True):
                    weight.copy_(value)
        if self.combination == "sum":
            return sharp.sum(0)  # the plain gradients cancel
        return self.impartial(rows) + self.impartial(sharp.sub_(rows))

    def impartial(self, rows: Tensor) -> Tensor:
        """IMTL-G's combination [P] of rows [T, P]."""
        gramian = (rows @ rows.T).double().cpu()
        scale = gramian.diagonal().sum()
        if not bool(scale > 0):
            return rows.sum(0)
        return self.weighting(gramian / scale).to(rows) @ rows

    def parts(self, row: Tensor) -> list[Tensor]:
        """A row [P] as one tensor per shared weight; rows hold the elements in the order of the weights' memory."""
        pieces = row.split([weight.numel() for weight in self.shared])
        return [
            piece.as_strided(weight.shape, weight.stride())
            if weight.is_contiguous() or weight.is_contiguous(memory_format=torch.channels_last)
            else piece.view(weight.shape)
            for piece, weight in zip(pieces, self.shared, strict=True)
        ]


@torch.no_grad()
def climb(weights: Sequence[nn.Parameter], gradients: Sequence[Tensor], rho: float) -> None:
    """Move the weights along the gradients by a distance of ρ."""
    if not weights:
        return
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.add_(gradient * (rho / (norm + _TINY)))
