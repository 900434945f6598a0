"""Rotated feature maps whose backward pass makes the tasks' gradients alike: the equations of the method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from .rotations import rotate

TINY = 1e-15
"""Norms are divided by this at least, as in the official code."""

Factors = Callable[[Sequence[int], Tensor], Tensor]
"""(tasks whose gradients have arrived, as positions among those that run; the gradients' norms) → a factor for each task."""


def homogenised(z: Tensor, matrices: Sequence[Tensor], own: Sequence[Tensor | None], factors: Factors) -> Sequence[Tensor]:
    """The tasks' rotated maps R_t z.

    Args:
        z: the map [B, C, …] that all tasks read.
        matrices: R_t [m, m] per task.
        own: the images of z that are the task's own, as positions; None for all.
        factors: what each task's gradient for z is multiplied by.
    """
    return cast(Sequence[Tensor], _Homogenise.apply(z, own, factors, *matrices))  # type: ignore[no-untyped-call]


def common_length(norms: Tensor, first: Tensor) -> Tensor:
    """C of norms [T] and first norms [T]: the tasks whose gradients have shrunk least count most."""
    ratios = norms / first.clamp(min=TINY)
    return (ratios / ratios.sum().clamp(min=TINY) * norms).sum()


def chosen(level: Tensor, at: Tensor | None) -> Tensor:
    """A map's images at the given positions, or all of them."""
    return level if at is None else level[at]


class _Homogenise(torch.autograd.Function):
    """(z, each task's images or None, factors, R_1 … R_T) → r_1 … r_T. Backward: the equations of the method."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, own: Sequence[Tensor | None], factors: Factors, *matrices: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # which tasks' gradients arrive is part of the method
        ctx.save_for_backward(*matrices)
        ctx.own, ctx.factors, ctx.shape, ctx.dtype = own, factors, z.shape, z.dtype
        return tuple(rotate(matrix, chosen(z, at)) for matrix, at in zip(matrices, own, strict=True))

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
        inverse = 1 / norms.clamp(min=TINY)
        units: dict[int, Tensor] = {}
        every = for_z = torch.zeros_like(inverse[0])
        for place, (factor, number) in enumerate(zip(ctx.factors(list(given), norms), given, strict=True)):
            back, at = rotate(matrices[number].T, given[number]), own[number]
            if at is not None:
                back = back.new_zeros(ctx.shape).index_copy(0, at, back)
            units[number] = back * inverse[place]
            for_z, every = for_z + factor * back, every + units[number]
        for place, (number, gradient) in enumerate(given.items()):
            others = chosen(every - units[number], own[number])
            size = len(matrices[number])
            for_matrix = torch.einsum("ni...,nj...->ij", gradient[:, :size], others[:, :size])
            for_rotations[number] = (for_matrix * (-inverse[place] / len(given))).to(matrices[number].dtype)
        return for_z.to(ctx.dtype), None, None, *for_rotations
