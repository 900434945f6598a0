"""How long a sweep still takes: the planned work, corrected by how fast the work done so far went."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Remaining:
    """Keeps account of a sweep's work.

    Args:
        planned: trial id → planned seconds.
        clock: gives seconds; monotonic.
    """

    def __init__(self, planned: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self.planned, self.clock = dict(planned), clock
        self.share_done = dict.fromkeys(self.planned, 0.0)
        self.started = clock()

    def progress(self, trial: str, share: float) -> None:
        """A share (0 to 1) of a trial's work is done."""
        if trial in self.share_done:
            self.share_done[trial] = max(self.share_done[trial], min(share, 1.0))

    def seconds(self) -> float | None:
        """Wall time left, with as much work at a time as so far; None before anything is done."""
        done = sum(seconds * self.share_done[trial] for trial, seconds in self.planned.items())
        elapsed = self.clock() - self.started
        if done <= 0 or elapsed <= 0:
            return None
        return (sum(self.planned.values()) - done) / (done / elapsed)


def time_span(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
