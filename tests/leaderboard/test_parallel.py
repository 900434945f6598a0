"""Drawing in several processes, and not where it would be unsafe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtlbench.leaderboard import parallel

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os
from mtlbench.leaderboard import parallel

def work(job):
    return job, {"process": os.getpid(), "length": len(job)}

values = parallel.run_all(work, ["one", "three"])
assert {name: value["length"] for name, value in values.items()} == {"one": 3, "three": 5}, values
forked = {value["process"] for value in values.values()} != {os.getpid()}
assert forked == ((os.cpu_count() or 1) > 1 and hasattr(os, "fork")), values
"""


def test_a_process_without_threads_shares_the_work() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_process_that_may_run_threads_does_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    processes = parallel.run_all(lambda job: (job, os.getpid()), ["a", "b"])
    assert set(processes.values()) == {os.getpid()}


@pytest.mark.parametrize("library", ["torch", "pandas", "seaborn", "matplotlib"])
def test_commands_do_not_wait_for_libraries_that_only_drawing_needs(library: str) -> None:
    """And a leaderboard needs no torch at all."""
    code = (
        f"import sys; from mtlbench.leaderboard import compare, draw, show, terminal; assert {library!r} not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_images_are_compared_without_torch(tmp_path: Path) -> None:
    code = """
import sys
from mtlbench.leaderboard.compare import compare
from tests.leaderboard import fabricate
first, second = (fabricate.record(seed=seed, images=20) for seed in (0, 1))
assert "depth: abs_err" in compare([first], [second])
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
