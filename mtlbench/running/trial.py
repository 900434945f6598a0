"""One trial, from seed to record. It knows contracts, data and measures; it does not know who schedules it.

The trial saves everything after every epoch. All randomness follows from (seed, epoch), so a trial that was killed and is
run again ends in the same result as one that never stopped.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlbench.config.method import Method
from mtlbench.contract import Architecture, Augmentation, Batch, NetworkConfig, Dataset, Phase, Run, Strategy
from mtlbench.contract.optim import set_lr
from mtlbench.contract.run import derive_seed
from mtlbench.data.loader import Loader
from mtlbench.data.order import part as fixed_part
from mtlbench.data.store import Prepared, prepare
from mtlbench.errors import UserError
from mtlbench.measure.cost import count_flops
from mtlbench.measure.evaluation import Referee, predictions, score
from mtlbench.measure.machine import reset_peak_memory, set_up
from mtlbench.networks.batchnorm import recompute
from mtlbench.planning.trial_spec import DataSpec, TrialSpec
from mtlbench.records import Evaluation, Point, write, write_text
from mtlbench.training.diagnostics import Diagnostics
from mtlbench.training.selection import Selection, save


@dataclass(frozen=True)
class Progress:
    """Where a trial is, for whoever watches it."""

    epoch: int
    epochs: int
    phase: str
    train_loss: dict[str, float]
    val_skill: float | None
    seconds: float


def open_dataset(spec: DataSpec, dataset_class: Any, progress: Any = None) -> Prepared:
    """The prepared dataset of a trial, made first where it is missing."""
    dataset: Dataset = dataset_class(Path(spec.root) if spec.root else None, spec.options)
    return prepare(dataset, spec.name, Path(spec.cache), skip_bad=spec.skip_bad, progress=progress)


class Trial:
    """Trains and evaluates one method.

    Args:
        spec: what to do.
        work: the folder for checkpoints; what it holds of this trial is taken up again.
        device: where to compute; None for a GPU where there is one.
        keep: keep the weights of every epoch that could be selected.
    """

    def __init__(self, spec: TrialSpec, work: Path, device: torch.device | None = None, keep: bool = False) -> None:
        self.spec, self.folder = spec, work / spec.id
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        set_up(spec.threads)
        reset_peak_memory(self.device)
        registry = spec.registry()
        self.method: Method = spec.resolve(registry)
        self.data = open_dataset(spec.data, registry.dataset(spec.data.name).cls)
        self.tasks = self.data.dataset.tasks
        settings = spec.settings
        self.network = build_network(spec, self.method, self.data.dataset).to(
            self.device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        augmentation = self.data.dataset.augmentation if settings.augment else Augmentation()
        train = self.data.splits["train"]
        self.loader = Loader(train, self.tasks, settings.batch_size, spec.seed, self.device, augmentation=augmentation)
        self.referee = Referee(self.tasks, train)
        self.run = Run(
            seed=spec.seed,
            budget=settings.budget_spec(),
            optimizer=settings.optimizer_spec(),
            batch_size=settings.batch_size,
            images_per_epoch=len(train),
            device=self.device,
            autocast=self.autocast,
            training_images=self.training_images,
            micro_batches=settings.micro_batches,
        )
        self.strategy: Strategy = self.method.strategy.cls(self.network, self.run, self.method.strategy_hypers)
        self.phases = self.network.phases(self.run, self.strategy)
        self.curve: list[Point] = []
        self.images = self.updates = self.training_flops = 0
        self.by_phase: dict[str, dict[str, int]] = {}
        self.flops_of: dict[str, int] = {}
        self.selection = Selection(self.folder, keep)
        self.seconds = 0.0
        self.diagnostics = Diagnostics(self.network, autocast=self.autocast) if "gradients" in spec.diagnose else None

    # -- training ---------------------------------------------------------------------------------------------------

    def epochs(self) -> Iterator[Progress]:
        """Train, yielding after every epoch that has been saved. Takes up a trial that was interrupted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = self._resume()
        planned = sum(phase.epochs for phase in self.phases)
        for number, phase in enumerate(self.phases):
            if number < done["phase"]:
                continue
            first = 0
            if number == done["phase"] and done["begun"]:
                first = done["epoch"]
            else:
                if phase.skip():
                    continue
                self._seed("begin", number)
                self._counting(phase, phase.begin)
                phase.prepare()
                self._watch(phase)
            for epoch in range(first, phase.epochs):
                started = time.perf_counter()
                self._epoch(phase, epoch)
                self.seconds += time.perf_counter() - started
                last = epoch + 1 == phase.epochs
                if last:
                    self._counting(phase, phase.finish)
                self._save(number + 1 if last else number, 0 if last else epoch + 1, begun=not last)
                point = self.curve[-1]
                skill = None if point.val is None else point.val.mean_skill
                yield Progress(len(self.curve), planned, phase.name, point.train_loss, skill, self.seconds)

    def _epoch(self, phase: Phase, epoch: int) -> None:
        self.run.epoch = number = len(self.curve)
        self._seed("epoch", number)
        self.network.train()
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        spent = self._spent(phase)
        passes = [(one, self._part(one.part)) for one in phase.passes(epoch)]
        steps = sum(self.loader.batches(len(images)) for _, images in passes)
        step = 0
        for one, images in passes:
            for batch in self.loader.epoch(number, images):
                progress = (epoch + step / steps) / phase.epochs
                start, stop = phase.schedule
                set_lr(phase.optimizers.values(), self.run.optimizer.factor(start + (stop - start) * progress))
                if self.diagnostics is not None:
                    self.diagnostics.before_step(batch, self.strategy.optimizers.values())
                # Steps of one kind cost the same for as many images with labels of the same tasks.
                labelled = ",".join(task.name for task in self.tasks if batch.has_labels(task.name))
                kind = f"{phase.name}/{one.kind}/{len(batch)}/{labelled}"
                losses = self._step(one.step, batch, kind)
                for task, loss in losses.items():
                    sums[task] = sums[task] + loss.detach() if task in sums else loss.detach().clone()
                    counts[task] = counts.get(task, 0) + 1
                flops = self.flops_of[kind]
                spent["images"] += len(batch)
                spent["updates"] += one.updates
                spent["training_flops"] += flops
                self.images += len(batch)
                self.updates += one.updates
                self.training_flops += flops
                step += 1
        means = {task: float(value) / counts[task] for task, value in sums.items()}
        logged = phase.end_epoch(epoch, means)
        if self.diagnostics is not None:
            self.diagnostics.end_epoch()
        val = self.validate() if phase.deployable else None
        lr = max((group["lr"] for one in phase.optimizers.values() for group in one.param_groups), default=0.0)
        self.curve.append(
            Point(
                epoch=number,
                phase=phase.name,
                selectable=phase.selectable,
                images=self.images,
                updates=self.updates,
                training_flops=self.training_flops,
                lr=lr,
                train_loss=means,
                val=val,
                logged=logged,
            )
        )
        if phase.selectable and val is not None:
            self.selection.offer(self.network, val, number)

    def _spent(self, phase: Phase) -> dict[str, int]:
        return self.by_phase.setdefault(phase.name, {"images": 0, "updates": 0, "training_flops": 0})

    def _counting(self, phase: Phase, act: Callable[[], None]) -> None:
        """What a phase does before and after its epochs (measuring similarities, say) counts as training's FLOPs, too."""
        flops = count_flops(act)
        self._spent(phase)["training_flops"] += flops
        self.training_flops += flops

    def _step(self, step: Any, batch: Batch, kind: str) -> dict[str, Tensor]:
        if kind in self.flops_of:
            return step(batch)
        losses: dict[str, Tensor] = {}
        self.flops_of[kind] = count_flops(lambda: losses.update(step(batch)))
        return losses

    def _watch(self, phase: Phase) -> None:
        if self.diagnostics is not None:
            self.diagnostics.begin(phase.name, self.strategy.optimizers.values())

    def _part(self, part: tuple[float, float]) -> Tensor:
        return fixed_part(self.spec.seed, self.run.images_per_epoch, *part)

    def _seed(self, *name: object) -> None:
        torch.manual_seed(derive_seed("trial", self.spec.seed, *name))

    def autocast(self) -> AbstractContextManager[object]:
        """The context of forward passes in the trial's precision."""
        if self.spec.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def training_images(self, count: int, batch_size: int) -> Iterator[Batch]:
        """The first `count` images of a fixed random order of train, unaugmented."""
        order = torch.randperm(self.run.images_per_epoch, generator=self.run.fixed_generator("training images"))
        return self.loader.plain(order[: min(count, len(order))], batch_size)

    # -- selection --------------------------------------------------------------------------------------------------

    def validate(self) -> Evaluation:
        """The deployed network, as it is now, on val."""
        return self.evaluate("val")

    def evaluate(self, split_name: str) -> Evaluation:
        """The deployed network on a split."""
        split = self.data.splits[split_name]
        scored = predictions(self.network.deploy(), split, self.device, self.evaluation_batch(), self.autocast)
        metrics, _ = score(self.tasks, scored)
        return self.referee.evaluation(metrics, self.referee.constant_metrics(split))

    def evaluation_batch(self) -> int:
        """Images in an evaluation batch."""
        return max(16, self.spec.settings.batch_size)

    def load_best(self) -> None:
        """Put the selected weights in place and recompute BatchNorm's statistics for them."""
        self.selection.load(self.network, self.device, self.spec.title)
        self.recompute_statistics()

    def recompute_statistics(self) -> None:
        """Precise BatchNorm statistics of the deployed network, from training images."""
        deployed = self.network.deploy()
        batch_size = max(16, self.spec.settings.batch_size)
        count = min(self.spec.settings.bn_images, self.run.images_per_epoch)

        def run(batch: Any) -> None:
            with self.autocast():
                deployed(batch.image, None, batch.rows)

        # A last batch of one image would give statistics of nothing.
        batches = (batch for batch in self.training_images(count, batch_size) if len(batch) > 1)
        if count > 1:
            recompute(deployed, run, batches)  # type: ignore[arg-type]

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def _save(self, phase: int, epoch: int, begun: bool) -> None:
        current = self.phases[phase] if begun else None
        state = {
            "phase": phase,
            "epoch": epoch,
            "begun": begun,
            "structure": self.network.structure(),
            "network": self.network.state_dict(),
            "strategy": self.strategy.state_dict(),
            "optimizers": {} if current is None else {k: v.state_dict() for k, v in current.optimizers.items()},
            "phase_state": {} if current is None else current.state(),
            "curve": [point.model_dump() for point in self.curve],
            "counted": (self.images, self.updates, self.training_flops, self.by_phase, self.flops_of),
            "best": self.selection.best,
            "seconds": self.seconds,
            "diagnostics": None if self.diagnostics is None else self.diagnostics.state(),
        }
        save(state, self.folder / "checkpoint.pt")
        self.selection.prune()

    def _resume(self) -> dict[str, Any]:
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return {"phase": 0, "epoch": 0, "begun": False}
        # The file was written by this program on this machine; it holds plain values beside tensors.
        state = torch.load(path, map_location=self.device, weights_only=False)
        self.network.restore_structure(state["structure"])
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.load_state_dict(state["network"])
        self.strategy.load_state_dict(state["strategy"])
        self.curve = [Point.model_validate(point) for point in state["curve"]]
        self.images, self.updates, self.training_flops, self.by_phase, self.flops_of = state["counted"]
        self.selection.best, self.seconds = state["best"], state["seconds"]
        self.run.epoch = len(self.curve)
        if state["begun"]:
            phase = self.phases[state["phase"]]
            phase.restore(state["phase_state"])
            phase.prepare()
            for name, optimizer in phase.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
            self._watch(phase)
        if self.diagnostics is not None:
            self.diagnostics.restore(state["diagnostics"])
        return state

    def finish(self, results: Path) -> Path:
        """Evaluate the selected network and write the record into the folder of records; returns its path."""
        from mtlbench.running.record_builder import build_record

        self.load_best()
        path = results / self.spec.data.name / self.spec.file_name()
        selected = {"structure": self.network.structure(), "network": self.network.state_dict()}
        save(selected, self.folder / "selected.pt")
        write_text(self.folder / "spec.json", self.spec.model_dump_json(indent=1))
        write(path, build_record(self))
        self.selection.clear()
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        return path


def build_network(spec: TrialSpec, method: Method, dataset: Dataset) -> Architecture:
    """The trial's network with its initial weights, on the CPU.

    Raises:
        UserError: fewer epochs than the method makes sense with.
    """
    cls = method.architecture.cls
    if spec.settings.epochs < cls.minimum_epochs:
        raise UserError(
            f"{method.name} makes sense with {cls.minimum_epochs} epochs or more, and {spec.settings.epochs} were asked for."
        )
    config = NetworkConfig(
        tasks=dataset.tasks,
        image_size=dataset.image_size,
        backbone=spec.settings.backbone_spec(),
        head=spec.settings.head_spec(),
        mean=dataset.mean,
        std=dataset.std,
        seed=spec.seed,
    )
    return cls(config, method.architecture_hypers)


def run_trial(spec: TrialSpec, work: Path, results: Path, watch: Any = None, keep: bool = False) -> Path:
    """Run a trial to its record in this process.

    Args:
        watch: called with a `Progress` after every epoch.
        keep: keep the weights of every epoch that could be selected.
    """
    trial = Trial(spec, work, keep=keep)
    for progress in trial.epochs():
        if watch is not None:
            watch(progress)
    return trial.finish(results)


def forget(spec: TrialSpec, work: Path) -> None:
    """Remove a trial's working folder."""
    shutil.rmtree(work / spec.id, ignore_errors=True)
