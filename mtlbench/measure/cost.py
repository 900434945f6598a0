"""What a network costs: parameters by owner, and FLOPs by execution.

FLOPs are counted by `torch.utils.flop_counter` while the network runs: 2 per multiply-add, convolutions and matrix products
only (no normalisation, activation, pooling or interpolation).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mtlbench.contract import MultiTaskNetwork


def count_flops(run: Callable[[], object]) -> int:
    """FLOPs of everything that is executed in `run`, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return int(counter.get_total_flops())


def parameters(network: MultiTaskNetwork, deployed: nn.Module) -> dict[str, int]:
    """Trainable parameters that the scored tasks of the deployed network need: total, shared, trunk, heads, each task's own.

    What auxiliary tasks own alone is not counted, and what one scored task shares with them alone is its own.
    """
    owners, scored = network.owners(), frozenset(network.scored)
    everyone = frozenset(network.tasks)
    counts = {"total": 0, "shared": 0, "trunk": 0, "heads": 0}
    counts.update({f"task:{task}": 0 for task in network.scored})
    for name, parameter in deployed.named_parameters():
        owned_by, size = owners.get(name, everyone), parameter.numel()
        if not parameter.requires_grad or (owned_by and owned_by <= network.config.auxiliary):
            continue
        tasks = owned_by & scored
        counts["total"] += size
        counts["heads" if name.startswith("heads.") else "trunk"] += size
        if len(tasks) == 1:
            counts[f"task:{next(iter(tasks))}"] += size
        else:
            counts["shared"] += size
    return counts


@torch.no_grad()
def inference_flops(network: MultiTaskNetwork, deployed: nn.Module, device: torch.device) -> dict[str, int]:
    """FLOPs of one image through the deployed network: all scored tasks, each alone, and how heads and trunk share them."""
    tasks = None if len(network.scored) == len(network.tasks) else list(network.scored)
    image = torch.zeros(1, 3, *network.config.image_size, device=device)
    was_training = deployed.training
    deployed.eval()
    total = count_flops(lambda: deployed(image, tasks))
    flops = {"all": total}
    for task in network.scored:
        flops[f"task:{task}"] = count_flops(lambda task=task: deployed(image, [task]))  # type: ignore[misc]
    flops["heads"] = _head_flops(deployed, image, tasks)
    flops["trunk"] = total - flops["heads"]
    deployed.train(was_training)
    return flops


def _head_flops(deployed: nn.Module, image: torch.Tensor, tasks: list[str] | None) -> int:
    """FLOPs inside the modules under `heads`, counted while the network runs for the tasks (None: all)."""
    inside = 0
    running: dict[int, FlopCounterMode] = {}

    def enter(module: nn.Module, _: object) -> None:
        running[id(module)] = FlopCounterMode(display=False)
        running[id(module)].__enter__()

    def leave(module: nn.Module, _: object, __: object) -> None:
        nonlocal inside
        counter = running.pop(id(module))
        counter.__exit__(None, None, None)
        inside += int(counter.get_total_flops())

    hooks = []
    for head in getattr(deployed, "heads", nn.ModuleDict()).values():
        hooks += [head.register_forward_pre_hook(enter), head.register_forward_hook(leave)]
    try:
        deployed(image, tasks)
    finally:
        for hook in hooks:
            hook.remove()
    return inside
