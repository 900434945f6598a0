"""The network that is evaluated: the deployed one, which predicts the scored tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mtlbench.contract import Architecture


def deployed(network: Architecture) -> nn.Module:
    """`network.deploy()`; where there are auxiliary tasks, one that predicts only the scored ones unless told otherwise."""
    shipped = network.deploy()
    return ScoredTasks(shipped, network.scored) if len(network.scored) < len(network.tasks) else shipped


class ScoredTasks(nn.Module):
    """Calls a network for the scored tasks.

    Args:
        network: a deployed network.
        scored: names of the tasks to predict where none are asked for.
    """

    def __init__(self, network: nn.Module, scored: Sequence[str]) -> None:
        super().__init__()
        self.network, self.scored = network, tuple(scored)

    def forward(
        self, image: Tensor, tasks: Sequence[str] | None = None, rows: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Images [B, 3, H, W] in [0, 1] → task → prediction, as `MultiTaskNetwork.forward`."""
        predictions: dict[str, Tensor] = self.network(image, self.scored if tasks is None else tasks, rows)
        return predictions
