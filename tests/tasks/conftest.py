"""Fixtures of the tests of tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tasks.task_cases import CASES, Case


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="session")
def golden() -> dict[str, NDArray[np.generic]]:
    """Inputs and outputs of official implementations (metrics.npz)."""
    path = Path(__file__).resolve().parent.parent / "golden" / "metrics.npz"
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}
