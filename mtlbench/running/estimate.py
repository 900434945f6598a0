"""What a sweep will cost: one trial of every kind is probed where trials will run, with the resources of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.running.ray_session import Resources

if TYPE_CHECKING:
    from mtlbench.running.probe import Cost

Kind = tuple[str, str]
"""Dataset and row: trials that differ in their seed alone take the same time."""

WORKER_START = 6.0
"""Seconds until a worker process has imported everything."""


@dataclass(frozen=True)
class Estimate:
    """What is planned.

    Attributes:
        trials: in the order to run them (`running_order`).
        seconds: of each trial, by id.
        images: training images of all trials.
        hours: of wall time.
        text: all of it in words.
    """

    trials: list[TrialSpec]
    seconds: dict[str, float]
    images: int
    hours: float
    text: str


def estimate(trials: Sequence[TrialSpec], resources: Resources) -> Estimate:
    """Probe one trial of every (dataset, row) within the open `ray_session`, and add up.

    Raises:
        UserError: a trial cannot be put together; the sweep would only find out later.
    """
    first_of: dict[Kind, TrialSpec] = {}
    for trial in trials:
        first_of.setdefault((trial.data.name, trial.row), trial)
    at_a_time = min(len(trials), trials_at_a_time(resources))
    costs, crashed = _probe_all(first_of, resources, min(at_a_time, len(first_of)))
    seconds = {trial.id: costs[kind].seconds if (kind := (trial.data.name, trial.row)) in costs else 0.0 for trial in trials}
    images = sum(costs[kind].images for trial in trials if (kind := (trial.data.name, trial.row)) in costs)
    ordered = running_order(trials, seconds)
    hours = (WORKER_START + _makespan([seconds[trial.id] for trial in ordered], at_a_time)) / 3600
    span = f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h"
    text = f"Planned: {len(trials)} trials, {images:,} training images, about {span} with {at_a_time} at a time."
    if crashed:
        text += f" Not estimated, since a first step failed: {'; '.join(crashed)}."
    return Estimate(ordered, seconds, images, hours, text)


def running_order(trials: Sequence[TrialSpec], seconds: Mapping[str, float]) -> list[TrialSpec]:
    """The shortest trial first, so that a row is there to look at soon; then the longest, which leave least idle time last.

    Args:
        seconds: trial id → its expected duration.
    """
    longest_first = sorted(trials, key=lambda trial: -seconds[trial.id])
    return [*longest_first[-1:], *longest_first[:-1]]


def trials_at_a_time(resources: Resources) -> int:
    """How many trials fit on the nodes of the open session, each on one node."""
    import ray

    fitting = 0
    for node in ray.nodes():
        available = node.get("Resources", {}) if node.get("Alive", True) else {}
        slots = [
            available.get(name, 0) / wanted for name, wanted in (("CPU", resources.cpus), ("GPU", resources.gpus)) if wanted
        ]
        fitting += int(min(slots, default=0) + 1e-9)
    return max(fitting, 1)


def _makespan(seconds: Sequence[float], workers: int) -> float:
    """Wall time of jobs in this order, each starting on the worker that is free first."""
    free_at = [0.0] * workers
    for duration in seconds:
        earliest = free_at.index(min(free_at))
        free_at[earliest] += duration
    return max(free_at)


def _probe_all(trials: dict[Kind, TrialSpec], resources: Resources, workers: int) -> tuple[dict[Kind, Cost], list[str]]:
    """The cost of every kind, and one line for each that crashed: the trial itself will report it, others must not suffer.

    Probes run in processes that end afterwards, so that no GPU memory stays behind.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util import ActorPool

    class Prober:
        def probe(self, spec: str, gpus: float) -> tuple[str, object]:
            from mtlbench.running.probe import probe
            from mtlbench.running.trial import device_of

            try:
                return "cost", probe(TrialSpec.model_validate_json(spec), device_of(gpus))
            except UserError as error:
                return "refused", str(error)
            except Exception as error:
                return "crashed", f"{type(error).__name__}: {error}"

    remote = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(Prober)
    actors = [remote.remote() for _ in range(workers)]
    costs: dict[Kind, Cost] = {}
    crashed: list[str] = []
    try:
        pool = ActorPool(actors)
        for trial in trials.values():
            pool.submit(lambda actor, trial: actor.probe.remote(trial.model_dump_json(), resources.gpus), trial)
        for kind in trials:
            outcome: str
            answer: Any
            try:
                # Its process may be killed, or its node lost, and no other be left.
                outcome, answer = pool.get_next() if pool.has_next() else ("crashed", "no process is left to time it")
            except RayError as error:
                outcome, answer = "crashed", type(error).__name__
            if outcome == "refused":
                raise UserError(str(answer))
            if outcome == "cost":
                costs[kind] = answer
            else:
                dataset, row = kind
                crashed.append(f"{row} on {dataset} ({answer})")
    finally:
        for actor in actors:
            ray.kill(actor)  # type: ignore[arg-type]
    return costs, crashed
