"""Sweeps on Ray through faults of trials, processes and nodes: every other trial is done, and nothing is done twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running.reliability.injection import FAULTS, command, results, run, write_plugin

pytestmark = pytest.mark.long

EPOCHS = 8
SWEEP = ("bench", "-m", "hard_sharing", "-d", "streets", "--no-reference", "--seeds", "2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Results of the trials of `SWEEP`, each trained in a process of its own."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for seed in ("0", "1"):
        assert run(folder, "train", "-m", "hard_sharing", "-d", "streets", "--seed", seed, epochs=EPOCHS).returncode == 0
    return results(folder)


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(folder, *words, epochs=EPOCHS), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def lines_until(process: subprocess.Popen[str], pattern: str) -> Iterator[str]:
    """What a command prints, up to a line with the pattern."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if re.search(pattern, line):
            return
    raise AssertionError(f"the command ended without {pattern!r}: {process.communicate()}")


def workers(folder: Path) -> dict[str, int]:
    """Trial → the process that trains it."""
    progress = [json.loads(path.read_text()) for path in folder.glob("runs/*/progress.json")]
    return {each["id"]: each["pid"] for each in progress}


def test_a_sweep_with_faulty_trials_ends_with_all_others_and_a_table(tmp_path: Path) -> None:
    names = ["raises", "explodes", "needs_memory", "needs_more_memory"]
    for name in names:
        assert name in FAULTS
        write_plugin(tmp_path, name)
    words = ("bench", "-m", ",".join([*names, "hard_sharing"]), "-d", "streets", "--no-reference", "--plugins", ".")
    done = run(tmp_path, *words, "--retries", "0", "--yes")
    assert done.returncode == 1, done.stderr
    assert set(results(tmp_path)) == {"hard_sharing 0", "hard_sharing+explodes 0", "hard_sharing+needs_memory 0"} or set(
        results(tmp_path)
    ) == {"hard_sharing 0", "explodes 0", "needs_memory 0"}
    table = done.stderr.splitlines()
    assert "mtlbench: 2 of 5 trials failed:" in table
    assert any("raises" in line and "KeyError: 'nothing'" in line and "error.txt" in line for line in table)
    assert any("needs_more_memory" in line and "memory ran out with 2 pieces" in line for line in table)
    assert "memory ran out; tried once more with 2 pieces per batch" in done.stdout
    assert "training stopped early, since the loss of" in done.stdout
    before = results(tmp_path)
    again = run(tmp_path, *words, "--retries", "0", "--yes", MENDED="1")
    assert again.returncode == 0, again.stderr
    assert "5 trials: 3 have a record, 2 to run." in again.stdout
    assert len(results(tmp_path)) == 5 and before.items() <= results(tmp_path).items()


def test_a_killed_trial_is_taken_up_again(undisturbed: dict[str, str], tmp_path: Path) -> None:
    process = start(tmp_path, *SWEEP)
    list(lines_until(process, r"epoch 2/"))
    killed = next(iter(workers(tmp_path).values()))
    os.kill(killed, signal.SIGKILL)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "tried again from its last epoch" in output
    assert results(tmp_path) == undisturbed
    assert killed not in workers(tmp_path).values()


def test_a_killed_trial_without_retries_fails_alone_and_is_all_that_is_run_later(
    undisturbed: dict[str, str], tmp_path: Path
) -> None:
    process = start(tmp_path, *SWEEP, "--retries", "0")
    list(lines_until(process, r"epoch 2/"))
    os.kill(next(iter(workers(tmp_path).values())), signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "1 of 2 trials failed:" in errors and "Traceback" not in errors
    assert len(results(tmp_path)) == 1
    again = run(tmp_path, *SWEEP, epochs=EPOCHS)
    assert again.returncode == 0 and "2 trials: 1 have a record, 1 to run." in again.stdout
    assert "epoch 1/" not in again.stdout, "it goes on from its checkpoint"
    assert results(tmp_path) == undisturbed


def test_two_drivers_on_one_folder_train_every_epoch_once(undisturbed: dict[str, str], tmp_path: Path) -> None:
    drivers = [start(tmp_path, *SWEEP) for _ in range(2)]
    outputs = [driver.communicate() for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], outputs
    trained = Counter(re.findall(r"seed \d  epoch \d+/", "".join(output for output, _ in outputs)))
    assert len(trained) == 2 * EPOCHS and set(trained.values()) == {1}
    assert results(tmp_path) == undisturbed
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_killed_node_costs_no_trial(undisturbed: dict[str, str], tmp_path: Path) -> None:
    """Two nodes without a common disk: what the lost one had written is removed with it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        process = start(tmp_path, *SWEEP, "--address", cluster.address)
        list(lines_until(process, r"seed 0  epoch 2/"))
        lost = [trial for trial, pid in workers(tmp_path).items() if parent(pid) == raylet(node)]
        cluster.remove_node(node, allow_graceful=False)
        for trial in lost:
            shutil.rmtree(tmp_path / "runs" / trial, ignore_errors=True)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert lost, output
        assert "tried again" in output
        assert results(tmp_path) == undisturbed
    finally:
        cluster.shutdown()


def parent(pid: int) -> int:
    """The process that started a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def raylet(node: object) -> int:
    processes = getattr(node, "all_processes")  # noqa: B009
    return int(processes["raylet"][0].process.pid)
