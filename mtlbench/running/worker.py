"""What Ray runs on a worker: one trial after another in one process, one epoch per Tune step.

A finished record travels to the driver as text, so that workers need no disk in common with it. The trial's checkpoint is
removed only after the driver has confirmed the record by asking for the next step. Retries find the checkpoint and go on.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import write_text

if TYPE_CHECKING:
    from filelock import FileLock

    from mtlbench.running.trial import Trial
    from mtlbench.training.report import EpochReport


def make_worker() -> type:
    """The Trainable's class; ray is imported here and not before."""
    from ray import tune

    class Worker(tune.Trainable):
        """Runs trials by their ids. Specifications come through the object store, once per worker process."""

        _trial: Trial | None = None
        _epochs: Iterator[EpochReport] = iter(())
        _lock: FileLock | None = None

        def setup(self, config: dict[str, Any], specs: Mapping[str, str] | None = None) -> None:
            self._specs = specs or {}  # `tune.with_parameters` always gives them
            self._begin(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._begin(new_config)
            return True

        def _begin(self, config: dict[str, Any]) -> None:
            self._config = config
            self._confirmed = False
            self._end()

        def step(self) -> dict[str, Any]:
            from mtlbench.measure.memory import release_memory
            from mtlbench.running.exclusive import finished_record, trial_lock
            from mtlbench.running.trial import Trial, device_of

            spec = TrialSpec.model_validate_json(self._specs[self._config["id"]])
            work, base = Path(self._config["work"]), {"id": spec.id, "done": False}
            try:
                if self._confirmed:
                    assert self._trial is not None
                    self._trial.clear()
                    self._end()
                    return {**base, "done": True}
                if self._trial is None:
                    self._lock = trial_lock(work, spec.id)
                    self._lock.acquire()
                    record = finished_record(spec, work, self._config["keep"])
                    if record is not None:
                        self._end()
                        return {**base, "done": True, "record": record}
                    release_memory()
                    device = device_of(self._config["gpus"])
                    self._trial = Trial(spec, work, device=device, keep=self._config["keep"])
                    self._epochs = self._trial.epochs()
                report = next(self._epochs, None)
                if report is not None:
                    return {**base, "progress": vars(report)}
                with tempfile.TemporaryDirectory(prefix="mtlbench-record-") as folder:
                    path = self._trial.finish(Path(folder))
                    self._confirmed = True
                    return {**base, "record": path.read_text(encoding="utf-8")}
            except UserError as error:
                # The user's to mend: trying again would end the same way.
                self._end()
                return {**base, "done": True, "refused": str(error)}
            except Exception:
                # One line goes to the user; whoever wrote the plugin finds the rest here.
                self._end()
                write_text(work / spec.id / "error.txt", traceback.format_exc())
                raise

        def _end(self) -> None:
            self._trial, self._epochs = None, iter(())
            if self._lock is not None:
                self._lock.release()
            self._lock = None

        def cleanup(self) -> None:
            self._end()

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing: trials keep checkpoints of their own."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Nothing: a trial that begins again finds its own checkpoint."""

    Worker.__name__ = "mtlbench"
    return Worker
