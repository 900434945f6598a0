"""How many trials load the machine: planning, handing over to Ray Tune, time per trial, memory, what is left behind.

    python benchmarks/load.py [--parts plan tune sweep] [--planned 10000] [--trials 500] [--workers 2]

plan    Plan `--planned` trials, every fifth of them said twice, drop the repetitions, and look for their records in a folder
        that has one per trial. Bound: 5 s.
tune    Let Tune make its own trials of these, by the searcher that `bench` uses, in an open session. Nothing is run.
        Bound: 30 s.
sweep   Run `--trials` trivial trials (hard sharing of a tiny network, 8 images, 1 epoch) by the scheduler that `bench`
        uses, on `--workers` workers, and 24 of them one after another in one process: the bare work. Overhead per trial is
        workers × wall time / trials − bare time, after all workers have started; bound: 0.3 s. Memory of the driver and of
        the workers after a tenth of the trials and at the end; bound: 5 % more. Processes and files that are there after
        the sweep and were not before, other than records and the folders of runs.

All times as wall time and as processor time (of the sweep: driver, workers and Ray's own processes), and the machine's load
average before each part. On a machine that others use, processor time is the one to look at. Exit code 1: a bound is missed.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console  # noqa: E402

from mtlbench.config.plugins import Registry  # noqa: E402
from mtlbench.planning.expansion import expand  # noqa: E402
from mtlbench.planning.experiment import make_experiment  # noqa: E402
from mtlbench.planning.trial_spec import TrialSpec  # noqa: E402
from mtlbench.running.display import Display  # noqa: E402
from mtlbench.running.finished import find_records  # noqa: E402
from mtlbench.running.ray_session import Resources, ray_session  # noqa: E402
from mtlbench.running.run_trial import run_trial  # noqa: E402
from mtlbench.running.scheduler import in_order, run_trials  # noqa: E402
from mtlbench.running.trial import open_dataset  # noqa: E402

STREETS = {"height": 32, "width": 64, "train": 8, "val": 4, "test": 4, "shifted": 0}
SETTINGS = {"epochs": 1, "backbone": "resnet_tiny", "batch_size": 4, "head_width": 4, "bn_images": 4}

PLAN_BOUND, TUNE_BOUND, OVERHEAD_BOUND, MEMORY_BOUND = 5.0, 30.0, 0.3, 1.05
BARE = 24
"""Trials whose bare work is measured."""


@dataclass
class Times:
    """Seconds of a stretch of the program: by the clock, and of this process's processor time."""

    wall: float = 0.0
    processor: float = 0.0

    def __str__(self) -> str:
        return f"{self.wall:.2f} s wall, {self.processor:.2f} s processor"


@contextmanager
def timed() -> Iterator[Times]:
    times = Times()
    wall, processor = time.perf_counter(), time.process_time()
    yield times
    times.wall, times.processor = time.perf_counter() - wall, time.process_time() - processor


def plan(methods: list[dict[str, Any]], seeds: int, folder: Path) -> list[TrialSpec]:
    """Trials of methods on the smallest dataset."""
    experiment = make_experiment(
        {
            "methods": methods,
            "datasets": [{"name": "streets", "set": STREETS}],
            "seeds": seeds,
            "settings": SETTINGS,
            "reference": False,
        },
        "load",
    )
    return expand(experiment, Registry(), lambda data, plugin: open_dataset(data, plugin.cls), cache=folder / "cache")


def variants(count: int) -> list[dict[str, Any]]:
    """So many methods, every fifth of them said twice: all hyper-parameters are checked for each."""
    names = [{"name": "cross_stitch", "set": {"own_weight": number / count}} for number in range(count)]
    return [*names, *names[::5]]


def measure_plan(count: int, folder: Path) -> tuple[list[TrialSpec], bool]:
    plan(variants(1), 1, folder)  # prepares the data and imports everything
    announce("plan")
    with timed() as planning:
        trials = plan(variants(count), 1, folder)
    assert len(trials) == count, f"{len(trials)} trials, {count} expected"
    results = folder / "found"
    (results / "streets").mkdir(parents=True)
    for trial in trials:
        (results / "streets" / trial.file_name()).write_text(f'{{\n "id": "{trial.id}",\n "label": ""\n}}\n')
    with timed() as finding:
        records = find_records(trials, results)
    assert len(records) == count
    with timed() as by_seed:
        assert len(plan(variants(1), count, folder)) == count
    print(f"  {count:,} variants planned and de-duplicated: {planning}")
    print(f"  their records found among {count:,}: {finding}")
    print(f"  one method with {count:,} seeds instead: {by_seed}")
    return trials, verdict("plan", planning.processor + finding.processor, PLAN_BOUND)


def measure_tune(trials: Sequence[TrialSpec]) -> bool:
    """Tune's own trials are made, as its loop makes them; none is started."""
    from ray import tune
    from ray.tune.experiment import Experiment
    from ray.tune.search import SearchGenerator

    class Nothing(tune.Trainable):
        pass

    with ray_session(Resources()), tempfile.TemporaryDirectory() as storage:
        announce("tune")
        with timed() as times:
            trainable = tune.with_parameters(Nothing, specs={trial.id: trial.model_dump_json() for trial in trials})
            generator = SearchGenerator(in_order([trial.id for trial in trials]))
            config = {"work": "runs", "keep": False, "gpus": 0.0}
            experiment = Experiment("load", trainable, config=config, num_samples=len(trials), storage_path=storage)
            generator.add_configurations(experiment)
            made = [generator.next_trial() for _ in trials]
        assert [trial.config["id"] for trial in made] == [trial.id for trial in trials]
    print(f"  {len(trials):,} trials made by Tune: {times}")
    return verdict("tune", times.processor, TUNE_BOUND)


@dataclass
class Look:
    """The sweep's processes at one moment.

    Attributes:
        wall: the clock, in seconds.
        driver: processor seconds so far; workers, ray: the same by process. What has ended is not there.
        driver_memory, worker_memory: in MB; of the workers that worked most, the mean.
    """

    wall: float
    driver: float
    workers: dict[int, float]
    ray: dict[int, float]
    driver_memory: float
    worker_memory: float

    @classmethod
    def now(cls, workers: int) -> Look:
        spent = {process: processor_seconds(process) for process in descendants(os.getpid())}
        of_workers = {process: seconds for process, seconds in spent.items() if command(process).startswith("ray::")}
        memory = [resident(process) for process in sorted(of_workers, key=of_workers.__getitem__)[-workers:]]
        return cls(
            time.perf_counter(),
            time.process_time(),
            of_workers,
            {process: seconds for process, seconds in spent.items() if process not in of_workers},
            resident(os.getpid()),
            sum(memory) / max(len(memory), 1),
        )


def since(before: dict[int, float], after: dict[int, float]) -> float:
    """Processor seconds of the processes that are still there."""
    return sum(seconds - before.get(process, 0.0) for process, seconds in after.items())


class Watch(Display):
    """Counts finished trials; looks at memory and time when it is asked to."""

    def __init__(self, total: int, marks: Sequence[int], workers: int) -> None:
        super().__init__(total, Console(file=open(os.devnull, "w")))  # noqa: SIM115
        self.marks, self.workers = marks, workers
        self.looks: dict[int, Look] = {}

    def done(self, spec: TrialSpec, path: Path) -> None:
        super().done(spec, path)
        if self.finished in self.marks:
            self.looks[self.finished] = Look.now(self.workers)


def measure_sweep(count: int, workers: int, folder: Path) -> bool:
    trials = plan([{"name": "hard_sharing"}], count + BARE + 1, folder)
    run_trial(trials.pop(), folder / "bare-runs", folder / "bare")
    announce("sweep")
    gc.freeze()  # as the workers do: what was imported is not searched for garbage at every trial's start
    with timed() as bare:
        for trial in trials[count:]:
            run_trial(trial, folder / "bare-runs", folder / "bare")
    processes, files = set(descendants(os.getpid())), set(left_in_temporary())
    first, early, last = 2 * workers, max(2 * workers + 1, count // 10), count
    watch = Watch(count, (first, early, last), workers)
    with timed() as whole, ray_session(Resources(cpus=max(1, (os.cpu_count() or 1) // workers))):
        outcome = run_trials(
            trials[:count],
            folder / "runs",
            folder / "results",
            Resources(cpus=max(1, (os.cpu_count() or 1) // workers)),
            watch,
        )
    assert len(outcome.written) == count and not outcome.failed, outcome.failed
    before, middle, after = watch.looks[first], watch.looks[early], watch.looks[last]
    steady = count - first
    bare_wall, bare_processor = bare.wall / BARE, bare.processor / BARE
    wall = workers * (after.wall - before.wall) / steady - bare_wall
    of_driver = (after.driver - before.driver) / steady
    of_workers, of_ray = since(before.workers, after.workers) / steady, since(before.ray, after.ray) / steady
    print(f"  bare work per trial: {bare_wall:.3f} s wall, {bare_processor:.3f} s processor ({BARE} trials in one process)")
    print(f"  {count} trials on {workers} workers: {whole.wall:.1f} s wall with start and end")
    print(f"  overhead per trial, wall: {wall:.3f} s")
    print(
        f"  overhead per trial, processor: {of_driver + of_workers + of_ray - bare_processor:.3f} s "
        f"(driver {of_driver:.3f} s, workers {of_workers - bare_processor:+.3f} s beside the bare work, "
        f"Ray's own processes {of_ray:.3f} s)"
    )
    print(f"  driver: {middle.driver_memory:.0f} MB after {early} trials, {after.driver_memory:.0f} MB after {last}")
    print(f"  worker: {middle.worker_memory:.0f} MB after {early} trials, {after.worker_memory:.0f} MB after {last}")
    left = [
        *(f"process {process}: {command(process)}" for process in wait_for_end(processes)),
        *sorted(set(left_in_temporary()) - files),
        *left_in_runs(folder / "runs"),
    ]
    print(f"  left behind: {', '.join(left[:10]) or 'nothing'}{f' and {len(left) - 10} more' if len(left) > 10 else ''}")
    return all(
        [
            verdict("overhead", wall, OVERHEAD_BOUND),
            verdict("memory of the driver", after.driver_memory / middle.driver_memory, MEMORY_BOUND, "×"),
            verdict("memory of a worker", after.worker_memory / middle.worker_memory, MEMORY_BOUND, "×"),
            verdict("left behind", len(left), 0, "things"),
        ]
    )


def descendants(process: int) -> list[int]:
    """Its children, theirs, and so on, as /proc shows them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    family, waiting = [], list(children.get(process, []))
    while waiting:
        family.append(waiting.pop())
        waiting += children.get(family[-1], [])
    return family


def command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def resident(process: int) -> float:
    """Memory of a process that it shares with no other, in MB."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def processor_seconds(process: int) -> float:
    """Of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def wait_for_end(before: set[int], seconds: float = 20.0) -> list[int]:
    """Processes that are still there after some time."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in descendants(os.getpid()) if process not in before]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.5)
    return left


def left_in_temporary() -> list[str]:
    """Files and folders in the temporary folder, which nobody else uses, and what is in Ray's folder there."""
    folder = Path(tempfile.gettempdir())
    return [str(path.relative_to(folder)) for path in (*folder.iterdir(), *folder.glob("ray/*")) if path.name != "ray"]


def left_in_runs(runs: Path) -> list[str]:
    """What only training needed: checkpoints and temporary files. (A finished trial's folder and its lock stay.)"""
    needless = ("checkpoint*", "best-*", "*.tmp", ".*")
    return sorted({str(path.relative_to(runs)) for pattern in needless for path in runs.rglob(pattern)})


def announce(part: str) -> None:
    print(f"{part}: load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)


def verdict(name: str, value: float, bound: float, unit: str = "s") -> bool:
    print(f"  {name}: {value:.2f} {unit}, bound {bound:g} {unit}{'' if value <= bound else '  MISSED'}", flush=True)
    return value <= bound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("plan", "tune", "sweep"), default=["plan", "tune", "sweep"])
    parser.add_argument("--planned", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    met = []
    with tempfile.TemporaryDirectory(prefix="load-") as name:
        folder = Path(name)
        (folder / "t").mkdir()
        os.environ["TMPDIR"], tempfile.tempdir = str(folder / "t"), None
        if "plan" in options.parts or "tune" in options.parts:
            trials, within = measure_plan(options.planned, folder)
            met.append(within)
            if "tune" in options.parts:
                met.append(measure_tune(trials))
        if "sweep" in options.parts:
            met.append(measure_sweep(options.trials, options.workers, folder))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
