"""Drawing in several processes, and not where it would be unsafe."""

import os
import subprocess
import sys
from pathlib import Path

from mtlbench.leaderboard import parallel

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os
from mtlbench.leaderboard import parallel

def work(job):
    return job, {"process": os.getpid(), "length": len(job)}

found = parallel.each(work, ["one", "three"])
assert {name: one["length"] for name, one in found.items()} == {"one": 3, "three": 5}, found
forked = {one["process"] for one in found.values()} != {os.getpid()}
assert forked == ((os.cpu_count() or 1) > 1 and hasattr(os, "fork")), found
"""


def test_a_process_without_threads_shares_the_work():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_process_that_may_run_threads_does_it_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", sys)
    found = parallel.each(lambda job: (job, {"process": os.getpid()}), ["a", "b"])
    assert {one["process"] for one in found.values()} == {os.getpid()}


def test_the_leaderboard_needs_no_torch():
    code = "import sys; from mtlbench.leaderboard import compare, draw, show, terminal; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
