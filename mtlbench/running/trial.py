"""One trial, put together from its specification: data, network, strategy, trainer, evaluator.

It does not know who schedules it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from mtlbench.config.method import Method
from mtlbench.config.settings import Settings
from mtlbench.contract import Architecture, Augmentation, Batch, Dataset, NetworkConfig, Run, Strategy
from mtlbench.data.label_share import with_fewer_labels
from mtlbench.data.loader import Loader
from mtlbench.data.store import Prepared, Progress, prepare
from mtlbench.errors import UserError
from mtlbench.measure.deployed import deployed
from mtlbench.measure.evaluator import Evaluator
from mtlbench.measure.kernels import use_reproducible_kernels
from mtlbench.measure.memory import PeakMemory
from mtlbench.measure.skill_scale import SkillScale
from mtlbench.networks.placement import on_device
from mtlbench.planning.trial_spec import DataSpec, TrialSpec
from mtlbench.records import Evaluation, add, as_text, write_text
from mtlbench.running.exclusive import RECORD
from mtlbench.running.plan_checks import check_fingerprint, check_precision, check_sources
from mtlbench.running.record_builder import build_record
from mtlbench.running.reporting import Reporting
from mtlbench.training.checkpoints import CheckpointStore
from mtlbench.training.diagnostics import Diagnostics
from mtlbench.training.precise_statistics import recompute_statistics
from mtlbench.training.report import EpochReport
from mtlbench.training.selection import Selection
from mtlbench.training.state import TrainingState
from mtlbench.training.trainer import Trainer

Autocast = Callable[[], AbstractContextManager[object]]


class Trial:
    """Trains and evaluates one method.

    Args:
        spec: what to do.
        work: the folder for checkpoints; what it holds of this trial is taken up again.
        device: where to compute; None for a GPU where there is one.
        keep: keep the weights of every epoch that could be selected.
        micro_batches: into how many pieces batches are cut, where memory asks for more of them than the protocol; a trial
            whose checkpoint was trained in more pieces goes on with them.
    """

    def __init__(
        self,
        spec: TrialSpec,
        work: Path,
        device: torch.device | None = None,
        keep: bool = False,
        micro_batches: int | None = None,
    ) -> None:
        self.spec, self.folder = spec, work / spec.id
        self.device = device or device_of(1)
        use_reproducible_kernels(spec.threads)
        check_precision(spec, self.device)
        self.memory = PeakMemory(self.device)
        registry = spec.registry()
        self.method: Method = spec.resolve(registry)
        plugin = registry.dataset(spec.data.name)
        check_sources(spec, [self.method.architecture, self.method.strategy, plugin])
        self.data = open_dataset(spec.data, plugin.cls)
        check_fingerprint(spec, self.data.fingerprint)
        self.network = on_device(build_network(spec, self.method, self.data.dataset), self.device)
        autocast = autocast_of(spec.precision, self.device)
        self.loader = make_loader(spec, self.data, self.device)
        self.evaluator = Evaluator(
            dataset=spec.data.name,
            scale=SkillScale(spec.settings.scored(self.data.dataset.tasks), self.data.splits["train"], self.data.folder),
            device=self.device,
            batch_size=evaluation_batch(spec.settings, self.data.dataset.image_size, spec.settings.micro_batches),
            autocast=autocast,
        )
        self.run = make_run(spec, self.loader, self.device, autocast)
        self.run.micro_batches = max(self.run.micro_batches, micro_batches or 1)
        self.strategy: Strategy = self.method.strategy.cls(self.network, self.run, self.method.strategy_hypers)
        self.checkpoints = CheckpointStore(self.folder)
        self.state = TrainingState(
            network=self.network,
            strategy=self.strategy,
            phases=self.network.phases(self.run, self.strategy),
            run=self.run,
            selection=Selection(self.checkpoints, keep),
            diagnostics=Diagnostics(self.network, autocast=autocast) if "gradients" in spec.diagnose else None,
        )
        self.trainer = Trainer(self.state, self.loader, self.validate, self.checkpoints)
        self._told: set[str] = set()

    def epochs(self) -> Iterator[EpochReport]:
        """Train, yielding after every epoch that has been saved. Takes up a trial that was interrupted.

        Whoever looks from outside finds the progress in the trial's folder, and scalars for TensorBoard.
        """
        planned = sum(phase.epochs for phase in self.state.phases)
        reporting = Reporting(self.spec, self.folder, planned, self.memory, self.device.type)
        reporting.begin()
        try:
            for report in self.trainer.epochs():
                reporting.epoch(report, self.state.curve[-1])
                yield report
        finally:
            reporting.close()

    def take_note(self) -> str:
        """What whoever watches should be told besides the epochs, once: a checkpoint that was lost, an early end."""
        news = [note for note in (self.checkpoints.problem, self._end_note()) if note and note not in self._told]
        self._told.update(news)
        return "; ".join(news)

    def _end_note(self) -> str:
        return f"training stopped early, since {self.state.stopped}" if self.state.stopped else ""

    def end_early(self) -> None:
        """Take the training so far for the whole of it; the record says so. Only for trials of a search."""
        assert self.spec.tuning is not None
        tuning = self.spec.tuning.model_copy(update={"stopped_after": len(self.state.curve)})
        self.spec = self.spec.model_copy(update={"tuning": tuning})

    def validate(self) -> Evaluation:
        """The deployed network, as it is now, on val."""
        self._fit_memory()
        return self.evaluator.evaluate(deployed(self.network), self.data.splits["val"])

    def load_best(self) -> None:
        """Put the selected weights in place and recompute BatchNorm's statistics for them."""
        if self.state.stopped and not self.state.selection.best:
            raise UserError(
                f"{self.spec.title}: training stopped, since {self.state.stopped}, and no epoch before could be selected. "
                "Lower the learning rate, or bound the gradient norm (--setting clip=1)."
            )
        self._fit_memory()
        self.state.selection.load_into(self.network, self.device, self.spec.title)
        self.recompute_statistics()

    def recompute_statistics(self) -> None:
        """Precise BatchNorm statistics of the deployed network, from training images."""
        count = min(self.spec.settings.bn_images, self.run.images_per_epoch)
        if count > 1:
            batches = self.run.training_images(count, self.evaluator.batch_size)
            recompute_statistics(self.network.deploy(), batches, self.evaluator.autocast)

    def _fit_memory(self) -> None:
        """Evaluate in batches that fit where training's pieces do: how many these are is known once training goes on."""
        image_size, pieces = self.data.dataset.image_size, self.run.micro_batches
        self.evaluator = replace(self.evaluator, batch_size=evaluation_batch(self.spec.settings, image_size, pieces))

    def finish(self, results: Path, force: bool = False) -> Path:
        """Evaluate the selected network and write the record into the folder of records; returns its path.

        Checkpoints stay until `clear`: a record that is lost on its way can be made again without training.

        Args:
            force: replace a record with another result.

        Raises:
            UserError: another result of this trial is there.
        """
        self.load_best()
        self.checkpoints.save_selected({"structure": self.network.structure(), "network": self.network.state_dict()})
        write_text(self.folder / "spec.json", self.spec.model_dump_json(indent=1))
        path = results / self.spec.data.name / self.spec.file_name()
        record = build_record(self.spec, self.method, self.data, self.evaluator, self.state, self.memory)
        text = as_text(record)
        write_text(self.folder / RECORD, text)
        add(path, text, force)
        return path

    def clear(self) -> None:
        """Remove what only training needed, now that the record is safe."""
        self.checkpoints.clear()


def device_of(gpus: float) -> torch.device:
    """Where a trial with so many GPUs computes: a GPU only if it was given one."""
    return torch.device("cuda" if gpus > 0 and torch.cuda.is_available() else "cpu")


def open_dataset(spec: DataSpec, dataset_class: type[Dataset], progress: Progress | None = None) -> Prepared:
    """The prepared dataset of a trial, made first where it is missing."""
    dataset = dataset_class(Path(spec.root) if spec.root else None, spec.options)
    return prepare(dataset, spec.name, Path(spec.cache), skip_bad=spec.skip_bad, progress=progress)


def build_network(spec: TrialSpec, method: Method, dataset: Dataset) -> Architecture:
    """The trial's network with its initial weights, on the CPU.

    Networks that share nothing are built for the scored tasks alone: auxiliary ones could help no other.

    Raises:
        UserError: fewer epochs than the method makes sense with.
    """
    cls: type[Architecture] = method.architecture.cls
    if spec.settings.epochs < cls.minimum_epochs:
        raise UserError(
            f"{method.name} makes sense with {cls.minimum_epochs} epochs or more, and {spec.settings.epochs} were asked for."
        )
    tasks = dataset.tasks if cls.shares else spec.settings.scored(dataset.tasks)
    config = NetworkConfig(
        tasks=tasks,
        image_size=dataset.image_size,
        backbone=spec.settings.backbone_spec(),
        head=spec.settings.head_spec(),
        mean=dataset.mean,
        std=dataset.std,
        seed=spec.seed,
        auxiliary=frozenset(spec.settings.auxiliary) & {task.name for task in tasks},
    )
    return cls(config, method.architecture_hypers)


def make_loader(spec: TrialSpec, data: Prepared, device: torch.device) -> Loader:
    """Training batches of the trial."""
    augmentation = data.dataset.augmentation if spec.settings.augment else Augmentation()
    train, batch_size = data.splits["train"], spec.settings.batch_size
    train = with_fewer_labels(train, spec.settings.label_share, spec.seed)
    return Loader(train, data.dataset.tasks, batch_size, spec.seed, device, augmentation=augmentation)


def make_run(spec: TrialSpec, loader: Loader, device: torch.device, autocast: Autocast) -> Run:
    """What the method may ask of the harness."""
    settings = spec.settings

    def training_images(count: int, batch_size: int) -> Iterator[Batch]:
        order = torch.randperm(run.images_per_epoch, generator=run.fixed_generator("training images"))
        return loader.plain(order[: min(count, len(order))], batch_size)

    run = Run(
        seed=spec.seed,
        budget=settings.budget_spec(),
        optimizer=settings.optimizer_spec(),
        batch_size=settings.batch_size,
        images_per_epoch=len(loader.split),
        device=device,
        autocast=autocast,
        training_images=training_images,
        micro_batches=settings.micro_batches,
    )
    return run


def autocast_of(precision: str, device: torch.device) -> Autocast:
    """A context of forward passes in a precision."""
    if precision == "bf16":
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext


EVALUATION_PIXELS = 16 * 288 * 384
"""Pixels of an evaluation batch: bounds memory where images are large."""


def evaluation_batch(settings: Settings, image_size: tuple[int, int], micro_batches: int) -> int:
    """Images in an evaluation batch: 16 or more, unless so many large images need more memory than a training step.

    Args:
        micro_batches: pieces in which a training batch passes. Where memory asked for more of them than the protocol, an
            evaluation batch has as few images as a piece.
    """
    piece = settings.batch_size // micro_batches
    if micro_batches > settings.micro_batches:
        return piece
    height, width = image_size
    fitting = max(1, EVALUATION_PIXELS // (height * width))
    return max(piece, min(max(16, settings.batch_size), fitting))
