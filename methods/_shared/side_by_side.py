"""Networks of the tasks that run side by side and exchange features between stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from mtlbench.contract import Backbone, Exchange, Maps

from .typed_modules import TypedModuleDict

Mix = Callable[[int, list[Tensor]], list[Tensor]]
"""(s, the tasks' maps after stage s) → the maps that the next stage reads; s = 0 stands for the stem."""


def typed_trunks(trunks: nn.ModuleDict) -> TypedModuleDict[Backbone]:
    """One backbone per task, as a type checker should see it."""
    return TypedModuleDict({task: trunk for task, trunk in trunks.items() if isinstance(trunk, Backbone)})


def exchange_between(tasks: Sequence[str], depths: Iterable[int], weights: Iterable[Tensor]) -> list[Exchange]:
    """Edges between different tasks.

    Args:
        depths: whose outputs are mixed.
        weights: for each of these depths [target, source].
    """
    return [
        Exchange(depth, source, target, weight)
        for depth, matrix in zip(depths, weights, strict=True)
        for target, row in zip(tasks, matrix.tolist(), strict=True)
        for source, weight in zip(tasks, row, strict=True)
        if source != target
    ]


def run_side_by_side(trunks: TypedModuleDict[Backbone], image: Tensor, mix: Mix) -> dict[str, Maps]:
    """Run all trunks stage by stage.

    Args:
        trunks: one per task, all of the same layout.
        image: normalised images [B, 3, H, W].
        mix: called after the stem and after every stage.

    Returns:
        task → its mixed maps, one per stage.
    """
    maps: dict[str, Maps] = {task: [] for task in trunks}
    networks = list(trunks.values())
    stage_of = networks[0].stage_of
    features: list[Tensor] = mix(0, [trunk.stem(image) for trunk in networks])
    for number, stage in enumerate(stage_of):
        features = [trunk.blocks[number](own) for trunk, own in zip(networks, features, strict=True)]
        if number + 1 == len(stage_of) or stage_of[number + 1] != stage:
            features = mix(stage + 1, features)
            for task, own in zip(maps, features, strict=True):
                maps[task].append(own)
    return maps
