"""RotoGrad: gradient homogenisation (Javaloy and Valera, ICLR 2022, arXiv:2103.02631).

One trunk for all tasks, and one rotation per task between its last map and the task's head:

    r_t = R_t z,   R_t = exp(A_t),  A_t skew-symmetric, 0 at first
    z gets     C Σ_t u_t,   u_t = g_t / ‖g_t‖,   C = Σ_t α_t ‖g_t‖,   α_t = (‖g_t‖ / ‖g_t⁰‖) / Σ_s (‖g_s‖ / ‖g_s⁰‖)
    R_t gets   the gradient of −⟨R_t v, ∂L_t/∂r_t⟩ / ‖g_t‖,   v = (1/T) Σ_s u_s        (v is a constant here)

Legend: g_t = R_tᵀ ∂L_t/∂r_t the gradient of task t's loss for z, norms over the whole batch; g_t⁰ the first one; T the tasks
whose gradients arrive together. So gradients for z have one length, and no R_t descends on a loss: it makes the mean cosine
between its task's gradient and all tasks' larger. u_t's own part of v changes nothing on rotations and is left out.

All of that happens in the backward pass of one function, which needs every task's gradient at once:
    One gradient alone (a strategy that back-propagates task by task, as those on Jacobians do; steps in turn; one labelled
    task) has nothing to be compared with. It passes to z as the chain rule says, and its R_t gets zero, which the formulas
    say, too. The network is then hard sharing: `extra` reports the rotations' distance from the identity, 0.
    A strategy's weights w_t scale g_t, and so take part in C alone (`magnitudes=False`: in full; with `gradnorm` that is the
    authors' RotoGradNorm, but that there the weights do not reach the heads).
    Micro-batches are homogenised one by one. Images that belong to a single task (multi-input data) align nothing.

Deviations from the official code:
    Optimizer. The protocol's moves the rotations, so its weight decay draws them to the identity and its clipping counts
    them. There they have a learning rate of their own; a smaller one is advised.
    Objective. There it is the mean over images of ‖R_t v − ∂L_t/∂r_t‖², with u_s as long as the mean gradient: the same up
    to a constant and a positive factor, with which steps depend on the scale of the losses.
    Start. The identity, where all tasks read z itself. There the package geotorch puts a random rotation in its place.
    First norms are kept. There they are replaced after 20 steps, by default.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Choice, Hyper, Maps, Publication, Rows, SharingGraph, SharingPlan

from .._shared.typed_modules import TypedModuleDict
from .homogenise import TINY, Factors, chosen, common_length, homogenised
from .rotations import FixedRotation, Rotation, rotate


class RotoGrad(Architecture):
    """One trunk, and per task a rotation before its head, which aligns the tasks' gradients for the trunk's last map."""

    family: ClassVar[str] = "hard sharing"
    publication: ClassVar[Publication | None] = Publication(
        "Javaloy and Valera", "ICLR", 2022, "RotoGrad: Gradient Homogenization in Multitask Learning", arxiv="2103.02631"
    )
    compared_with: ClassVar[str] = "official code"

    channels: int = Hyper(512, search=Choice((128, 256, 512)), ge=2, help="channels that are rotated at most: the first m")
    magnitudes: bool = Hyper(True, help="give the gradients for the last map one length; otherwise directions alone change")

    first_norms: Tensor

    def build(self) -> None:
        units = self.block_units()
        self.graph = SharingGraph(units, SharingPlan.shared([unit.name for unit in units], list(self.tasks)))
        size = min(self.channels, self.stage_channels[-1])
        self.rotations: TypedModuleDict[Rotation | FixedRotation] = TypedModuleDict({t: Rotation(size) for t in self.tasks})
        for task, rotation in self.rotations.items():
            self.own(rotation, [task])
        self.register_buffer("first_norms", torch.zeros(len(self.tasks)))  # 0: not known yet

    def maps(self, image: Tensor, tasks: Sequence[str], rows: Rows) -> dict[str, Maps]:
        assert self.graph is not None
        own: list[Tensor | None] = [None] * len(tasks)
        if rows is not None:
            # All tasks' images at once, so that the trunk has one last map in which gradients meet.
            present = torch.unique(torch.cat([rows[task] for task in tasks]))
            image, own = image[present], [torch.searchsorted(present, rows[task]) for task in tasks]
        *finer, z = next(iter(self.graph(image, tasks).values()))
        matrices = [self.rotations[task]() for task in tasks]
        if self.training:
            rotated = homogenised(z, matrices, own, self.factors(tasks))
        else:
            rotated = [rotate(matrix, chosen(z, at)) for matrix, at in zip(matrices, own, strict=True)]
        return {
            task: [*(chosen(level, at) for level in finer), last] for task, at, last in zip(tasks, own, rotated, strict=True)
        }

    def factors(self, tasks: Sequence[str]) -> Factors:
        """The factors C / ‖g_t‖, for a backward pass of these tasks; the first norms are noted on the way."""
        places = [list(self.tasks).index(task) for task in tasks]

        def of(arrived: Sequence[int], norms: Tensor) -> Tensor:
            if len(arrived) < 2 or not self.magnitudes:
                return torch.ones_like(norms)
            at = torch.tensor([places[number] for number in arrived], device=norms.device)
            first = self.first_norms[at]
            first = torch.where((first == 0) & norms.isfinite(), norms.to(first), first)
            self.first_norms[at] = first
            return common_length(norms, first.to(norms)) / norms.clamp(min=TINY)

        return of

    def deploy(self) -> nn.Module:
        shipped = copy.copy(self)
        fixed = {t: FixedRotation(r) if isinstance(r, Rotation) else r for t, r in self.rotations.items()}
        shipped._modules = {**self._modules, "rotations": TypedModuleDict(fixed).train(self.training)}
        return shipped

    def extra(self) -> dict[str, float]:
        """The rotations' mean distance ‖R_t − 1‖ from the identity, relative to the largest that there is, 2√m."""
        matrices = torch.stack([rotation().detach() for rotation in self.rotations.values()])
        size = matrices.shape[-1]
        distances = (matrices - torch.eye(size).to(matrices)).flatten(1).norm(dim=1)
        return {"rotation": float(distances.mean()) / (2 * size**0.5)}
