"""Golden gradients: cases of stored gradients and losses, and a network whose task gradients are exactly the stored rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.tiny_methods import GOLDEN, Linear

Floats = NDArray[np.float64]


class GoldenGradients:
    """A file of tests/golden whose cases hold `G` [T, P] and `losses` [T].

    Attributes:
        file: its arrays.
        cases: their names, sorted.
    """

    def __init__(self, name: str) -> None:
        self.file = np.load(GOLDEN / name)
        self.cases = sorted({key.split("/")[0] for key in self.file.files if key.startswith("case")})

    def array(self, key: str) -> Floats:
        return np.asarray(self.file[key], dtype=np.float64)

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.array(key))

    def network(self, case: str) -> Linear:
        """Linear in one shared weight: the gradient of each task is its row of the case's `G`."""
        return Linear(self.array(f"{case}/G"), self.array(f"{case}/losses"))
