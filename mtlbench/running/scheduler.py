"""Runs trials on Ray Tune: on this machine or on a cluster. It knows specifications and records, and no networks.

A worker trains one epoch a Tune step and hands the finished record back as text, so that workers need no disk in common
with the driver. What a trial has learned so far is in its own checkpoint: a retried or repeated trial goes on from there.
"""

from __future__ import annotations

import logging
import os
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import write_text

if TYPE_CHECKING:
    from mtlbench.running.display import Display
    from mtlbench.training.report import EpochReport


@dataclass(frozen=True)
class Resources:
    """What one trial gets, and where trials run.

    Attributes:
        cpus, gpus: of one trial; fractions of a GPU are allowed, so that several trials share one.
        address: of a running Ray cluster ("auto" finds one on this machine); None starts one for this sweep.
        retries: how often a trial that crashed is tried again.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    retries: int = 1


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended: the records it wrote, and what went wrong (trial title → one line)."""

    written: list[Path]
    failed: dict[str, str]


def run_trials(
    trials: Sequence[TrialSpec], work: Path, results: Path, resources: Resources, display: Display, keep: bool = False
) -> Outcome:
    """Run trials to their records.

    Args:
        work: the folder for checkpoints, on the machine that runs the trial.
        results: the folder of records, on this machine.
        display: told about every epoch.

    Raises:
        UserError: Ray cannot be started or reached, or no node has what a trial asks for.
        KeyboardInterrupt: passed on after the workers were stopped; what they saved stays.
    """
    # Read when Ray is imported or a tuner is made: no extra loggers, no signal handler, no buffering of results.
    for name, value in (
        ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1"),
        ("TUNE_DISABLE_SIGINT_HANDLER", "1"),
        ("TUNE_RESULT_BUFFER_LENGTH", "1"),
        ("RAY_AIR_NEW_OUTPUT", "0"),
        ("RAY_CHDIR_TO_TRIAL_DIR", "0"),
        ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"),
        ("RAY_USAGE_STATS_ENABLED", "0"),
    ):
        os.environ.setdefault(name, value)
    from ray import tune

    by_id = {trial.id: trial for trial in trials}
    written: list[Path] = []
    failed: dict[str, str] = {}

    class Watch(tune.Callback):
        """Turns Tune's results into progress and records."""

        def __reduce__(self) -> Any:
            # Tune pickles its configuration for a restart of its own, which is never used; this must not take part.
            return tune.Callback, ()

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            spec = by_id[result["id"]]
            if "record" in result:
                path = results / spec.data.name / spec.file_name()
                write_text(path, result["record"])
                written.append(path)
                display.done(spec, path)
            elif "refused" in result:
                failed[spec.title] = result["refused"]
                display.failed(spec, result["refused"])
            elif "progress" in result:
                display.epoch(spec, result["progress"])

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            spec = by_id[trial.config["job"]["id"]]
            failed[spec.title] = f"{_last_line(trial)} (traceback: {work / spec.id / 'error.txt'})"
            display.failed(spec, failed[spec.title])

    with _cluster(resources), tempfile.TemporaryDirectory(prefix="mtlbench-tune-") as storage:
        _check_resources(resources)
        tuner = tune.Tuner(
            tune.with_resources(_worker(), {"cpu": resources.cpus, "gpu": resources.gpus}),
            param_space={
                "job": tune.grid_search([{"id": one.id, "spec": one.model_dump(mode="json")} for one in trials]),
                "work": str(work.resolve()),
                "keep": keep,
            },
            tune_config=tune.TuneConfig(reuse_actors=True, trial_dirname_creator=lambda trial: trial.trial_id),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=storage,
                verbose=0,
                callbacks=[Watch()],
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    return Outcome(sorted(written), failed)


def _worker() -> type:
    from ray import tune

    class Worker(tune.Trainable):
        """One trial after another in one process: an epoch a step."""

        def setup(self, config: dict[str, Any]) -> None:
            self._config = config
            self._epochs: Iterator[EpochReport] | None = None

        def step(self) -> dict[str, Any]:
            from mtlbench.running.trial import Trial

            spec = TrialSpec.model_validate(self._config["job"]["spec"])
            base = {"id": spec.id, "done": False}
            try:
                if self._epochs is None:
                    self._trial = Trial(spec, Path(self._config["work"]), keep=self._config["keep"])
                    self._epochs = self._trial.epochs()
                progress = next(self._epochs, None)
                if progress is not None:
                    return {**base, "progress": progress.__dict__}
                with tempfile.TemporaryDirectory(prefix="mtlbench-record-") as folder:
                    path = self._trial.finish(Path(folder))
                    return {**base, "done": True, "record": path.read_text(encoding="utf-8")}
            except UserError as error:
                # The user's to mend: trying again would end the same way.
                return {**base, "done": True, "refused": str(error)}
            except Exception:
                # One line goes to the user; whoever wrote the plugin finds the rest here.
                write_text(Path(self._config["work"]) / spec.id / "error.txt", traceback.format_exc())
                raise

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing: trials keep checkpoints of their own."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Nothing: a trial that begins again finds its own checkpoint."""

    Worker.__name__ = "mtlbench"
    return Worker


@contextmanager
def _cluster(resources: Resources) -> Iterator[None]:
    """A Ray session for the sweep."""
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if resources.address is None:
        options["include_dashboard"] = False
    else:
        options["address"] = resources.address
    try:
        ray.init(**options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = f"at {resources.address!r} " if resources.address else ""
        raise UserError(f"Ray {where}could not be started or reached: {str(error).splitlines()[0]}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_resources(resources: Resources) -> None:
    import ray

    there = ray.cluster_resources()
    for name, key, wanted in (("CPUs", "CPU", resources.cpus), ("GPUs", "GPU", resources.gpus)):
        if wanted > there.get(key, 0):
            raise UserError(
                f"A trial asks for {wanted:g} {name}, and there are {there.get(key, 0):g} in all: lower --{name.lower()}."
            )


def _last_line(trial: Any) -> str:
    """The last line of what a crashed trial left, which names the error."""
    try:
        text = str(trial.get_error() or "") or Path(trial.error_file).read_text(encoding="utf-8")
    except (AttributeError, OSError, TypeError):
        return "crashed without a message"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "crashed without a message"
