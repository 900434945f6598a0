"""Times a few steps of a trial, in a process that has what the trial will have, to say what the whole of it will take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from mtlbench.measure.deployed import deployed
from mtlbench.measure.evaluator import score
from mtlbench.measure.robustness import Corrupted
from mtlbench.measure.robustness_suite import attacked, choosing_suite, pgd_steps, reported_suite
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.trial import Trial

STEPS = 2
"""Timed training steps, after one that is not (it allocates)."""

CORRUPTIONS = 4
"""Corruptions that are timed: the first, the last and some between; the others are taken to cost their mean."""


@dataclass(frozen=True)
class Cost:
    """What a trial will take.

    Attributes:
        training: seconds of training, validation included.
        evaluation: seconds of evaluating the selected network, robustness included.
        images: training images.
    """

    training: float
    evaluation: float
    images: int

    @property
    def seconds(self) -> float:
        return self.training + self.evaluation


def probe(spec: TrialSpec, device: torch.device | None = None) -> Cost:
    """Put the trial together in a folder of its own, and time single steps of it.

    The steps are those of the first phase: a method whose later phases are dearer or cheaper is estimated roughly.
    """
    with tempfile.TemporaryDirectory(prefix="mtlbench-probe-") as folder:
        trial = Trial(spec, Path(folder), device)
        phase = next(phase for phase in trial.state.phases if not phase.skip())
        phase.begin()
        trial.state.prepare(phase)
        trial.network.train()
        step = phase.passes(0)[0].step
        times = []
        for number, batch in enumerate(trial.loader.epoch(0)):
            times.append(_seconds(partial(step, batch), trial.device))
            if number == STEPS:
                break
        forward, cell, attack_step = _evaluation_times(trial)
        epochs = sum(phase.epochs for phase in trial.state.phases)
        batches = {name: -(-len(split) // trial.evaluator.batch_size) for name, split in trial.data.splits.items()}
        training = epochs * (min(times) * trial.loader.batches() + forward * batches["val"])
        return Cost(
            training=training,
            evaluation=_evaluation_seconds(trial, batches, forward, cell, attack_step),
            images=epochs * trial.run.images_per_epoch,
        )


def _evaluation_times(trial: Trial) -> tuple[float, float, float]:
    """Seconds per evaluation batch: clean; under a corruption, on average; and of one attack step."""
    evaluator, test = trial.evaluator, trial.data.splits["test"]
    clean = _seconds(partial(_evaluate_batch, trial), trial.device)
    suite = reported_suite(trial.spec.settings, trial.loader.augmentation)
    corrupted = 0.0
    if suite is not None and suite.corruptions:
        last = len(suite.corruptions) - 1
        chosen = [suite.corruptions[number * last // (CORRUPTIONS - 1)] for number in range(CORRUPTIONS)]
        batch = test.batch(torch.arange(min(len(test), evaluator.batch_size)), trial.device)
        changes = [Corrupted(evaluator.dataset, test, name, suite.severities[-1]) for name in dict.fromkeys(chosen)]
        corrupted = sum(_seconds(partial(change, batch), trial.device) for change in changes) / len(changes)
    return clean, clean + corrupted, 3 * clean


def _evaluate_batch(trial: Trial) -> None:
    scored = trial.evaluator.predictions(deployed(trial.network), trial.data.splits["test"])
    score(trial.evaluator.tasks, islice(scored, 1))


def _evaluation_seconds(trial: Trial, batches: dict[str, int], forward: float, cell: float, attack_step: float) -> float:
    settings = trial.spec.settings
    clean = sum(count for name, count in batches.items() if name != "train") * forward
    clean += min(settings.bn_images, trial.run.images_per_epoch) / trial.evaluator.batch_size * forward
    cells = 0.0
    for suite, split in ((reported_suite(settings, trial.loader.augmentation), "test"), (choosing_suite(settings), "val")):
        cells += 0 if suite is None else len(suite.cells()) * batches[split] * cell
    steps = sum(settings.pgd_steps or pgd_steps(radius) for radius in settings.pgd)
    targets = len(attacked(settings, [task.name for task in trial.evaluator.tasks])) if settings.pgd else 0
    return clean + cells + steps * targets * batches["test"] * attack_step


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
