"""What Ray runs on a worker: one trial after another in one process, one epoch per Tune step.

A finished record travels to the driver as text, so that workers need no disk in common with it. The trial's checkpoint is
removed only after the driver has confirmed the record by asking for the next step. Retries find the checkpoint and go on.
What can be told in one line (mistakes, full disks, memory) is told so, and is not retried by Ray.
"""

from __future__ import annotations

import contextlib
import gc
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtlbench.errors import UserError
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import write_text
from mtlbench.running.disk_faults import disk_problem
from mtlbench.running.early_stopping import EPOCH, SKILL

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
        _pieces: int | None = None

        def setup(self, config: dict[str, Any], specs: Mapping[str, str] | None = None, desk: Any = None) -> None:
            from mtlbench.running import trial  # noqa: F401

            # What the imports left stays until the process ends: garbage is looked for without it, at every trial's start.
            gc.freeze()
            self._specs = specs or {}  # `tune.with_parameters` always gives them
            self._desk = desk
            self._begin(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._begin(new_config)
            return True

        def _begin(self, config: dict[str, Any]) -> None:
            self._config = config
            self._confirmed = False
            self._pieces = None
            self._end()

        def step(self) -> dict[str, Any]:
            from mtlbench.running.memory_retry import pieces_after, refused_retry, retry_note

            spec = TrialSpec.model_validate_json(self._specs[self._config["id"]])
            work, base = Path(self._config["work"]), {"id": spec.id, "done": False}
            building_again = self._pieces is not None and self._trial is None
            try:
                return self._step(spec, work, base)
            except UserError as error:
                # The user's to mend: trying again would end the same way.
                self._end()
                return {**base, "done": True, "refused": str(refused_retry(error, spec) if building_again else error)}
            except Exception as error:
                self._end()
                if isinstance(error, OSError) and (line := disk_problem(error)):
                    return {**base, "done": True, "refused": line}
                try:
                    self._pieces = pieces_after(error, spec, self._pieces)
                except UserError as hopeless:
                    return {**base, "done": True, "refused": str(hopeless)}
                if self._pieces is not None:
                    return {**base, "note": retry_note(self._pieces)}
                # One line goes to the user; whoever wrote the plugin finds the rest here.
                with contextlib.suppress(OSError):
                    write_text(work / spec.id / "error.txt", traceback.format_exc())
                raise

        def _step(self, spec: TrialSpec, work: Path, base: dict[str, Any]) -> dict[str, Any]:
            """One epoch of the trial, or its record, or its end."""
            from mtlbench.measure.memory import release_memory
            from mtlbench.running.exclusive import finished_record, trial_lock
            from mtlbench.running.trial import Trial, device_of

            if self._confirmed:
                assert self._trial is not None
                self._trial.clear()
                if self._desk is not None:
                    self._desk.drop.remote(spec.id)
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
                if self._desk is not None:
                    take_up(self._desk, spec, work)
                self._trial = Trial(spec, work, device, self._config["keep"], self._pieces)
                self._epochs = self._trial.epochs()
            if self._desk is not None and ends_early(self._desk, self._trial):
                self._epochs = iter(())
            report = next(self._epochs, None)
            note = {"note": text} if (text := self._trial.take_note()) else {}
            if report is not None:
                decided_by = {} if self._desk is None else reported(self._desk, self._trial, report)
                return {**base, **note, **decided_by, "progress": vars(report)}
            with tempfile.TemporaryDirectory(prefix="mtlbench-record-") as folder:
                path = self._trial.finish(Path(folder))
                self._confirmed = True
                return {**base, **note, "record": path.read_text(encoding="utf-8")}

        def _end(self) -> None:
            self._trial, self._epochs = None, iter(())
            if self._lock is not None:
                self._lock.release()
            self._lock = None

        def cleanup(self) -> None:
            self._end()

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """A copy of the trial's own checkpoint, for schedulers that pause trials or move them."""
            from mtlbench.training.checkpoints import CheckpointStore

            store = CheckpointStore(Path(self._config["work"]) / self._config["id"])
            (Path(checkpoint_dir) / PACKED).write_bytes(store.pack())

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Put the copy where the trial looks for its checkpoint, and begin from there."""
            from mtlbench.training.checkpoints import CheckpointStore

            self._end()
            CheckpointStore(Path(self._config["work"]) / self._config["id"]).unpack((Path(checkpoint) / PACKED).read_bytes())

    Worker.__name__ = "mtlbench"
    return Worker


PACKED = "checkpoint.zip"
"""The file of a trial's checkpoint in a checkpoint of Tune."""


def take_up(desk: Any, spec: TrialSpec, work: Path) -> None:
    """The trial's last checkpoint from the desk, where this machine has none: the trial began on another."""
    import ray

    from mtlbench.training.checkpoints import CheckpointStore

    store = CheckpointStore(work / spec.id)
    if not (store.folder / "checkpoint.pt").is_file() and (packed := ray.get(desk.kept.remote(spec.id))) is not None:
        store.unpack(packed)


def ends_early(desk: Any, trial: Trial) -> bool:
    """Whether the trial was stopped by its search; it is then prepared to finish with the epochs it has."""
    import ray

    # A trial that was taken up has no epoch before it trains one.
    if not trial.state.curve or not ray.get(desk.is_stopped.remote(trial.spec.id)):
        return False
    trial.end_early()
    return True


def reported(desk: Any, trial: Trial, report: EpochReport) -> dict[str, Any]:
    """What early stopping decides by, once an epoch can be selected; leaves the trial's checkpoint at the desk."""
    import ray

    ray.get(desk.keep.remote(trial.spec.id, trial.checkpoints.pack()))
    if not trial.state.selection.best or report.val_skill is None:
        return {}
    return {EPOCH: report.epoch, SKILL: report.val_skill}
