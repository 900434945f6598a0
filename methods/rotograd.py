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
    paper's combination of rotations with GradNorm).
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
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from mtlbench.contract import Architecture, Choice, Hyper, Maps, Publication, Rows, SharingGraph, SharingPlan

from ._shared.typed_modules import TypedModuleDict

_TINY = 1e-15
"""Norms are divided by this at least, as in the official code."""


class Rotation(nn.Module):
    """A rotation matrix [m, m], the exponential of a skew-symmetric one that is given by its entries below the diagonal."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.below = nn.Parameter(torch.zeros(size * (size - 1) // 2))

    def forward(self) -> Tensor:
        with torch.autocast(self.below.device.type, enabled=False):
            rows, columns = torch.tril_indices(self.size, self.size, -1, device=self.below.device)
            lower = self.below.new_zeros(self.size, self.size).index_put((rows, columns), self.below)
            matrix: Tensor = torch.linalg.matrix_exp(lower - lower.T)
        return matrix


class FixedRotation(nn.Module):
    """A rotation as it is deployed: its matrix is computed once. The parameters stay to be counted."""

    matrix: Tensor

    def __init__(self, rotation: Rotation) -> None:
        super().__init__()
        self.below = rotation.below
        self.register_buffer("matrix", rotation().detach())

    def forward(self) -> Tensor:
        return self.matrix


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
            scales = self.scales(tasks)
            rotated = cast(Sequence[Tensor], _Rotate.apply(z, own, scales, *matrices))  # type: ignore[no-untyped-call]
        else:
            rotated = [rotate(matrix, _chosen(z, at)) for matrix, at in zip(matrices, own, strict=True)]
        return {
            task: [*(_chosen(level, at) for level in finer), last]
            for task, at, last in zip(tasks, own, rotated, strict=True)
        }

    def scales(self, tasks: Sequence[str]) -> Callable[[Sequence[int], Tensor], Tensor]:
        """What turns norms of gradients into their factors; of which tasks they are is known in the backward pass alone."""
        places = [list(self.tasks).index(task) for task in tasks]

        def of(arrived: Sequence[int], norms: Tensor) -> Tensor:
            if len(arrived) < 2 or not self.magnitudes:
                return torch.ones_like(norms)
            at = torch.tensor([places[number] for number in arrived], device=norms.device)
            first = self.first_norms[at]
            first = torch.where((first == 0) & norms.isfinite(), norms.to(first), first)
            self.first_norms[at] = first
            return common_length(norms, first.to(norms)) / norms.clamp(min=_TINY)

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


def rotate(matrix: Tensor, z: Tensor) -> Tensor:
    """The first m channels of a map [B, C, …] times a matrix [m, m]."""
    size = len(matrix)
    turned = torch.einsum("ij,nj...->ni...", matrix.to(z.dtype), z[:, :size])
    return turned if size == z.shape[1] else torch.cat((turned.to(z.dtype), z[:, size:]), dim=1)


def common_length(norms: Tensor, first: Tensor) -> Tensor:
    """C of norms [T] and first norms [T]: the tasks whose gradients have shrunk least count most."""
    ratios = norms / first.clamp(min=_TINY)
    return (ratios / ratios.sum().clamp(min=_TINY) * norms).sum()


def _chosen(level: Tensor, at: Tensor | None) -> Tensor:
    return level if at is None else level[at]


class _Rotate(torch.autograd.Function):
    """(z, each task's rows of z or None, scales, R_1 … R_T) → r_1 … r_T. Backward: the equations of this module."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, own: list[Tensor | None], scales: Any, *matrices: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # which tasks' gradients arrive is part of the method
        ctx.save_for_backward(*matrices)
        ctx.own, ctx.scales, ctx.shape, ctx.dtype = own, scales, z.shape, z.dtype
        return tuple(rotate(matrix, _chosen(z, at)) for matrix, at in zip(matrices, own, strict=True))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        matrices, own = ctx.saved_tensors, ctx.own
        given = {
            number: gradient.to(torch.promote_types(gradient.dtype, torch.float32))
            for number, gradient in enumerate(gradients)
            if gradient is not None
        }
        for_rotations: list[Tensor | None] = [None] * len(matrices)
        if not given:
            return None, None, None, *for_rotations
        norms = torch.stack([gradient.norm() for gradient in given.values()])
        inverse = 1 / norms.clamp(min=_TINY)
        units: dict[int, Tensor] = {}
        every = for_z = torch.zeros_like(inverse[0])
        for place, (factor, number) in enumerate(zip(ctx.scales(list(given), norms), given, strict=True)):
            back, at = rotate(matrices[number].T, given[number]), own[number]
            if at is not None:
                back = back.new_zeros(ctx.shape).index_copy(0, at, back)
            units[number] = back * inverse[place]
            for_z, every = for_z + factor * back, every + units[number]
        for place, (number, gradient) in enumerate(given.items()):
            others = _chosen(every - units[number], own[number])
            size = len(matrices[number])
            for_matrix = torch.einsum("ni...,nj...->ij", gradient[:, :size], others[:, :size])
            for_rotations[number] = (for_matrix * (-inverse[place] / len(given))).to(matrices[number].dtype)
        return for_z.to(ctx.dtype), None, None, *for_rotations
