"""What a protocol card says of a search for hyper-parameters, and which winners of a search count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mtlbench.records import Record

FIXED = ("sobol", "random")
"""Searches whose draws do not depend on results."""


@dataclass(frozen=True)
class TuningCard:
    """The tuning card of a record.

    Attributes:
        settings: names of the settings that were searched with every method.
        trials: the budget; 0 in the card of a trial, which does not depend on it.
        search, scheduler: how it searched.
        seed: of the draws and of the trials.
    """

    settings: tuple[str, ...]
    trials: int
    search: str
    scheduler: str
    seed: int | None

    @property
    def marks(self) -> list[str]:
        """What a row must say of its search, where trials were not drawn beforehand or not all trained to their end."""
        adaptive = [] if self.search in FIXED else [f"adaptive search ({self.search})"]
        return adaptive + ([] if self.scheduler == "none" else [f"early stopping ({self.scheduler})"])


def tuning_card(record: Record) -> TuningCard:
    """The tuning card in a record's protocol; cards from elsewhere may lack fields."""
    card = record.protocol.get("tuning")
    card = card if isinstance(card, dict) else {}
    settings, trials, seed = card.get("settings"), card.get("trials"), card.get("seed")
    return TuningCard(
        settings=tuple(settings) if isinstance(settings, dict) else (),
        trials=trials if isinstance(trials, int) else 0,
        search=str(card.get("search", "unknown")),
        scheduler=str(card.get("scheduler", "none")),
        seed=seed if isinstance(seed, int) else None,
    )


def without_superseded(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Records without winners that were chosen from fewer trials than another winner of their search, and notes on these.

    Such winners are left where a trial failed, was run again later, and won.
    """
    winners: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.tuning is not None:
            winners[record.tuning.study].append(record)
    superseded: set[str] = set()
    notes = []
    for group in winners.values():
        chosen = max(group, key=_completeness).tuning
        assert chosen is not None
        older = [record for record in group if record.tuning is not None and record.tuning.number != chosen.number]
        if older:
            superseded |= {record.id for record in older}
            notes.append(f"{older[0].row}: {len(older)} records of a configuration that lost to a later trial are left out.")
    return [record for record in records if record.id not in superseded], notes


def _completeness(record: Record) -> tuple[int, str, str]:
    assert record.tuning is not None
    return len(record.tuning.chosen_from), record.provenance.created, record.id
