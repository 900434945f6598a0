"""Runs trials on Ray Tune, on this machine or on a cluster. It knows specifications and records, and no networks.

Tune is handed ids alone; the specifications lie in the object store, and a record leaves Tune's results once it is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import write_text
from mtlbench.running.display import Display
from mtlbench.running.ray_session import Resources, ray_session
from mtlbench.running.worker import make_worker


@dataclass
class Outcome:
    """How a sweep ended: the records it wrote, and what went wrong (trial title → one line)."""

    written: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run_trials(
    trials: Sequence[TrialSpec], work: Path, results: Path, resources: Resources, display: Display, keep: bool = False
) -> Outcome:
    """Run trials to their records: within the `ray_session` that is open, or in one of its own.

    Args:
        work: the folder for checkpoints, on the machine that runs the trial.
        results: the folder of records, on this machine.
        display: told about every epoch.

    Raises:
        UserError: Ray cannot be started or reached, or no node has what a trial asks for.
        KeyboardInterrupt: passed on after the workers were stopped; what they saved stays.
    """
    import ray
    from ray import tune

    if not ray.is_initialized():
        with ray_session(resources):
            return run_trials(trials, work, results, resources, display, keep)
    outcome = Outcome()
    specs = {trial.id: trial.model_dump_json() for trial in trials}
    worker = tune.with_parameters(make_worker(), specs=specs)
    with tempfile.TemporaryDirectory(prefix="mtlbench-tune-") as storage:
        tuner = tune.Tuner(
            tune.with_resources(worker, {"cpu": resources.cpus, "gpu": resources.gpus}),
            param_space={"work": str(work.resolve()), "keep": keep, "gpus": resources.gpus},
            tune_config=tune.TuneConfig(
                search_alg=_in_order(list(specs)),
                num_samples=len(specs),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=storage,
                verbose=0,
                callbacks=[_watch({trial.id: trial for trial in trials}, work, results, display, outcome)],
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    outcome.written.sort()
    return outcome


def _in_order(ids: list[str]) -> Any:
    """A searcher that suggests the given ids one after another. (A grid would be copied for every trial.)"""
    from ray.tune.search import Searcher

    class InOrder(Searcher):
        def __init__(self) -> None:
            super().__init__()
            self.remaining = list(reversed(ids))

        def suggest(self, trial_id: str) -> dict[str, Any] | None:
            return {"id": self.remaining.pop()} if self.remaining else None

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            """Nothing is learned from results."""

        def save(self, checkpoint_path: str) -> None:
            """Nothing: a sweep that is run again plans anew what has no record."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing."""

    return InOrder()


def _watch(specs: Mapping[str, TrialSpec], work: Path, results: Path, display: Display, outcome: Outcome) -> Any:
    """A callback that turns Tune's results into progress and records."""
    from ray import tune

    class Watch(tune.Callback):
        def __reduce__(self) -> Any:
            # Tune pickles its configuration for a restart of its own, which is never used; this must not take part.
            return tune.Callback, ()

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            spec = specs[result["id"]]
            if "record" in result:
                path = results / spec.data.name / spec.file_name()
                # Taken out, so that the driver does not keep the text of every record.
                write_text(path, result.pop("record"))
                outcome.written.append(path)
                display.done(spec, path)
            elif "refused" in result:
                outcome.failed[spec.title] = result["refused"]
                display.failed(spec, result["refused"])
            elif "progress" in result:
                display.epoch(spec, result["progress"])

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            spec = specs[trial.config["id"]]
            reason = f"{_last_line(trial)} (traceback: {work / spec.id / 'error.txt'})"
            outcome.failed[spec.title] = reason
            display.failed(spec, reason)

    return Watch()


def _last_line(trial: Any) -> str:
    """The last line of what a crashed trial left, which names the error."""
    try:
        text = str(trial.get_error() or "") or Path(trial.error_file).read_text(encoding="utf-8")
    except (AttributeError, OSError, TypeError):
        return "crashed without a message"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "crashed without a message"
