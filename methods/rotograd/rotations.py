"""Rotations of a feature map's channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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


def rotate(matrix: Tensor, z: Tensor) -> Tensor:
    """The first m channels of a map [B, C, …] times a matrix [m, m]."""
    size = len(matrix)
    turned = torch.einsum("ij,nj...->ni...", matrix.to(z.dtype), z[:, :size])
    return turned if size == z.shape[1] else torch.cat((turned.to(z.dtype), z[:, size:]), dim=1)
