"""The network that strategies train: tasks, heads, predictions, losses, and who owns which parameter.

It knows nothing of phases, strategies or the harness. `Architecture` adds what a plugin decides.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtlbench.contract.batch import Batch
from mtlbench.contract.run import TaskLosses, derive_seed
from mtlbench.errors import UserError
from mtlbench.networks.backbone import Backbone, BackboneSpec
from mtlbench.networks.heads import DenseHead, HeadSpec, ImageHead, resize
from mtlbench.networks.lenet import LENETS, LeNetHead, require_small_images
from mtlbench.networks.sharing import SharingGraph, Unit
from mtlbench.tasks.base import Task

Maps = list[Tensor]
"""Feature maps, one per stage, from fine to coarse."""

Rows = Mapping[str, Tensor] | None
"""Task → the images it is predicted on (multi-input data), as ascending positions in the batch; None: all on all."""


@dataclass(frozen=True)
class NetworkConfig:
    """What networks are built from; equal for all methods under one protocol.

    Attributes:
        tasks: the tasks to predict.
        image_size: (height, width).
        backbone, head: the protocol's.
        mean, std: normalisation of images in [0, 1].
        seed: decides the initial weights: equal for equal parts of different methods.
        auxiliary: names of the tasks that are trained and never scored.
    """

    tasks: tuple[Task, ...]
    image_size: tuple[int, int]
    backbone: BackboneSpec
    head: HeadSpec
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    seed: int
    auxiliary: frozenset[str] = frozenset()


class MultiTaskNetwork(nn.Module):
    """A network with one prediction per task.

    Attributes:
        config: what it is built from.
        tasks: name → task, auxiliary ones included.
        heads: one per task, the protocol's unless `build` of the architecture replaces them.
        graph: the sharing graph, where the trunk is one; None for soft sharing.
    """

    config: NetworkConfig
    tasks: dict[str, Task]
    heads: nn.ModuleDict
    graph: SharingGraph | None
    template: Backbone
    mean: Tensor
    std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.tasks = {task.name: task for task in config.tasks}
        self.graph = None
        self._declared_owners: list[tuple[nn.Module | nn.Parameter, frozenset[str]]] = []
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        if config.backbone.name in LENETS:
            require_small_images(config.backbone.name, config.image_size)
        with self.initial("backbone"):
            # Every trunk starts from copies of this one; it is no part of the network itself.
            object.__setattr__(self, "template", Backbone(config.backbone))
        self.heads = nn.ModuleDict({name: self.new_head(name) for name in self.tasks})

    @property
    def scored(self) -> tuple[str, ...]:
        """The tasks that the network is evaluated on: all but the auxiliary ones."""
        return tuple(name for name in self.tasks if name not in self.config.auxiliary)

    # -- predictions and losses -------------------------------------------------------------------------------------

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        """Normalised images [B, 3, H, W] → each task's feature maps; tasks that were not asked for may be left out."""
        raise NotImplementedError

    def maps(self, image: Tensor, tasks: Sequence[str], rows: Rows) -> dict[str, Maps]:
        """`features`, or the graph's, on each task's own images."""
        if self.graph is not None:
            maps: dict[str, Maps] = self.graph(image, tasks, rows)
            return maps
        maps = self.features(image, tasks)
        return maps if rows is None else {task: [level[rows[task]] for level in maps[task]] for task in tasks}

    def forward(self, image: Tensor, tasks: Sequence[str] | None = None, rows: Rows = None) -> dict[str, Tensor]:
        """Images [B, 3, H, W] in [0, 1] → task → prediction: [B, C, H, W] for dense tasks, [B, C] for others.

        Args:
            tasks: which tasks; None for all.
            rows: the images each task is predicted on (multi-input data); None for all.
        """
        if not image.is_floating_point():
            raise TypeError(f"expected float images in [0, 1], got {image.dtype}: divide bytes by 255")
        tasks = tuple(self.tasks) if tasks is None else tuple(tasks)
        maps = self.maps(self.normalised(image), tasks, rows)
        return {task: self.read_out(task, maps[task], image) for task in tasks}

    def predict_all(
        self, image: Tensor, tasks: Sequence[str], rows: Rows
    ) -> tuple[dict[str, Tensor], list[tuple[str, Tensor, float]]]:
        """Predictions, and auxiliary predictions as (task, prediction, loss weight): trained, never scored."""
        return self.forward(image, tasks, rows), []

    def losses(self, batch: Batch, tasks: Sequence[str] | None = None) -> TaskLosses:
        """Each labelled task's loss, auxiliary ones included; of those among `tasks`, when given, and only they are run."""
        tasks = [task for task in self.tasks if batch.has_labels(task) and (tasks is None or task in tasks)]
        if not tasks:
            return {}
        predictions, auxiliary = self.predict_all(batch.image, tasks, batch.rows)
        losses = {task: self.tasks[task].loss(predictions[task], batch.target(task)) for task in tasks}
        for task, prediction, weight in auxiliary:
            if task in losses:
                losses[task] = losses[task] + weight * self.tasks[task].loss(prediction, batch.target(task))
        return losses

    def normalised(self, image: Tensor) -> Tensor:
        """Images in [0, 1] → zero mean and unit variance by the dataset's constants."""
        return (image - self.mean) / self.std

    def read_out(self, task: str, maps: Maps, image: Tensor) -> Tensor:
        """The task's head, with dense predictions at the image's resolution."""
        prediction: Tensor = self.heads[task](maps)
        return resize(prediction, (image.shape[-2], image.shape[-1])) if self.tasks[task].dense else prediction

    # -- who owns which parameter -----------------------------------------------------------------------------------

    def own(self, module: nn.Module | nn.Parameter, tasks: Iterable[str]) -> None:
        """Declare (in `build`) whose losses reach a module's parameters; a later declaration wins over an earlier one.

        Without a declaration a head belongs to its task, the graph's modules to the tasks that run them, and everything
        else to all tasks.
        """
        self._declared_owners.append((module, frozenset(tasks)))

    def owners(self) -> dict[str, frozenset[str]]:
        """Parameter name → the tasks whose losses reach it. Checked against gradients by the conformance properties."""
        by_parameter: dict[int, frozenset[str]] = {}
        if self.graph is not None:
            in_graph = self.graph.owners()
            by_parameter |= {id(parameter): in_graph[name] for name, parameter in self.graph.named_parameters()}
        for task, head in self.heads.items():
            by_parameter |= {id(parameter): frozenset({task}) for parameter in head.parameters()}
        for module, tasks in self._declared_owners:
            parameters = [module] if isinstance(module, nn.Parameter) else module.parameters()
            by_parameter |= {id(parameter): tasks for parameter in parameters}
        everyone = frozenset(self.tasks)
        return {name: by_parameter.get(id(parameter), everyone) for name, parameter in self.named_parameters()}

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """The trainable parameters that this task alone owns."""
        return self._owned(lambda owners: owners == {task})

    def shared_parameters(self) -> list[nn.Parameter]:
        """The trainable parameters that two tasks or more own."""
        return self._owned(lambda owners: len(owners) > 1)

    def parameters_of(self, tasks: Sequence[str]) -> list[nn.Parameter]:
        """The trainable parameters that any of the tasks owns."""
        return self._owned(lambda owners: not owners.isdisjoint(tasks))

    def _owned(self, chosen: Callable[[frozenset[str]], bool]) -> list[nn.Parameter]:
        owners = self.owners()
        return [parameter for name, parameter in self.named_parameters() if parameter.requires_grad and chosen(owners[name])]

    def parts(self) -> list[tuple[str, ...]]:
        """The independent parts of the network: sets of tasks that no parameter connects, in task order."""
        parts = [{task} for task in self.tasks]
        for owners in self.owners().values():
            touched = [part for part in parts if part & owners]
            parts = [part for part in parts if not part & owners] + ([set().union(*touched)] if touched else [])
        order = list(self.tasks)
        return sorted(
            (tuple(task for task in order if task in part) for part in parts), key=lambda part: order.index(part[0])
        )

    def scored_parts(self) -> list[tuple[str, ...]]:
        """The independent parts that predict a scored task: nothing is measured of the others."""
        return [part for part in self.parts() if not self.config.auxiliary.issuperset(part)]

    def part_of_parameters(self) -> dict[int, int]:
        """`id` of every parameter → the position in `parts` of the independent part that it belongs to.

        A parameter that no task owns is in none.
        """
        position = {task: number for number, part in enumerate(self.parts()) for task in part}
        owners = self.owners()
        return {id(weight): position[min(owners[name])] for name, weight in self.named_parameters() if owners[name]}

    # -- building material ------------------------------------------------------------------------------------------

    @contextmanager
    def initial(self, name: str) -> Iterator[None]:
        """Within the context torch's random numbers depend on the seed and the name alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("weights", self.config.seed, name))
            yield

    def new_backbone(self, name: str = "", width: int | None = None) -> Backbone:
        """A backbone with the trial's initial weights: the same ones every time.

        Args:
            name: other initial weights, which depend on the seed and this name (pre-trained ones are the same ones).
            width: channels of the first stage, where they are not the protocol's; weights are drawn anew.
        """
        if not name and width is None:
            return copy.deepcopy(self.template)
        with self.initial(f"backbone {name}" if name else "backbone"):
            return Backbone(self.config.backbone, width)

    def backbone_per_task(self) -> nn.ModuleDict:
        """One backbone per task, all with the same initial weights."""
        return nn.ModuleDict({name: self.new_backbone() for name in self.tasks})

    def new_head(self, task: str, in_channels: int | None = None) -> nn.Module:
        """The protocol's head for a task, with initial weights that depend on the seed and the task's name."""
        channels = self.template.channels[-1] if in_channels is None else in_channels
        lenet = LENETS.get(self.config.backbone.name)
        if lenet is not None and self.tasks[task].dense:
            name = self.config.backbone.name
            raise UserError(f"{name} has one vector per image and no map, so it cannot predict {task}: choose a ResNet.")
        with self.initial(f"head {task}"):
            if lenet is not None:
                return LeNetHead(channels, self.tasks[task].channels, lenet.dropout)
            if self.tasks[task].dense:
                return DenseHead(channels, self.tasks[task].channels, self.config.head)
            return ImageHead(channels, self.tasks[task].channels)

    @property
    def stage_channels(self) -> list[int]:
        """Channels of each stage's feature map."""
        return self.template.channels

    def block_units(self) -> list[Unit]:
        """The backbone as units of a sharing graph: the stem, then every residual block."""
        ends = set(self.template.stage_ends())
        units = [Unit("stem", lambda: copy.deepcopy(self.template.stem))]
        counts: dict[int, int] = {}
        for number, stage in enumerate(self.template.stage_of):
            counts[stage] = counts.get(stage, 0) + 1
            make = _copier(self.template.blocks[number])
            units.append(Unit(f"stage{stage + 1}.block{counts[stage]}", make, output=number in ends))
        return units

    def stage_units(self) -> list[Unit]:
        """The backbone as coarser units: the stem, then whole stages."""
        units = [Unit("stem", lambda: copy.deepcopy(self.template.stem))]
        for stage in range(len(self.template.channels)):
            blocks = [block for block, at in zip(self.template.blocks, self.template.stage_of, strict=True) if at == stage]
            units.append(Unit(f"stage{stage + 1}", _copier(nn.Sequential(*blocks)), output=True))
        return units


def _copier(module: nn.Module) -> Callable[[], nn.Module]:
    return lambda: copy.deepcopy(module)
