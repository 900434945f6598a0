"""RegMean: merging by linear regression (Jin et al., ICLR 2023, arXiv:2212.09849).

Every linear layer of the merged trunk predicts best, in the least squares, what the single-task layers make of their inputs:

    W = (Σ_t G̃_t)⁻¹ Σ_t G̃_t W_t                G_t = X_tᵀ X_t / n
    G̃ = G on the diagonal, α G elsewhere

Legend: X_t [n, in] the inputs of the layer in task t's network on training images; W_t [in, out] its weights; α
`off_diagonal`. All other parameters are averaged. Starts and what is merged: `_shared/merging.py`.

Choices and deviations from the official code, which merges language models:
    Convolutions are linear layers of the patches that they read: X_t has one row per position, of all channels of the patch.
    Inputs. From the last `images` of train in the last epoch, instead of training steps; in evaluation mode.
    Singular matrices. Channels that are always zero have no best weights; a ridge of 1e-6 of the mean diagonal gives them
    the average of the W_t.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlbench.contract import Batch, Hyper, Pass, Publication, TaskLosses, Uniform

from ._shared.merging import Merging, Weights


class RegMean(Merging):
    """Merge every convolution so that it does to each task's features what that task's own did."""

    publication: ClassVar[Publication | None] = Publication(
        "Jin et al.", "ICLR", 2023, "Dataless Knowledge Fusion by Merging Weights of Language Models", arxiv="2212.09849"
    )
    compared_with: ClassVar[str] = "official code"

    off_diagonal: float = Hyper(0.9, search=Uniform(0.1, 1.0), ge=0, le=1, help="α: what is left of the off-diagonal")
    images: float = Hyper(0.1, gt=0, lt=1, help="share of train whose features are measured, in the last epoch")

    def build(self) -> None:
        super().build()
        self.grams: dict[tuple[int, str], Tensor] = {}
        self.counts: dict[tuple[int, str], int] = {}

    def last_passes(self, epoch: Pass) -> list[Pass]:
        self.grams, self.counts = {}, {}
        train = Pass(epoch.step, (0.0, 1 - self.images), epoch.kind, epoch.updates)
        return [train, Pass(self.measure, (1 - self.images, 1.0), "features", updates=0)]

    @torch.no_grad()
    def measure(self, batch: Batch) -> TaskLosses:
        """Add a batch to the sums of X_tᵀ X_t; nothing moves."""
        assert self.graph is not None
        handles = [
            module.register_forward_hook(self.adder(number, f"{depth}.{name}.weight" if name else f"{depth}.weight"))
            for number in range(len(self.tasks))
            for depth in range(len(self.units))
            for name, module in self.graph.module(depth, number).named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        ]
        training = self.training
        self.eval()
        self.graph(self.normalised(batch.image), None, batch.rows)
        self.train(training)
        for handle in handles:
            handle.remove()
        return {}

    def adder(self, task: int, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Any], None]:
        """A hook that adds a layer's inputs to the task's Gram matrix of the weight of that name."""

        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            rows = linear_inputs(module, inputs[0]).float()
            self.grams[task, name] = self.grams.get((task, name), 0) + rows.T @ rows
            self.counts[task, name] = self.counts.get((task, name), 0) + len(rows)

        return add

    def merged(self, start: Weights, ends: list[Weights]) -> Weights:
        weights = {}
        for name in start:
            own = torch.stack([end[name] for end in ends])
            if all(self.counts.get((task, name), 0) for task in range(len(ends))):
                grams = [self.grams[task, name] / self.counts[task, name] for task in range(len(ends))]
                weights[name] = regression(torch.stack(grams), own.flatten(2), self.off_diagonal).view(own.shape[1:])
            else:
                weights[name] = own.mean(0)
        self.grams, self.counts = {}, {}
        return weights


def linear_inputs(module: nn.Module, features: Tensor) -> Tensor:
    """What a layer multiplies its weights with: [rows, in], for convolutions one row per position."""
    if isinstance(module, nn.Conv2d):
        assert module.groups == 1 and isinstance(module.padding, tuple)
        size = (module.kernel_size[0], module.kernel_size[1])
        features = F.unfold(features, size, module.dilation, module.padding, module.stride).transpose(1, 2)
    return features.reshape(-1, features.shape[-1])


def regression(grams: Tensor, weights: Tensor, off_diagonal: float) -> Tensor:
    """G_t [T, in, in] and the transposed W_t [T, out, in] → the transposed W [out, in]. Solved in double precision."""
    grams, values = grams.double(), weights.double()
    identity = torch.eye(grams.shape[1], dtype=grams.dtype, device=grams.device)
    reduced = grams * (off_diagonal + (1 - off_diagonal) * identity)
    ridge = 1e-6 * reduced.diagonal(dim1=1, dim2=2).mean().clamp_min(1e-12)
    reduced = reduced + ridge / len(grams) * identity
    merged = torch.linalg.solve(reduced.sum(0), (reduced @ values.transpose(1, 2)).sum(0))
    return merged.T.to(weights.dtype)
