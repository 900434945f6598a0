"""Searchers of Ray Tune as a study uses them: asked for configurations in order of their numbers, told in the same order.

Their draws follow from the seed and the results they were told, so a search that was interrupted is replayed from records.
"""

from __future__ import annotations

import logging
from typing import Any

from mtlbench.contract import Choice
from mtlbench.errors import UserError
from mtlbench.tuning.draws import draw_seed
from mtlbench.tuning.space import Space
from mtlbench.tuning.study import Study

METRIC = "val_skill"


class RaySearcher:
    """A searcher of Ray Tune over a study's space.

    Args:
        name: as Ray Tune calls it: optuna, hyperopt, …

    Raises:
        UserError: Ray Tune has no such searcher, or a package that it needs is not installed.
    """

    def __init__(self, name: str, space: Space, seed: int) -> None:
        from ray import tune
        from ray.tune.search import SEARCH_ALG_IMPORT

        if name not in SEARCH_ALG_IMPORT or name in ("variant_generator", "random"):
            known = [
                "sobol",
                "random",
                *(known for known in SEARCH_ALG_IMPORT if known not in ("variant_generator", "random")),
            ]
            raise UserError(f"There is no search {name!r}: expected one of {', '.join(known)}.")
        self.space = space
        coordinates: dict[str, Any] = {}
        for dimension in space.dimensions:
            choices = len(dimension.search.values) if isinstance(dimension.search, Choice) else 0
            for place in range(dimension.size):
                domain: Any = tune.choice(list(range(choices))) if choices else tune.uniform(0.0, 1.0)
                coordinates[f"{dimension.name}:{place}"] = domain
        try:
            searcher_class = SEARCH_ALG_IMPORT[name]()
            self.searcher = searcher_class(**self._seeded(name, seed))
            logging.getLogger(name).setLevel(logging.WARNING)
            self.searcher.set_search_properties(METRIC, "max", coordinates)
        except (ImportError, AssertionError) as error:
            reason = str(error).splitlines()[0] if str(error) else "a package is missing"
            raise UserError(
                f"The search {name!r} cannot be used: {reason} For optuna: pip install 'mtlbench[tune]'."
            ) from None

    @staticmethod
    def _seeded(name: str, seed: int) -> dict[str, int]:
        """The seed under the name that the searcher has for it. Seeds of 32 bits suit all of them."""
        return {"random_state_seed" if name == "hyperopt" else "seed": seed % 2**31}

    def ask(self, number: int) -> dict[str, Any]:
        """The configuration of a number: name → value."""
        suggested = self.searcher.suggest(str(number))
        if not isinstance(suggested, dict):
            raise UserError("The search has no further configuration: plan fewer trials.")
        point = []
        for dimension in self.space.dimensions:
            for place in range(dimension.size):
                value = suggested[f"{dimension.name}:{place}"]
                choices = isinstance(dimension.search, Choice)
                point.append((value + 0.5) / len(dimension.search.values) if choices else min(value, 1.0))  # type: ignore[union-attr]
        return self.space.values(point)

    def tell(self, number: int, skill: float | None) -> None:
        """The mean val skill of a configuration, None where its trial failed."""
        result = None if skill is None else {METRIC: skill, "training_iteration": 1}
        self.searcher.on_trial_complete(str(number), result, error=skill is None)


def searcher_of(study: Study) -> RaySearcher:
    """The searcher of a study."""
    seed = draw_seed(study.base.method, study.space, study.tune.seed)
    return RaySearcher(study.tune.search, study.space, seed)
