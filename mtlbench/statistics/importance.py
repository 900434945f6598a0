"""Which hyper-parameter mattered, from the trials of a search: shares of the variation of val skill.

With Optuna installed by its fANOVA evaluator (Hutter, Hoos, Leyton-Brown, ICML 2014); without, by Spearman's rank
correlation.
A dozen trials say little: the shares order hyper-parameters roughly, and nothing more.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Mapping, Sequence

FANOVA = "fANOVA (Optuna)"
SPEARMAN = "Spearman"

FEWEST = 4
"""Trials below which nothing is said."""

Value = str | float | int | bool


def importances(trials: Sequence[Mapping[str, Value]], skills: Sequence[float]) -> tuple[str, dict[str, float]]:
    """How the importances were found, and name → importance, the highest first; no importances for fewer than four trials.

    Args:
        trials: name → value of each trial. A trial that lacks a name of another is left out; so are names that never vary.
        skills: of each trial.

    Returns:
        fANOVA: shares that sum to 1. Spearman: |ρ| of each hyper-parameter with the skill, 0 to 1; for a choice the square
        root of the share of the ranks' variance that the choices explain.
    """
    evaluator = FANOVA if importlib.util.find_spec("optuna") else SPEARMAN
    names = dict.fromkeys(name for trial in trials for name in trial)
    complete = [place for place, trial in enumerate(trials) if len(trial) == len(names)]
    trials, skills = [trials[place] for place in complete], [skills[place] for place in complete]
    columns = {name: [trial[name] for trial in trials] for name in names}
    columns = {name: values for name, values in columns.items() if len(set(map(str, values))) > 1}
    if len(trials) < FEWEST or not columns or len(set(skills)) < 2:
        return evaluator, {}
    found = _fanova(columns, skills) if evaluator == FANOVA else _spearman(columns, skills)
    return evaluator, dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _is_number(values: Sequence[Value]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _fanova(columns: Mapping[str, Sequence[Value]], skills: Sequence[float]) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, values in columns.items():
        if _is_number(values):
            numbers = [float(value) for value in values]
            log = min(numbers) > 0 and max(numbers) / min(numbers) > 20
            distributions[name] = optuna.distributions.FloatDistribution(min(numbers), max(numbers), log=log)
        else:
            distributions[name] = optuna.distributions.CategoricalDistribution(sorted(set(map(str, values))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction="maximize")
        for place, skill in enumerate(skills):
            params = {
                name: float(values[place]) if _is_number(values) else str(values[place]) for name, values in columns.items()
            }
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=skill))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(found.get(name, 0.0)) for name in columns}


def _spearman(columns: Mapping[str, Sequence[Value]], skills: Sequence[float]) -> dict[str, float]:
    from scipy.stats import rankdata

    ranks = [float(rank) for rank in rankdata(skills)]
    result = {}
    for name, values in columns.items():
        if _is_number(values):
            result[name] = abs(_correlation([float(rank) for rank in rankdata([float(value) for value in values])], ranks))
        else:
            groups: dict[str, list[float]] = {}
            for value, rank in zip(values, ranks, strict=True):
                groups.setdefault(str(value), []).append(rank)
            means = [sum(groups[str(value)]) / len(groups[str(value)]) for value in values]
            result[name] = math.sqrt(_variance(means) / _variance(ranks))
    return result


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / len(a)
    return covariance / math.sqrt(_variance(a) * _variance(b))


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values)
