"""Searchers of Ray Tune: the same draws from the same results, within the space."""

from __future__ import annotations

from typing import Any

import pytest

from mtlbench.config.method import resolve
from mtlbench.config.plugins import Registry
from mtlbench.contract import UserError
from mtlbench.running.searchers import RaySearcher
from mtlbench.tuning.space import Space, space_of

SHARED = {"lr": (1e-4, 1e-2)}


def space(method: str) -> Space:
    return space_of(resolve(method, {}, Registry()), SHARED, ("a", "b", "c"))


@pytest.mark.parametrize("method", ["tuned_scalarisation", "alternating"])
def test_optuna_draws_the_same_from_the_same_results(method: str) -> None:
    pytest.importorskip("optuna")

    def drawn(best: float) -> list[dict[str, Any]]:
        searcher = RaySearcher("optuna", space(method), seed=5)
        values = []
        for start in range(1, 25, 4):
            asked = [searcher.ask(number) for number in range(start, start + 4)]
            for number, one in enumerate(asked, start=start):
                searcher.tell(number, None if number == 6 else -abs(one["lr"] - best))
            values += asked
        return values

    values = drawn(0.001)
    assert values == drawn(0.001)
    # It learns: other results give other draws, after those that are drawn to begin with.
    assert values[:4] == drawn(0.009)[:4] and values != drawn(0.009)
    assert all(1e-4 <= one["lr"] <= 1e-2 for one in values)
    if method == "tuned_scalarisation":
        assert all(sum(one["weights"].values()) == pytest.approx(1, abs=3e-4) for one in values)
    else:
        assert {one["order"] for one in values} == {"fixed", "shuffled"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("sobel", "There is no search 'sobel': expected one of sobol, random"), ("variant_generator", "no search")],
)
def test_an_unknown_search_is_named(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RaySearcher(name, space("alternating"), seed=0)


def test_a_search_whose_package_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.search import optuna

    monkeypatch.setattr("ray.tune.search.optuna.optuna_search.ot", None)
    assert optuna
    with pytest.raises(UserError, match=r"cannot be used.*pip install"):
        RaySearcher("optuna", space("alternating"), seed=0)
