"""How AdaShare's budget is divided between search and retraining; random plans train as long as its retraining."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.contract import Run, UserError

WARM_UP, POLICY = 0.1, 0.4
"""Shares of the budget that warm-up and policy learning take by default (equal_total)."""

PUBLISHED_WARM_UP = 0.2
"""Share of the 20,000 iterations (100,000 on Taskonomy) before retraining."""


@dataclass(frozen=True)
class Division:
    """How a budget is divided, in epochs.

    Attributes:
        warm_up, policy: of the two phases of the search.
        lead: share of policy learning's first epoch that still is warm-up, where warm-up has no whole epoch.
        retraining: of each sample's retraining.
    """

    warm_up: int
    lead: float
    policy: int
    retraining: list[int]


def split_budget(run: Run, warm_up: float, policy: float, samples: int) -> Division:
    """Divide the run's budget.

    Args:
        warm_up, policy: their shares under "equal_total"; retraining has the rest. Under "equal_final" retraining has all
            epochs and the others come on top, in the same proportion; under "paper" they take as long as each retraining.

    Raises:
        UserError: nothing is left to retrain with.
    """
    epochs, rest = run.budget.epochs, 1 - warm_up - policy
    if rest <= 0:
        raise UserError(f"adashare: warm_up + policy = {warm_up + policy:g} leaves no budget to retrain with: lower one.")
    if run.budget.mode == "equal_total":
        if epochs < samples + 1:
            raise UserError(f"adashare: {samples} samples need {samples + 1} epochs or more, and there are {epochs}.")
        lead = min(warm_up * epochs, 0.9)
        if warm_up * epochs < 1 or epochs < samples + 2:
            search, *retraining = run.budget.split(warm_up + policy, *[rest / samples] * samples)
            return Division(0, lead, search, retraining)
        first, second, *retraining = run.budget.split(warm_up, policy, *[rest / samples] * samples)
        return Division(first, 0.0, second, retraining)
    shares = (warm_up / rest, policy / rest)
    if run.budget.mode == "paper":
        shares = (PUBLISHED_WARM_UP, 1 - PUBLISHED_WARM_UP)
    first, second = (max(1, round(share * epochs)) if share else 0 for share in shares)
    return Division(first, 0.0, second, [epochs] * samples)
