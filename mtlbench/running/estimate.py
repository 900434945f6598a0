"""What a sweep will cost, from a short probe: a few steps of every distinct method, timed in this process."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.trial import Trial

PROBE_STEPS = 2
"""Timed steps a method, after one that is not (it allocates)."""


@dataclass(frozen=True)
class Estimate:
    """What is planned: the trials, longest first, their training images, hours of wall time, and all that in words.

    Starting with the longest leaves the least idle time at the end.
    """

    trials: list[TrialSpec]
    images: int
    hours: float
    text: str


def estimate(trials: Sequence[TrialSpec], cpus: float, gpus: float, address: str | None) -> Estimate:
    """Probe one trial of every (dataset, row) and add up.

    A probe times training steps of the first phase, so a method whose later phases are dearer or cheaper is
    estimated roughly. On a cluster the number of trials at a time is not known here; one machine is assumed.
    """
    seconds_of: dict[tuple[str, str], tuple[float, int]] = {}
    crashed: list[str] = []
    seconds, images = 0.0, 0
    for trial in trials:
        key = (trial.data.name, trial.row)
        if key not in seconds_of:
            try:
                seconds_of[key] = _probe(trial)
            except UserError:
                raise
            except Exception as error:
                # The trial itself will report it; the others must not suffer.
                crashed.append(f"{trial.row} on {trial.data.name} ({type(error).__name__}: {error})")
                seconds_of[key] = 0.0, 0
        seconds += seconds_of[key][0]
        images += seconds_of[key][1]
    at_a_time = min(len(trials), max(1, int((os.cpu_count() or 1) // max(cpus, 0.1))))
    if gpus > 0:
        import torch

        at_a_time = min(at_a_time, max(1, int(max(torch.cuda.device_count(), 1) / gpus)))
    hours = seconds / at_a_time / 3600
    span = f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h"
    place = f" on {address}" if address else ""
    text = f"Planned: {len(trials)} trials, {images:,} training images, about {span} with {at_a_time} at a time{place}."
    if crashed:
        text += f" Not estimated, since a first step failed: {'; '.join(crashed)}."
    longest_first = sorted(trials, key=lambda trial: -seconds_of[trial.data.name, trial.row][0])
    return Estimate(longest_first, images, hours, text)


def _probe(spec: TrialSpec) -> tuple[float, int]:
    """(seconds of training and validation, training images) that one trial will take."""
    with tempfile.TemporaryDirectory(prefix="mtlbench-probe-") as folder:
        trial = Trial(spec, Path(folder))
        phase = next(phase for phase in trial.state.phases if not phase.skip())
        phase.begin()
        phase.prepare()
        trial.network.train()
        step = phase.passes(0)[0].step
        times = []
        for number, batch in enumerate(trial.loader.epoch(0)):
            started = time.perf_counter()
            step(batch)
            times.append(time.perf_counter() - started)
            if number == PROBE_STEPS:
                break
        epochs = sum(phase.epochs for phase in trial.state.phases)
        train = trial.run.images_per_epoch
        # A forward pass is about a third of a step; val is passed over once an epoch.
        val = len(trial.data.splits["val"]) / spec.settings.batch_size / 3
        steps = trial.loader.batches() + val
        return min(times) * steps * epochs, train * epochs
