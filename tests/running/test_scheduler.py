"""Sweeps on Ray: the same results as in one process, whatever happens on the way. All of these take long."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

TINY = ["height=32", "width=64", "train=32", "val=8", "test=8", "shifted=0"]

METHOD = '''"""Halve the loss of all tasks but the first."""

from mtlbench.contract import Hyper, Strategy, Uniform


class FavourFirst(Strategy):
    """Descend the first task's loss and a fraction of the others'.

    total = L_1 + r · Σ_{t>1} L_t
    """

    rest: float = Hyper(0.5, search=Uniform(0.0, 1.0), ge=0, le=1, help="weight r of the other tasks")

    def step(self, batch):
        losses = self.losses(batch)
        first = self.tasks[0]
        self.descend(sum(loss if task == first else self.rest * loss for task, loss in losses.items()))
        return losses
'''


def command(folder: Path, *words: str, epochs: int = 2) -> list[str]:
    base = [sys.executable, "-m", "mtlbench", *words, "--epochs", str(epochs), "--cache", str(folder / "cache")]
    for option in TINY:
        base += ["--dataset-arg", option]
    return base


def run(folder: Path, *words: str, epochs: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(folder, *words, epochs=epochs),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def results(folder: Path) -> dict[str, str]:
    """Record id → its result as text."""
    records = [json.loads(path.read_text()) for path in (folder / "results").glob("**/*.json")]
    return {record["id"]: json.dumps(record["result"], sort_keys=True) for record in records}


def test_a_sweep_gives_what_single_processes_give_and_does_nothing_twice(tmp_path: Path) -> None:
    ray, alone = tmp_path / "ray", tmp_path / "alone"
    ray.mkdir()
    alone.mkdir()
    done = run(ray, "bench", "-m", "hard_sharing,cross_stitch", "-d", "streets")
    assert done.returncode == 0, done.stderr
    for method in ("single_task", "hard_sharing", "cross_stitch"):
        assert run(alone, "train", "-m", method, "-d", "streets").returncode == 0
    assert results(ray) == results(alone)
    assert len(results(ray)) == 3
    for word in ("cross_stitch", "single_task", "Δ", "written: leaderboards/streets/README.md"):
        assert word in done.stdout
    with (ray / "leaderboards" / "streets" / "leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    latencies = [json.loads(path.read_text())["measured"]["latency_ms"] for path in ray.glob("results/**/*.json")]
    assert all(one["1"]["median"] > 0 for one in latencies)
    before = {path: path.read_bytes() for path in ray.glob("results/**/*.json")}
    again = run(ray, "bench", "-m", "hard_sharing,cross_stitch", "-d", "streets")
    assert again.returncode == 0
    assert "3 have a record, 0 to run" in again.stdout
    assert before == {path: path.read_bytes() for path in ray.glob("results/**/*.json")}


def test_a_method_from_outside_the_repository_runs_on_workers_and_an_edited_one_anew(tmp_path: Path) -> None:
    plugins = tmp_path / "elsewhere"
    plugins.mkdir()
    (plugins / "favour_first.py").write_text(METHOD)
    words = ("bench", "-m", "favour_first", "-d", "streets", "--no-reference", "--plugins", str(plugins))
    first = run(tmp_path, *words)
    assert first.returncode == 0, first.stderr
    assert "favour_first" in first.stdout
    (plugins / "favour_first.py").write_text(METHOD.replace("self.rest * loss", "0.9 * self.rest * loss"))
    second = run(tmp_path, *words)
    assert "0 have a record, 1 to run" in second.stdout
    assert len(set(results(tmp_path).values())) == 2


@pytest.mark.parametrize("words", [("bench", "--no-reference"), ("train",)])
def test_killed_in_mid_training_and_run_again_it_ends_the_same(words: tuple[str, ...], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    command_line = (*words, "-m", "hard_sharing", "-d", "streets")
    assert run(whole, *command_line, epochs=6).returncode == 0
    process = subprocess.Popen(
        command(killed, *command_line, epochs=6), cwd=killed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 2/6" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _wait_for_workers_to_end(killed)
    assert not results(killed)
    assert list(killed.glob("runs/*/checkpoint.pt"))
    assert run(killed, *command_line, epochs=6).returncode == 0
    assert results(killed) == results(whole)


def test_interrupting_leaves_a_state_to_go_on_from(tmp_path: Path) -> None:
    # So many epochs that they are not over before the signal arrives, however busy the machine is.
    process = subprocess.Popen(
        command(tmp_path, "bench", "-m", "hard_sharing", "-d", "streets", "--no-reference", epochs=60),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    for line in process.stdout:
        if "epoch 1/60" in line:
            break
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait(timeout=120) == 130
    assert "the same command goes on from there" in process.stderr.read()
    assert list(tmp_path.glob("runs/*/checkpoint.pt"))


def test_a_trial_that_crashes_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "crashes.py").write_text(
        METHOD.replace("        first = self.tasks[0]\n", "        first = {}['nothing']\n")
    )
    done = run(
        tmp_path, "bench", "-m", "crashes,hard_sharing", "-d", "streets", "--no-reference", "--plugins", str(tmp_path),
        "--retries", "0", "--yes",
    )  # fmt: skip
    assert done.returncode == 1
    assert "KeyError" in done.stderr
    (written,) = tmp_path.glob("runs/*/error.txt")
    assert "crashes.py" in written.read_text()
    assert len(results(tmp_path)) == 1


def _wait_for_workers_to_end(folder: Path) -> None:
    """Ray's workers notice that their driver is gone; a straggler must not write while the next sweep runs."""
    deadline, last = time.monotonic() + 60, -1.0
    while time.monotonic() < deadline:
        now = max((path.stat().st_mtime for path in folder.glob("runs/*/*")), default=0.0)
        if now == last:
            return
        last = now
        time.sleep(8)
