"""Runs trials on Ray Tune, on this machine or on a cluster. It knows specifications and records, and no networks.

Tune is handed ids alone; the specifications lie in the object store, and a record leaves Tune's results once it is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import add
from mtlbench.running.disk_faults import disk_problem
from mtlbench.running.display import Display
from mtlbench.running.early_stopping import EarlyStopping, asha, open_desk
from mtlbench.running.ray_session import Resources, ray_session
from mtlbench.running.worker import make_worker


@dataclass
class Outcome:
    """How a sweep ended: the records it wrote, and what went wrong (trial title → one line)."""

    written: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def run_trials(
    trials: Sequence[TrialSpec],
    work: Path,
    results: Path,
    resources: Resources,
    display: Display,
    keep: bool = False,
    force: bool = False,
    early_stopping: EarlyStopping | None = None,
) -> Outcome:
    """Run trials to their records: within the `ray_session` that is open, or in one of its own.

    Args:
        work: the folder for checkpoints, on the machine that runs the trial.
        results: the folder of records, on this machine.
        display: told about every epoch.
        keep: keep the weights of every epoch that could be selected.
        force: replace records with another result.
        early_stopping: end trials of searches early that are behind.

    Raises:
        UserError: Ray cannot be started or reached, or no node has what a trial asks for.
        KeyboardInterrupt: passed on after the workers were stopped; what they saved stays.
    """
    import ray
    from ray import tune

    if not ray.is_initialized():
        with ray_session(resources):
            return run_trials(trials, work, results, resources, display, keep, force, early_stopping)
    outcome = Outcome()
    specs = {trial.id: trial.model_dump_json() for trial in trials}
    with tempfile.TemporaryDirectory(prefix="mtlbench-tune-") as storage, ExitStack() as stack:
        desk = None if early_stopping is None else stack.enter_context(open_desk())
        by_id = {trial.id: trial for trial in trials}
        worker = tune.with_parameters(make_worker(), specs=specs, desk=desk)
        tuner = tune.Tuner(
            tune.with_resources(worker, {"cpu": resources.cpus, "gpu": resources.gpus}),
            param_space={"work": str(work.resolve()), "keep": keep, "gpus": resources.gpus},
            tune_config=tune.TuneConfig(
                search_alg=in_order(list(specs)),
                num_samples=len(specs),
                scheduler=None if early_stopping is None else asha(by_id, desk, early_stopping),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=storage,
                verbose=0,
                callbacks=[_watch(by_id, work, results, display, outcome, force)],
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    outcome.written.sort()
    return outcome


def in_order(ids: list[str]) -> Any:
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


def _watch(
    specs: Mapping[str, TrialSpec], work: Path, results: Path, display: Display, outcome: Outcome, force: bool
) -> Any:
    """A callback that turns Tune's results into progress and records."""
    from ray import tune

    class Watch(tune.Callback):
        def __reduce__(self) -> Any:
            # Tune pickles its configuration for a restart of its own, which is never used; this must not take part.
            return tune.Callback, ()

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            spec = specs[result["id"]]
            if "note" in result:
                display.note(spec, result["note"])
            if "record" in result:
                # Taken out, so that the driver does not keep the text of every record.
                self._write(spec, result.pop("record"))
            elif "refused" in result:
                self._fail(spec, result["refused"])
            elif "progress" in result:
                display.epoch(spec, result["progress"])

        def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            display.note(specs[trial.config["id"]], f"crashed ({_last_line(trial)}); tried again from its last epoch")

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            spec = specs[trial.config["id"]]
            if self._path(spec) in outcome.written:
                return  # its record came before its worker died
            traceback = work / spec.id / "error.txt"
            self._fail(spec, _last_line(trial) + (f" (traceback: {traceback})" if traceback.is_file() else ""))

        def _path(self, spec: TrialSpec) -> Path:
            return results / spec.data.name / spec.file_name()

        def _write(self, spec: TrialSpec, record: str) -> None:
            path = self._path(spec)
            try:
                add(path, record, force)
            except (UserError, OSError) as error:
                # The trial has a copy in its folder, from which the same command takes it.
                line = disk_problem(error) if isinstance(error, OSError) else None
                self._fail(spec, line or str(error))
                return
            if path not in outcome.written:
                outcome.written.append(path)
                display.done(spec, path)

        def _fail(self, spec: TrialSpec, reason: str) -> None:
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
