"""Searches without training: equal budgets, winners on fresh seeds, ids and cards, interruption."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from mtlbench.contract import UserError
from mtlbench.planning.protocol import protocol_id
from mtlbench.planning.trial_spec import TrialSpec
from mtlbench.tuning.search import search
from mtlbench.tuning.study import ROUND, Study, winner
from tests.tuning.studies import Laboratory, experiment, fabricated, studies


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuning")


def lr_quality(trial: TrialSpec) -> float:
    """The nearer lr is to 0.003, the better."""
    return -100 * abs(trial.settings.lr - 0.003)


def no_searcher(study: Study) -> Any:
    raise AssertionError("fixed draws need no searcher")


def test_every_method_gets_as_many_trials_and_the_defaults_come_first(folder: Path) -> None:
    asked = experiment(["hard_sharing", "tuned_scalarisation", "cross_stitch"], reference=True, trials=5)
    made = studies(folder, asked)
    assert [study.base.row for study in made] == ["single_task", "hard_sharing", "tuned_scalarisation", "cross_stitch"]
    for study in made:
        trials = [study.trial(number) for number in range(5)]
        assert len({trial.id for trial in trials}) == 5
        assert {trial.seed for trial in trials} == {1000}
        assert trials[0].settings == study.base.settings and trials[0].hypers == study.base.hypers
        assert all(trial.settings != study.base.settings for trial in trials[1:])
        assert len({protocol_id(trial.protocol) for trial in trials}) == 1
    assert len({protocol_id(study.trial(0).protocol) for study in made}) == 1


def test_the_tuning_card_stands_in_the_protocol(folder: Path) -> None:
    (study,) = studies(folder, experiment(["hard_sharing"]))
    trial, (first, _) = study.trial(1), study.winners(1, [0, 1])
    assert trial.protocol["optimizer"]["lr"] == trial.protocol["optimizer"]["weight_decay"] == "tuned"
    assert "trials" not in trial.protocol["tuning"] and first.protocol["tuning"]["trials"] == 4
    assert first.tuning is not None and first.tuning.trials_protocol == protocol_id(trial.protocol)
    assert first.tuning.default_protocol == protocol_id(study.untuned([0])[0].protocol)
    (larger,) = studies(folder, experiment(["hard_sharing"], trials=8))
    # A larger budget uses the smaller one's trials, and is another table.
    assert [larger.trial(number).id for number in range(4)] == [study.trial(number).id for number in range(4)]
    assert protocol_id(larger.winners(1, [0])[0].protocol) != protocol_id(first.protocol)
    ordinary = study.untuned([0])[0]
    assert ordinary.tuning is None and "tuning" not in ordinary.protocol


@pytest.mark.parametrize(
    "change", [{"search": "random"}, {"scheduler": "asha"}, {"seed": 7}, {"settings": {"lr": (1e-3, 1e-2)}}]
)
def test_another_way_to_search_is_another_protocol(folder: Path, change: dict[str, Any]) -> None:
    (usual,) = studies(folder, experiment(["hard_sharing"]))
    (other,) = studies(folder, experiment(["hard_sharing"], **change))
    assert protocol_id(usual.trial(0).protocol) != protocol_id(other.trial(0).protocol)
    assert usual.id != other.id


def test_the_winner_of_val_is_trained_on_fresh_seeds_beside_the_defaults(folder: Path) -> None:
    made = studies(folder, experiment(["hard_sharing", "cross_stitch"], seeds=[3, 4]))
    laboratory = Laboratory(lr_quality)
    planned = search(made, [3, 4], laboratory.run, laboratory.record_of, no_searcher)
    assert {trial.id for trial in planned} == set(laboratory.records)
    for study in made:
        own = [trial for trial in planned if trial.row == study.base.row]
        winners = [trial for trial in own if trial.tuning is not None and trial.tuning.role == "winner"]
        assert [trial.seed for trial in winners] == [3, 4]
        best = min((study.trial(number) for number in range(4)), key=lambda trial: abs(trial.settings.lr - 0.003))
        assert {trial.settings.lr for trial in winners} == {best.settings.lr}
        assert winners[0].tuning is not None
        assert set(winners[0].tuning.chosen_from) == {study.trial(number).id for number in range(4)}
        assert [trial.seed for trial in own if trial.tuning is None] == [3, 4]


def test_a_failed_trial_is_spent(folder: Path) -> None:
    (study,) = studies(folder, experiment(["hard_sharing"]))
    laboratory = Laboratory(lambda trial: None if trial.seed == 1000 and trial.tuning.number == 1 else lr_quality(trial))  # type: ignore[union-attr]
    planned = search([study], [0], laboratory.run, laboratory.record_of, no_searcher)
    chosen = [trial.tuning for trial in planned if trial.tuning is not None and trial.tuning.role == "winner"]
    assert len(chosen) == 1 and len(chosen[0].chosen_from) == 3 and chosen[0].number != 1


def test_without_any_record_there_is_no_winner(folder: Path) -> None:
    (study,) = studies(folder, experiment(["hard_sharing"]))
    laboratory = Laboratory(lambda trial: None)
    planned = search([study], [0], laboratory.run, laboratory.record_of, no_searcher)
    assert [trial for trial in planned if trial.tuning is not None and trial.tuning.role == "winner"] == []


def test_of_equal_trials_the_first_wins(folder: Path) -> None:
    (study,) = studies(folder, experiment(["hard_sharing"]))
    record = fabricated(study.trial(0), 0.0)
    assert winner({2: record, 1: record}) == 1
    assert winner({}) is None


class Counting:
    """An adaptive search: what it suggests depends on all that it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float | None]] = []

    def ask(self, number: int) -> dict[str, Any]:
        total = sum(skill for _, skill in self.told if skill is not None)
        return {"lr": round(1e-3 * (1 + number) + abs(total) * 1e-4, 7), "weight_decay": 1e-5}

    def tell(self, number: int, skill: float | None) -> None:
        self.told.append((number, skill))


@pytest.mark.parametrize("trials", [4, 10])
def test_an_adaptive_search_that_was_killed_draws_the_same_again(folder: Path, trials: int) -> None:
    asked = experiment(["hard_sharing", "dwa"], search="optuna", trials=trials)

    def run(laboratory: Laboratory, most: int | None) -> list[str]:
        made = studies(folder, asked)
        started = itertools.count()

        def limited(specs: list[TrialSpec]) -> None:
            for spec in specs:
                if spec.id not in laboratory.records and most is not None and next(started) >= most:
                    raise KeyboardInterrupt
                laboratory.run([spec])

        planned = search(made, [0, 1], limited, laboratory.record_of, lambda study: Counting())
        return [trial.id for trial in planned]

    undisturbed = Laboratory(lr_quality)
    expected = run(undisturbed, None)
    killed = Laboratory(lr_quality)
    for _ in range(100):
        try:
            result = run(killed, 3)
            break
        except KeyboardInterrupt:
            continue
    assert result == expected and killed.records.keys() == undisturbed.records.keys()
    assert trials <= ROUND or len({trial.settings.lr for trial in killed.ran}) > ROUND


def test_fixed_draws_that_were_killed_give_the_same(folder: Path) -> None:
    undisturbed = Laboratory(lr_quality)
    expected = search(
        studies(folder, experiment(["hard_sharing"])), [0, 1], undisturbed.run, undisturbed.record_of, no_searcher
    )
    again = Laboratory(lr_quality)
    again.run([studies(folder, experiment(["hard_sharing"]))[0].trial(2)])
    repeated = search(studies(folder, experiment(["hard_sharing"])), [0, 1], again.run, again.record_of, no_searcher)
    assert [trial.id for trial in repeated] == [trial.id for trial in expected]
    assert again.records.keys() == undisturbed.records.keys()


@pytest.mark.parametrize(
    ("tune", "overrides", "message"),
    [
        ({"seed": 1}, {}, "search's seed 1 is among the seeds"),
        ({}, {"lr": 0.1}, "lr is given .command line. and searched"),
    ],
)
def test_what_would_spoil_the_comparison_is_refused(
    folder: Path, tune: dict[str, Any], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        studies(folder, experiment(["hard_sharing"], **tune), **overrides)


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"settings": {"epochs": [1, 9]}}, "epochs cannot be searched"),
        ({"settings": {"lr": [0, 1]}}, "expected 0 < low < high"),
        ({"trials": 0}, "greater than or equal to 1"),
        ({"scheduler": "pbt"}, "'none' or 'asha'"),
        ({"budget": 3}, "no field 'tune.budget'"),
    ],
)
def test_a_wrong_field_of_tune_is_named(tune: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        experiment(["hard_sharing"], **tune)


def test_a_method_that_does_not_exist_is_refused_before_data_are_prepared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no method 'pcgrd'\. Did you mean 'pcgrad'\?"):
        studies(tmp_path, experiment(["hard_sharing", "pcgrd"]))
    assert not (tmp_path / "cache").exists()
