"""The time left follows from what is planned and from how fast it went so far."""

from __future__ import annotations

from types import SimpleNamespace

from mtlbench.running.estimate import running_order
from mtlbench.running.remaining import Remaining, time_span


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_plan_that_was_too_short_is_corrected_while_running() -> None:
    clock = Clock()
    remaining = Remaining({"first": 60.0, "second": 60.0}, clock)
    assert remaining.seconds() is None
    clock.now = 100.0
    remaining.progress("first", 0.5)  # 30 planned seconds took 100
    assert remaining.seconds() == 300.0
    clock.now = 200.0
    remaining.progress("first", 1.0)
    remaining.progress("second", 1.0)
    assert remaining.seconds() == 0.0


def test_progress_never_goes_back_and_unknown_trials_do_not_count() -> None:
    clock = Clock()
    remaining = Remaining({"first": 10.0}, clock)
    clock.now = 5.0
    remaining.progress("first", 0.5)
    remaining.progress("first", 0.2)
    remaining.progress("another", 1.0)
    assert remaining.seconds() == 5.0


def test_spans_are_said_in_a_fitting_unit() -> None:
    assert [time_span(seconds) for seconds in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


def test_the_shortest_trial_runs_first_and_then_the_longest() -> None:
    trials = [SimpleNamespace(id=name) for name in "abcd"]
    order = running_order(trials, {"a": 3.0, "b": 9.0, "c": 1.0, "d": 5.0})  # type: ignore[arg-type]
    assert [trial.id for trial in order] == ["c", "b", "d", "a"]
    assert running_order([], {}) == []
