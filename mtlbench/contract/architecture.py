"""What an architecture is: which blocks which task runs, and what passes between tasks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from mtlbench.contract.batch import Batch
from mtlbench.contract.hyper import Configurable
from mtlbench.contract.phase import Phase
from mtlbench.contract.run import Run, TaskLosses, derive_seed
from mtlbench.networks.backbone import Backbone, BackboneSpec
from mtlbench.networks.heads import DenseHead, HeadSpec, ImageHead, resize
from mtlbench.networks.plan import SharingPlan
from mtlbench.networks.sharing import SharingGraph, Unit
from mtlbench.tasks.base import Task

if TYPE_CHECKING:
    from mtlbench.contract.strategy import Strategy

Maps = list[Tensor]
"""Feature maps, one a stage, from fine to coarse."""


@dataclass(frozen=True)
class Blueprint:
    """What networks are built from; equal for all methods under one protocol.

    Attributes:
        tasks: the tasks to predict.
        image_size: (height, width).
        backbone, head: the protocol's.
        mean, std: normalisation of images in [0, 1].
        seed: decides the initial weights: equal for equal parts of different methods.
    """

    tasks: tuple[Task, ...]
    image_size: tuple[int, int]
    backbone: BackboneSpec
    head: HeadSpec
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    seed: int


class Architecture(Configurable, nn.Module):
    """Base of all architectures. Override `build`, and `features` unless `build` sets `self.graph`.

    Attributes:
        shares: False when the tasks share no parameter at all (strategies that need sharing are refused then).
        minimum_epochs: the smallest budget the method makes sense with; less is refused.
        tasks: name → task.
        heads: one a task, the protocol's unless `build` replaces them.
        graph: the sharing graph, where the trunk is one; None for soft sharing.
    """

    shares: ClassVar[bool] = True
    minimum_epochs: ClassVar[int] = 1
    graph: SharingGraph | None

    def __init__(self, blueprint: Blueprint, hypers: Mapping[str, Any]) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.tasks = {task.name: task for task in blueprint.tasks}
        self.graph = None
        self.set_hypers(hypers)
        self.register_buffer("mean", torch.tensor(blueprint.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(blueprint.std).view(1, 3, 1, 1), persistent=False)
        with self.initial("backbone"):
            # Every trunk starts from copies of this one; it is no part of the network itself.
            object.__setattr__(self, "template", Backbone(blueprint.backbone))
        self.heads = nn.ModuleDict({name: self.new_head(name) for name in self.tasks})
        with self.initial("method"):
            self.build()

    template: Backbone
    mean: Tensor
    std: Tensor

    # -- what a plugin overrides ------------------------------------------------------------------------------------

    def build(self) -> None:
        """Create the trunk: set `self.graph`, or create modules that `features` uses."""
        raise NotImplementedError

    def features(self, image: Tensor, tasks: Sequence[str]) -> dict[str, Maps]:
        """Normalised images [B, 3, H, W] → each task's feature maps; tasks that were not asked for may be left out."""
        raise NotImplementedError

    def plan(self) -> SharingPlan:
        """The sharing plan: what is drawn and recorded."""
        if self.graph is None:
            raise NotImplementedError
        return self.graph.plan

    def further_plans(self) -> dict[str, SharingPlan]:
        """Plans by name that are not deployed, and worth a dataset's measures: what a policy holds most likely, say."""
        return {}

    def owners(self) -> dict[str, frozenset[str]]:
        """Parameter name → the tasks whose losses reach it. Default: heads by task, the graph by its plan, else all."""
        graph = {} if self.graph is None else self.graph.owners()
        owned = {}
        for name, _ in self.named_parameters():
            first, _, rest = name.partition(".")
            if first == "heads":
                owned[name] = frozenset({rest.partition(".")[0]})
            else:
                owned[name] = graph.get(rest, frozenset(self.tasks)) if first == "graph" else frozenset(self.tasks)
        return owned

    def phases(self, run: Run, strategy: Strategy) -> list[Phase]:
        """The training's phases under the run's budget. Default: all epochs with the strategy."""
        return [Phase("train", run.budget.epochs, strategy)]

    def predict_all(
        self, image: Tensor, tasks: Sequence[str], rows: Mapping[str, Tensor] | None
    ) -> tuple[dict[str, Tensor], list[tuple[str, Tensor, float]]]:
        """Predictions, and auxiliary predictions as (task, prediction, loss weight): trained, never scored."""
        return self(image, tasks, rows), []

    def structure(self) -> dict[str, Any]:
        """What must be known of the structure before weights can be loaded (JSON)."""
        return {}

    def restore_structure(self, structure: dict[str, Any]) -> None:
        """Take on a saved structure; its weights are loaded afterwards."""

    def deploy(self) -> nn.Module:
        """The network a user would ship: called like the architecture. Costs, metrics and robustness are of this one."""
        return self

    def extra(self) -> dict[str, float]:
        """Numbers of the final network for columns of the leaderboard."""
        return {}

    def artefacts(self) -> dict[str, Any]:
        """What pictures of the method are drawn from (JSON)."""
        return {}

    # -- what the harness and strategies use ------------------------------------------------------------------------

    def forward(
        self, image: Tensor, tasks: Sequence[str] | None = None, rows: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Images [B, 3, H, W] in [0, 1] → task → prediction: [B, C, H, W] for dense tasks, [B, C] for others.

        Args:
            tasks: which tasks; None for all.
            rows: the images each task is predicted on (multi-input data); None for all.
        """
        tasks = tuple(self.tasks) if tasks is None else tuple(tasks)
        maps = self.maps(self.normalised(image), tasks, rows)
        return {task: self.read_out(task, maps[task], image) for task in tasks}

    def normalised(self, image: Tensor) -> Tensor:
        """Images in [0, 1] → zero mean and unit variance by the dataset's constants."""
        return (image - self.mean) / self.std

    def maps(self, image: Tensor, tasks: Sequence[str], rows: Mapping[str, Tensor] | None) -> dict[str, Maps]:
        """`features`, or the graph's, on each task's own images."""
        if self.graph is not None:
            return self.graph(image, tasks, rows)
        maps = self.features(image, tasks)
        return maps if rows is None else {task: [one[rows[task]] for one in maps[task]] for task in tasks}

    def read_out(self, task: str, maps: Maps, image: Tensor) -> Tensor:
        """The task's head, with dense predictions at the image's resolution."""
        prediction = self.heads[task](maps)
        return resize(prediction, (image.shape[-2], image.shape[-1])) if self.tasks[task].dense else prediction

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

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """The trainable parameters that this task alone owns."""
        return self._owned(lambda owners: owners == {task})

    def shared_parameters(self) -> list[nn.Parameter]:
        """The trainable parameters that two tasks or more own."""
        return self._owned(lambda owners: len(owners) > 1)

    def parameters_of(self, tasks: Sequence[str]) -> list[nn.Parameter]:
        """The trainable parameters that any of the tasks owns."""
        return self._owned(lambda owners: not owners.isdisjoint(tasks))

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

    # -- building material ------------------------------------------------------------------------------------------

    @contextmanager
    def initial(self, name: str) -> Iterator[None]:
        """Within the context torch's random numbers depend on the seed and the name alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("weights", self.blueprint.seed, name))
            yield

    def new_backbone(self) -> Backbone:
        """A backbone with the trial's initial weights: the same ones every time."""
        return copy.deepcopy(self.template)

    def backbone_per_task(self) -> nn.ModuleDict:
        """One backbone a task, all with the same initial weights."""
        return nn.ModuleDict({name: self.new_backbone() for name in self.tasks})

    def new_head(self, task: str, in_channels: int | None = None) -> nn.Module:
        """The protocol's head for a task, with initial weights that depend on the seed and the task's name."""
        channels = self.template.channels[-1] if in_channels is None else in_channels
        with self.initial(f"head {task}"):
            if self.tasks[task].dense:
                return DenseHead(channels, self.tasks[task].channels, self.blueprint.head)
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

    def _owned(self, wanted: Any) -> list[nn.Parameter]:
        owners = self.owners()
        return [one for name, one in self.named_parameters() if one.requires_grad and wanted(owners[name])]


def _copier(module: nn.Module) -> Any:
    return lambda: copy.deepcopy(module)
