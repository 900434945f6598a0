"""Networks of one trunk and a logit per task, for tests of alternating steps: the golden file's, and a random one.

All sizes of the golden network (tests/golden/alternating.npz) are those of its arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from mtlbench.contract import OptimizerSpec, TaskLosses
from mtlbench.methods.alternating import Alternating
from tests.tiny_methods import GOLDEN, Plain, make_run, started

FILE = np.load(GOLDEN / "alternating.npz")
KINDS = sorted({key.split("/")[0] for key in FILE.files if "/" in key})
"""The golden networks: an MLP and a CNN without running statistics."""

BETA1 = float(FILE["adam_beta_eps"][0])
ADAM = OptimizerSpec("adam", lr=float(FILE["lr"][0]), momentum=BETA1, schedule="constant")
SGD = OptimizerSpec("sgd", lr=float(FILE["lr"][1]), momentum=0.0, schedule="constant")

LabelledImages = tuple[Tensor, Tensor]
"""Inputs [N, …] and binary targets [N, T]."""


class LogitNetwork(Plain):
    """A trunk and one linear logit per task; losses are binary cross-entropies.

    Args:
        trunk: inputs → features [N, D].
        weight, bias: of the heads, [T, D] and [T].
        scale: factors on the losses of some tasks.
    """

    def __init__(self, trunk: nn.Module, weight: Tensor, bias: Tensor, scale: Mapping[str, float] | None = None) -> None:
        tasks, width = weight.shape
        heads = {f"t{number}": nn.Linear(width, 1).double() for number in range(tasks)}
        for number, head in enumerate(heads.values()):
            head.weight.data, head.bias.data = weight[number : number + 1].clone(), bias[number : number + 1].clone()
        super().__init__(trunk, heads, self.cross_entropies)
        self.scale = dict(scale or {})

    def cross_entropies(self, batch: LabelledImages, tasks: Sequence[str]) -> TaskLosses:
        if not tasks:
            return {}
        inputs, targets = batch
        features, labels = self.shared(inputs), dict(zip(self.tasks, targets.T, strict=True))
        return {
            task: self.scale.get(task, 1.0)
            * F.binary_cross_entropy_with_logits(self.heads[task](features)[:, 0], labels[task])
            for task in tasks
        }

    def trunk_weights(self) -> Tensor:
        """All of the trunk's parameters in one vector."""
        return torch.cat([weight.detach().flatten() for weight in self.shared.parameters()])

    def head_weights(self) -> tuple[Tensor, Tensor]:
        """[T, D] and [T]."""
        weights, biases = (
            [head.get_parameter(name).detach() for head in self.heads.values()] for name in ("weight", "bias")
        )
        return torch.cat(weights), torch.cat(biases)


def tensor(key: str) -> Tensor:
    return torch.from_numpy(np.array(FILE[key]))


def stored(kind: str) -> LogitNetwork:
    """A golden network."""
    weights = {str(name): tensor(f"{kind}/trunk0/{name}") for name in FILE[f"{kind}/trunk_names"]}
    layers: list[nn.Module] = []
    if kind == "mlp":
        for weight in (weights["0.weight"], weights["2.weight"]):
            layers += [nn.Linear(weight.shape[1], weight.shape[0]), nn.Tanh()]
    else:
        for weight, pool in ((weights["0.weight"], nn.MaxPool2d(2)), (weights["4.weight"], nn.AdaptiveAvgPool2d(1))):
            convolution = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[-1], padding=1, bias=False)
            normalisation = nn.BatchNorm2d(weight.shape[0], track_running_stats=False)
            layers += [convolution, normalisation, nn.ReLU(), pool]
        layers.append(nn.Flatten())
    trunk = nn.Sequential(*layers).double()
    trunk.load_state_dict(weights)
    return LogitNetwork(trunk, tensor(f"{kind}/head_w0"), tensor(f"{kind}/head_b0"))


def stored_batches(kind: str) -> list[Any]:
    """A golden network's batches."""
    return list(zip(tensor(f"{kind}/x"), tensor(f"{kind}/y").double(), strict=True))


def stored_sizes(kind: str) -> list[int]:
    """The group sizes for which there are golden trajectories."""
    prefix = f"{kind}/size"
    return sorted({int(key.removeprefix(prefix).split("/")[0]) for key in FILE.files if key.startswith(prefix)})


def random_network(scale: Mapping[str, float] | None = None, tasks: int = 4) -> LogitNetwork:
    """An MLP of random weights: the same ones every time."""
    draw = torch.Generator().manual_seed(0)
    trunk = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh()).double()
    for weight in trunk.parameters():
        weight.data = torch.randn(weight.shape, generator=draw, dtype=torch.float64) / 3
    weights, biases = (torch.randn(*shape, generator=draw, dtype=torch.float64) / 3 for shape in ((tasks, 8), (tasks,)))
    return LogitNetwork(trunk, weights, biases, scale)


def random_batches(count: int = 5, tasks: int = 4) -> list[Any]:
    """Random batches for `random_network`."""
    draw = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(16, 6, generator=draw, dtype=torch.float64),
            torch.randint(0, 2, (16, tasks), generator=draw).double(),
        )
        for _ in range(count)
    ]


def alternating(
    net: Plain, spec: OptimizerSpec, groups: ArrayLike | None = None, seed: int = 0, **hypers: Any
) -> Alternating:
    """The strategy with given groups (each task's number; default: a group per task), taken up as from a checkpoint."""
    strategy = started(Alternating, net, make_run(seed, spec=spec), **hypers)
    numbers = np.arange(len(net.tasks)) if groups is None else np.asarray(groups)
    strategy.load_state_dict({"group_of_task": torch.as_tensor(numbers, dtype=torch.int64), "epochs": torch.tensor(0)})
    strategy.start()
    return strategy
