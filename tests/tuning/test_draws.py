"""Draws depend on the method, its space and the seed alone, and cover what is declared."""

from __future__ import annotations

import numpy as np
import pytest

from mtlbench.config.method import resolve
from mtlbench.config.plugins import Registry
from mtlbench.contract import Choice, Hyper, LogUniform, Simplex, Strategy, Uniform, UserError
from mtlbench.contract.hyper import describe_range
from mtlbench.tuning.draws import draws, points
from mtlbench.tuning.space import Dimension, Space, space_of

SHARED = {"lr": (1e-4, 1e-2), "weight_decay": (1e-6, 1e-3)}
TASKS = ("segmentation", "depth", "normals")


def space(name: str, given: tuple[str, ...] = (), tasks: tuple[str, ...] = TASKS) -> Space:
    return space_of(resolve(name, {}, Registry()), SHARED, tasks, given)


@pytest.mark.parametrize("search", ["sobol", "random"])
def test_a_smaller_budget_begins_a_larger_one(search: str) -> None:
    twenty = draws("cross_stitch", space("cross_stitch"), 1000, 20, search)  # type: ignore[arg-type]
    for budget in (0, 1, 2, 5, 8, 19):
        assert draws("cross_stitch", space("cross_stitch"), 1000, budget, search) == twenty[:budget]  # type: ignore[arg-type]


def test_method_space_and_seed_make_other_draws() -> None:
    drawn = points("mine", space("cross_stitch"), 1000, 8, "sobol")
    for other in (
        points("yours", space("cross_stitch"), 1000, 8, "sobol"),
        points("mine", space("dwa"), 1000, 8, "sobol"),
        points("mine", space("cross_stitch"), 1001, 8, "sobol"),
    ):
        assert not np.array_equal(drawn, other)


def test_these_draws_are_the_same_on_every_machine() -> None:
    assert draws("cross_stitch", space("cross_stitch"), 1000, 2, "sobol") == [
        {"lr": 0.003564, "weight_decay": 5.453e-05, "own_weight": 0.9265},
        {"lr": 0.0001238, "weight_decay": 2.269e-05, "own_weight": 0.5454},
    ]


def test_sobol_fills_every_dimension_evenly() -> None:
    drawn = points("adashare", space("adashare"), 0, 16, "sobol")
    assert drawn.shape == (16, space("adashare").size)
    for column in drawn.T:
        assert sorted((column * 16).astype(int)) == list(range(16))


def test_a_method_without_ranges_searches_the_shared_settings() -> None:
    assert list(space("single_task").describe()) == ["lr", "weight_decay"]


def test_what_an_experiment_fixes_is_not_searched() -> None:
    assert "own_weight" not in space("cross_stitch", given=("own_weight",)).describe()
    assert "own_weight" not in space("cross_stitch", given=("architecture.own_weight",)).describe()


@pytest.mark.parametrize("tasks", [TASKS, TASKS[:2], TASKS[:1]])
def test_task_weights_take_one_dimension_fewer_than_tasks(tasks: tuple[str, ...]) -> None:
    weights = space("tuned_scalarisation", tasks=tasks)
    assert weights.size == 2 + len(tasks) - 1
    for values in draws("tuned_scalarisation", weights, 0, 16, "sobol"):
        assert list(values["weights"]) == list(tasks)
        assert sum(values["weights"].values()) == pytest.approx(1, abs=2e-4)


def test_task_weights_are_uniform_on_the_simplex() -> None:
    dimension = Dimension("weights", Simplex(), tasks=TASKS)
    numbers = np.random.default_rng(0).random((4000, 2))
    shares = np.array([list(dimension.value(row).values()) for row in numbers.tolist()])
    # Dirichlet(1, 1, 1): means 1/3, variances 1/18, covariances −1/36.
    assert shares.mean(0) == pytest.approx([1 / 3] * 3, abs=0.02)
    expected = np.full((3, 3), -1 / 36) + np.eye(3) * (1 / 18 + 1 / 36)
    assert np.cov(shares.T) == pytest.approx(expected, abs=0.006)


def test_values_stay_within_their_ranges() -> None:
    ends = (0.0, 0.5, 1 - 2**-53, 1.0)
    for coordinate in ends:
        assert 0.1 <= Dimension("a", Uniform(0.1, 0.3)).value([coordinate]) <= 0.3
        assert 1e-5 <= Dimension("a", LogUniform(1e-5, 1e-1)).value([coordinate]) <= 1e-1
        assert Dimension("a", Choice(("x", "y", "z"))).value([coordinate]) in ("x", "y", "z")
        whole = Dimension("a", Uniform(1, 4), whole=True).value([coordinate])
        assert isinstance(whole, int) and 1 <= whole <= 4
    assert Dimension("a", LogUniform(1e-4, 1e-2)).value([0.5]) == pytest.approx(1e-3)


def test_shares_of_tasks_are_refused_where_no_mapping_is_expected() -> None:
    class Odd(Strategy):
        """An odd one."""

        weight: float = Hyper(1.0, search=Simplex(), help="no mapping")

    from dataclasses import replace

    method = resolve("equal", {}, Registry())
    plugin = type("Plugin", (), {"cls": Odd, "name": "odd"})
    with pytest.raises(UserError, match="searched among shares of the tasks"):
        space_of(replace(method, strategy=plugin), SHARED, TASKS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        (Uniform(0, 1), "0 to 1"),
        (LogUniform(1e-4, 1), "0.0001 to 1, logarithmic"),
        (Choice(("a", 2)), "a, 2"),
        (Simplex(), "shares of the tasks"),
    ],
)
def test_ranges_in_words(search: Uniform | LogUniform | Choice | Simplex, words: str) -> None:
    assert describe_range(search) == words
