"""`mtlbench tune`, from the command line to the leaderboard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mtlbench.cli.main import main
from mtlbench.records import Record, read_all
from tests.tiny import STREETS

OPTIONS = [word for name, value in STREETS.items() for word in ("--dataset-arg", f"{name}={value}")]
SMALL = ["--epochs", "3", "--setting", "head_width=8", "--setting", "bn_images=16", "--seeds", "2", *OPTIONS]


def words(*extra: str) -> list[str]:
    return ["tune", "-m", "hard_sharing", "-d", "streets", "--trials", "3", *extra, *SMALL]


def test_a_dry_run_prints_the_draws_and_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words("--dry-run", "--cache", str(tmp_path / "cache"))) == 0
    printed = capsys.readouterr().out
    for text in ("single_task on streets", "hard_sharing on streets", "0 (defaults)", "lr", "0.0001 to 0.01, logarithmic"):
        assert text in printed
    first = [line.split()[:2] for line in printed.splitlines() if line.strip()[:1].isdigit()]
    assert [number for number, _ in first] == ["0", "1", "2"] * 2
    assert not (tmp_path / "results").exists() and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--search", "sobel"], "There is no search 'sobel'"),
        (["--search-seed", "1"], "search's seed 1 is among the seeds"),
        (["--setting", "lr=0.1"], "lr is given"),
        (["--scheduler", "pbt"], "'none' or 'asha'"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(
    extra: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(*extra, "--dry-run", "--cache", str(tmp_path / "cache"))) == 2
    assert message in capsys.readouterr().err


def test_nothing_to_tune_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune"]) == 2
    assert "Name what to tune" in capsys.readouterr().err


def test_list_shows_search_ranges(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["list", "cross_stitch"]) == 0
    assert "0.5 to 1" in capsys.readouterr().out
    assert main(["list", "tuned_scalarisation"]) == 0
    assert "shares of the tasks" in capsys.readouterr().out


# -- on Ray -------------------------------------------------------------------------------------------------------------


def command(folder: Path, *extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mtlbench", *words(*extra), "--cache", str(folder.parent / "cache")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
    )


def records(folder: Path) -> list[Record]:
    good, refused = read_all((folder / "results").glob("**/*.json"))
    assert refused == []
    return good


def outcome(folder: Path) -> dict[str, str]:
    """Record id → its result, and of winners what they were chosen from."""
    return {
        record.id: json.dumps([record.result.model_dump(), sorted(record.tuning.chosen_from) if record.tuning else []])
        for record in records(folder)
    }


@pytest.mark.long
@pytest.mark.parametrize("search", ["sobol", "optuna"])
def test_killed_and_run_again_it_gives_the_same(tmp_path: Path, search: str) -> None:
    if search == "optuna":
        pytest.importorskip("optuna")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    done = command(whole, "--search", search)
    printed, _ = done.communicate(timeout=900)
    assert done.returncode == 0, printed
    assert "Planned: " in printed and "tuning.md" in printed
    process = command(killed, "--search", search)
    assert process.stdout is not None
    for line in process.stdout:
        if "[2/" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(1)  # until the workers have noticed
    before = outcome(killed)
    assert 0 < len(before) < len(outcome(whole))
    again = command(killed, "--search", search)
    printed, _ = again.communicate(timeout=900)
    assert again.returncode == 0, printed
    assert outcome(killed) == outcome(whole)
    # Of two methods: three trials, two seeds of the winner, two of the defaults.
    assert len(outcome(whole)) == 2 * (3 + 2 + 2)


SWEEP = """
    import sys
    from pathlib import Path

    import ray
    from ray.cluster_utils import Cluster

    from mtlbench.running.display import Display
    from mtlbench.running.early_stopping import EarlyStopping
    from mtlbench.running.ray_session import ENVIRONMENT, Resources
    from mtlbench.running.scheduler import run_trials
    from tests.tuning.studies import experiment, studies
    import os

    os.environ.update(ENVIRONMENT)
    folder = Path(sys.argv[1])
    (study,) = studies(folder, experiment(["hard_sharing"], trials=6, scheduler="asha"), epochs=9)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)


    class Killing(Display):
        running = set()
        killed = False

        def epoch(self, spec, progress):
            self.running.add(spec.id)
            if not self.killed and len(self.running) == 2:
                self.killed = True
                cluster.remove_node(lost, allow_graceful=False)
            super().epoch(spec, progress)


    trials = [study.trial(number) for number in range(6)]
    with Killing(6) as display:
        outcome = run_trials(
            trials, folder / "runs", folder / "results", Resources(1, 0), display, early_stopping=EarlyStopping()
        )
    ray.shutdown()
    cluster.shutdown()
    # The file names the cluster to whoever starts Ray without an address, also after its end.
    named = Path(ray._private.utils.get_ray_address_file(None))
    if named.is_file() and named.read_text().strip() == cluster.address:
        named.unlink()
    print("killed", display.killed, "written", len(outcome.written), "failed", outcome.failed)
"""


@pytest.mark.long
def test_a_lost_machine_costs_no_trial_of_an_early_stopping_search(tmp_path: Path) -> None:
    script = tmp_path / "sweep.py"
    script.write_text(textwrap.dedent(SWEEP))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    assert "killed True written 6 failed {}" in done.stdout, done.stdout + done.stderr
    assert {record.tuning.number for record in records(tmp_path) if record.tuning} == set(range(6))
