"""Gradients of the shared features: what one backward pass through the trunk can stand for T of them with.

Where one encoder computes the feature maps Z that every head reads, the chain rule gives ∂L_t/∂θ = (∂Z/∂θ)ᵀ ∂L_t/∂Z for its
weights θ. A strategy that decides on the ∂L_t/∂Z needs the heads' backward passes alone, and what it makes of them goes
through the encoder once (Sener and Koltun, NeurIPS 2018, arXiv:1810.04650, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import torch
from torch import Tensor, nn

from mtlbench.contract.network import Maps, MultiTaskNetwork
from mtlbench.errors import UserError


def require_one_encoder(network: MultiTaskNetwork, strategy: str, micro_batches: int) -> None:
    """Refuse networks and settings that have no features in the sense of this module; called at the start of a phase.

    Raises:
        UserError: the trunk is no sharing graph, its tasks run different blocks or may come to (gates), weights outside of
            it are shared, or batches pass in pieces, whose features do not exist at the same time.
    """
    graph = network.graph
    inside = set() if graph is None else {id(weight) for weight in graph.parameters()}
    if graph is None:
        why = "its trunk is not one sharing graph"
    elif len({graph.plan.column(task) for task in network.tasks}) > 1:
        why = "its tasks run different blocks"
    elif type(network).maps is not MultiTaskNetwork.maps:
        why = "it decides while it trains which maps each task reads"
    elif any(id(weight) not in inside for weight in network.shared_parameters()):
        why = "weights outside its encoder are shared, too"
    elif micro_batches > 1:
        raise _refusal(strategy, "the setting micro_batches sends a batch through it in pieces")
    else:
        return
    raise _refusal(strategy, f"this is not so in {type(network).__name__}: {why}")


class SharedFeatures:
    """A context within which heads read copies of the encoder's maps that are cut off from it.

    Losses computed in it can be differentiated for `copies`, and `back_propagate` takes the way from there to the encoder's
    weights. With several scales of maps Z is all of them, and each gradient the partial one: a coarse map's part does not
    count again in the finer maps that it is computed from.

    Args:
        network: one that `require_one_encoder` has admitted.
        strategy: named in errors.

    Attributes:
        maps: the encoder's maps, in the order in which they were computed.
        copies: what heads read in their place.
    """

    def __init__(self, network: MultiTaskNetwork, strategy: str) -> None:
        assert network.graph is not None
        self.strategy = strategy
        self.graph = network.graph
        self.maps: Maps = []
        self.copies: Maps = []

    def __enter__(self) -> SharedFeatures:
        self._handle = self.graph.register_forward_hook(self._cut)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _cut(self, graph: nn.Module, inputs: object, maps: dict[str, Maps]) -> dict[str, Maps]:
        first, *others = maps.values()
        if any(level is not same for other in others for level, same in zip(other, first, strict=True)):
            raise _refusal(self.strategy, "here the tasks read different maps (they have images of their own)")
        # Views, since what counts FLOPs per module cannot have leaves as a module's inputs under `autograd.grad`.
        copies = [leaf.view_as(leaf) for leaf in (level.detach().requires_grad_() for level in first)]
        self.maps += first
        self.copies += copies
        return {task: list(copies) for task in maps}

    def flat(self, gradients: Sequence[Sequence[Tensor | None]]) -> Tensor:
        """Rows float32 [T, N] of the tasks' gradients for `copies`. Maps that no head reads are left out, here and later."""
        used = [any(gradient is not None for gradient in level) for level in zip(*gradients, strict=True)]
        self.maps, self.copies = (
            [level for level, is_used in zip(levels, used, strict=True) if is_used] for levels in (self.maps, self.copies)
        )
        rows = torch.empty(len(gradients), sum(copy.numel() for copy in self.copies), device=self.copies[0].device)
        for row, of_task in zip(rows, gradients, strict=True):
            kept = [gradient for gradient, is_used in zip(of_task, used, strict=True) if is_used]
            parts = [torch.zeros_like(c) if g is None else g for c, g in zip(self.copies, kept, strict=True)]
            row.copy_(torch.cat([part.reshape(-1).float() for part in parts]))
        return rows

    def back_propagate(self, vector: Tensor, weights: Sequence[nn.Parameter]) -> None:
        """Set `.grad` of the encoder's weights from a gradient [N] for the features; None where it does not reach."""
        parts = vector.split([copy.numel() for copy in self.copies])
        outputs = [part.view(level.shape).to(level.dtype) for part, level in zip(parts, self.maps, strict=True)]
        gradients = torch.autograd.grad(self.maps, weights, outputs, allow_unused=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient


def _refusal(strategy: str, why: str) -> UserError:
    return UserError(
        f'{strategy}: gradients = "features" needs one encoder whose output all tasks read, and {why}. '
        'Use gradients = "parameters".'
    )
