"""One example of every kind of task, for properties that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mtlbench.tasks import (
    Attributes,
    Boundaries,
    Classification,
    Depth,
    Normals,
    Reconstruction,
    Saliency,
    Segmentation,
    Task,
)

HEIGHT, WIDTH = 7, 10


@dataclass(frozen=True)
class Case:
    """A task with random labels (`draw`, all valid) and the prediction that reproduces them (`perfect`)."""

    task: Task
    draw: Callable[[int, torch.Generator], Tensor]
    perfect: Callable[[Tensor], Tensor]

    def targets(self, count: int, seed: int = 0, invalid: float = 0.3) -> Tensor:
        """Targets of which some elements (whole pixels, where a pixel is a vector) are invalid, but not all."""
        generator = torch.Generator().manual_seed(seed)
        target = self.draw(count, generator)
        if invalid == 0:
            return target
        removed = torch.rand(self.pixels(target).shape, generator=generator) < invalid
        removed.view(-1)[0] = False
        return target.masked_fill(removed, self.task.invalid)

    def predictions(self, target: Tensor, seed: int = 1, noise: float = 1.0) -> Tensor:
        """Predictions between perfect and random."""
        perfect = self.perfect(target).nan_to_num(nan=0.5)
        generator = torch.Generator().manual_seed(seed)
        return perfect * 0.3 + noise * torch.randn(perfect.shape, generator=generator)

    def pixels(self, target: Tensor) -> Tensor:
        """One element per pixel, broadcastable over the target."""
        return target[:, :1] if isinstance(self.task, Normals | Reconstruction) else target

    def unlabelled(self, count: int) -> Tensor:
        return torch.full_like(self.targets(count), self.task.invalid)

    def invalid(self, target: Tensor) -> Tensor:
        """Bool, shaped as a prediction or broadcastable to it: elements without a label."""
        first = self.pixels(target)
        mask = first.isnan() if isinstance(self.task, Reconstruction) else first == self.task.invalid
        if isinstance(self.task, Normals):
            mask = (target == 0).all(1, keepdim=True)
        if isinstance(self.task, Segmentation | Classification):
            mask = mask[:, None]
        return mask


def _integers(shape: tuple[int, ...], high: int, dtype: torch.dtype) -> Callable[[int, torch.Generator], Tensor]:
    return lambda count, generator: torch.randint(high, (count, *shape), generator=generator).to(dtype)


def _positive(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand((count, 1, HEIGHT, WIDTH), generator=generator) * 9 + 0.5


def _unit(count: int, generator: torch.Generator) -> Tensor:
    normals = torch.randn((count, 3, HEIGHT, WIDTH), generator=generator) + torch.tensor([0.0, 0.5, 2.0]).reshape(1, 3, 1, 1)
    return torch.nn.functional.normalize(normals, dim=1)


def _image(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand((count, 3, HEIGHT, WIDTH), generator=generator)


def _one_hot(channels: int) -> Callable[[Tensor], Tensor]:
    def perfect(target: Tensor) -> Tensor:
        labels = torch.where((target < 0) | (target >= channels), 0, target.long())
        return torch.nn.functional.one_hot(labels, channels).movedim(-1, 1).float() * 10

    return perfect


def _sign(target: Tensor) -> Tensor:
    return (2.0 * (target == 1).float() - 1) * 10


def _same(target: Tensor) -> Tensor:
    return target.clone()


CASES = {
    "segmentation": Case(Segmentation("s", 5), _integers((HEIGHT, WIDTH), 5, torch.uint8), _one_hot(5)),
    "depth": Case(Depth("d", unit="m"), _positive, _same),
    "inverse_depth": Case(Depth("i", inverse=True), _positive, _same),
    "normals": Case(Normals("n"), _unit, _same),
    "boundaries": Case(Boundaries("b"), _integers((1, HEIGHT, WIDTH), 2, torch.uint8), _sign),
    "boundaries_ratio": Case(Boundaries("r", None), _integers((1, HEIGHT, WIDTH), 2, torch.uint8), _sign),
    "saliency": Case(Saliency("y"), _integers((1, HEIGHT, WIDTH), 2, torch.uint8), _sign),
    "classification": Case(Classification("c", 4), _integers((), 4, torch.int16), _one_hot(4)),
    "attributes": Case(Attributes("a", 6), _integers((6,), 2, torch.int8), _sign),
    "reconstruction": Case(Reconstruction("x"), _image, _same),
}
