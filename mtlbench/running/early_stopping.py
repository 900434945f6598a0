"""Early stopping of a search's trials, by Ray Tune's ASHA on val skill.

Every study has rungs of its own: trials of one method are compared with each other alone. A trial that is stopped ends with
a record all the same: it is told to finish with the epochs it has, instead of being killed. Who is stopped depends on which
trials reach a rung first, so it may differ from run to run; the draws do not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record

REDUCTION = 3
"""Of the trials that reach a rung, the best third goes on."""

EPOCH, SKILL = "epochs_done", "val_skill"
"""Names under which a worker reports what ASHA decides by."""


@dataclass(frozen=True)
class EarlyStopping:
    """Stop trials of searches early.

    Attributes:
        finished: records of trials of the same searches that need not be run: their curves count.
    """

    finished: Sequence[Record] = ()


class Desk:
    """What the driver and its workers tell each other during a sweep, as a Ray actor on the driver's machine.

    It also keeps the last checkpoint of every running trial, so that a trial goes on when its machine is lost, without a
    disk that machines have in common.
    """

    def __init__(self) -> None:
        self.stopped: set[str] = set()
        self.folder = tempfile.TemporaryDirectory(prefix="mtlbench-desk-")

    def stop(self, trial: str) -> None:
        """A trial is to finish with the epochs it has."""
        self.stopped.add(trial)

    def is_stopped(self, trial: str) -> bool:
        return trial in self.stopped

    def keep(self, trial: str, checkpoint: bytes) -> None:
        """Replace the checkpoint of a trial."""
        Path(self.folder.name, trial).write_bytes(checkpoint)

    def kept(self, trial: str) -> bytes | None:
        """The last checkpoint of a trial."""
        path = Path(self.folder.name, trial)
        return path.read_bytes() if path.is_file() else None

    def drop(self, trial: str) -> None:
        """A trial is over."""
        Path(self.folder.name, trial).unlink(missing_ok=True)


@contextmanager
def open_desk() -> Iterator[Any]:
    """The handle of a desk in the open Ray session."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    desk: Any = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote()
    try:
        yield desk
    finally:
        ray.kill(desk)


def asha(trials: Mapping[str, TrialSpec], desk: Any, early: EarlyStopping) -> Any:
    """A scheduler of Ray Tune that runs trials in order and stops those of searches by ASHA.

    Args:
        trials: by their ids.
    """
    import ray
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

    def rungs(epochs: int) -> Any:
        """Rungs after a ninth and a third of the epochs."""
        return AsyncHyperBandScheduler(
            EPOCH, SKILL, "max", max_t=max(epochs, 1), grace_period=max(1, epochs // 9), reduction_factor=REDUCTION
        )

    studies: dict[str, Any] = {}
    for trial in trials.values():
        if trial.tuning is not None and trial.tuning.role == "trial":
            studies.setdefault(trial.tuning.study, rungs(trial.settings.epochs))
    for record in early.finished:
        if record.tuning is not None and record.tuning.study in studies:
            _tell(studies[record.tuning.study], record)

    class PerStudy(FIFOScheduler):
        """Hands every result to the rungs of its study."""

        def rungs_of(self, trial: Any) -> tuple[str, Any]:
            spec = trials[trial.config["id"]]
            searched = spec.tuning is not None and spec.tuning.role == "trial"
            return spec.id, studies[spec.tuning.study] if searched and spec.tuning else None

        def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
            _, of_study = self.rungs_of(trial)
            if of_study is not None:
                of_study.on_trial_add(tune_controller, trial)

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            name, of_study = self.rungs_of(trial)
            if of_study is None or SKILL not in result or result[EPOCH] >= trials[name].settings.epochs:
                return str(TrialScheduler.CONTINUE)
            if of_study.on_trial_result(tune_controller, trial, result) == TrialScheduler.STOP:
                ray.get(desk.stop.remote(name))
            return str(TrialScheduler.CONTINUE)

    return PerStudy()


def _tell(of_study: Any, record: Record) -> None:
    """Fill the rungs with the curve of a trial that is over."""
    trial = SimpleNamespace(trial_id=record.id)
    of_study.on_trial_add(None, trial)
    for done, point in enumerate(record.result.curve, start=1):
        if point.val is not None and point.selectable:
            of_study.on_trial_result(None, trial, {EPOCH: done, SKILL: point.val.mean_skill})
