"""Which configurations are tried: numbers that depend on the method, its space and a seed, and on nothing else.

The same on every machine, however often a search is interrupted; and the first k of 20 draws are those of a budget of k.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Literal

from mtlbench.contract import derive_seed
from mtlbench.records import canonical
from mtlbench.tuning.space import Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIXED = ("sobol", "random")
"""Searches whose draws do not depend on results."""


def points(method: str, space: Space, seed: int, count: int, search: Literal["sobol", "random"]) -> NDArray[np.float64]:
    """Points in [0, 1), count × space.size.

    Args:
        search: `sobol`: a scrambled Sobol sequence, which fills the space evenly; `random`: independent numbers.
    """
    import numpy as np

    generator = np.random.default_rng(draw_seed(method, space, seed))
    if count == 0 or space.size == 0:
        return np.zeros((count, space.size))
    if search == "random":
        return generator.random((count, space.size))
    from scipy.stats import qmc

    # Powers of two are what the sequence is balanced for; a longer piece begins with the shorter one.
    length = 2 ** math.ceil(math.log2(count)) if count > 1 else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        sequence = qmc.Sobol(space.size, scramble=True, seed=generator)
    drawn: NDArray[np.float64] = sequence.random(length)[:count]
    return drawn


def draws(method: str, space: Space, seed: int, count: int, search: Literal["sobol", "random"]) -> list[dict[str, Any]]:
    """`count` drawn configurations: name → value."""
    return [space.values(point.tolist()) for point in points(method, space, seed, count, search)]


def draw_seed(method: str, space: Space, seed: int) -> int:
    """The seed of a method's draws."""
    return derive_seed("tuning", method, canonical(space.describe()), seed)
