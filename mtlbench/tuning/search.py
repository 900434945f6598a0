"""Runs studies: their trials, in rounds where a search learns from results, and then the winners on fresh seeds.

It knows neither how trials are run nor where records are: both are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.records import Record
from mtlbench.tuning.draws import FIXED
from mtlbench.tuning.study import ROUND, Study, winner


class Searcher(Protocol):
    """An adaptive search: asked for configurations, and told how good they were."""

    def ask(self, number: int) -> dict[str, Any]:
        """The configuration of a number: name → value."""
        ...

    def tell(self, number: int, skill: float | None) -> None:
        """The mean val skill of a configuration, None where its trial failed."""
        ...


RunTrials = Callable[[list[TrialSpec]], None]
"""Runs the trials that have no record."""

RecordOf = Callable[[TrialSpec], Record | None]
"""The record of a trial, None where it has none."""


def search(
    studies: Sequence[Study],
    seeds: Sequence[int],
    run: RunTrials,
    record_of: RecordOf,
    searcher_of: Callable[[Study], Searcher],
) -> list[TrialSpec]:
    """Run all trials of all studies, then their winners and, on the same seeds, the defaults.

    Args:
        seeds: the winners'.
        searcher_of: makes the search of a study whose draws depend on results.

    Returns:
        every trial that was planned. A study of which no trial left a record has no winners.
    """
    fixed = [study for study in studies if study.tune.search in FIXED]
    adaptive = [study for study in studies if study.tune.search not in FIXED]
    if fixed:
        run([study.trial(number) for study in fixed for number in range(study.tune.trials)])
    if adaptive:
        _in_rounds(adaptive, run, record_of, searcher_of)
    planned = [study.trial(number) for study in studies for number in range(study.tune.trials)]
    last = [trial for study in studies for trial in [*winners_of(study, seeds, record_of), *study.untuned(seeds)]]
    run(last)
    return planned + last


def _in_rounds(
    studies: Sequence[Study], run: RunTrials, record_of: RecordOf, searcher_of: Callable[[Study], Searcher]
) -> None:
    """Ask for a round of configurations, run them, and tell the results in the order of their numbers.

    A search that was interrupted asks and tells the same again, from the records.
    """
    searchers = [searcher_of(study) for study in studies]
    most = max(study.tune.trials for study in studies)
    for start in range(0, most, ROUND):
        numbers = range(start, min(start + ROUND, most))
        for study, searcher in zip(studies, searchers, strict=True):
            # The defaults may lie outside the ranges: the search is neither asked for them nor told.
            study.drawn |= {number: searcher.ask(number) for number in numbers if number > 0}
        run([study.trial(number) for study in studies for number in numbers])
        for study, searcher in zip(studies, searchers, strict=True):
            for number in numbers:
                if number > 0:
                    record = record_of(study.trial(number))
                    searcher.tell(number, None if record is None else record.result.val.mean_skill)


def winners_of(study: Study, seeds: Sequence[int], record_of: RecordOf) -> list[TrialSpec]:
    """The trials of the best configuration so far on fresh seeds; none where no trial left a record."""
    records = {
        number: record for number in range(study.tune.trials) if (record := record_of(study.trial(number))) is not None
    }
    best = winner(records)
    return [] if best is None else study.winners(best, seeds, [record.id for record in records.values()])
