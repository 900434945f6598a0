"""Independent jobs on as many processors as there are."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import get_all_start_methods, get_context
from typing import Any, TypeVar

Job = TypeVar("Job")
Value = TypeVar("Value")

# Forked processes find the work here: functions made inside others cannot be sent to them.
_work: Callable[[Any], tuple[str, Any]] | None = None
_jobs: Sequence[Any] = ()


def run_all(work: Callable[[Job], tuple[str, Value]], jobs: Sequence[Job]) -> dict[str, Value]:
    """`work` on every job: name → value. In forked processes where that is safe, else one job after another.

    Forked processes see the records that were read already, so that nothing large is sent. A process that runs threads,
    as torch and Ray do, must not be forked.
    """
    workers = min(len(jobs), os.cpu_count() or 1)
    threaded = threading.active_count() > 1 or "torch" in sys.modules or "ray" in sys.modules
    if workers < 2 or threaded or "fork" not in get_all_start_methods():
        return dict(map(work, jobs))
    global _work, _jobs
    _work, _jobs = work, jobs
    try:
        with get_context("fork").Pool(workers) as pool:
            return dict(pool.map(_run, range(len(jobs)), chunksize=1))
    finally:
        _work, _jobs = None, ()


def _run(index: int) -> tuple[str, Any]:
    assert _work is not None
    return _work(_jobs[index])
